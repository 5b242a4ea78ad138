"""From the options of `trivet bench` to a run, and from its figures to what is printed."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from trivet.catalog.catalog import Catalog
from trivet.cli.live_line import LiveLine
from trivet.errors import UserError
from trivet.experiment import yardstick
from trivet.experiment.run import Finished, Settings, run
from trivet.experiment.side import template_text
from trivet.experiment.simulating.controlled import check_controllable, kept_profile
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Workload
from trivet.load.inputs.reading import MAX_ROWS
from trivet.load.popularity import exponent_of
from trivet.report.text import figures_text
from trivet.simulate.profile import ServiceProfile
from trivet.spec.units import parse_duration_ns

BLOCKS_OF_SEVERAL = 16  # the earliest verdict about one figure is possible at 9 pairs
_MOODS = {"complete": "valid", "partial": "PARTIAL", "invalid": "INVALID", "failed": "FAILED"}


def measure_targets(targets: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Measure, print, and the state of each run.

    Raises: UserError: options that make no sense, or nothing could be begun.
    """
    workload = workload_of(options, len(targets))
    subjects = [subject_of(text) for text in targets]
    if options["yardstick"]:
        if options["no_record"] or options["controlled"]:
            raise UserError("--yardstick is for a later replay: leave out --no-record and --controlled")
        workload = yardstick.with_yardstick(workload, subjects, has_blocks=options["blocks"] is not None)
    settings = Settings(
        command=("trivet", *sys.argv[1:]),
        tags=tags_of(options["tags"]),
        max_labelled=options["labelled"],
        profile=_profile(targets, workload, options) if options["controlled"] else None,
    )
    catalog = None if options["no_record"] else Catalog.open(options["catalog_url"])
    with LiveLine(sys.stderr) as line, tempfile.TemporaryDirectory(prefix="trivet-yardstick-") as folder:
        if options["yardstick"]:
            subjects.append(subject_of(str(yardstick.write(Path(folder), workload.rate_rps or 0.0))))
        found = run(
            subjects, workload, catalog=catalog, settings=settings, on_progress=line.show, say=line.say
        )
    asked, beside = found[: len(targets)], found[len(targets) :]
    click.echo(_json(asked) if options["as_json"] else "\n".join(_text(asked, beside)))
    for finished in beside:
        if finished.state != "complete":
            why = f"{finished.state}: {finished.reason}; a replay can tell no times by it: measure again"
            click.echo(f"the yardstick's run {finished.run_id} is {why}", err=True)
    return [finished.state for finished in found]


def _profile(targets: Sequence[str], workload: Workload, options: Mapping[str, Any]) -> ServiceProfile:
    """What --controlled simulates with. Raises: UserError: none is kept, or a target or load that it is not for."""
    check_controllable(workload)
    if len(targets) != 1:
        raise UserError(f"--controlled is for one target, got {len(targets)}")
    return kept_profile(Path(targets[0]), options["profile"], options["catalog_url"])


def workload_of(options: Mapping[str, Any], num_targets: int) -> Workload:
    """Raises: UserError: an option whose value makes no sense; names it."""
    percentile, latency_ns = slo_of(options["slo"])
    values = {
        "arrivals": options["arrivals"],
        "rate_rps": options["rate"],
        "duration_ns": _duration_ns(
            "--duration", options["duration"] or _default_duration(options["scenario"])
        ),
        "users": options["users"],
        "think_ns": _duration_ns("--think-time", options["think_time"]),
        "scenario": options["scenario"],
        "popularity": options["popularity"],
        "slo_percentile": percentile,
        "slo_latency_ns": latency_ns,
        "seed": options["seed"],
        "num_blocks": options["blocks"] or (1 if num_targets == 1 else BLOCKS_OF_SEVERAL),
        "until_decided": options["until_decided"],
        "num_starts": options["starts"],
        "turn_ns": None if options["turn"] is None else _duration_ns("--turn", options["turn"]),
        "timeout_ns": _duration_ns("--timeout", options["timeout"]),
        "max_send_lag_ns": _duration_ns("--max-send-lag", options["max_send_lag"]),
        "workers": options["workers"],
        "split": options["split"],
        "asking": {
            "dialect": options["dialect"],
            "binary": bool(options["binary"]),
            "model": options["name"],
            "version": options["model_version"],
            "template": template_text(options["template"]),  # as it is now: the record needs no file
            "answer": options["answer"],
            "inputs": options["inputs"] or "",
            "shapes": shapes_of(options["shapes"]),
            "phases": options["phases"],
            **({"max_inputs": MAX_ROWS} if exponent_of(options["popularity"]) else {}),
        },
    }
    if options["rate"] is not None and options["users"] is not None:
        raise UserError("--rate is an open loop and --users a closed one: give one of them")
    if options["until_decided"] and num_targets < 2:
        raise UserError("--until-decided compares two targets: name a second one")
    if options["turn"] is not None and (
        num_targets < 2 or options["users"] or options["scenario"] != "steady"
    ):
        raise UserError("--turn is for several targets under one steady rate: leave it out")
    try:
        return msgspec.convert(values, Workload)
    except msgspec.ValidationError as error:
        raise UserError(f"the options make no workload: {error}") from None


def _default_duration(scenario: str) -> str:
    return "600s" if scenario.startswith("mlperf") else "10s"


def slo_of(text: str | None) -> tuple[float, int | None]:
    """Percentile and latency in ns of `p99:50ms`, or of `50ms`. Raises: UserError: neither."""
    if text is None:
        return 99.0, None
    percentile, colon, latency = text.rpartition(":")
    try:
        share = float(percentile.removeprefix("p")) if colon else 99.0
    except ValueError:
        share = 0.0
    if not 0 < share < 100:
        raise UserError(f"--slo {text!r}: expected p99:50ms, a percentile between 0 and 100 and a latency")
    return share, _duration_ns("--slo", latency)


def shapes_of(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Sizes by input of `ids:16` and `image:3,224,224`. Raises: UserError: another form."""
    shapes = {}
    for text in texts:
        name, _, sizes = text.rpartition(":")
        parts = sizes.split(",")
        if not name or not all(part.strip().isdecimal() for part in parts):
            raise UserError(f"--shape {text!r}: expected NAME:SIZE,SIZE...")
        shapes[name] = tuple(map(int, parts))
    return shapes


def tags_of(texts: Sequence[str]) -> dict[str, str]:
    """Raises: UserError: one without an equals sign."""
    tags = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--tag {text!r}: expected NAME=VALUE")
        tags[name] = value
    return tags


def _duration_ns(option: str, text: str) -> int:
    try:
        return parse_duration_ns(text)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None


def _text(found: Sequence[Finished], beside: Sequence[Finished]) -> list[str]:
    """Args: beside: the yardstick, where there was one."""
    lines: list[str] = []
    for finished in found:
        offered = _offered(finished.workload)
        lines += [f"{finished.name} ({finished.label}), {offered}: {_MOODS[finished.state]}"]
        lines += [f"  {finished.reason}"] if finished.reason else []
        lines += [*figures_text(finished.figures), ""]
    kept = [finished.run_id for finished in found if finished.run_id]
    if kept:
        is_whole = all(finished.state == "complete" for finished in (*found, *beside))
        next_one = ""
        if is_whole:
            next_one = f"   trivet replay {kept[0]}" if beside else _next(kept)
        lines.append(f"kept as {', '.join(kept)}; next:  trivet show {kept[0]}{next_one}")
    return lines


def _next(kept: Sequence[str]) -> str:
    if len(kept) > 1:
        return f"   trivet compare {kept[0]} {kept[1]}"
    return f"   trivet compare {kept[0]} OTHER"


def _offered(workload: Workload) -> str:
    seconds = f"{workload.duration_ns / 1e9:g} s"
    if workload.scenario != "steady":
        return f"{workload.scenario}, seed {workload.seed}"
    if workload.users is not None:
        return f"{workload.users} users for {seconds}, seed {workload.seed}"
    rate = f"{workload.rate_rps:g}/s " if workload.rate_rps is not None else ""
    return f"{rate}{workload.arrivals} for {seconds}, seed {workload.seed}"


def _json(found: Sequence[Finished]) -> str:
    values = [
        {
            "run": finished.run_id,
            "service": finished.name,
            "target": finished.label,
            "state": finished.state,
            "reason": finished.reason,
            "workload": msgspec.to_builtins(finished.workload),
            "figures": msgspec.to_builtins(dict(finished.figures)),
        }
        for finished in found
    ]
    return msgspec.json.format(msgspec.json.encode(values if len(values) > 1 else values[0])).decode()
