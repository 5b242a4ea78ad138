"""The server's questions in the order in which they are measured and shown."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks._records import Comparison
from benchmarks._tables import Report


@dataclass(frozen=True, slots=True)
class Step:
    """One benchmark with its options. `with_peers` takes the place of `alone` where there are peers.

    `record`: the folder of its records under out/benchmarks.
    """

    title: str
    benchmark: str
    record: str
    alone: tuple[str, ...] = ()
    with_peers: tuple[str, ...] | None = None
    takes_peers: bool = False  # the option --peers

    def args(self, peers: str | None) -> list[str]:
        if peers is None or not self.takes_peers:
            return list(self.alone)
        return [*(self.alone if self.with_peers is None else self.with_peers), "--peers", peers]

    def report(self, comparison: Comparison) -> Report:
        module = importlib.import_module(f"benchmarks.{self.benchmark}")
        make: Callable[[Comparison], Report] = module.report
        return make(comparison)


def _sides(options: str, alone: str, with_peers: str) -> dict[str, tuple[str, ...]]:
    return {
        "alone": (*options.split(), "--sides", *alone.split(",")),
        "with_peers": (*options.split(), "--sides", *with_peers.split(",")),
    }


# 50 and 150 requests/s to the text model are a fifth and two thirds of what the goals' machine does in process, 223.
_TEXT_PEERS = "mosec-2ms,triton,granian-batch"
STEPS = (
    Step(
        "A small model: the most answers a second",
        "maximum",
        "maximum-tiny",
        **_sides(
            "--model tiny",
            "trivet,trivet-binary",
            "trivet,trivet-binary,mosec-1ms,mosec-2ms,mosec-5ms,sketch-v2",
        ),
        takes_peers=True,
    ),
    Step(
        "A small model: latency at 1,000 requests/s",
        "latency",
        "latency-tiny-1000",
        **_sides("--model tiny --rate 1000", "trivet", "trivet,granian-null"),
        takes_peers=True,
    ),
    Step("Binary tensors beside JSON", "payloads", "payloads"),
    Step("The cost of Server-Timing", "server_timing", "server_timing"),
    Step("Two workers", "two_workers", "two_workers"),
    Step("Start, memory, commands", "start_time", "start_time"),
    Step("Switching configurations under load", "switch", "switch"),
    Step("Faults beside a small model", "faults", "faults", takes_peers=True),
    Step(
        "A text model: the most answers a second",
        "maximum",
        "maximum-text",
        **_sides("--model text --seconds 4", "trivet,in process", f"trivet,in process,{_TEXT_PEERS}"),
        takes_peers=True,
    ),
    Step(
        "A text model: latency at 50 requests/s",
        "latency",
        "latency-text-50",
        **_sides("--model text --rate 50 --meant-for 223 --seconds 8", "trivet", "trivet,granian"),
        takes_peers=True,
    ),
    Step(
        "A text model: latency at 150 requests/s",
        "latency",
        "latency-text-150",
        **_sides("--model text --rate 150 --meant-for 223 --seconds 6", "trivet", f"trivet,{_TEXT_PEERS}"),
        takes_peers=True,
    ),
    Step("Real sentences of mixed length", "mixed_sentences", "mixed_sentences", takes_peers=True),
    Step("Overload: the text model", "overload", "overload-text", ("--model", "text"), takes_peers=True),
    Step("Overload: a busy loop in Python", "overload", "overload-busy", ("--model", "busy")),
    Step("After a spike: the text model", "spikes", "spikes-text", ("--model", "text"), takes_peers=True),
    Step("After a spike: a busy loop in Python", "spikes", "spikes-busy", ("--model", "busy")),
)
