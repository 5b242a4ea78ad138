"""Which inputs a side is asked about."""

from pathlib import Path

import numpy as np
import pytest

from trivet.errors import SpecError, UserError
from trivet.experiment.inputs import NUM_RANDOM, input_rows_of
from trivet.experiment.workload import Asking
from trivet.spec.service_file import load_configuration
from trivet.spec.signature import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, 1)),), True)


def test_random_values_have_the_shape_that_is_asked_for_and_come_from_the_seed() -> None:
    rows = input_rows_of(None, SIGNATURE, Asking(shapes={"x": (7,)}), seed=3)
    assert len(rows) == NUM_RANDOM
    assert {row["x"].shape for row in rows} == {(1, 7)}
    again, other = (input_rows_of(None, SIGNATURE, Asking(shapes={"x": (7,)}), seed) for seed in (3, 4))
    assert np.array_equal(rows[5]["x"], again[5]["x"])
    assert not np.array_equal(rows[5]["x"], other[5]["x"])


def test_a_file_wins_over_everything_else(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n2\n3\n")
    rows = input_rows_of(None, SIGNATURE, Asking(inputs=str(tmp_path / "rows.csv"), max_inputs=2), seed=0)
    assert [row["x"].tolist() for row in rows] == [[[1.0]], [[2.0]]]


def test_a_services_own_data_is_asked_about_and_errors_name_its_file(service: Path) -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1, 30)),), (), True)
    configuration = load_configuration(service)
    assert len(input_rows_of(configuration, signature, Asking(max_inputs=9), seed=0)) == 9
    wrong = Signature((TensorSpec("z", "FP32", (-1, 30)),), (), True)
    with pytest.raises(SpecError, match=r"service\.yaml:\d+"):
        input_rows_of(configuration, wrong, Asking(), seed=0)


def test_endpoints_that_tell_no_inputs_get_texts_a_constant_or_a_file() -> None:
    texts = input_rows_of(None, None, Asking(dialect="openai-chat"), seed=0)
    assert all(isinstance(row["text"].item(), bytes) for row in texts)
    assert input_rows_of(None, None, Asking(dialect="json", template='{"x": 1}'), seed=0) == [{}]
    with pytest.raises(UserError, match="name a file of inputs with --input"):
        input_rows_of(None, None, Asking(dialect="json", template='{"x": {{x}}}'), seed=0)
