"""Hashed n-grams: the graph computes what the reference in numpy does, and that does what a slow loop says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from trivet.variants.learned.bags import bag_of, known_rows, slots_of
from trivet.variants.learned.gram_graph import GramGraph
from trivet.variants.learned.grams import (
    Grams,
    fill_of,
    gram_rows,
    head_rows,
    prime_below,
    tokens,
    vocabulary_of,
)
from trivet.variants.learned.graph import GraphWriter
from trivet.variants.learned.reading import Ids

TEXT = Ids("ids", "int64", None, "mask", "int64")
BYTES = Ids("ids", "int32", 12)
CASES = {
    "text with a mask": (TEXT, Grams(vocabulary=1 << 15, ngrams=(1, 2, 3), buckets=16381)),
    "pairs alone": (TEXT, Grams(vocabulary=8, ngrams=(2,), buckets=7)),
    "pairs before words": (TEXT, Grams(vocabulary=8, ngrams=(2, 1), buckets=7)),
    "bytes in blocks": (
        BYTES,
        Grams(vocabulary=512, ngrams=(1, 2), buckets=101, width=12, blocks=3, head=5, pad=256),
    ),
    "bytes as they are": (BYTES, Grams(vocabulary=16, ngrams=(1, 4), buckets=101, width=12)),
}


def _session(ids: Ids, grams: Grams, table: NDArray[np.float32], known: NDArray[np.bool_], path: Path) -> Any:
    """A graph with the rows of the n-grams, those of the head where there is one, and the pooled vectors."""
    graph = GraphWriter()
    gram_graph = GramGraph(graph, ids, grams)
    kept = gram_graph.tokens()
    graph.add("Identity", graph.cast(gram_graph.rows(kept), np.int64), output="rows")
    names = ["rows"]
    if grams.head:
        graph.add("Identity", graph.cast(gram_graph.head_rows(kept), np.int64), output="head")
        names.append("head")
    graph.add("Identity", gram_graph.pooled(table, known), output="pooled")
    dtype = TensorProto.INT64 if ids.dtype == "int64" else TensorProto.INT32
    width = ids.width or "s"
    inputs = [helper.make_tensor_value_info("ids", dtype, ["b", width])]
    if ids.mask:
        inputs.append(helper.make_tensor_value_info(ids.mask, TensorProto.INT64, ["b", width]))
    axes = {"rows": ["b", "m"] if grams.blocks == 1 else ["b", grams.blocks, "m"], "head": ["b", "h"]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.INT64, axes[name]) for name in names]
    outputs.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["b", "v"]))
    graph.write(path, inputs, outputs)
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ids, Grams, Any, Any, Any]]:
    folder, random, made = tmp_path_factory.mktemp("grams"), np.random.default_rng(1), {}
    for name, (ids, grams) in CASES.items():
        known = random.random(grams.num_rows) < 0.5
        known[0] = False
        table = random.standard_normal((grams.num_rows, 3)).astype(np.float32) * known[:, None]
        made[name] = (
            ids,
            grams,
            table,
            known,
            _session(ids, grams, table, known, folder / f"{len(made)}.onnx"),
        )
    return made


@st.composite
def inputs(draw: st.DrawFn, ids: Ids) -> dict[str, NDArray[Any]]:
    """Any ids at all, most of them small; any mask."""
    bounds = np.iinfo(ids.dtype)
    rows, width = draw(st.integers(1, 3)), ids.width or draw(st.integers(0, 9))
    value = st.one_of(
        st.integers(0, 9), st.sampled_from([256, 511, -1]), st.integers(int(bounds.min), int(bounds.max))
    )
    cells = draw(st.lists(value, min_size=rows * width, max_size=rows * width))
    found = {"ids": np.array(cells, ids.dtype).reshape(rows, width)}
    if ids.mask:
        bits = draw(st.lists(st.integers(0, 1), min_size=rows * width, max_size=rows * width))
        found[ids.mask] = np.array(bits, np.int64).reshape(rows, width)
    return found


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_graph_has_the_features_of_the_reference(sessions: Any, case: str, data: st.DataObject) -> None:
    ids, grams, table, known, session = sessions[case]
    feed = data.draw(inputs(ids))
    answers = dict(
        zip([output.name for output in session.get_outputs()], session.run(None, feed), strict=True)
    )
    kept = tokens(feed["ids"], feed.get("mask"), grams)
    rows = gram_rows(kept, grams)
    found = answers["rows"].reshape(len(rows), grams.blocks, -1)
    np.testing.assert_array_equal(found[..., : rows.shape[2]], rows)
    assert not found[..., rows.shape[2] :].any()
    if grams.head:
        np.testing.assert_array_equal(answers["head"], head_rows(kept, grams))
    one_by_one = [{name: array[i : i + 1] for name, array in feed.items()} for i in range(len(feed["ids"]))]
    bag = bag_of(slots_of(one_by_one, ids, grams), known)
    pooled = (bag @ table).reshape(len(kept), -1)
    np.testing.assert_allclose(answers["pooled"], pooled, rtol=1e-5, atol=1e-6)


def _slow_rows(row: list[int], grams: Grams) -> list[int]:
    """n-gram by n-gram, straight from the definition."""
    part = len(row) // grams.blocks
    found = []
    for block in range(grams.blocks):
        kept = row[block * part : (block + 1) * part]
        for n in grams.ngrams:
            for i in range(len(kept) - n + 1):
                gram = kept[i : i + n]
                if 0 in gram:
                    found.append(0)
                elif n == 1:
                    found.append(gram[0] + grams.offset(1))
                else:
                    number = sum(x * 2_654_435_761**j for j, x in enumerate(gram)) % grams.buckets
                    found.append(number + grams.offset(n))
    return found


@given(row=st.lists(st.integers(0, 16), min_size=12, max_size=12), blocks=st.sampled_from([1, 2, 3, 6]))
def test_the_reference_counts_every_ngram_once(row: list[int], blocks: int) -> None:
    grams = Grams(vocabulary=16, ngrams=(1, 2, 3), buckets=11, width=12, blocks=blocks)
    assert gram_rows(np.array([row]), grams).reshape(-1).tolist() == _slow_rows(row, grams)


@given(ids=st.lists(st.integers(0, 50), min_size=1, max_size=8), more=st.integers(0, 5))
def test_padding_changes_nothing(ids: list[int], more: int) -> None:
    grams = Grams(vocabulary=64, ngrams=(1, 2), buckets=101)
    known = np.ones(grams.num_rows, np.bool_)
    bags = []
    for padding in (0, more):
        row = {"ids": np.array([ids + [7] * padding]), "mask": np.array([[1] * len(ids) + [0] * padding])}
        bags.append(bag_of(slots_of([row], TEXT, grams), known).toarray())
    np.testing.assert_array_equal(*bags)


def test_tables_of_different_ngrams_do_not_overlap() -> None:
    grams = Grams(vocabulary=4, ngrams=(1, 2, 3), buckets=5, head=2)
    rows = [
        range(1, 5),
        range(5, 10),
        range(10, 15),
        range(15, 23),
    ]  # words, pairs, threes, two first positions
    assert [grams.offset(1) + 1, grams.offset(2), grams.offset(3), grams.head_offset + 1] == [
        r[0] for r in rows
    ]
    assert grams.num_rows == 23


def test_rows_that_were_never_learned_count_for_nothing() -> None:
    grams = Grams(vocabulary=8, ngrams=(1,), buckets=7)
    learned = slots_of([{"ids": np.array([[1, 2]])}], Ids("ids", "int64", None), grams)
    known = known_rows(learned, grams)
    bag = bag_of(slots_of([{"ids": np.array([[1, 1, 2, 5]])}], Ids("ids", "int64", None), grams), known)
    assert bag.toarray()[0].tolist() == pytest.approx([0, 0, 2 / 3, 1 / 3, 0, 0, 0, 0, 0])


def test_what_fills_up_short_rows_is_found_at_their_ends() -> None:
    short = np.array([5, 6, 7, 8] + [256] * 12)
    full = np.arange(16)
    assert fill_of([short, full, full]) == 256
    assert fill_of([full, full]) is None
    assert fill_of([short] + [full] * 99) is None  # one in a hundred may be chance


def test_primes_and_vocabularies() -> None:
    assert [prime_below(n) for n in (2, 10, 16384, 101)] == [2, 7, 16381, 101]
    assert [vocabulary_of(n) for n in (0, 1, 255, 256, 30521, 10**9)] == [2, 2, 256, 512, 32768, 65536]
