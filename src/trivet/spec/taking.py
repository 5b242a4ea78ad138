"""What a stage of a pipeline takes, by name, from the stages before it and from the request."""

from collections.abc import Collection, Mapping

from trivet.spec.fields import FieldError, close
from trivet.spec.service import Stage


def check_taken(
    stage: Stage, index: int, given: Collection[str], takes: Mapping[str, str] | None = None
) -> None:
    """Check the inputs of a stage against the names that the stages before it and the request give.

    Args: takes: its own name of each input -> the name that it was given under; None: as the stage declares.
    Raises: FieldError: nobody gives one of them; names the nearest.
    """
    for place, (name, source) in enumerate((stage.takes or {} if takes is None else takes).items()):
        if source in given:
            continue
        where = place if isinstance(stage.inputs, tuple) else name
        hint = close(source, given) or f"; given are {', '.join(sorted(given))}"
        message = f"no earlier stage gives {source!r}, nor does the request{hint}"
        if stage.takes is None or name not in stage.takes:
            raise FieldError(("pipeline", index), f"{stage.target!r} takes {name!r}: {message}")
        raise FieldError(("pipeline", index, "inputs", where), message)
