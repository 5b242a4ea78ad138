"""Answers bit by bit and by decision."""

import numpy as np
import pytest

from trivet.experiment.replay.check_answers import check_answers, check_decisions, same_prediction


def answers(*values: float) -> list[dict[str, np.ndarray]]:
    return [{"y": np.array([[value, 1.0]], np.float32)} for value in values]


def test_identical_answers_are_the_same_either_way() -> None:
    for bitwise in (True, False):
        check = check_answers(answers(0.1, 0.2), answers(0.1, 0.2), bitwise=bitwise)
        assert (check.status, "2 answers" in check.detail) == ("same", True)


def test_the_last_bit_counts_only_where_processor_and_libraries_are_the_same() -> None:
    nearly = float(np.nextafter(np.float32(0.2), np.float32(1)))
    assert check_answers(answers(0.1, 0.2), answers(0.1, nearly), bitwise=False).status == "same"
    check = check_answers(answers(0.1, 0.2), answers(0.1, nearly), bitwise=True)
    assert (check.status, "(inputs 1)" in check.detail) == ("differs", True)
    assert check.changes[0].now == "1 differ"


def test_bits_tell_zeros_and_nans_apart_from_numbers_that_are_equal() -> None:
    zeros = [{"y": np.array([-0.0])}], [{"y": np.array([0.0])}]
    assert check_answers(*zeros, bitwise=True).status == "differs"
    nans = [{"y": np.array([np.nan])}], [{"y": np.array([np.nan])}]
    assert check_answers(*nans, bitwise=True).status == "same"


@pytest.mark.parametrize("bitwise", [True, False])
def test_other_types_names_shapes_and_counts_differ(bitwise: bool) -> None:
    one = [{"y": np.zeros(2, np.float32)}]
    others = (
        [{"y": np.zeros(2)}],
        [{"z": np.zeros(2, np.float32)}],
        [{"y": np.zeros(3, np.float32)}],
        one * 2,
    )
    for other in others:
        assert check_answers(one, other, bitwise=bitwise).status == "differs"


def test_texts_are_compared_whole() -> None:
    texts = [[{"y": np.array([word], object)}] for word in (b"cat", b"dog")]
    assert check_answers(texts[0], texts[0], bitwise=True).status == "same"
    assert check_answers(texts[0], texts[1], bitwise=True).status == "differs"


def test_answers_that_one_side_did_not_keep_are_not_compared() -> None:
    assert "the replay" in check_answers(answers(1), None, bitwise=True).detail
    assert "the recorded run" in check_answers(None, answers(1), bitwise=True).detail


def test_decisions_that_are_all_the_same() -> None:
    assert check_decisions([1, "cat", 0.5], [1, "cat", 0.5000001], answers_are_same=False).status == "same"


def test_a_few_flips_say_nothing_where_single_answers_are_the_same() -> None:
    then, now = [0] * 200, [0] * 199 + [1]
    assert check_decisions(then, now, answers_are_same=True).status == "cannot tell"
    assert check_decisions(then, now, answers_are_same=False).status == "differs"
    check = check_decisions(then, [0] * 190 + [1] * 10, answers_are_same=True)
    assert (check.status, "first of row 190: 1 instead of 0" in check.detail) == ("differs", True)


def test_decisions_that_are_missing_or_of_other_rows() -> None:
    assert check_decisions(None, [1], answers_are_same=True).status == "not compared"
    assert check_decisions([1], None, answers_are_same=True).status == "not compared"
    assert check_decisions([1], [1, 1], answers_are_same=True).status == "differs"


def test_rows_that_got_no_answer_are_no_decisions() -> None:
    check = check_decisions([1, None, 2, 3], [1, 7, 2, None], answers_are_same=True)
    assert (check.status, check.detail) == ("same", "2 answers under load mean what they meant; 2 got none")
    check = check_decisions([1, None, 2, None], [1, 7, 3, None], answers_are_same=False)
    assert (check.status, check.changes[0].then) == ("differs", "of 2 rows")
    check = check_decisions([1, None, None], [1, 7, 2], answers_are_same=True)
    assert (check.status, check.detail) == ("cannot tell", "only 1 of 3 rows were answered both times")


def test_predictions_are_the_same_as_words_numbers_or_vectors() -> None:
    assert same_prediction("a", "a")
    assert not same_prediction("a", "b")
    assert not same_prediction(1, 2)
    assert same_prediction([0.1, 0.2], [0.1, 0.20000001])
    assert not same_prediction([0.1, 0.2], [0.1])
    assert not same_prediction(1.0, "1.0")
