"""The background process: `python -m trivet.serve.background`, started by the supervisor.

It ends when the last worker and the supervisor are gone, and not before: whoever signals the whole process group or
service means the supervisor.
"""

import argparse
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from trivet.clock import MonotonicClock
from trivet.host import give_way
from trivet.serve.background.page import Page
from trivet.serve.background.receiving import Sink, receive


def say(text: str) -> None:
    print(f"trivet: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the server's log is its stderr


def sinks_of(arguments: argparse.Namespace, page: Page) -> list[Sink]:
    sinks: list[Sink] = []
    if arguments.rows is not None:
        from trivet.serve.background.parquet import ParquetFiles

        sinks.append(
            ParquetFiles(arguments.rows, page, writer=arguments.writer, share=arguments.share, say=say)
        )
    if arguments.traces is not None:
        from trivet.serve.background.spans import Spans
        from trivet.serve.background.traces import OtlpExporter, Traces

        sinks.append(Traces(page, Spans(), OtlpExporter(arguments.traces), say))
    return sinks


def main(argv: Sequence[str] | None = None) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="trivet-background", description="started by the supervisor")
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--page", type=int, required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--writer", default="")
    parser.add_argument("--traces")
    arguments = parser.parse_args(argv)
    give_way()
    sinks = sinks_of(arguments, Page(arguments.page))
    receive(socket.socket(fileno=arguments.samples), sinks, MonotonicClock.now_ns)


if __name__ == "__main__":
    main()
