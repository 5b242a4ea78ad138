"""A run as one page: whether it is valid, its latencies to the last request, and where the time went."""

from trivet.report.blocks import (
    Section,
    banner,
    environment_values,
    figure_table,
    flat,
    named_values,
    page_body,
    picture,
    state_chip,
    table,
    tile,
    tiles,
)
from trivet.report.html import Child, Markup, document, joined, tag
from trivet.report.numbers import bounds, number, short, value
from trivet.report.pictures.plot import Cell, Table
from trivet.report.run_view import RunPlots, RunView, offered_words, run_plots

_TILES = (
    "knee_rps",
    "latency_p50_ms",
    "latency_p99_ms",
    "throughput_rps",
    "goodput_rps",
    "slo_attainment",
    "hit_share",
    "accuracy",
    "cpu_ms_per_request",
    "cost_per_million",
    "memory_mib",
)
NS_PER_MS = 1e6


def run_page(view: RunView) -> str:
    """Raises: ExtraMissingError: no matplotlib."""
    run = view.run
    plots = run_plots(view)
    head = joined(
        tag("p", state_chip(run.state), f" {run.kind}: {offered_words(view.workload)}", class_="muted"),
        banner(run.state, run.reason),
        tag("p", view.trouble, class_="banner warn") if view.trouble else None,
        _tiles(view),
        tag("p", _floor_words(view), class_="muted small"),
    )
    sections = [
        *_measured(view, plots),
        Section("Accuracy", [picture(plots.accuracy)]),
        Section(
            "Figures",
            [table(figure_table(run.figures), wide=["remark"]) if run.figures else _nothing("No figure.")],
        ),
        Section("Is it valid?", _validity(view)),
        Section("Workload and data", _workload(view)),
        Section("Environment", [named_values(environment_values(run.environment))]),
        Section("Replay", _replay(view)),
    ]
    foot = f"Begun {run.begun}{f', ended {run.ended}' if run.ended else ''}. Written by `trivet report {run.id}`."
    return document(
        f"trivet: a run of {run.service}",
        page_body(f"trivet run {run.id}", f"A run of {run.service}", head, sections, foot),
    )


def _measured(view: RunView, plots: RunPlots) -> list[Section]:
    """What is drawn from rows; one sentence where there are none."""
    if not view.blocks:
        return [Section("Latency", [picture(plots.latency, heading=False)])]
    return [
        Section("Latency", [picture(plots.latency), picture(plots.over_time)]),
        Section("Load", [picture(plots.load)]),
        Section("Inside the server", [picture(plots.phases), picture(plots.queue), picture(plots.batches)]),
    ]


def _tiles(view: RunView) -> Markup | None:
    figures = view.run.figures
    made = [
        tile(short(name), value(figures[name]), [bounds(figures[name]), _slo_words(view, name)])
        for name in _TILES
        if name in figures
    ]
    return tiles(made) if made else _nothing("Nothing was measured.")


def _slo_words(view: RunView, name: str) -> str:
    is_its = view.slo_ms is not None and name == f"latency_p{view.percentile:g}_ms".replace(".", "")
    return f"SLO: {number(view.slo_ms or 0)} ms" if is_its else ""


def _floor_words(view: RunView) -> str:
    """What of a latency is not the server's."""
    p50, p99 = view.figure("floor_p50_ms"), view.figure("floor_p99_ms")
    if p50 is None or p99 is None:
        return "The floor under these latencies was not measured."
    return (
        f"The floor under every latency here: {value(p50)} at p50 and {value(p99)} at p99, of a target that answers at "
        f"once ({p50.verdict})."
    )


def _validity(view: RunView) -> list[Child]:
    run = view.run
    if run.state == "complete":
        words = "Valid: the load generator sent in time and had a core of its own, in at least half of the blocks."
    else:
        words = f"{run.state}: {run.reason or 'no reason was recorded'}"
    content: list[Child] = [tag("p", words)]
    rows: list[list[Cell]] = [
        [
            (str(record.block), float(record.block)),
            (f"{record.num_rows:,}", float(record.num_rows)),
            _ms(record.generator.send_lag_p99_ns),
            (f"{record.generator.busy_share:.0%}", record.generator.busy_share),
            (f"{record.generator.cpu_share:.0%}", record.generator.cpu_share),
            record.generator.invalid or ("stopped early" if record.partial else "valid"),
        ]
        for record in (measured.record for measured in view.blocks)
    ]
    if rows:
        head = ["block", "requests", "sends late by (p99)", "generator busy", "had of its core", "verdict"]
        content += [
            tag("h3", "The load generator, block by block"),
            table(Table(head, rows), wide=["verdict"]),
        ]
    return content


def _ms(ns: int) -> Cell:
    return f"{number(ns / NS_PER_MS)} ms", float(ns)


def _workload(view: RunView) -> list[Child]:
    run = view.run
    values = flat(run.workload) | {f"seed.{name}": seed for name, seed in run.seeds.items()}
    content: list[Child] = [named_values(values) if values else _nothing("No workload was recorded.")]
    if run.dataset:
        content += [tag("h3", "Data"), named_values(flat(run.dataset))]
    return content


def _replay(view: RunView) -> list[Child]:
    run = view.run
    commands = f"trivet replay {run.id}\ntrivet export {run.id} -o {run.id}.zip"
    content: list[Child] = [
        tag("p", "Measured by:"),
        tag("pre", tag("code", " ".join(run.command) or "its command was not recorded")),
        tag("p", "The same again, and as one file for another machine:"),
        tag("pre", tag("code", commands)),
        named_values(
            {"run": run.id, "configuration": run.configuration_hash or "of a foreign server: unknown"}
        ),
    ]
    if run.group:
        content.append(tag("p", f"Measured in turn with the other runs of group {run.group}."))
    return content


def _nothing(text: str) -> Markup:
    return tag("p", text, class_="missing")
