"""What an answer means: from the outputs of one request to its prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivet.errors import SpecError
from trivet.judge.decode import decoder
from trivet.judge.errors import JudgeError
from trivet.spec.service import Decode

NO_FOLDER = Path()


def decoded(by: str, *values: Any, root: Path = NO_FOLDER, dtype: Any = np.float32, **settings: Any) -> Any:
    """The prediction for an answer with a batch axis of 1."""
    return decoder(Decode(by=by, **settings), root)({"y": np.array([values], dtype)})


def test_argmax_gives_a_position_or_its_name() -> None:
    assert decoded("argmax", 0.1, 0.7, 0.2) == 1
    assert decoded("argmax", 0.1, 0.7, 0.2, labels=("a", "b", "c")) == "b"
    assert decoded("argmax", 5, 5, dtype=np.int64) == 0  # the first of equals, as numpy
    assert decoded("argmax", float("nan"), 1.0) is None


def test_threshold_gives_yes_or_no() -> None:
    assert decoded("threshold", 0.5) is True
    assert decoded("threshold", 0.49) is False
    assert decoded("threshold", 0.3, threshold=0.2, labels=("ham", "spam")) == "spam"
    assert decoded("threshold", float("nan")) is None


def test_identity_gives_what_is_there() -> None:
    assert (decoded("identity", 2.5), type(decoded("identity", 2.5))) == (2.5, float)
    assert decoded("identity", "ä".encode(), dtype=object) == "ä"
    assert decoded("identity", 1.0, 2.0).tolist() == [1, 2]
    assert decoded("identity", 1, dtype=np.int64, labels=("a", "b")) == "b"
    assert decoder(None, NO_FOLDER)({"y": np.array(7)}) == 7


def test_the_output_is_the_first_or_the_one_that_is_named() -> None:
    outputs = {"a": np.array([[1.0]]), "b": np.array([[2.0]])}
    assert decoder(None, NO_FOLDER)(outputs) == 1.0
    assert decoder(Decode(by="identity", output="b"), NO_FOLDER)(outputs) == 2.0
    with pytest.raises(JudgeError, match="the answer has no output 'c'; known: a, b"):
        decoder(Decode(by="identity", output="c"), NO_FOLDER)(outputs)
    with pytest.raises(JudgeError, match="the answer has no outputs"):
        decoder(None, NO_FOLDER)({})


def test_names_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffcat\ndog \n\n")
    assert decoded("argmax", 0, 1, labels="names.txt", root=tmp_path) == "dog"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n\nb\n", "label '' is there 1 times"),
        ("a\na\n", "label 'a' is there 2 times"),
        ("", "no names of labels"),
    ],
)
def test_a_file_of_names_has_one_for_each_class(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(content)
    with pytest.raises(SpecError, match=message):
        decoder(Decode(by="argmax", labels="names.txt"), tmp_path)
    with pytest.raises(SpecError, match=r"no file 'none.txt'"):
        decoder(Decode(by="argmax", labels="none.txt"), tmp_path)


def test_a_file_of_names_is_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xff")
    with pytest.raises(SpecError, match=r"names.txt: cannot be read as text"):
        decoder(Decode(by="argmax", labels="names.txt"), tmp_path)


def test_axes_of_one_are_left_out() -> None:
    assert decoder(Decode(by="argmax"), NO_FOLDER)({"y": np.array([[[0.1, 0.9]]])}) == 1


def test_a_function_is_given_one_row(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("NAMES = ['low', 'high']\n")
    (tmp_path / "steps.py").write_text(
        "import numpy as np\nfrom neighbour import NAMES\n"
        "class Namer:\n"
        "    @staticmethod\n"
        "    def name(row):\n"
        "        assert row.shape == (3,)\n"
        "        return NAMES[int(row.sum() > 3)]\n"
        "def middle(row):\n"
        "    return np.int64(np.argsort(row)[1])\n"
    )
    assert decoded("steps.py:Namer.name", 1, 1, 2, root=tmp_path) == "high"
    assert decoded("steps:middle", 5, 9, 7, root=tmp_path) == 2
    assert decoded("steps:middle", 5, 9, 7, root=tmp_path, labels=("a", "b", "c")) == "c"


def test_code_leaves_no_trace_on_the_path(tmp_path: Path) -> None:
    import sys

    (tmp_path / "json.py").write_text("def f(row):\n    return 'mine'\n")
    before = list(sys.path)
    assert decoded("json.py:f", 1.0, root=tmp_path) == "mine"
    assert before == sys.path
    assert not hasattr(sys.modules["json"], "f")


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("steps:none", JudgeError, "has no attribute 'none'"),
        ("steps:VALUE", JudgeError, "steps:VALUE is no function"),
        ("other:f", SpecError, "no module 'other' beside the service file"),
        ("broken:f", JudgeError, "broken:f cannot be imported: ZeroDivisionError"),
        ("os:getcwd", SpecError, "no module 'os' beside the service file"),
    ],
)
def test_code_that_is_not_there(tmp_path: Path, target: str, error: type[Exception], message: str) -> None:
    (tmp_path / "steps.py").write_text("VALUE = 3\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(error, match=message):
        decoder(Decode(by=target), tmp_path)


def test_what_a_function_raises_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def f(row):\n    raise KeyError('k')\n")
    with pytest.raises(JudgeError, match=r"steps:f raised KeyError: 'k'"):
        decoded("steps:f", 1.0, root=tmp_path)


@pytest.mark.parametrize(
    ("by", "output", "settings", "message"),
    [
        ("argmax", np.zeros((1, 1)), {}, "declare `decode: threshold`"),
        (
            "argmax",
            np.zeros((1, 3)),
            {"labels": ("a", "b")},
            "the output has 3 scores; decode.labels has 2 names",
        ),
        ("argmax", np.zeros((1, 4, 3)), {}, r"the output has the shape \[4, 3\]: decode it by a function"),
        ("argmax", np.array([[b"a"]], object), {}, "the output is text: declare `decode: identity`"),
        ("threshold", np.zeros((1, 2)), {}, "the output has 2: declare `decode: argmax`"),
        ("identity", np.array([[5]]), {"labels": ("a", "b")}, "identity gives 5; decode.labels has 2 names"),
    ],
)
def test_an_output_that_cannot_be_read_so(
    by: str, output: np.ndarray, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(JudgeError, match=message):
        decoder(Decode(by=by, **settings), NO_FOLDER)({"y": output})


def test_a_threshold_knows_two_names() -> None:
    with pytest.raises(JudgeError, match=r"decode.labels has 3 names; a threshold knows two"):
        decoder(Decode(by="threshold", labels=("a", "b", "c")), NO_FOLDER)


@pytest.mark.parametrize(
    ("by", "values", "score"),
    [("threshold", [0.25], 0.25), ("argmax", [-1.0, 2.0], 3.0), ("identity", [7.0], 7.0)],
)
def test_one_score_ranks_rows(by: str, values: list[float], score: float) -> None:
    assert score == decoder(Decode(by=by), NO_FOLDER).score({"y": np.array([values])})


def test_many_scores_do_not_rank() -> None:
    with pytest.raises(JudgeError, match="the output has 3 scores; auc ranks rows of two classes"):
        decoder(Decode(by="argmax"), NO_FOLDER).score({"y": np.zeros((1, 3))})
