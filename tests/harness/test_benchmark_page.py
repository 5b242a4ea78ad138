"""Every report is made from records alone: whole, short, without peers, and where no block is valid."""

from pathlib import Path

import pytest

from benchmarks import everything, mixed_sentences, page
from benchmarks._harness import Measurement, compare
from benchmarks._plan import STEPS, Step
from benchmarks._records import Comparison

FIGURES = {
    "num_requests": 100,
    "num_failed": 0,
    "error_share": 0,
    "num_disturbances": 7,
    "max_rps": 1000,
    "goodput_rps": 900,
    "p50_ns": 1e6,
    "p99_ns": 2e6,
    "refused_p50_ns": 2e6,
    "refused_share": 0.25,
    "dropped_p50_ns": 5e7,
    "dropped_share": 0.125,
    "cpu_ns_per_request": 5e4,
    "switch_ns": 3e7,
    "wall_ns": 4e8,
    "pss_mib": 58,
    "pss_mib of supervisor": 17,
    "pss_mib of serve.worker": 41,
}
SIDES = {
    "payloads": ["JSON, 30 floats", "binary, 30 floats", "JSON, 1,000 floats", "binary, 1,000 floats"],
    "server_timing": ["Server-Timing", "without"],
    "two_workers": ["1 worker", "2 workers"],
    "start_time": ["first start", "profile cached", "bare python", "import trivet", "trivet --help"],
    "switch": ["trivet"],
    "faults": [
        "nothing",
        "hangs, holding the GIL",
        "hangs in a regular expression",
        "calls os.abort()",
        "raises",
        "returns a wrong shape",
        "loading text.onnx",
    ],
    "mixed_sentences": ["trivet", *(f"mosec, batches to {batch}" for batch in mixed_sentences.BATCHES)],
    "overload": ["in process", "closed loop", "1.5x", "3x", "10x"],
    "spikes": ["with spikes", "without"],
}


def sides_of(step: Step, with_peers: bool) -> list[str]:
    args = step.args("DIR" if with_peers else None)
    if "--sides" in args:
        after = args[args.index("--sides") + 1 :]
        return [side for side in after if side not in ("--peers", "DIR")]
    sides = SIDES[step.benchmark]
    return sides if with_peers or step.benchmark != "mixed_sentences" else sides[:1]


def recorded(
    step: Step, out: Path, num_blocks: int, with_peers: bool = True, invalid: str = ""
) -> Comparison:
    def side(factor: float) -> object:
        def measure(seed: int) -> Measurement:
            drift = 1 + seed / 100
            values = {name: value * factor * drift for name, value in FIGURES.items()}
            latencies = [1e6 * factor * drift] * 40
            samples = {"latency_ns": latencies, "before_ns": latencies, "during_ns": latencies}
            samples |= {"spike 0": [1.0, 1.0], "spike 1": [1.0, 0.0]}
            return Measurement(values=values, samples=samples, invalid=invalid)

        return measure

    sides = {name: side(1 + i / 10) for i, name in enumerate(sides_of(step, with_peers))}
    settings = {"model": "text" if "text" in step.record else "tiny"}
    return compare(step.record, sides, num_blocks=num_blocks, seed=1, settings=settings, out=out)


@pytest.mark.parametrize("with_peers", [True, False])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.record)
def test_each_report_shows_its_goals_with_a_verdict(step: Step, with_peers: bool, tmp_path: Path) -> None:
    report = step.report(recorded(step, tmp_path, 4, with_peers))
    assert report.goals
    verdicts = {goal.verdict() for goal in report.goals}
    if with_peers:
        assert verdicts <= {"met", "missed", "cannot tell"}
    assert str(report).count("\n| goal |") == 1


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.record)
def test_one_block_proves_nothing_but_counts(step: Step, tmp_path: Path) -> None:
    report = step.report(recorded(step, tmp_path, 1))
    certain = {goal.what for goal in report.goals if goal.verdict() in ("met", "missed")}
    assert all("failed" in what for what in certain - {_share_of_two_spikes(step)})


def _share_of_two_spikes(step: Step) -> str:
    """Two spikes are two pieces already, in one block."""
    return "share in time after a spike / without (2 spikes)" if step.benchmark == "spikes" else ""


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.record)
def test_without_a_valid_block_there_is_no_figure(step: Step, tmp_path: Path) -> None:
    report = step.report(recorded(step, tmp_path, 2, invalid="fell behind"))
    assert "No block is valid" in str(report)
    assert all(goal.figure is None for goal in report.goals)


def test_the_page_has_a_section_for_what_was_measured_and_names_the_rest(tmp_path: Path) -> None:
    recorded(STEPS[0], tmp_path, 4)
    recorded(STEPS[1], tmp_path, 2)  # a quick look
    text = page.page(tmp_path, min_blocks=4)
    assert f"## {STEPS[0].title}" in text
    assert f"## {STEPS[1].title}" not in text
    assert f"| {STEPS[1].title}: all of it |" in text
    assert f"| {STEPS[0].title}: trivet / mosec at its best delay (mosec-5ms) |" in text
    assert page.page(tmp_path, min_blocks=4) == text


def test_the_page_is_written_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "OUT", tmp_path)
    assert page.main(["--output", str(tmp_path / "server.md")]) == 0
    assert (tmp_path / "server.md").read_text().count("not measured yet") == len(STEPS)


def test_a_step_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    class Broken:
        @staticmethod
        def main(args: list[str]) -> int:
            ran.append(args)
            raise RuntimeError("no wrk")

    monkeypatch.setattr(everything.importlib, "import_module", lambda name: Broken)
    monkeypatch.setattr(everything, "OUT", tmp_path)
    monkeypatch.setattr(page, "OUT", tmp_path)
    names = ["payloads", "switch"]
    assert everything.main(["--only", *names, "--blocks", "1", "--resume"]) == 1
    assert ran == [["--resume", "--blocks", "1"]] * 2
    assert "failed: payloads, switch" in capsys.readouterr().err
    assert (tmp_path / "server.md").exists()
