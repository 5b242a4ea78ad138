"""What the fuzz targets promise, for inputs that are right in their form and wrong in what they say."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import answer_table, certificate, openai_http, router, shared_entry
from trivet.errors import SpecError
from trivet.pipeline.routing import read_router
from trivet.runtime.fronts.answer_table import AnswersHeader, publish

EXAMPLES = settings(deadline=None, derandomize=True, max_examples=60)
NUMBERS = st.integers(-3, 3) | st.floats() | st.sampled_from([2**63, -(2**63), 0.5, 1.5])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": st.just("user") | JSON, "content": st.just("a") | JSON, "name": JSON}
)
FIELDS = st.fixed_dictionaries(
    {"model": st.sampled_from(["talk", "plain", "raw", "embed", "nobody"]) | JSON},
    optional={
        "messages": st.lists(MESSAGE, max_size=2) | JSON,
        "prompt": st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=3) | JSON,
        "input": st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=3) | JSON,
        "stream": st.booleans() | JSON,
        "stream_options": st.just({"include_usage": True}) | JSON,
        "encoding_format": st.sampled_from(["float", "base64"]) | JSON,
        "dimensions": st.just(1) | JSON,
        "n": st.just(1) | JSON,
        "temperature": JSON,
    },
)


@EXAMPLES
@given(st.integers(0, 5), FIELDS)
def test_a_request_to_v1_gets_one_answer_whatever_its_fields_are(where: int, fields: dict[str, Any]) -> None:
    assert openai_http.check(bytes([where]) + json.dumps(fields).encode()) < 500


POINT = st.fixed_dictionaries(
    {
        "thresholds": st.lists(NUMBERS, max_size=2),
        "risk_bound": NUMBERS,
        "saving": NUMBERS,
        "rows": st.integers(-1, 9),
    },
    optional={"changed": NUMBERS, "lost": NUMBERS},
)
CERTIFICATE = st.fixed_dictionaries(
    {
        "stages": st.just("aa"),
        "exits": st.lists(st.sampled_from(["front", "middle", ""]), max_size=2),
        "max_loss": st.sampled_from([0.02, 0.5]) | NUMBERS,
        "confidence": st.sampled_from([0.95, 0.5]) | NUMBERS,
        "loss": st.sampled_from(["net", "one-sided", "gross"]),
        "points": st.lists(POINT, max_size=3),
    },
    optional={"format": st.integers(0, 2), "router": st.text(max_size=3)},
)


@EXAMPLES
@given(CERTIFICATE)
def test_a_certificate_is_one_to_keep_to_or_is_refused(fields: dict[str, Any]) -> None:
    text = b"".join(b"%b: %b\n" % (name.encode(), _yaml(value)) for name, value in fields.items())
    if certificate.check(text):
        assert 0 < fields["confidence"] < 1
        assert fields["max_loss"] >= 0
        assert fields["loss"] != "gross"
        assert fields.get("format", 1) == 1
        assert all(len(point["thresholds"]) == len(fields["exits"]) for point in fields["points"])


def _yaml(value: Any) -> bytes:
    text = json.dumps(value)
    return text.replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf").encode()


TENSOR = st.tuples(
    st.sampled_from(["y", "z", ""]),
    st.sampled_from(["<f4", "<i8", "|b1", "O", "<U4", "<M8[ns]", "|V3", ">f4", "2**9", "(2,)f4", "f4,,("]),
    st.lists(st.integers(-2, 4), max_size=3),
    st.binary(max_size=16),
    st.lists(st.binary(max_size=3), max_size=4),
)
ENTRY = st.tuples(
    st.just(shared_entry._KEY) | st.binary(max_size=4),
    st.integers(-2, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.just("") | st.lists(st.just("front"), max_size=2) | st.integers(),
    st.lists(TENSOR, max_size=2),
)


@EXAMPLES
@given(ENTRY)
def test_an_entry_with_a_right_checksum_is_whole_or_none(entry: Any) -> None:
    if shared_entry.check(b"\1" + msgspec.msgpack.encode(entry)):
        key, rows, *_ = entry
        assert (key, rows >= 1) == (shared_entry._KEY, True)


COLUMNS = [
    pa.array([b"k" * 16] * 2, pa.binary(16)),
    pa.array([b"k" * 16, None], pa.binary(16)),
    pa.array([b"k" * 8] * 2, pa.binary(8)),
    pa.array([b"a", b"bcd"], pa.binary()),
    pa.array([1, 2], pa.int64()),
    pa.array([[b"a"], [b"b"]], pa.large_list(pa.binary())),
    pa.array([[b"a"], None], pa.large_list(pa.binary())),
    pa.array([[1.0], [2.0]], pa.large_list(pa.float32())),
    pa.array([[1.0], [None]], pa.large_list(pa.float32())),
    pa.array([[1.0], [2.0]], pa.list_(pa.float64())),
    pa.array([[1], [1]], pa.list_(pa.int64())),
    pa.array([[1, 1], [-1, -1]], pa.list_(pa.int64())),
    pa.array([[1], [2**40]], pa.list_(pa.int64())),
    pa.array([[1], None], pa.list_(pa.int64())),
    pa.array([[1], [None]], pa.list_(pa.int64())),
]
NAMES = ("key", "label", "label.shape", "scores", "scores.shape")


@EXAMPLES
@given(st.lists(st.integers(0, len(COLUMNS) - 1), min_size=4, max_size=5))
def test_a_table_with_other_columns_is_unreadable(chosen: list[int]) -> None:
    table = pa.table({name: COLUMNS[number] for name, number in zip(NAMES, chosen, strict=False)})
    header = AnswersHeader(configuration=answer_table._HASH, created="2026-01-01T00:00:00+00:00", num_rows=2)
    publish(table, header, answer_table._PATH)
    if answer_table.check(
        Path(answer_table._PATH).read_bytes()
    ):  # its keys are keys, and there are all of its columns
        assert (len(chosen), chosen[0]) == (5, 0)


SHAPES = [(), (2,), (1 << 16,), (2, 1 << 16), (0, 4)]


@EXAMPLES
@given(
    st.lists(
        st.tuples(st.sampled_from(SHAPES), st.sampled_from(["f4", "f8", "i4", "U1", "M8[s]", "c8"])),
        min_size=3,
        max_size=3,
    ),
    st.sampled_from([0.0, 1.0, float("nan")]),
)
def test_a_router_of_other_arrays_is_refused(kinds: list[Any], value: float) -> None:
    arrays = [
        np.full(shape, 0 if np.isnan(value) and kind[0] not in "fc" else value).astype(kind)
        for shape, kind in kinds
    ]
    file = io.BytesIO()
    np.savez(file, **dict(zip(("scale", "weights", "bias"), arrays, strict=True)))
    if router.check(file.getvalue()):
        assert [shape for shape, _ in kinds] == [(1 << 16,), (2, 1 << 16), (2,)]
        assert np.isfinite(value)


@pytest.mark.parametrize("lost", ["scale", "weights", "bias"])
def test_a_router_that_lacks_an_array_is_refused(lost: str, tmp_path: Path) -> None:
    arrays = {
        "scale": np.ones(1 << 16, np.float32),
        "weights": np.ones((2, 1 << 16), np.float32),
        "bias": np.ones(2),
    }
    path = tmp_path / "router.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if name != lost})
    with pytest.raises(SpecError, match="run `trivet certify` again"):
        read_router(path)
