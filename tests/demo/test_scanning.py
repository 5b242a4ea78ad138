"""The end of the demo: files asked for one after the other of a real server, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from benchmarks import models as build
from demo.commands import serving
from demo.scanning import CACHE, Scan, in_words, scan
from trivet.spec.certified import CertifiedPoint

POINT = CertifiedPoint(thresholds=(0.9,), risk_bound=0.0106, saving=0.7, rows=952, changed=0.0124, lost=0.011)


def model(path: Path) -> None:
    """bytes -> the first three of them as scores."""
    ends = {"zero": np.array([0], np.int64), "three": np.array([3], np.int64), "one": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Slice", ["bytes", "zero", "three", "one"], ["first"]),
        helper.make_node("Cast", ["first"], ["scores"], to=1),
    ]
    x, y = build.tensor("bytes", "INT32", ["n", 2048]), build.tensor("scores", "FP32", ["n", 3])
    build.write(build.build("file-type", nodes, [x], [y], ends), path)


def test_a_file_that_comes_again_is_answered_by_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    model(tmp_path / "file-type.onnx")
    (tmp_path / "service.yaml").write_text(
        f"name: file-type\nmodels: {{file-type: {{file: file-type.onnx}}}}\n{CACHE}"
    )
    rows = np.random.default_rng(1).integers(0, 256, (8, 2048), dtype=np.int32)
    asked = np.concatenate([rows, rows[:3]])
    with serving(tmp_path, "service.yaml") as server:
        found = scan(server, asked)
    assert found.ways.tolist() == ["the model"] * 8 + ["the cache"] * 3
    assert found.answers.tolist() == asked[:, :3].argmax(axis=1).tolist()
    assert (found.ms > 0).all()
    assert found.cpu_ms > 0


def made(ways: list[str], ms: list[float], cpu_ms: float, changed: int = 0) -> Scan:
    answers = np.zeros(len(ways), np.int64)
    answers[:changed] = 1
    return Scan(np.array(ways), np.array(ms), answers, cpu_ms)


def test_who_answered_and_what_it_saved_is_said() -> None:
    plain = made(["the model"] * 4, [10.0] * 4, 12.0)
    first = made(["distilled", "distilled", "file-type", "the cache"], [1.0, 1.0, 11.0, 0.3], 3.0, changed=1)
    second = made(["the cache"] * 4, [0.3] * 4, 0.25)
    text = "\n".join(in_words(plain, first, second, POINT))
    assert "answered by distilled         2  50.0 %   median   1.000 ms" in text
    assert (
        "3.00 ms a file, 12.00 without shortcuts: 75 % saved; 0.25 for a file that is asked for again" in text
    )
    assert "25.0 % of the answers are others" in text
    assert "at most 1.2 %, and at most 1.06 points" in text


def test_shortcuts_that_save_nothing_are_said_to() -> None:
    plain = made(["the model"] * 2, [1.0] * 2, 1.0)
    first = made(["the model"] * 2, [1.1] * 2, 1.1)
    text = "\n".join(in_words(plain, first, first, None))
    assert "nothing saved here, leave them out" in text
    assert "no file lay there twice" in text
    assert "certified" not in text
