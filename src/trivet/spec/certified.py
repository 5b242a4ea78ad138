"""Cascades with a certified loss: what is declared of them (`cascade:`), and the certificate that a server keeps to.

    cascade: {confidence: 95%, audit: 2%}

`trivet certify` writes the certificate (`certified.yaml`). Its bytes are part of the configuration's hash: its thresholds
decide who answers.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from trivet.errors import SpecError
from trivet.spec.fields import FieldError
from trivet.spec.units import Percent

if TYPE_CHECKING:
    from trivet.spec.exit import Exit

FORMAT = 1
LossKind = Literal["net", "one-sided"]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Cascade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the exits that declare a `max_loss` are certified, and watched.

    confidence: that the loss is within `max_loss`; the rest is the probability that a certificate is wrong.
    loss: net, accuracy of the last model minus that of the cascade; one-sided, the share of rows that the last model answers
        right and the cascade wrong, whatever the cascade gains elsewhere.
    audit: of the requests, the share that the last model answers too, off the critical path, to be compared.
    certificate: the file, beside the service.
    seed: of the draws of audits.
    """

    confidence: Percent = 0.95
    loss: LossKind = "net"
    audit: Percent = 0.02
    certificate: Text = "certified.yaml"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise FieldError(
                ("confidence",),
                f"expected a share between 0% and 100%, got {self.confidence:g}: nothing is certain",
            )


class CertifiedPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One setting of all exits of a service (or of its route), and what it was shown to cost and to save.

    thresholds: the confidence from which each exit answers, in the pipeline's order; above 1: nothing leaves there.
    risk_bound: the loss against the last model is at most this.
    saving: the share of the last model's time that is saved, as measured on the rows of the certificate.
    rows: that the bound rests on.
    changed: the share of rows whose answer is another than the last model's is at most this; what audits are held to, as
        live traffic has no labels.
    lost: the share of rows that the last model answers right and the cascade wrong is at most this.
    """

    thresholds: tuple[float, ...]
    risk_bound: float
    saving: float
    rows: Count
    changed: Percent = 0.0
    lost: Percent = 0.0


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for a cascade, and for which.

    stages: digest of the pipeline up to the last model.  exits: the models before them.
    router: digest of the file with what a route has learned; empty: exits.
    points: the safest first; the last is what is served until audits speak against it.
    """

    format: int = FORMAT
    stages: Text
    exits: tuple[Text, ...]
    max_loss: Percent
    confidence: Percent
    loss: LossKind
    router: str = ""
    points: tuple[CertifiedPoint, ...]


def max_loss_of(exits: "Iterable[Exit | None]") -> float | None:
    """What the exits of a pipeline may lose together; None: none of them declares it.

    Raises: FieldError: they disagree, or only some declare it.
    """
    found = [rule for rule in exits if rule is not None]
    losses = {rule.max_loss for rule in found}
    if len(losses) > 1:
        raise FieldError(
            ("pipeline",),
            "`max_loss` is what all exits lose together: give each exit the same, or each an `at_least`",
        )
    return losses.pop() if losses else None


def read_certificate(path: Path) -> Certificate:
    """Raises: SpecError: no such file, or no certificate; names file and line."""
    from trivet.spec.convert import convert
    from trivet.spec.yaml_tree import parse_file

    document = parse_file(path)
    try:
        found = convert(document.tree, Certificate)
        if found.format != FORMAT:
            raise FieldError(("format",), f"a certificate of format {found.format}; this is format {FORMAT}")
        _check(found)
    except FieldError as error:
        raise document.located(error) from None
    return found


def _check(found: Certificate) -> None:
    """Raises: FieldError: what no `trivet certify` writes."""
    for name in ("max_loss", "confidence"):
        if not 0 < getattr(found, name) < 1:
            raise FieldError(
                (name,),
                f"expected a share between 0% and 100%, got {getattr(found, name):g}: nothing is certain",
            )
    if not found.points:
        raise FieldError(("points",), "a certificate without points certifies nothing")
    before = (math.inf,) * len(found.exits)
    for index, point in enumerate(found.points):
        path = ("points", index, "thresholds")
        if len(point.thresholds) != len(found.exits):
            raise FieldError(path, f"{len(point.thresholds)} thresholds for {len(found.exits)} exits")
        for one, safer in zip(point.thresholds, before, strict=True):
            if not one <= safer:  # so is what is no number
                raise FieldError(
                    path,
                    f"expected the safest first, each at most those of the point before it; {one:g} follows {safer:g}",
                )
        before = point.thresholds


def check_certificate(
    found: Certificate,
    path: Path,
    rules: Cascade,
    max_loss: float,
    exits: tuple[str, ...],
    stages: str,
    router: str = "",
) -> None:
    """Whether a certificate speaks of this service. Raises: SpecError: it does not; says why."""
    again = "run `trivet certify` again"
    if (found.stages, found.exits, found.router) != (stages, exits, router):
        raise SpecError(f"it was made for other models, files or exits; {again}", str(path))
    if found.max_loss > max_loss or found.confidence < rules.confidence or found.loss != rules.loss:
        raise SpecError(
            f"it certifies a {found.loss} loss of at most {found.max_loss:g} with a confidence of {found.confidence:g}; "
            f"declared is {rules.loss}, {max_loss:g} and {rules.confidence:g}; {again}",
            str(path),
        )


def certificate_text(certificate: Certificate) -> str:
    """As YAML that `read_certificate` reads back as it was."""
    encode = msgspec.json.encode
    lines = ["# written by `trivet certify`; part of the configuration"]
    names = [field.name for field in msgspec.structs.fields(Certificate) if field.name != "points"]
    lines += [f"{name}: {encode(getattr(certificate, name)).decode()}" for name in names]
    lines.append("points:")
    for point in certificate.points:
        values = msgspec.to_builtins(point)
        text = ", ".join(f"{name}: {encode(value).decode()}" for name, value in values.items())
        lines.append(f"  - {{{text}}}")
    return "\n".join(lines) + "\n"
