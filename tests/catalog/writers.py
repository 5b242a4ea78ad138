"""Processes of their own that write to a catalog: one that stops at a named point to be killed there, and others.

They are forked from a server that has imported everything already: starting Python anew takes longer than the test.
"""

import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

import msgspec

from tests.catalog.catalog_support import DRAFT, FIGURES, draft
from trivet.catalog.artifacts import Artifacts
from trivet.catalog.catalog import Catalog
from trivet.catalog.errors import FullError
from trivet.catalog.schema import sa
from trivet.catalog.study import Goal, Study
from trivet.catalog.writer import Writer

STUDY = Study(service="tiny", budget_ns=1, goal=Goal(slo_latency_ns=5_000_000))

POINTS = (
    "in the first opening",
    "before begin is on disk",
    "after begin",
    "before an artifact has its name",
    "after an artifact",
    "before finish is on disk",
    "after finish",
)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "psycopg", "alembic.command", "alembic.autogenerate", __name__])


def start(target: Callable[..., None], *arguments: Any) -> tuple[ForkServerProcess, Connection]:
    """The process, and the test's end of a pipe to it."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    return process, ours


def write_until(pipe: Connection, point: str, place: dict[str, str]) -> None:
    """Record a run; at `point` say "ready" and then only wait."""

    def reached(name: str) -> None:
        if name == point:
            pipe.send("ready")
            pipe.recv()

    if point == "in the first opening":
        sa.event.listen(sa.Engine, "commit", lambda _: reached(point))
    catalog = Catalog.open(**place)
    engine = catalog._database._engine
    earlier = catalog.begin(DRAFT)
    catalog.finish(earlier, "complete", figures=FIGURES, artifacts={"rows": catalog.put(b"earlier")})
    catalog.audit.append("ann", "approve", "before the kill")
    if point == "before begin is on disk":
        sa.event.listen(engine, "commit", lambda _: reached(point))
    run_id = catalog.begin(DRAFT)
    reached("after begin")
    move = Artifacts._move

    def move_later(self: Artifacts, draft: str, path: str) -> None:
        reached("before an artifact has its name")
        move(self, draft, path)

    Artifacts._move = move_later  # type: ignore[method-assign]
    digest = catalog.put(b"x" * 100_000)
    reached("after an artifact")
    if point == "before finish is on disk":
        sa.event.listen(engine, "commit", lambda _: reached(point))
    catalog.finish(run_id, "complete", figures=FIGURES, artifacts={"rows": digest})
    reached("after finish")


def write_ten(pipe: Connection, name: str, place: dict[str, str]) -> None:
    """When told to, ten runs, artifacts that others write too, and entries of the audit log."""
    pipe.recv()
    catalog = Catalog.open(**place)
    for index in range(10):
        run_id = catalog.begin(draft(service=name))
        digest = catalog.put(f"{index} of anybody".encode())
        catalog.audit.append(name, "append", str(index))
        catalog.finish(run_id, "complete", figures=FIGURES, artifacts={"rows": digest})


def write_elsewhere(pipe: Connection, place: dict[str, str]) -> None:
    """As a process of another machine does, whose ids mean nothing here: a run and a study are begun, then finished."""
    elsewhere = msgspec.structs.replace(
        Writer.current(), host="elsewhere", boot="another", namespace="pid:[1]"
    )
    Writer.current = classmethod(lambda cls: elsewhere)  # type: ignore[method-assign, assignment]
    catalog = Catalog.open(**place)
    run_id, study = catalog.begin(DRAFT), catalog.begin_study(STUDY)
    pipe.send((run_id, study.id))
    pipe.recv()
    catalog.finish(run_id, "complete", figures=FIGURES)
    catalog.save_study(msgspec.structs.replace(study, state="complete"))
    pipe.send("finished")
    pipe.recv()


def write_on_a_full_disk(pipe: Connection, url: str) -> None:
    """Send what was complete, what was running, and what each refused write said."""
    catalog = Catalog.open(url)
    earlier = catalog.begin(DRAFT)
    catalog.finish(earlier, "complete", figures=FIGURES, artifacts={"rows": catalog.put(b"earlier")})
    running = catalog.begin(DRAFT)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    large = "x" * 1_000_000
    told = {}
    for name, write in {
        "artifact": lambda: catalog.put(large.encode()),
        "begin": lambda: catalog.begin(draft(configuration={"large": large})),
        "finish": lambda: catalog.finish(running, "complete", figures=FIGURES, reason=large),
    }.items():
        try:
            write()
        except FullError as error:
            told[name] = str(error)
    pipe.send((earlier, running, told))
