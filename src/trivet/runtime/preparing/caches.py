"""Which stages of a service are remembered, and whether they can be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trivet.spec.fields import FieldError
from trivet.spec.service import Service

if TYPE_CHECKING:
    from trivet.runtime.preparing.preparing import PreparedModel
    from trivet.runtime.steps import StepStage


def cached_stages(service: Service) -> list[int]:
    """Their places."""
    names = () if service.cache is None else service.cache.stages
    return [place for place, stage in enumerate(service.pipeline) if stage.target in names]


def check_cached_stages(service: Service, stages: "Sequence[PreparedModel | StepStage]") -> None:
    """Raises: FieldError: outputs are to be remembered that come in chunks."""
    for place in cached_stages(service):
        stage = stages[place]
        if getattr(stage, "streams", False):
            raise FieldError(
                ("cache", "stages"),
                f"{stage.name!r} answers in chunks, which are not remembered stage by stage; `cache: {{exact: {{}}}}` "
                "remembers whole answers",
            )
