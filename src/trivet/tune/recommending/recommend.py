"""The recommendation: which trial, why, how sure that is, what would change it, and what was not tried.

A trial meets the goal where the worse ends of its intervals do, with the safety margin. Nothing is recommended across an
accuracy floor that its interval does not clear, unless the user says so, and nothing that was not measured.
"""

from collections.abc import Callable, Sequence

from trivet.catalog.study import Recommendation, Study, Trial
from trivet.tune.candidates import Candidate, candidates, default_of
from trivet.tune.legs import comparable
from trivet.tune.recommending.reasons import reasons, uncertainty
from trivet.tune.recommending.sensitivity import OtherSlo, not_tried, would_change

__all__ = ["NothingToRecommendError", "recommend"]


class NothingToRecommendError(ValueError):
    """No trial has a rate at all, measured or predicted."""


def recommend(
    study: Study,
    *,
    yaml_of: Callable[[Trial], str] = lambda trial: "",
    other_slo: OtherSlo | None = None,
    trust_accuracy_estimates: bool = False,
) -> Recommendation:
    """Of the study's trials, under its goal.

    Args: yaml_of: the text of configuration.yaml for a trial.  other_slo: largest rates under other latency budgets (in
    ms), by trial, as far as they are known: for what would change the choice.
    trust_accuracy_estimates: the user accepts an accuracy whose interval does not clear the floor.
    Raises: NothingToRecommendError: no trial has figures.
    """
    ranked = candidates(study, study.goal, trust_estimates=trust_accuracy_estimates)
    if not ranked:
        raise NothingToRecommendError(
            f"none of {len(study.trials)} trials has a largest rate, measured or predicted: "
            "raise the budget, or see the reasons of the trials that failed"
        )
    best, others = ranked[0], ranked[1:]
    is_measured = comparable(study.trials)[1] == "measured"
    runner_up = next((one for one in others if one.meets or not best.meets), None)
    return Recommendation(
        trial=best.trial.id,
        meets=best.meets and is_measured,
        binding=_binding(ranked, is_measured),
        reasons=reasons(study, best, runner_up, _default(study, ranked), ranked, is_measured),
        uncertainty=uncertainty(study, best, runner_up, is_measured),
        runner_up=None if runner_up is None else runner_up.trial.id,
        would_change=would_change(study, best, other_slo or {}),
        not_tried=not_tried(study),
        yaml=yaml_of(best.trial),
    )


def _default(study: Study, ranked: Sequence[Candidate]) -> Candidate | None:
    default = default_of(study)
    return next((one for one in ranked if default is not None and one.trial.id == default.id), None)


def _binding(ranked: Sequence[Candidate], is_measured: bool) -> str:
    """Empty where the goal is met; else the constraint that stops even the closest, and how far away it is."""
    best = ranked[0]
    if best.meets:
        return (
            "" if is_measured else "nothing was measured: a prediction alone is not enough; raise the budget"
        )
    worst = max(best.failed, key=lambda check: check.shortfall)
    alone = sum(worst.name in [check.name for check in one.failed] for one in ranked)
    how_many = "all" if alone == len(ranked) else f"{alone} of {len(ranked)}"
    return f"{worst.name}: {worst.words}; {how_many} of the trials compared fail it"
