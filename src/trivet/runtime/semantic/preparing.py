"""The semantic cache of a configuration at load: its encoder is loaded and tried, its declaration checked. Blocking."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.runtime.semantic.encoders import Encoder, load_encoder
from trivet.runtime.semantic.index import UsearchIndex
from trivet.runtime.semantic.meanings import Meanings
from trivet.spec.configuration import Configuration
from trivet.spec.semantic import ANSWER, SemanticCache, check_semantic_cache
from trivet.spec.signature import Signature

if TYPE_CHECKING:
    from trivet.runtime.preparing.preparing import PreparedModel
    from trivet.runtime.steps import StepStage

_NOTHING = Signature((), (), False)


@dataclass(slots=True)
class PreparedSemantic:
    """place, topic_place: of the compared input, and of the one that names topics, among the service's."""

    declared: SemanticCache
    encoder: Encoder
    meanings: Meanings
    place: int
    topic_place: int | None


def prepare_semantic(
    configuration: Configuration, declared: SemanticCache, stages: "Sequence[PreparedModel | StepStage]"
) -> PreparedSemantic:
    """Args: declared: by the configuration's service.  stages: as they are prepared.

    Raises: SpecError: the encoder cannot be loaded, an input is not there or no text, or answers cannot be compared.
    ExtraMissingError: the index is not installed.
    """
    service = configuration.service
    # What is not declared is a model's: `installing.install` says so where neither is known.
    inputs = service.inputs or getattr(stages[0], "signature", _NOTHING).inputs
    outputs = service.outputs or getattr(stages[-1], "signature", _NOTHING).outputs
    check_semantic_cache(declared, service.models, inputs)
    names = [spec.name for spec in inputs]
    topic = None if declared.topic in (None, ANSWER) else names.index(declared.topic)
    root = Path(configuration.root)
    meanings = Meanings(service.decode, outputs, root)
    encoder = load_encoder(declared, service, root)
    try:
        UsearchIndex(encoder.size)
    except BaseException:
        encoder.close()
        raise
    return PreparedSemantic(declared, encoder, meanings, names.index(declared.input), topic)
