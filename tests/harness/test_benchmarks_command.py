import importlib
import pkgutil
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import find, main


def test_every_benchmark_of_the_folder_asks_a_question() -> None:
    found = find()
    assert "load_floor" in found
    assert all(benchmark.question.strip() for benchmark in found.values())
    assert not any(name.startswith("_") for name in found)


def test_files_are_read_and_not_imported(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text('QUESTION = "Why?"\nWIDTH = max(1, 2)\nimport not_installed\n')
    (tmp_path / "quick.py").write_text('QUESTION = "How fast?"\nSHORT = True\n')
    (tmp_path / "models.py").write_text("SHORT = True\n")
    (tmp_path / "_shared.py").write_text('QUESTION = "?"\n')
    found = find(tmp_path)
    assert [(b.name, b.question, b.is_short) for b in found.values()] == [
        ("quick", "How fast?", True),
        ("slow", "Why?", False),
    ]


def test_every_module_finds_what_it_imports() -> None:
    modules = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg]
    assert "recording_cost" in modules
    for name in modules:
        assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_the_list_shows_each_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "* load_floor " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "complaint"), [(["nothing"], "no benchmark named nothing"), (["--", "--x"], "exactly one")]
)
def test_a_wrong_command_is_refused(
    args: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(args)
    assert exit_info.value.code == 2
    assert complaint in capsys.readouterr().err
