"""Where a request's time went inside the server: phases, queue delay, and how full batches were."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.measured import Measured
from trivet.report.look import CATEGORIES, LIGHT
from trivet.report.nines import distribution_points, nines_axis
from trivet.report.numbers import number
from trivet.report.pictures.axes import log_scale
from trivet.report.pictures.plot import Cell, Missing, Plot, Shown, Table
from trivet.spec.row import PHASES, RowColumns

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NS_PER_MS = 1e6
MIN_MS = 1e-3
OUTSIDE = "outside"  # the server: network, client, and waiting to be sent
_WORDS = {"batch_wait": "batch wait", OUTSIDE: "outside the server"}
_SLOWEST = (("all requests", 0.0), ("slowest tenth", 0.9), ("slowest hundredth", 0.99))
_MIN_REQUESTS = 10  # of a group, so that its mean is worth a bar
_TEXT_FROM = 0.07  # of a bar: below it a word does not fit
_MAX_BARS = 40
_WITHIN: Mapping[str, Any] = {"ha": "center", "va": "center", "fontweight": "bold"}
_NO_PHASES = (
    "the server told no phases: it is not ours, was asked not to (`--no-phases`), or answered nothing."
)


def phases(blocks: Sequence[Measured]) -> Shown:
    """Mean time in each phase, of all requests and of the slowest: what makes the tail."""
    found = _with_phases(blocks)
    if found is None:
        return Missing("phases", "Where the time goes", _NO_PHASES)
    latencies, times = found
    groups = []
    for name, share in _SLOWEST:
        # At least the slowest one: a rank, not a quantile between two.
        chosen = np.argsort(latencies, kind="stable")[int(share * len(latencies)) :]
        if len(chosen) >= _MIN_REQUESTS:
            groups.append(
                (
                    name,
                    float(latencies[chosen].mean()),
                    {p: float(t[chosen].mean()) for p, t in times.items()},
                )
            )
    if not groups:
        return Missing(
            "phases",
            "Where the time goes",
            f"{len(latencies)} requests told their phases: too few for a mean.",
        )

    rows: list[list[Cell]] = [
        [name, (f"{number(total)} ms", total), *((f"{number(means[p])} ms", means[p]) for p in times)]
        for name, total, means in groups
    ]
    return Plot(
        name="phases",
        title="Where the time goes",
        caption=f"Mean share of each phase, of {len(latencies):,} requests that the server told them of, and of the slowest "
        "among these. What grows from the first bar to the last is what makes the tail.",
        alt="Stacked bars of the phases of a request: "
        + "; ".join(
            f"{name} {number(total)} ms, mostly {_word(max(means, key=lambda p: means[p]))}"
            for name, total, means in groups
        ),
        draw=lambda canvas, narrow: _stacked(canvas, groups, narrow=narrow),
        table=Table(["of", "mean latency", *map(_word, times)], rows),
        heights=(2.9, 3.1),
    )


def _stacked(
    canvas: "Canvas", groups: Sequence[tuple[str, float, Mapping[str, float]]], *, narrow: bool
) -> None:
    """A bar for each group, as long as the others: what differs is how it is divided."""
    axes = canvas.subplots()
    left = np.zeros(len(groups))
    for phase, colour in zip(groups[0][2], CATEGORIES, strict=True):
        shares = np.array([means[phase] / total for _, total, means in groups])
        settings: dict[str, Any] = {
            "color": LIGHT[colour],
            "edgecolor": LIGHT["paper"],
            "linewidth": 1,
            "height": 0.62,
        }
        axes.barh(range(len(groups)), shares, left=left, label=_word(phase), **settings)
        for row, share in enumerate(shares):
            if share >= (2 if narrow else 1) * _TEXT_FROM:
                axes.text(left[row] + share / 2, row, f"{share:.0%}", color=LIGHT["paper"], **_WITHIN)
        left += shares
    axes.set_yticks(range(len(groups)), [f"{name}\n{number(total)} ms" for name, total, _ in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"], length=0)
    canvas.legend(loc="outside lower center", ncols=3 if narrow else 6, handlelength=1, columnspacing=1.2)


def queue_delay(blocks: Sequence[Measured]) -> Shown:
    """How long requests waited, and how much of it on purpose, for a larger batch."""
    rows = [measured.window for measured in blocks]
    waits = {name: _known(rows, f"{name}_ns") / NS_PER_MS for name in ("queue", "batch_wait")}
    shown = {name: values for name, values in waits.items() if len(values) and values.max() > 0}
    if not shown:
        why = "no request waited." if len(waits["queue"]) else _NO_PHASES
        return Missing("queue", "Queue delay", why)

    def draw(canvas: "Canvas", narrow: bool) -> None:
        axes = canvas.subplots()
        for (name, values), colour, style in zip(shown.items(), ("c1", "c2"), ("-", "--"), strict=False):
            points = distribution_points(np.maximum(values, MIN_MS))
            axes.plot(*points, color=LIGHT[colour], linestyle=style, linewidth=1.8, label=_word(name))
        highest = max(float(values.max()) for values in shown.values())
        log_scale(axes, "x", (MIN_MS, max(highest, 2 * MIN_MS)))
        nines_axis(axes, max(map(len, shown.values())))
        axes.set_xlabel(f"ms ({MIN_MS:g} and less at the left edge)")
        axes.set_ylabel("requests that waited at most this long")
        axes.legend(loc="upper left")

    table: list[list[Cell]] = [
        [f"{share:.1%}", *(_at(values, share) for values in shown.values())]
        for share in (0.5, 0.9, 0.99, 0.999)
    ]
    return Plot(
        name="queue",
        title="Queue delay",
        caption="How long requests waited in the queue, and in a batch that was still being filled.",
        alt="Cumulative distribution of the time that requests waited",
        draw=draw,
        table=Table(["share of requests", *(f"{_word(name)} at most" for name in shown)], table),
        heights=(3.4, 3.2),
    )


def batch_fill(blocks: Sequence[Measured]) -> Shown:
    """How many rows the batches had that requests ran in."""
    sizes = _known([measured.window for measured in blocks], "batch_size")
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return Missing("batches", "Batch fill", _NO_PHASES)
    edges = batch_edges(int(sizes.max()))
    shares = np.histogram(sizes, [*edges, edges[-1] + 1 << 1])[0] / len(sizes)
    names = batch_names(edges, int(sizes.max()))

    def draw(canvas: "Canvas", narrow: bool) -> None:
        axes = canvas.subplots()
        axes.bar(range(len(names)), shares, color=LIGHT["c1"], width=0.8)
        step = max(1, len(names) // (6 if narrow else 16))
        axes.set_xticks(range(0, len(names), step), names[::step])
        axes.set_yticks([tick for tick in axes.get_yticks() if tick >= 0])
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("rows of the batch")
        axes.set_ylabel("share of requests")

    rows: list[list[Cell]] = [
        [name, (f"{share:.2%}", float(share))] for name, share in zip(names, shares, strict=True) if share
    ]
    return Plot(
        name="batches",
        title="Batch fill",
        caption=f"In how large a batch requests ran: {sizes.mean():.1f} rows on average over requests, "
        f"{int(sizes.max())} at most.",
        alt=f"Share of requests by size of their batch: from 1 to {int(sizes.max())} rows, {sizes.mean():.1f} on average",
        draw=draw,
        table=Table(["rows of the batch", "share of requests"], rows),
        heights=(3.0, 2.8),
    )


def _with_phases(
    blocks: Sequence[Measured],
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]] | None:
    """Latencies and time in each phase, in ms, of results whose phases are known; None where there are none."""
    latencies: list[NDArray[Any]] = []
    times: dict[str, list[NDArray[Any]]] = {phase: [] for phase in PHASES}
    for measured in blocks:
        window = measured.window
        known = window.words["outcome"].equal("ok", "late") & (window["compute_ns"] >= 0)
        latencies.append(window.latency_ns()[known] / NS_PER_MS)
        for phase in PHASES:
            times[phase].append(np.maximum(window[f"{phase}_ns"][known], 0) / NS_PER_MS)
    joined = np.concatenate([np.array([]), *latencies])
    if not len(joined):
        return None
    found = {phase: np.concatenate(parts) for phase, parts in times.items()}
    found[OUTSIDE] = np.maximum(joined - np.sum(list(found.values()), axis=0), 0)
    return joined, found


def _known(rows: Sequence[RowColumns], column: str) -> NDArray[np.float64]:
    values = [part[column][part[column] >= 0] for part in rows]
    return np.concatenate([np.array([]), *values])


def batch_edges(largest: int) -> list[int]:
    """One bar for each size, or, where there are many, for each power of two."""
    if largest <= _MAX_BARS:
        return list(range(1, largest + 1))
    return [1 << i for i in range(largest.bit_length())]


def batch_names(edges: Sequence[int], largest: int) -> list[str]:
    ends = [*(edge - 1 for edge in edges[1:]), largest]
    return [str(low) if low >= high else f"{low}-{high}" for low, high in zip(edges, ends, strict=True)]


def _at(values: NDArray[np.float64], share: float) -> Cell:
    found = float(np.quantile(values, share, method="inverted_cdf"))
    return f"{number(found)} ms", found


def _word(phase: str) -> str:
    return _WORDS.get(phase, phase)
