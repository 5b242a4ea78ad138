"""What binary tensors save: the maximum in JSON and in binary, for rows of 30 and of 1,000 floats."""

from collections.abc import Callable, Sequence

from benchmarks._harness import (
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._payloads import FEATURES, payloads
from benchmarks._sides import SIDES, model_file, start
from benchmarks._tables import Goal, Report
from benchmarks._wrk import maximum

QUESTION = "What do binary tensors save over JSON, for rows of 30 and of 1,000 floats?"
SHORT = False
_KINDS = ("tiny", "wide")
_LANGUAGES = {"JSON": "trivet", "binary": "trivet-binary"}


def main(args: Sequence[str] = ()) -> int:
    options = parser("payloads", QUESTION, seconds=2).parse_args(args)
    server_core, client_core = server_and_client_core()

    def measured(kind: str, name: str) -> Callable[[int], Measurement]:
        side, model = SIDES[name], model_file(kind, None)
        requests = payloads(kind, side.speaks)

        def measure(_seed: int) -> Measurement:
            with start(side, kind, model, server_core, None) as server:
                return maximum(
                    server.target,
                    requests,
                    core=client_core,
                    seconds=options.seconds,
                    folder=OUT / "sides" / name,
                )

        return measure

    comparison = compare(
        "payloads",
        {
            _side(language, kind): measured(kind, name)
            for kind in _KINDS
            for language, name in _LANGUAGES.items()
        },
        num_blocks=options.blocks,
        seed=options.seed,
        settings={"warm-up": "1 s", "measured": f"{options.seconds:g} s by wrk, 32 connections"},
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    table = comparison_table(comparison, "max_rps", _side("JSON", "tiny"), unit="answers/s")
    goals = []
    for kind, at_least in (("tiny", 1.0), ("wide", 2.0)):
        binary, text = _side("binary", kind), _side("JSON", kind)
        ratio = None if comparison.is_empty() else comparison.ratio(binary, text, "max_rps")
        goals.append(Goal(f"{binary} / {text}", ratio, at_least=at_least, reason="no valid block"))
    return Report(comparison, [table], goals)


def _side(language: str, kind: str) -> str:
    return f"{language}, {FEATURES[kind]:,} floats"
