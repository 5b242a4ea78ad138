"""A variant in two parts with an exit between them, timed like the others: each part in turn with every other engine.

A batch of the second part is what the first gives for the same inputs. What both take together follows from the share of
rows that goes on, as it was certified: a run of the parts one after the other would time only the rows that it was given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trivet.engine.contract import Engine
from trivet.experiment.variants.variant_times import Times
from trivet.runtime.preparing.engines import load_engine
from trivet.spec.configuration import Configuration
from trivet.spec.service import Stage
from trivet.variants.variant import Variant

Arrays = Mapping[str, NDArray[Any]]
SHARE_LEFT = "share_left"  # of a variant's settings: of the rows, at its exit
_PARTS = ("front", "rest")


def can_be_timed(variant: Variant) -> bool:
    """Two parts, and a share that is known."""
    return len(variant.stages or ()) == len(_PARTS) and SHARE_LEFT in variant.settings


def load_parts(configuration: Configuration, variant: Variant) -> dict[str, Engine]:
    """By the name that each part is timed under. Args: configuration: with the variant in place.

    Raises: TrivetError: a part cannot be loaded.
    """
    own = [stage for stage in configuration.service.pipeline if _is_part(stage, variant)]
    first, second = (
        load_engine(configuration.service.models[str(stage.model)], Path(configuration.root), None)
        for stage in own
    )
    names = _names(variant)
    return {names[0]: first, names[1]: _Behind(first, second, dict(own[1].takes or {}))}


def together(variant: Variant, times: dict[str, Times]) -> Times:
    """Of the variant, round by round; takes its parts out of `times`."""
    first, second = (times.pop(name) for name in _names(variant))
    share_on = 1.0 - float(variant.settings[SHARE_LEFT])
    return {
        length: {
            rows: [round(a + share_on * b) for a, b in zip(sample, second[length][rows], strict=True)]
            for rows, sample in by_rows.items()
        }
        for length, by_rows in first.items()
    }


def _is_part(stage: Stage, variant: Variant) -> bool:
    """Its models are called by the one that they stand for (variants/apply.py)."""
    return stage.model is not None and stage.model.startswith(f"{variant.model}.")


def _names(variant: Variant) -> list[str]:
    return [f"{variant.name}: {part}" for part in _PARTS]


class _Behind:
    """The second part, as an engine of the first one's inputs."""

    def __init__(self, first: Engine, second: Engine, takes: Mapping[str, str]) -> None:
        self._first, self._second, self._takes = first, second, takes
        self._given: Arrays | None = None
        self._inputs: dict[str, NDArray[Any]] = {}
        self.signature = first.signature

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """The first run on a batch prepares it; those that are timed come after."""
        if inputs is not self._given:
            found = {**inputs, **self._first.run(inputs)}
            names = [spec.name for spec in self._second.signature.inputs]
            self._inputs = {name: found[self._takes.get(name, name)] for name in names}
            self._given = inputs
        return self._second.run(self._inputs)

    def close(self) -> None:
        self._second.close()
