"""Fitted models of Python libraries as ONNX files, compared with the originals."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from trivet.cli.main import cli
from trivet.errors import SpecError
from trivet.judge.errors import JudgeError
from trivet.variants.convert import convert_model
from trivet.variants.errors import VariantError

FITTED = """
import numpy as np
from sklearn.linear_model import LogisticRegression, LinearRegression
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 5))
labels = np.where(x[:, 0] > 0, "yes", "no")
classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, labels)
regressor = LinearRegression().fit(x, x[:, 1] * 2 + 1)
text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a good day", "a bad day"] * 5, [1, 0] * 5)

class Own(BaseEstimator, TransformerMixin):
    def fit(self, x, y=None):
        return self
    def transform(self, x):
        return x

own = make_pipeline(Own(), LogisticRegression()).fit(x, labels)
something = object()

def made():
    return regressor

def broken():
    raise OSError("no such file")
"""

START = """
import numpy as np
x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(int)
"""

LIBRARIES = {
    "lightgbm": "from lightgbm import LGBMClassifier as M\nmodel = M(n_estimators=5, verbose=-1).fit(x, y)",
    "xgboost": "from xgboost import XGBClassifier as M\nmodel = M(n_estimators=5).fit(x, y)",
}
INSTALLED = [name for name in LIBRARIES if importlib.util.find_spec(name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fitted")
    (made / "fitted.py").write_text(FITTED)
    rng = np.random.default_rng(1)
    lines = ["a,b,c,d,e,label,words"]
    lines += [
        ",".join([*(f"{value:.4f}" for value in rng.normal(size=5)), "no", "a good day"]) for _ in range(30)
    ]
    (made / "rows.csv").write_text("\n".join(lines))
    return made


def test_a_classifier_converts_with_labels_and_probabilities(folder: Path, tmp_path: Path) -> None:
    found = convert_model(
        "fitted.py:classifier",
        tmp_path / "m.onnx",
        root=folder,
        data=folder / "rows.csv",
        columns=["a", "b", "c", "d", "e"],
    )
    assert found.library == "sklearn"
    assert found.rows == "30 rows of rows.csv"
    assert [one.output for one in found.differences] == ["label", "probabilities"]
    assert found.differences[0].largest == 0
    assert found.differences[1].largest < 1e-5
    assert found.is_same


def test_a_function_may_return_the_model(folder: Path, tmp_path: Path) -> None:
    found = convert_model("fitted.py:made", tmp_path / "m.onnx", root=folder)
    assert found.rows == "100 random rows"
    assert found.is_same


def test_a_column_may_hold_a_whole_row(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.ones((4, 5)), label=np.zeros(4))
    found = convert_model(
        "fitted.py:regressor", tmp_path / "m.onnx", root=folder, data=tmp_path / "rows.npz", label="label"
    )
    assert found.rows == "4 rows of rows.npz"


def test_a_column_of_text_feeds_a_model_of_text(folder: Path, tmp_path: Path) -> None:
    found = convert_model(
        "fitted.py:text", tmp_path / "m.onnx", root=folder, data=folder / "rows.csv", columns=["words"]
    )
    assert found.is_same


def test_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        convert_model("fitted.py:classifier", tmp_path / name, root=folder)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize(
    ("target", "settings", "expected"),
    [
        (
            "fitted.py:own",
            {"columns": ["a", "b", "c", "d", "e"]},
            r"Pipeline does not convert: .*Own has no ONNX form",
        ),
        ("fitted.py:something", {}, "is of no library that is converted here"),
        ("fitted.py:Own", {}, "is a class; name a fitted model"),
        ("fitted.py:text", {}, "give rows with --data"),
        ("fitted.py:classifier", {"columns": ["z"]}, "has no column 'z'"),
        ("fitted.py:classifier", {"columns": ["a", "words"]}, "hold text"),
    ],
)
def test_what_does_not_convert_says_what_to_do(
    folder: Path, tmp_path: Path, target: str, settings: dict[str, object], expected: str
) -> None:
    data = folder / "rows.csv" if settings else None
    with pytest.raises(VariantError, match=expected):
        convert_model(target, tmp_path / "m.onnx", root=folder, data=data, **settings)  # type: ignore[arg-type]


def test_code_that_is_not_there_or_fails_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no file 'missing\.py'"):
        convert_model("missing.py:model", tmp_path / "m.onnx", root=folder)
    with pytest.raises(JudgeError, match="has no attribute 'nothing'"):
        convert_model("fitted.py:nothing", tmp_path / "m.onnx", root=folder)
    with pytest.raises(JudgeError, match="raised OSError: no such file"):
        convert_model("fitted.py:broken", tmp_path / "m.onnx", root=folder)


@pytest.mark.parametrize("library", INSTALLED)
def test_boosted_trees_convert(library: str, tmp_path: Path) -> None:
    (tmp_path / "trees.py").write_text(START + LIBRARIES[library])
    found = convert_model("trees.py:model", tmp_path / "m.onnx", root=tmp_path)
    assert found.library == library
    assert found.differences[-1].largest < 1e-5


def test_the_command_tells_the_largest_difference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    target = tmp_path / "m.onnx"
    done = CliRunner().invoke(cli, ["convert", "fitted.py:regressor", "--to", str(target)])
    assert done.exit_code == 0, done.output
    assert "predict: largest difference" in done.output
    as_json = CliRunner().invoke(cli, ["convert", "fitted.py:regressor", "--to", str(target), "--json"])
    assert json.loads(as_json.output)["library"] == "sklearn"
    wrong = CliRunner().invoke(cli, ["convert", "fitted.py:regressor", "--to", str(target), "--shape", "3x4"])
    assert wrong.exit_code == 1
    assert "expected SIZE,SIZE" in wrong.output
