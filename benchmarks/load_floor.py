"""The load generator against a target that answers at once: the floor under every figure."""

import argparse
import sys
from collections.abc import Callable, Sequence

from benchmarks._harness import (
    NS_PER_S,
    OUT,
    Comparison,
    Measurement,
    compare,
    markdown_table,
    measurement_of,
    server_and_client_core,
)
from benchmarks._processes import Server, free_port, offer_from
from trivet.load.arrivals import Poisson
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop

QUESTION = "What does the load generator itself cost, and how fast can it offer load?"
SHORT = True

BODY = b"x" * 400  # about what 30 floats take as JSON
WARMUP_NS = NS_PER_S // 2


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks load_floor", description=QUESTION)
    parser.add_argument("--rates", type=float, nargs="*", default=[1_000, 5_000, 10_000, 20_000])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    server_core, client_core = server_and_client_core()
    duration_ns = WARMUP_NS + int(options.seconds * NS_PER_S)
    loads: dict[str, OpenLoop | ClosedLoop] = {
        f"{rate:,.0f}/s": OpenLoop(arrivals=Poisson(rate_rps=rate, duration_ns=duration_ns))
        for rate in options.rates
    }
    loads["closed, 32 users"] = ClosedLoop(num_users=32, duration_ns=duration_ns)
    target = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "benchmarks._null_target", target.rpartition(":")[2]]
    request = HttpRequest(path="/v2/models/m/infer", headers={"Content-Type": "application/json"}, body=BODY)

    def side(load: OpenLoop | ClosedLoop) -> Callable[[int], Measurement]:
        def measure(seed: int) -> Measurement:
            job = Job(target=target, requests=[request], load=load, seed=seed, warmup_ns=WARMUP_NS)
            return measurement_of(offer_from(client_core, job))

        return measure

    with Server.start(command, target, log=OUT / "load_floor" / "target.log", cores=[server_core]):
        comparison = compare(
            "load_floor",
            {name: side(load) for name, load in loads.items()},
            num_blocks=options.blocks,
            seed=options.seed,
            settings={"warm-up": "0.5 s", "measured": f"{options.seconds:g} s", "body": f"{len(BODY)} bytes"},
        )
    print(f"# {QUESTION}\n\n{comparison.preface()}\n")
    print(table(comparison))
    return 0


def table(comparison: Comparison) -> str:
    sides = list(dict.fromkeys(record.side for record in comparison.records))
    rows = []
    for record in sorted(comparison.records, key=lambda record: (sides.index(record.side), record.block)):
        values = record.measurement.values
        rows.append(
            [
                record.side,
                record.block,
                f"{values['throughput_rps']:,.0f}",
                f"{values['p50_ns'] / 1e3:.0f}",
                f"{values['p99_ns'] / 1e3:.0f}",
                f"{values['send_lag_p99_ns'] / 1e3:.0f}",
                f"{values['client_busy_share']:.0%}",
                "no" if record.measurement.invalid else "yes",
            ]
        )
    header = ["offered", "block", "answered/s", "p50 µs", "p99 µs", "p99 send lag µs", "client busy", "valid"]
    return markdown_table(header, rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
