"""Labelled rows through a real server, and judged: what the model says itself is the oracle."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.support.server import ServerProcess
from trivet.judge.accuracy import judge
from trivet.load.dialects.discover import discover
from trivet.load.dialects.v2 import V2Dialect
from trivet.load.job import ClosedLoop, Job
from trivet.load.offer import offer
from trivet.spec.data import labelled_rows
from trivet.spec.row import RowColumns
from trivet.spec.service import Data, Decode, Model, Service

NUM_ROWS, NUM_WRONG = 40, 5
NAMES = ("no", "yes")


@pytest.mark.parametrize("binary", [True, False])
def test_accuracy_is_what_the_model_earns(
    server: ServerProcess, models: Path, tmp_path: Path, binary: bool
) -> None:
    x = np.random.default_rng(4).normal(size=(NUM_ROWS, 30)).astype(np.float32)
    session = onnxruntime.InferenceSession(models / "tiny.onnx")
    said = session.run(["y"], {"x": x})[0].argmax(axis=1)
    labels = np.where(np.arange(NUM_ROWS) < NUM_WRONG, 1 - said, said)
    cohort = np.where(np.arange(NUM_ROWS) < 10, "first", "rest")
    np.savez(tmp_path / "d.npz", x=x, label=np.array(NAMES)[labels], cohort=cohort)
    data = Data(path="d.npz", columns={"x": "x"}, label="label", cohort="cohort")
    service = Service(
        name="tiny",
        models={"tiny": Model(file="tiny.onnx")},
        data=data,
        decode=Decode(by="argmax", output="y", labels=NAMES),
        metric="accuracy",
    )
    found = discover(server.address, "tiny")
    rows = labelled_rows(data, tmp_path, found.signature, 1000)
    dialect = V2Dialect(found.signature, binary, "tiny")
    job = Job(
        target=server.address,
        requests=dialect.requests(rows.inputs),
        load=ClosedLoop(num_users=1, duration_ns=20_000_000_000, max_requests=NUM_ROWS),
        seed=1,
        order="sequence",
        keep_answers=True,
        min_connections=1,
    )
    answers = RowColumns.decode(offer(job).rows).blobs["answer"]
    outputs = [dialect.outputs(200, {}, body) for body in answers]
    judgement = judge(service, tmp_path, rows.labels, rows.cohorts, outputs)
    assert (judgement.overall.estimate, judgement.num, judgement.failures) == (35 / 40, NUM_ROWS, 0)
    assert {name: one.estimate for name, one in judgement.by_cohort.items()} == {"first": 0.5, "rest": 1.0}
    assert judgement.calibration is not None
    assert "probabilities" in judgement.calibration.assumed
