"""Whole runs with real servers, short. Whether a run of a busy machine is valid is not theirs to say."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.load.scripted_target import ScriptedTarget, always, answer, ok
from trivet.catalog.catalog import Catalog
from trivet.catalog.core_speed import CORE_SPEED, decode
from trivet.catalog.records import RunFilter
from trivet.errors import UserError
from trivet.experiment.answers import read_tensors
from trivet.experiment.compare import blocks_of, compare
from trivet.experiment.placement import Placement
from trivet.experiment.processes import ProcessTree
from trivet.experiment.run import Finished, Settings, run
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Asking, Workload
from trivet.load.progress import Progress

MS, S = 1_000_000, 1_000_000_000
QUICK = Settings(probe_noise=False, measure_floor=False, num_alone=5)
# A busy machine may hold the generator up: then runs are invalid, which these tests are not about.
LENIENT = S
ASKING = Asking(dialect="json", template='{"x": 1}', answer="y=$.y")
GOOD = ok(b'{"y": 1}')


def quick(rate_rps: float = 300, duration_ms: int = 300, **settings: object) -> Workload:
    made = Workload(rate_rps=rate_rps, duration_ns=duration_ms * MS, max_send_lag_ns=LENIENT, timeout_ns=S)
    return msgspec.structs.replace(made, **settings)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_service_is_started_measured_judged_and_recorded(service: Path, catalog: Catalog) -> None:
    before, pids = ProcessTree(os.getpid()).members(), []

    def progress(label: str, block: int, progress: Progress) -> None:
        pids.extend(pid for pid in ProcessTree(os.getpid()).members() if pid not in before)

    (found,) = run([subject_of(str(service))], quick(), catalog=catalog, settings=QUICK, on_progress=progress)
    assert (found.state, found.reason) == ("complete", "")
    assert found.figures["accuracy"].estimate == 0.9
    assert found.figures["accuracy[north]"].estimate == 0.5
    assert found.figures["accuracy[south]"].estimate == 1
    for name in (
        "latency_p50_ms",
        "latency_p999_ms",
        "throughput_rps",
        "goodput_rps",
        "slo_attainment",
        "memory_mib",
    ):
        assert name in found.figures
    assert 0 < found.figures["cpu_ms_per_request"].estimate < 100
    assert found.figures["memory_mib"].estimate > 10
    kept = catalog.run(found.run_id)
    assert (kept.state, kept.kind, kept.service) == ("complete", "bench", "tiny")
    assert kept.figures == dict(found.figures)
    assert not set(kept.environment.pinning["server"]) & set(kept.environment.pinning["generator"])
    assert kept.environment.noise_after is None
    assert kept.environment.conditions is not None
    assert msgspec.convert(kept.workload, Workload) == found.workload
    assert found.workload.slo_latency_ns == 50 * MS
    (block,) = blocks_of(catalog, kept)
    assert block.rows.num_rows == found.blocks[0].rows.num_rows > 50
    assert block.rows.words["service"].words == ("tiny",)
    assert (block.window["compute_ns"] > 0).all()
    speeds = decode(catalog.get(kept.artifacts[CORE_SPEED]))
    generator, server = (kept.environment.pinning[who][0] for who in ("generator", "server"))
    assert {generator, server} <= set(speeds)
    probed = speeds[server].instants_ns
    assert len(probed) > 1
    assert probed[0] < block.window["sent_ns"].min()
    assert block.window["done_ns"].max() < probed[-1] + S
    answers = read_tensors(catalog.get(kept.artifacts["answers"]))
    inputs = read_tensors(catalog.get(kept.artifacts["inputs"]))
    assert len(answers) == len(inputs) == 5
    assert catalog.get(kept.artifacts["model:tiny.onnx"]) == (service.parent / "tiny.onnx").read_bytes()
    assert catalog.get(kept.artifacts["data"]) == (service.parent / "rows.csv").read_bytes()
    assert len(json.loads(catalog.get(kept.artifacts["predictions"]))["labels"]) == 100
    assert len(pids) > 2
    assert all(map(is_gone, pids))


def test_two_sides_are_offered_the_same_in_turn_and_compared_block_by_block(
    service: Path, catalog: Catalog
) -> None:
    subjects = [subject_of(str(service)), subject_of(str(service))]
    found = run(subjects, quick(duration_ms=600, num_blocks=3, seed=5), catalog=catalog, settings=QUICK)
    a, b = (catalog.run(finished.run_id) for finished in found)
    assert a.group == b.group != ""
    pairs = list(zip(blocks_of(catalog, a), blocks_of(catalog, b), strict=True))
    assert len(pairs) == 3
    for first, second in pairs:
        assert np.diff(first.rows["intended_ns"]).tolist() == np.diff(second.rows["intended_ns"]).tolist()
        assert first.rows["item"].tolist() == second.rows["item"].tolist()
    assert pairs[0][0].rows["item"].tolist() != pairs[1][0].rows["item"].tolist()
    compared = compare(catalog, a, b)
    assert (compared.paired, compared.num_pairs) == (True, 3)
    assert set(compared.verdicts.values()) <= {"cannot tell", "equivalent"}  # three pairs show nothing


def test_sides_take_turns_and_are_started_again_in_other_processes(service: Path, catalog: Catalog) -> None:
    """Each start has processes of its own; within a block the sides take turns, and each load is whole all the same."""
    seen: list[set[int]] = []
    before = set(ProcessTree(os.getpid()).members())

    def progress(label: str, block: int, progress: Progress) -> None:
        seen.append(set(ProcessTree(os.getpid()).members()) - before)

    subjects = [subject_of(str(service)), subject_of(str(service))]
    wanted = quick(duration_ms=400, num_blocks=2, num_starts=2, turn_ns=50 * MS, seed=5)
    found = run(subjects, wanted, catalog=catalog, settings=QUICK, on_progress=progress)
    assert [finished.state for finished in found] == ["complete", "complete"]
    first, second = (blocks_of(catalog, catalog.run(finished.run_id)) for finished in found)
    assert [block.record.start for block in first] == [block.record.start for block in second] == [0, 1]
    for one, other in zip(first, second, strict=True):
        gaps = [np.diff(measured.rows["intended_ns"]) for measured in (one, other)]
        assert gaps[0].tolist() == gaps[1].tolist()  # of the load by itself, without the other's turns
        # Both loads began together, and each lasts as long as it would by itself.
        assert one.record.measured_from_ns == other.record.measured_from_ns
        assert one.window["intended_ns"].max() - one.record.measured_from_ns < 200 * MS
    assert len({frozenset(pids) for pids in seen if pids}) >= 2
    assert all(is_gone(pid) for pids in seen for pid in pids)
    (kept,) = {catalog.run(finished.run_id).workload["turn_ns"] for finished in found}
    assert kept == 50 * MS


def test_a_side_that_does_not_start_again_fails_the_runs_and_keeps_what_was_measured(
    service: Path, catalog: Catalog, tmp_path: Path
) -> None:
    service = shutil.copytree(service.parent, tmp_path / "copy") / service.name
    subjects = [subject_of(str(service)), subject_of(str(service))]

    def progress(label: str, block: int, progress: Progress) -> None:
        (service.parent / "tiny.onnx").write_bytes(b"")

    wanted = quick(duration_ms=400, num_blocks=2, num_starts=2, turn_ns=0)
    found = run(subjects, wanted, catalog=catalog, settings=QUICK, on_progress=progress)
    for finished in found:
        kept = catalog.run(finished.run_id)
        assert kept.state == "failed"
        assert kept.reason.startswith(f"{service}: the server ended with code")
        assert len(blocks_of(catalog, kept)) == 1


def bench_json(
    target: str, catalog: Catalog, workload: Workload | None = None, **settings: object
) -> Finished:
    workload = msgspec.structs.replace(workload or quick(), asking=ASKING)
    (found,) = run(
        [subject_of(f"http://{target}/score")], workload, catalog=catalog, settings=QUICK, **settings
    )  # type: ignore[arg-type]
    return found


def test_any_json_endpoint_is_measured_at_its_url(catalog: Catalog) -> None:
    with ScriptedTarget(always(GOOD)) as target:
        found = bench_json(target.name, catalog)
        assert target.requests[0].startswith(b"POST /score HTTP/1.1")
    assert found.figures["error_share"].estimate == 0
    assert catalog.run(found.run_id).configuration == {"target": f"http://{target.name}/score"}
    # It listens in this process: its time is this one's.
    assert "cpu_ms_per_request" in found.figures


def test_a_rate_is_found_where_none_is_given(catalog: Catalog) -> None:
    said: list[str] = []
    with ScriptedTarget(always(GOOD)) as target:
        workload = Workload(duration_ns=200 * MS, max_send_lag_ns=LENIENT)
        found = bench_json(target.name, catalog, workload, say=said.append)
    assert found.workload.rate_rps is not None
    assert found.workload.rate_rps > 10
    assert any("no --rate: half of that" in line for line in said)


def test_nobody_at_the_url_is_an_error_before_any_run(catalog: Catalog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f"127.0.0.1:{port}"):
        run([subject_of(f"http://127.0.0.1:{port}")], quick(), catalog=catalog, settings=QUICK)
    assert catalog.runs() == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nowhere.yaml", "no such file; expected a service.yaml"),
        ("https://h:1", "https is not spoken"),
        ("http://", "got no host"),
        ("http://h:99999", "port is not a number"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_target_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        subject_of(text)


def only_failed(catalog: Catalog, found: Finished) -> str:
    assert found.state == "failed"
    (summary,) = catalog.runs(RunFilter())
    assert (summary.state, summary.reason) == ("failed", found.reason)
    return found.reason


def test_a_target_that_refuses_everything(catalog: Catalog) -> None:
    with ScriptedTarget(always(answer(429, b'{"error": "full"}'))) as target:
        reason = only_failed(catalog, bench_json(target.name, catalog))
    assert "the answer to request 1 cannot be used" in reason
    assert "429" in reason


def with_rows(service: Path, folder: Path, rows: list[str]) -> str:
    """The service with other rows below the header of its data."""
    copied = Path(shutil.copytree(service.parent, folder / "copy"))
    header = (copied / "rows.csv").read_text().partition("\n")[0]
    (copied / "rows.csv").write_text("\n".join([header, *rows]) + "\n")
    return str(copied / service.name)


def test_labels_that_do_not_match_are_named(service: Path, catalog: Catalog, tmp_path: Path) -> None:
    numbers = ",".join(["0.5"] * 30)
    text = with_rows(service, tmp_path, [f"{numbers},cat,north"] * 10)
    (found,) = run([subject_of(text)], quick(), catalog=catalog, settings=QUICK)
    assert "labels 'cat' are not among what decode gives, 0, 1" in only_failed(catalog, found)


def test_data_without_rows_is_an_error_before_any_run(
    service: Path, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"data 'rows\.csv' has no rows"):
        run([subject_of(with_rows(service, tmp_path, []))], quick(), catalog=catalog, settings=QUICK)
    assert catalog.runs() == []


def after(count: int, then: Callable[[socket.socket], None]) -> Callable[[socket.socket, bytes], None]:
    """Good answers to the first `count` requests."""
    seen: list[int] = []

    def script(sock: socket.socket, request: bytes) -> None:
        seen.append(1)
        if len(seen) <= count:
            sock.sendall(GOOD)
        else:
            then(sock)

    return script


def test_a_target_that_dies_midway(catalog: Catalog) -> None:
    with ScriptedTarget(after(40, lambda sock: (target.stop_listening(), sock.close()))) as target:  # type: ignore[arg-type,func-returns-value]
        found = bench_json(target.name, catalog)
    assert "stopped answering after" in only_failed(catalog, found)
    kept = catalog.run(found.run_id)
    (block,) = blocks_of(catalog, kept)
    assert (block.rows["status"] == 200).sum() >= 20
    assert block.rows.num_rows > 60


def test_a_target_that_answers_something_else_midway(catalog: Catalog) -> None:
    with ScriptedTarget(after(40, lambda sock: sock.sendall(ok(b"<html>oops")))) as target:
        reason = only_failed(catalog, bench_json(target.name, catalog))
    assert "are no results" in reason
    assert "not JSON" in reason


def test_a_target_that_stops_speaking_http_midway(catalog: Catalog) -> None:
    with ScriptedTarget(after(40, lambda sock: sock.sendall(b"SSH-2.0\r\n\r\n"))) as target:
        reason = only_failed(catalog, bench_json(target.name, catalog))
    assert "not an HTTP/1.1 status line" in reason


def test_a_server_of_ours_that_is_killed_midway(service: Path, catalog: Catalog) -> None:
    def kill(label: str, block: int, progress: Progress) -> None:
        for pid in ProcessTree(os.getpid()).members()[1:]:
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and b"\0serve\0" + bytes(service) in command.read_bytes():
                os.kill(pid, signal.SIGKILL)

    (found,) = run(
        [subject_of(str(service))], quick(duration_ms=900), catalog=catalog, settings=QUICK, on_progress=kill
    )
    assert "the server ended with code -9" in only_failed(catalog, found)


def test_a_shared_core_makes_a_run_invalid_and_says_why(catalog: Catalog) -> None:
    placement = Placement(0, (0,), "the load generator and the server share core 0")
    with ScriptedTarget(always(GOOD)) as target:
        found = bench_json(target.name, catalog, placement=placement)
    assert (found.state, found.reason) == ("invalid", placement.invalid)
    assert catalog.run(found.run_id).state == "invalid"


def test_a_generator_that_fell_behind_makes_a_run_invalid(catalog: Catalog) -> None:
    with ScriptedTarget(always(GOOD)) as target:
        found = bench_json(target.name, catalog, quick(max_send_lag_ns=1))
    assert found.state == "invalid"
    assert found.reason.startswith("the load generator fell behind")


def test_nothing_is_kept_without_a_catalog() -> None:
    with ScriptedTarget(always(GOOD)) as target:
        (found,) = run(
            [subject_of(f"http://{target.name}/score")], quick(duration_ms=100, asking=ASKING), settings=QUICK
        )
    assert found.run_id == ""


EVENTS = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'] * 3 + [b"data: [DONE]\n\n"]


def test_tokens_of_a_stream_have_times_of_their_own(catalog: Catalog) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    with ScriptedTarget(always(head + chunks + b"0\r\n\r\n")) as target:
        workload = quick(rate_rps=100, asking=Asking(dialect="openai-chat", model="m"))
        (found,) = run([subject_of(f"http://{target.name}")], workload, catalog=catalog, settings=QUICK)
        assert target.requests[0].startswith(b"POST /v1/chat/completions")
    assert found.figures["time_to_first_token_p50_ms"].estimate > 0
    assert found.figures["time_per_output_token_p50_ms"].estimate >= 0


def test_a_scenario_gives_a_figure_of_its_own(catalog: Catalog) -> None:
    with ScriptedTarget(always(GOOD)) as target:
        workload = quick(rate_rps=50, duration_ms=400, scenario="overload", slo_latency_ns=S, num_blocks=1)
        found = bench_json(target.name, catalog, workload)
    assert found.figures["goodput_kept"].estimate > 0.5
    assert len(found.blocks) == 4
    assert "goodput_rps at 3 times" in found.figures
    assert "latency_p50_ms" not in found.figures  # over four loads it would mean nothing


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"scenario": "sprint"}, "unknown scenario 'sprint'; known: steady"),
        ({"scenario": "ramp"}, "give --slo"),
        ({"scenario": "ramp", "users": 3, "slo_latency_ns": 1}, "leave --users out"),
    ],
)
def test_scenarios_that_make_no_sense(catalog: Catalog, changed: dict[str, object], complaint: str) -> None:
    with ScriptedTarget(always(GOOD)) as target, pytest.raises(UserError, match=complaint):
        bench_json(target.name, catalog, quick(**changed))
    assert catalog.runs() == []
