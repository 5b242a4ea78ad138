"""Who may stand in for the last model, at load: whether clients and what follows can take its answers for that one's."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from trivet.runtime.degrading import Source
from trivet.spec.fields import FieldError, FieldPath, close, nearest
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

if TYPE_CHECKING:
    from trivet.runtime.preparing.preparing import PreparedModel, Say


def rung_takes(inputs: Mapping[str, str], path: FieldPath, name: str, signature: Signature) -> dict[str, str]:
    """Its own name of each input -> the name that it was given under.

    Args: inputs: as declared.  path: of the rung.
    Raises: FieldError: a declared input that the model does not have.
    """
    own = {spec.name: spec.name for spec in signature.inputs}
    for key in inputs:
        if key not in own:
            raise FieldError(
                (*path, "inputs", key), f"model {name!r} has no input {key!r}{nearest(key, own)}"
            )
    return own | dict(inputs)


def check_rung(
    path: FieldPath,
    name: str,
    found: Signature,
    declared: str,
    promised: Signature,
) -> None:
    """Check a stand-in against the model that it stands in for.

    Args: name, found: of the stand-in.  declared, promised: of the last model.
    Raises: FieldError: its answers could be told from the last model's by names, datatypes, shapes or rows.
    """
    if found.batch_axis != promised.batch_axis:
        has, lacks = (name, declared) if found.batch_axis else (declared, name)
        raise FieldError(
            path,
            f"axis 0 of {has!r} counts rows and that of {lacks!r} does not: neither stands for the other",
        )
    outputs = {spec.name: spec for spec in found.outputs}
    for spec in promised.outputs:
        given = outputs.get(spec.name)
        if given is None or given.datatype != spec.datatype or not _is_within(given, spec):
            what = "nothing of that name" if given is None else _kind(given)
            raise FieldError(
                path,
                f"{name!r} stands in for {declared!r}, which gives {spec.name!r} {_kind(spec)}; it gives {what}",
            )


def sources_of(
    path: FieldPath,
    name: str,
    signature: Signature,
    takes: Mapping[str, str],
    promised: Signature,
    promised_takes: Mapping[str, str],
    given: Mapping[str, TensorSpec] | None,
) -> list[Source]:
    """Where each input of a stand-in comes from, in the order of its signature.

    Args: takes, promised_takes: of the stand-in and of the declared model, as in pipeline/wiring.py.  given: what the
    stages before and the request give; None: not all of it is known.
    Raises: FieldError: nobody gives it, or as something that the stand-in does not take.
    """
    places = {promised_takes[spec.name]: place for place, spec in enumerate(promised.inputs)}
    found = []
    for spec in signature.inputs:
        source = takes[spec.name]
        place = places.get(source)
        if place is None:
            if given is not None and source not in given:
                hint = close(source, given) or f"; given are {', '.join(sorted(given))}"
                raise FieldError(
                    path, f"{name!r} takes {spec.name!r}: nobody before it gives {source!r}{hint}"
                )
        else:
            other = promised.inputs[place]
            if other.datatype != spec.datatype or not _is_within(other, spec):
                raise FieldError(
                    path, f"{name!r} takes {spec.name!r} as {_kind(spec)}; given is {_kind(other)}"
                )
        found.append(Source(place, source))
    return found


def say_if_slower(rungs: "Sequence[PreparedModel]", say: "Say") -> None:
    """A stand-in that takes as long as the one before it never helps. Args: rungs: the declared one first."""
    for better, rung in pairwise(rungs):
        before_ns, after_ns = better.profile.batch1_ns(), rung.profile.batch1_ns()
        if after_ns >= before_ns > 0:
            say(
                f"degrade: {rung.name!r} takes {after_ns / 1e6:.3g} ms for one, {better.name!r} before it "
                f"{before_ns / 1e6:.3g} ms: it helps nobody; leave it out"
            )


def _is_within(spec: TensorSpec, wanted: TensorSpec) -> bool:
    """Whether tensors of one kind may always stand where another is wanted."""
    return len(spec.shape) == len(wanted.shape) and all(
        size in (VARIABLE, wanted_size) if wanted_size != VARIABLE else True
        for size, wanted_size in zip(spec.shape, wanted.shape, strict=True)
    )


def _kind(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"
