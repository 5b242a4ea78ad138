"""Real sentences of mixed length, tokenized in the server, through an encoder with an attention mask."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import _sentences
from benchmarks._harness import (
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._peer_packages import extra
from benchmarks._processes import Server
from benchmarks._sides import start_peer
from benchmarks._tables import Goal, Report
from benchmarks._trivet import Trivet
from benchmarks._wrk import maximum
from benchmarks.maximum import best

QUESTION = "How many real sentences a second, tokenized in the server (closed loop, 32 connections)?"
SHORT = False
BATCHES = (1, 2, 4, 8, 16, 32)
_SCRIPTS = Path(__file__).parent / "peers"
_MOSEC = {f"mosec, batches to {batch}": batch for batch in BATCHES}
_GRANIAN = {"granian and a batcher, to 16": 16}
_SIXTEEN = "mosec, batches to 16"


def main(args: Sequence[str] = ()) -> int:
    made = parser("mixed_sentences", QUESTION, seconds=4, peers=True)
    made.add_argument("--granian", action="store_true", help="also granian with a batcher by hand")
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    folder = _sentences.prepare(options.peers)

    def measured(start: Callable[[], Server], name: str, speaks: str) -> Callable[[int], Measurement]:
        def measure(seed: int) -> Measurement:
            with start() as server:
                return maximum(
                    server.target,
                    _sentences.requests(speaks, seed),
                    core=client_core,
                    seconds=options.seconds,
                    folder=OUT / "sides" / name,
                )

        return measure

    def own() -> Server:
        first = _sentences.requests("v2", 0)[0]
        return Trivet.serve("trivet-sentences", [folder / "service.yaml"], cores=[server_core], first=first)

    sides = {"trivet": measured(own, "trivet-sentences", "v2")}
    wanted = [("mosec", _MOSEC), *([("granian", _GRANIAN)] if options.granian else [])]
    for name, by_batch in wanted:
        if _is_there(name, options.peers):
            for side, batch in by_batch.items():
                start = functools.partial(_start_peer, name, batch, folder, options.peers, server_core)
                sides[side] = measured(start, f"{name}-sentences", "x")
    comparison = compare(
        "mixed_sentences",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "sentences": "Banking77, test part" if _sentences.source() else "drawn",
            "weights": "MiniLM-L6" if options.peers else "drawn",
            "warm-up": "1 s",
            "measured": f"{options.seconds:g} s by wrk, 32 connections",
        },
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def _start_peer(name: str, batch: int, folder: Path, peers: Path, core: int) -> Server:
    environment = {
        "PEER_BATCH": str(batch),
        "PEER_DELAY_MS": "2",
        "PYTHONPATH": str(extra(peers)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    return start_peer(
        f"{name}-sentences",
        _SCRIPTS / f"sentences_{name}.py",
        peers / name / "bin" / "python",
        folder / "encoder.onnx",
        core,
        _sentences.requests("x", 0)[0],
        environment,
    )


def report(comparison: Comparison) -> Report:
    mosec = best(comparison, [side for side in comparison.sides() if side in _MOSEC])
    base = mosec or "trivet"
    goals = []
    for what, side, at_least in (
        ("mosec at its best batch limit", mosec, 1.1),
        ("mosec at batch 16", _SIXTEEN, 1.3),
    ):
        ratio = None
        if side in comparison.sides() and not comparison.is_empty():
            ratio = comparison.ratio("trivet", side, "max_rps")
        goals.append(Goal(f"trivet / {what}", ratio, at_least=at_least))
    return Report(comparison, [comparison_table(comparison, "max_rps", base, unit="answers/s")], goals)


def _is_there(peer: str, peers: Path | None) -> bool:
    """Whether a peer and the tokenizer for it are installed; else it is named on stderr."""
    if peers is not None and (peers / peer / "bin" / "python").exists() and extra(peers).is_dir():
        return True
    sys.stderr.write(f"missing: {peer} (needs --peers DIR, and `python -m benchmarks._peer_packages DIR`)\n")
    return False
