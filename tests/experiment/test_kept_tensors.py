import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from trivet.errors import SpecError
from trivet.experiment.answers import read_tensors, write_tensors

numbers = npst.arrays(
    st.sampled_from([np.float32, np.int64, np.bool_]), npst.array_shapes(max_dims=3, max_side=3)
)
texts = st.lists(st.binary(max_size=4), min_size=1, max_size=4).map(lambda items: np.array(items, object))
rows = st.lists(
    st.dictionaries(st.sampled_from(["x", "Identity:0", "onnx::Shape_4", "a:ends", "%3A"]), numbers | texts),
    max_size=3,
)


@given(rows)
def test_what_was_kept_is_read_back(kept: list[dict[str, np.ndarray]]) -> None:
    found = read_tensors(write_tensors(kept))
    assert [sorted(row) for row in found] == [sorted(row) for row in kept]
    for before, after in zip(kept, found, strict=True):
        for name, array in before.items():
            assert after[name].dtype == array.dtype
            assert after[name].shape == array.shape
            assert after[name].tolist() == array.tolist() or np.isnan(array.astype(float)).any()


def test_equal_rows_give_equal_bytes() -> None:
    kept = [{"y": np.arange(3, dtype=np.float32)}]
    assert write_tensors(kept) == write_tensors(kept)


def test_shapes_of_texts_are_kept() -> None:
    array = np.array([[b"a", b""], [b"\0c", b"d"]], object)
    (row,) = read_tensors(write_tensors([{"t": array}]))
    assert row["t"].tolist() == array.tolist()


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(SpecError, match="not a file of kept tensors"):
        read_tensors(b"PK nothing of the kind")
    with pytest.raises(SpecError, match="not a file of kept tensors"):
        read_tensors(write_tensors([{"x": np.zeros(1)}])[:-30])
