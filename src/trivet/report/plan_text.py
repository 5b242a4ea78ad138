"""A capacity plan for a terminal: one line first, then the table of loads, then what would help."""

from collections.abc import Iterator

from trivet.report.text import interval, number, table
from trivet.simulate.next_levers import MATTERS
from trivet.simulate.plan_records import LeverGain, Plan, Scenario, Window

_DAY_S, _HOUR_S = 86_400, 3_600
MAX_LEVERS = 8


def plan_text(plan: Plan) -> list[str]:
    return [
        plan.answer,
        "",
        *table(_facts(plan)),
        "",
        *_scenarios(plan),
        "",
        *_levers(plan.levers),
        *[f"note: {note}" for note in plan.notes],
    ]


def _facts(plan: Plan) -> list[list[str]]:
    first = plan.scenarios[0]
    bounds = interval(plan.replica_rps_low, plan.replica_rps_high)
    rows = [
        [
            "one replica",
            f"{number(plan.replica_rps)}/s {bounds} within the SLO, {plan.cpu_ms_per_request:.3g} ms of a core a request",
        ],
        ["at the peak", f"{number(first.peak_rps)}/s, cores busy {first.busy:.0%}, {_latency(plan, first)}"],
    ]
    rows += [[f"decided by {_chosen(window)}", _window(window)] for window in plan.windows]
    if plan.cost_processor is not None:
        rows.append(
            [
                "a million requests",
                f"{number(plan.cost_processor)} {plan.currency} of busy cores, {_paid(plan, first)}",
            ]
        )
    return rows


def _paid(plan: Plan, first: Scenario) -> str:
    return (
        f"{number(first.cost_provisioned or 0.0)} {plan.currency} of all of them, "
        f"{number(first.cost_followed or 0.0)} {plan.currency} if their number follows the load"
    )


def _scenarios(plan: Plan) -> list[str]:
    head = [
        "load",
        "scaled by",
        "mean/s",
        "peak/s",
        "replicas",
        "",
        "cores",
        "busy",
        f"p{plan.slo_percentile:g}",
    ]
    return table(
        [[*head, f"{plan.currency} a million" if plan.currency else ""]]
        + [_scenario(one) for one in plan.scenarios]
    )


def _scenario(one: Scenario) -> list[str]:
    return [
        f"x{one.scale:,.10g}",
        one.how,
        number(one.mean_rps),
        number(one.peak_rps),
        f"{one.replicas:,}",
        f"[{one.replicas_low:,}, {one.replicas_high:,}]",
        f"{one.cores:,}",
        f"{one.busy:.0%}",
        "not all answered" if one.latency_ms is None else f"{one.latency_ms:.3g} ms",
        "" if one.cost_provisioned is None else number(one.cost_provisioned),
    ]


def _levers(levers: list[LeverGain]) -> Iterator[str]:
    tried = [lever for lever in levers if lever.gain is not None]
    best = tried[0] if tried else None
    if best is not None and best.gain is not None and best.gain > 1 + MATTERS:
        yield f"next lever: {best.lever}, {best.gain:.2f} times the rate of a core"
    elif tried:
        yield "next lever: none of those that were profiled helps; replicas it is"
    else:
        yield "next lever: nothing else was profiled, so nothing can be said"
    yield from table([_lever(lever) for lever in levers[:MAX_LEVERS]])
    if len(levers) > MAX_LEVERS:
        yield f"  and {len(levers) - MAX_LEVERS} more: see --json"


def _lever(lever: LeverGain) -> list[str]:
    if lever.gain is None:
        return [lever.lever, "", lever.reason]
    return [
        lever.lever,
        f"x{lever.gain:.2f}",
        f"{number(lever.rate_rps or 0.0)}/s a replica, {lever.replicas:,} of them",
    ]


def _latency(plan: Plan, one: Scenario) -> str:
    if one.latency_ms is None:
        return "not all are answered"
    return f"p{plan.slo_percentile:g} {one.latency_ms:.3g} ms"


def _chosen(window: Window) -> str:
    return "the rate" if window.chosen_for == "rate" else "unevenness"


def _window(window: Window) -> str:
    return (
        f"{window.length_s:.3g} s from {_moment(window.begin_s)} on: {number(window.rate_rps)}/s, "
        f"index of dispersion {window.dispersion:.3g}"
    )


def _moment(seconds: float) -> str:
    days, rest = divmod(round(seconds), _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return f"day {days + 1} {clock}" if days else clock
