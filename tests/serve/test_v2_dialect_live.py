"""The V2 dialect against a real server: every datatype, JSON and binary, through the load generator."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.server import ServerProcess
from trivet.load.dialects.discover import UnknownModelError, discover
from trivet.load.dialects.v2 import V2Dialect
from trivet.load.inputs.random_rows import random_rows
from trivet.load.job import ClosedLoop, Job
from trivet.load.offer import offer
from trivet.spec.row import RowColumns

DATATYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "fp32", "fp64", "bytes",
)  # fmt: skip


def answers(server: ServerProcess, dialect: V2Dialect, rows: list[Any]) -> list[dict[str, NDArray[Any]]]:
    job = Job(
        target=server.address,
        requests=dialect.requests(rows),
        load=ClosedLoop(num_users=1, duration_ns=20_000_000_000, max_requests=len(rows)),
        seed=1,
        order="sequence",
        keep_answers=True,
        min_connections=1,
    )
    found = RowColumns.decode(offer(job).rows)
    return [
        dialect.outputs(status, {}, body)
        for status, body in zip(found["status"].tolist(), found.blobs["answer"], strict=True)
    ]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_both_ways(server: ServerProcess, datatype: str, binary: bool) -> None:
    found = discover(server.address, datatype)
    rows = random_rows(found.signature, 3, np.random.default_rng(5), {"x": (2,)})
    outputs = answers(server, V2Dialect(found.signature, binary, datatype), rows)
    for row, output in zip(rows, outputs, strict=True):
        np.testing.assert_array_equal(row["x"], output["y"])


def test_half_precision_travels_as_binary(server: ServerProcess) -> None:
    found = discover(server.address, "fp16")
    rows = random_rows(found.signature, 1, np.random.default_rng(5), {"x": (2,)})
    (output,) = answers(server, V2Dialect(found.signature, True, "fp16"), rows)
    np.testing.assert_array_equal(rows[0]["x"], output["y"])


def test_what_the_server_says_about_itself(server: ServerProcess) -> None:
    found = discover(server.address, "tiny", "1")
    assert (found.server.split()[0], found.speaks_binary, found.signature.batch_axis) == (
        "trivet",
        True,
        True,
    )
    dialect = V2Dialect(found.signature, True, "tiny", "1")
    (output,) = answers(server, dialect, random_rows(found.signature, 1, np.random.default_rng(1)))
    assert output["y"].shape == (1, 2)
    assert pytest.approx(1, abs=1e-5) == output["y"].sum()


def test_a_model_that_is_not_there(server: ServerProcess) -> None:
    with pytest.raises(UnknownModelError, match="has no model 'tinny'; did you mean 'tiny'"):
        discover(server.address, "tinny")
