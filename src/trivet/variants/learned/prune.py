"""The builder of `pruned`: the same model with fewer hidden units, so many fewer as its answers are certified to bear."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.stats.risk_control import learn_then_test, rows_needed
from trivet.variants._models import MODEL_FILE
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.int8 import is_onnx
from trivet.variants.learned._packages import sparse
from trivet.variants.learned.activity import activities, importance
from trivet.variants.learned.chains import Chain, chains_of
from trivet.variants.learned.losses import PairedLosses
from trivet.variants.learned.onnx_model import OnnxModel
from trivet.variants.learned.surgery import Units, cut_units, num_cut
from trivet.variants.source import Source

NOT_ONNX = "units are cut out of ONNX models on the CPU only"
_TRIED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # the safest first
_GRAIN = 8  # processors work on so many numbers at a time: a part of that is no faster

Kept = list[tuple[Chain, Units]]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Pruned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options, as `variants: {pruned: {...}}` has them.

    keep: the share of the units that stays, in each layer; by default as small a one as is certified. max_loss: what may be
    lost, as a share of the rows; certified with the confidence. calibration_rows: on which units are watched, at most.
    """

    name: ClassVar[str] = "pruned"
    answers_change: ClassVar[bool] = True

    keep: Share | None = None
    max_loss: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.02
    confidence: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    calibration_rows: Annotated[int, msgspec.Meta(ge=1)] = 200

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return NOT_ONNX
        if not source.rows:
            return "which units matter shows on rows; declare `data:` with rows like those that are served"
        if not chains_of(OnnxModel(source.path)):
            return "no hidden units that stand alone between two layers (MatMul, Gemm, Conv): nothing can be cut out"
        return ""

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        sparse("pruning a model")  # the bound needs scipy: better told before the work than after it
        model = OnnxModel(source.path)
        chains = chains_of(model)
        if not chains:
            raise VariantError(self.applies(source))
        watched = _thinned(list(source.calibration) or list(range(len(source.rows))), self.calibration_rows)
        say(
            f"watching {sum(chain.size for chain in chains)} units of {len(chains)} layers on {len(watched)} rows"
        )
        seen = activities(model, chains, [source.rows[place] for place in watched])
        matter = [importance(chain, model, seen) for chain in chains]
        shares = _TRIED if self.keep is None else (self.keep,)
        plans = [plan for share in shares if num_cut(plan := _plan(chains, matter, share))]
        if not plans:
            raise VariantError(f"keep: {self.keep:g} leaves all units where they are; give a smaller share")
        judged = list(source.certification) or watched
        if not source.certification and self.keep is None:
            raise VariantError(
                "no rows are left to certify a loss on: add rows to `data:`, or say what to `keep`"
            )
        losses = PairedLosses(source, judged)
        table = []
        for number, plan in enumerate(plans, 1):
            say(f"without {num_cut(plan)} units ({number} of {len(plans)}): what {len(judged)} rows lose")
            path = folder / MODEL_FILE
            path.write_bytes(cut_units(model, plan, seen).SerializeToString(deterministic=True))
            table.append(losses.of(path))
            if (
                self.keep is None
                and learn_then_test([table[-1]], max_risk=self.max_loss, delta=1 - self.confidence) == []
            ):
                break
        chosen = self._chosen(plans, table, losses)
        (folder / MODEL_FILE).write_bytes(
            cut_units(model, plans[chosen], seen).SerializeToString(deterministic=True)
        )
        units = sum(chain.size for chain in chains)
        notes = (
            f"{num_cut(plans[chosen])} of {units} units of {len(chains)} layers were cut out",
            f"{losses.words}: {np.mean(table[chosen]):.2%} of {len(judged)} rows"
            + ("" if self.keep is not None else f", certified to stay within {self.max_loss:.1%}"),
        )
        return Built(
            (MODEL_FILE,),
            notes,
            {"watched_rows": len(watched), "kept": [len(kept) for _, kept in plans[chosen]]},
        )

    def _chosen(
        self, plans: Sequence[Kept], table: Sequence[NDArray[np.float64]], losses: PairedLosses
    ) -> int:
        """The place of the smallest model that is certified, or of the one that was asked for. Raises: VariantError."""
        if self.keep is not None:
            return 0
        certified = learn_then_test(np.array(table), max_risk=self.max_loss, delta=1 - self.confidence)
        if certified:
            return certified[-1]
        needed = rows_needed(self.max_loss, 1 - self.confidence) or math.inf
        found = f"without {num_cut(plans[0])} units {losses.words}: {np.mean(table[0]):.2%} of {len(table[0])} rows"
        if len(table[0]) < needed:
            raise VariantError(
                f"{found}; a loss of at most {self.max_loss:.1%} takes at least {needed} rows to certify: "
                "add rows to `data:`, or raise `max_loss`"
            )
        raise VariantError(
            f"{found}; at most {self.max_loss:.1%} could not be certified: raise `max_loss`, or leave it"
        )


def _plan(chains: Sequence[Chain], matter: Sequence[NDArray[np.float64]], share: float) -> Kept:
    """The units of each chain that stay: those that matter most, in full grains; never one that does not matter at all."""
    plan: Kept = []
    for chain, weights in zip(chains, matter, strict=True):
        wanted = math.ceil(chain.size * share)
        if chain.size > _GRAIN:
            wanted = min(chain.size, -(-wanted // _GRAIN) * _GRAIN)
        wanted = max(1, min(wanted, int((weights > 0).sum())))
        order = np.argsort(-weights, kind="stable")[:wanted]
        plan.append((chain, np.sort(order)))
    return plan


def _thinned(places: Sequence[int], most: int) -> list[int]:
    """Evenly spread over all."""
    return [places[i * len(places) // most] for i in range(most)] if len(places) > most else list(places)
