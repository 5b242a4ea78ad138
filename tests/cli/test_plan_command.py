"""`trivet plan` as it is typed, on a profile whose times are known."""

import gzip
import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from benchmarks import models
from trivet.cli.main import cli
from trivet.cli.plan_run import headroom_of, trace_of
from trivet.errors import UserError
from trivet.experiment.simulating.simulated import stage_key
from trivet.experiment.variants.judged_variants import JudgedVariant, keep_judgements
from trivet.experiment.variants.variant_store import default_store
from trivet.load.arrivals import NS, Curve
from trivet.simulate.profile import VERSION, ModelTimes, ServiceProfile, write_profile
from trivet.spec.service_file import load_configuration
from trivet.variants.apply import with_variant
from trivet.variants.builder import Built
from trivet.variants.variant import Variant

SERVICE = """\
name: known
models: {m: {file: m.onnx, levers: {max_batch_size: 1, execution: inline}}}
slo: {percentile: 99, latency: 50ms, deadline: 1s}
cost: {core_hour: 0.04, currency: EUR}
"""
BRIEF = ("--requests", "200")  # where a plan has thousands
COUNTS = "minute,requests\n" + "".join(f"{minute},{600 if minute == 7 else 60}\n" for minute in range(20))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(models.matmul(), tmp_path / "m.onnx")
    (tmp_path / "service.yaml").write_text(SERVICE)
    (tmp_path / "day.csv").write_text(COUNTS)
    key = stage_key(load_configuration(tmp_path / "service.yaml"), 0)
    times = ModelTimes(samples={0: {1: [10_000_000] * 8, 2: [20_000_000] * 8}})
    write_profile(
        ServiceProfile(service="known", models={key: times}, version=VERSION), tmp_path / "profile.json"
    )
    return tmp_path


def planned(folder: Path, *options: str, trace: str = "day.csv") -> Result:
    catalog = ("--catalog", str(folder / "kept"))
    arguments = [
        "plan",
        str(folder / "service.yaml"),
        "--trace",
        str(folder / trace),
        *catalog,
        *BRIEF,
        *options,
    ]
    return CliRunner().invoke(cli, arguments)


def test_a_plan_says_replicas_levers_costs_and_draws(folder: Path) -> None:
    profile = ("--profile", str(folder / "profile.json"))
    printed = planned(folder, *profile, "--scale", "20", "--plot", str(folder / "day.svg"))
    assert printed.exit_code == 0, printed.output
    first = printed.stdout.splitlines()[0]
    assert "of 1 core" in first
    assert " p99 within 50 ms at a peak of 200/s, with 20% headroom" in first
    assert "EUR a million" in printed.stdout
    assert "next lever: " in printed.stdout
    assert "x200 " in printed.stdout  # ten times the load that is asked for
    assert (folder / "day.svg").read_bytes().startswith(b"<?xml")


def test_a_plan_as_json_holds_the_same(folder: Path) -> None:
    profile = ("--profile", str(folder / "profile.json"))
    found = planned(folder, *profile, "--how", "amplitude", "--headroom", "0", "--json")
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    assert values["scenarios"][0]["how"] == "amplitude"
    assert values["scenarios"][0]["peak_rps"] == pytest.approx(10)
    assert values["scenarios"][0]["replicas"] == 1
    assert values["windows"][0]["begin_s"] == pytest.approx(420, abs=16)
    assert values["headroom"] == 0


def test_what_is_missing_is_told_with_the_next_step(folder: Path) -> None:
    unprofiled = planned(folder)
    assert unprofiled.exit_code == 1
    assert "measured times are needed; run once:  trivet simulate" in unprofiled.output
    (folder / "empty.csv").write_text("minute,requests\n0,0\n1,0\n")
    profile = ("--profile", str(folder / "profile.json"))
    assert "nothing to plan for" in planned(folder, *profile, trace="empty.csv").output
    assert "factor above 0" in planned(folder, *profile, "--scale", "0").output
    assert (
        "expected a share of the load such as 20%" in planned(folder, *profile, "--headroom", "much").output
    )
    (folder / "service.yaml").write_text(SERVICE.replace("latency: 50ms, ", ""))
    assert "no SLO latency" in planned(folder, *profile).output


def test_traces_of_counts_of_instants_and_of_rounded_instants_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text(COUNTS)
    assert isinstance(trace_of(tmp_path / "counts.csv", None, None, 0)[0], Curve)
    (tmp_path / "instants.csv").write_text("timestamp\n0.0\n0.5\n2.25\n")
    instants, said = trace_of(tmp_path / "instants.csv", None, None, 0)
    assert not isinstance(instants, Curve)
    assert (instants.tolist(), said) == ([0, NS // 2, 9 * NS // 4], "")
    with gzip.open(tmp_path / "rounded.jsonl.gz", "wt") as file:
        file.writelines(
            f'{{"timestamp": {3000 * (i // 9)}, "input_length": 1, "output_length": 1}}\n' for i in range(90)
        )
    spread, said = trace_of(tmp_path / "rounded.jsonl.gz", None, None, 0)
    assert not isinstance(spread, Curve)
    assert len(set(spread.tolist())) == 90
    assert "rounded" in said


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0.5", 0.5), ("0", 0.0), ("150%", 1.5)])
def test_headroom_is_a_share(text: str, share: float) -> None:
    assert headroom_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["-5%", "nan", "inf", "", "%", "a lot"])
def test_headroom_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--headroom"):
        headroom_of(text)


def test_levers_are_called_by_the_names_of_variants(folder: Path) -> None:
    """What a profile keeps by its bytes a person knows by name."""
    onnx.save(models.matmul(seed=1), folder / "smaller.onnx")
    configuration = load_configuration(folder / "service.yaml")
    store = default_store(str(folder / "kept"))
    record = Variant(
        name="int8-dynamic",
        model="m",
        digest="",
        files=("smaller.onnx",),
        size_bytes=0,
        built_from=configuration.files[0].digest,
        answers_change=True,
    )
    with store.draft() as draft:
        (draft / "smaller.onnx").write_bytes((folder / "smaller.onnx").read_bytes())
        kept = store.put(draft, "key", Built(files=("smaller.onnx",)), record)
    judged = JudgedVariant(variant=kept, verdict="faster", reason="", in_search=True)
    keep_judgements(configuration, store, [judged])
    changed = with_variant(configuration, kept, store)
    times = {
        stage_key(one, 0): ModelTimes(samples={0: {1: [ns] * 8}})
        for one, ns in ((configuration, 10_000_000), (changed, 4_000_000))
    }
    path = folder / "both.json"
    write_profile(ServiceProfile(service="known", models=times, version=VERSION), path)
    found = planned(folder, "--profile", str(path))
    assert found.exit_code == 0, found.output
    assert "next lever: variant int8-dynamic" in found.stdout
