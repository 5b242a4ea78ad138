"""Several figures of the same pairs of blocks, compared one by one, with one promise for all of them together."""

import math
from collections.abc import Mapping

import numpy as np

from trivet.stats.interval import Ratio
from trivet.stats.multiple import closed_e_values
from trivet.stats.sequential import PairedSequence
from trivet.stats.verdict import Effect, Verdict


class PairedFamily:
    """A `PairedSequence` for each figure (p50, p99, throughput ...), fed pair by pair.

    Any "better" or "worse" at all of a figure that is alike on both sides comes with a probability of at most
    `alpha`, over all figures and looks together, however the figures depend on each other and whether others differ.
    Figures that agree cost no more pairs than one alone; among others that show nothing, one needs some more.
    "equivalent" is promised for each figure alone, as in `PairedSequence`: who asks that all are equivalent needs
    no correction.

    Args: margins: for each figure.  smaller_is_better: for each, or one for all.  Others as in `PairedSequence`.
    weights: for each figure, chosen before the data: one with more is shown by fewer pairs, at the cost of the others.
    Raises: ValueError: no figure, a figure without a weight, or as in `PairedSequence`.
    Source: Vovk & Wang (2021), "E-values: calibration, combination and applications", closed testing by weighted means.
    """

    def __init__(
        self,
        margins: Mapping[str, float],
        alpha: float = 0.01,
        smaller_is_better: bool | Mapping[str, bool] = True,
        *,
        alpha_equivalent: float = 0.05,
        min_effect: float = 0.0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if not margins:
            raise ValueError("no figures to compare: name at least one with its margin")
        if weights is not None and (missing := margins.keys() - weights.keys()):
            raise ValueError(f"no weight for {', '.join(sorted(missing))}")
        shares = np.array([1.0 if weights is None else weights[name] for name in margins])
        self._shares = shares / shares.sum()
        self._sequences = {
            name: PairedSequence(
                margin,
                alpha,
                smaller_is_better if isinstance(smaller_is_better, bool) else smaller_is_better[name],
                alpha_equivalent=alpha_equivalent,
                min_effect=min_effect,
            )
            for name, margin in margins.items()
        }
        self._differs = math.log(1 / alpha)
        self._highest = np.full(len(margins), -math.inf)  # log e value of each figure, adjusted

    @property
    def num_pairs(self) -> int:
        return next(iter(self._sequences.values())).num_pairs

    def add(self, log_ratios: Mapping[str, float]) -> None:
        """One more pair: log(candidate / baseline) of every figure. Raises: ValueError: one is missing or not finite."""
        if log_ratios.keys() != self._sequences.keys():
            raise ValueError(
                f"a pair has the figures {sorted(log_ratios)}, must have {sorted(self._sequences)}"
            )
        for name, value in log_ratios.items():
            if not math.isfinite(value):
                raise ValueError(f"pair {self.num_pairs} has the log ratio {value} of {name}, must be finite")
        for name, sequence in self._sequences.items():
            sequence.add(log_ratios[name])
        evidence = [sequence.log_evidence() for sequence in self._sequences.values()]
        self._highest = np.maximum(
            self._highest, np.log(closed_e_values(np.exp(np.clip(evidence, -600, 600)), self._shares))
        )

    def verdicts(self) -> dict[str, Verdict]:
        """About the candidate, for each figure."""
        shown = self._highest >= self._differs
        # What is shown for all together is shown for the figure alone, and that one knows the direction.
        return {
            name: "cannot tell" if verdict in ("better", "worse") and not is_shown else verdict
            for (name, sequence), is_shown in zip(self._sequences.items(), shown, strict=True)
            for verdict in (sequence.verdict(),)
        }

    def intervals(self) -> dict[str, Ratio]:
        """For each figure, all true together with at least 1 - alpha. Raises: EmptySampleError: no pair yet."""
        return {
            name: sequence.interval_at(self._differs + math.log(2 / share))
            for (name, sequence), share in zip(self._sequences.items(), self._shares, strict=True)
        }

    def effects(self) -> dict[str, Effect]:
        """Each verdict with the figure's own interval, as in `PairedSequence.effect`: it rests on that one too.

        Each of these intervals keeps its promise by itself; `intervals` are wider and keep it together.
        Raises: EmptySampleError: no pair yet.
        """
        own = {name: sequence.effect() for name, sequence in self._sequences.items()}
        return {
            name: Effect(own[name].ratio, verdict, own[name].margin)
            for name, verdict in self.verdicts().items()
        }
