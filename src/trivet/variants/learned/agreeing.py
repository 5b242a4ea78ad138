"""How well a variant learned the model's answers, on rows that nothing was chosen by."""

from collections.abc import Sequence

import numpy as np

from trivet.stats.proportion import proportion_interval
from trivet.variants.learned.outputs import Outputs
from trivet.variants.learned.targets import Arrays, Kind, agreement

_WORDS: dict[Kind, str] = {
    "directions": "a mean cosine of",
    "numbers": "an R² of",
    "shares": "the same side of 0.5 in a share of",
}


def agreement_note(outputs: Outputs, answers: Sequence[Arrays], given: Sequence[Arrays]) -> tuple[str, ...]:
    """One sentence for each output with floats. Args: answers: of the model; given: of the variant, for the same rows."""
    if not answers:
        return ("no rows were left to see how well it agrees with the model",)
    return tuple(_note(target.name, target.kind, answers, given) for target in outputs.targets)


def _note(name: str, kind: Kind, answers: Sequence[Arrays], given: Sequence[Arrays]) -> str:
    wanted = np.concatenate([answer[name] for answer in answers])
    agreed = agreement(kind, wanted, np.concatenate([answer[name] for answer in given]))
    rows = f"{len(answers)} rows that it has not seen"
    if kind in ("scores", "probabilities"):
        found = proportion_interval(int(agreed.sum()), len(agreed))
        return f"{name}: the same class as the model in {found.estimate:.1%} ({found.low:.1%} to {found.high:.1%}) of {rows}"
    return f"{name}: {_WORDS[kind]} {agreed.mean():.3f} with the model on {rows}"
