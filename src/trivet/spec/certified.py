"""`certified.yaml`: what `trivet certify` found out about a cascade, and a server keeps to.

Its bytes are part of the configuration's hash: its thresholds decide who answers.
"""

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
LossKind = Literal["net", "one-sided"]


class CertifiedPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One setting of all exits of a service (or of its route), and what it was shown to cost and to save.

    thresholds: the confidence from which each exit answers, in the pipeline's order.
    risk_bound: the accuracy lost against the last model is at most this.
    saving: the share of the last model's processor time that is saved, as measured on the rows of the certificate.
    rows: that the bound rests on.
    changed: the share of rows whose answer is another than the last model's is at most this; what audits are held to, as
        live traffic has no labels.
    """

    thresholds: tuple[float, ...]
    risk_bound: float
    saving: float
    rows: int
    changed: Share = 0.0
