"""Variants judged: answers through the server, times of the engine alone, and a plain verdict on each."""

from typing import Literal

import msgspec

from trivet.catalog.records import Figure
from trivet.variants.variant import Variant

VariantVerdict = Literal["original", "faster", "no gain", "worse", "failed"]


class JudgedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a variant on one machine. Records accept unknown fields; each new one has a default.

    accuracy, cohorts, calibration_error: None, or empty, where nothing was judged; `reason` says why.
    difference: the variant's accuracy minus the original's on the same rows.
    times_ns: of the engine alone: length (0: no free dimension) -> rows of a batch -> service times in ns.
    speedup: how many times as fast as the original at a batch of one, at the longest length.
    in_search: False: it stays on record, and no tuner tries it.
    """

    variant: Variant
    accuracy: Figure | None = None
    cohorts: dict[str, Figure] = {}
    difference: Figure | None = None
    calibration_error: Figure | None = None
    times_ns: dict[int, dict[int, list[int]]] = {}
    verdict: VariantVerdict
    reason: str
    in_search: bool
    speedup: Figure | None = None
    speedup_batch: Figure | None = None
    best_batch: int = 1
