"""A service's data in three parts that share no row: for fitting, for certifying and choosing, and for judging."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trivet.spec.configuration import Configuration
from trivet.spec.data import LabelledRows, input_rows, labelled_rows, read_columns
from trivet.spec.fields import FieldError
from trivet.spec.service import Data
from trivet.spec.service_file import located
from trivet.spec.signature import Signature

MAX_READ = 50_000  # rows of the file
# Shares of rows that no split column puts somewhere: students need many rows, a bound of one point some hundreds.
FITTING, CERTIFYING = 0.5, 0.2
_JUDGING_SPLITS = frozenset({"test", "judge", "judging", "eval", "evaluation", "holdout"})
_CERTIFYING_SPLITS = frozenset({"validation", "valid", "val", "dev", "certification"})


@dataclass(frozen=True, slots=True)
class DataParts:
    """Places in `rows`. Without labels nothing is judged: `rows.labels` and `judging` are empty."""

    rows: LabelledRows
    fitting: Sequence[int]
    certifying: Sequence[int]
    judging: Sequence[int]

    def judged_rows(self, most: int) -> LabelledRows:
        """At most so many of the rows for judging."""
        places = self.judging[:most]
        inputs, labels, cohorts = self.rows
        return LabelledRows(
            [inputs[i] for i in places],
            [labels[i] for i in places],
            [cohorts[i] for i in places] if cohorts else [],
        )


def why_no_data(configuration: Configuration) -> str:
    """Empty where the service's data can be read; else what is missing."""
    data = configuration.service.data
    if data is None:
        return "no data is declared"
    if not data.columns:
        return "data names no columns for the inputs"
    return "" if Path(configuration.root, data.path).exists() else f"data {data.path!r} is not there"


def data_parts(configuration: Configuration, signature: Signature, seed: int) -> DataParts:
    """The same parts for the same data and seed. A column that `data.split` names decides, where it holds names of parts
    (test, validation; all others are for fitting).

    Args: signature: of requests.  Raises: SpecError: the data does not fit; names file and line.
    """
    data, root = configuration.service.data, Path(configuration.root)
    assert data is not None  # whoever asks has seen `why_no_data`
    try:
        if data.label is None:
            rows = LabelledRows(input_rows(data, root, signature, MAX_READ), [], [])
        else:
            rows = labelled_rows(data, root, signature, MAX_READ)
        splits = _splits(data, root, len(rows.inputs))
    except FieldError as error:
        raise located(configuration, error) from None
    order = np.random.default_rng((seed, len(rows.inputs))).permutation(len(rows.inputs)).tolist()
    return DataParts(rows, *divided(order, splits, has_labels=data.label is not None))


def divided(
    order: Sequence[int], splits: Sequence[str], *, has_labels: bool
) -> tuple[list[int], list[int], list[int]]:
    """Places for fitting, certifying and judging, each in the order given.

    Args: splits: the part's name of each row; empty: there is no such column.
    """
    judging = [i for i in order if splits and splits[i].lower() in _JUDGING_SPLITS] if has_labels else []
    certifying = [i for i in order if splits and splits[i].lower() in _CERTIFYING_SPLITS]
    taken = {*judging, *certifying}
    rest = [i for i in order if i not in taken]
    if has_labels and not judging:
        num = round(len(rest) * (1 - FITTING - CERTIFYING))
        judging, rest = rest[:num], rest[num:]
    if not certifying:
        num = round(len(rest) * CERTIFYING / (FITTING + CERTIFYING))
        certifying, rest = rest[:num], rest[num:]
    return rest, certifying, judging


def _splits(data: Data, root: Path, num_rows: int) -> list[str]:
    if data.split is None:
        return []
    values: Sequence[Any] = read_columns(root / data.path, [data.split], num_rows)[data.split]
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
