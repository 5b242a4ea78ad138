"""A process that records a run and stops at one point, until it is killed there.

python -m tests.catalog.killed_writer POINT URL ARTIFACTS: says "ready" at its point, and then only waits.
"""

import sys
from typing import Any

from tests.catalog.catalog_support import DRAFT, FIGURES
from trivet.catalog.artifacts import Artifacts
from trivet.catalog.catalog import Catalog
from trivet.catalog.schema import sa

POINTS = (
    "in the first opening",
    "before begin is on disk",
    "after begin",
    "before an artifact has its name",
    "after an artifact",
    "before finish is on disk",
    "after finish",
)


def main(point: str, url: str, artifacts: str) -> None:
    def reached(name: str) -> None:
        if name == point:
            print("ready", flush=True)  # noqa: T201
            sys.stdin.read()

    def before_commit(name: str) -> Any:
        return lambda connection: reached(name)

    if point == "in the first opening":
        sa.event.listen(sa.Engine, "commit", before_commit(point))
    catalog = Catalog.open(url, artifacts=artifacts)
    engine = catalog._database._engine
    earlier = catalog.begin(DRAFT)
    catalog.finish(earlier, "complete", figures=FIGURES, artifacts={"rows": catalog.put(b"earlier")})
    catalog.audit.append("ann", "approve", "before the kill")
    if point == "before begin is on disk":
        sa.event.listen(engine, "commit", before_commit(point))
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
        sa.event.listen(engine, "commit", before_commit(point))
    catalog.finish(run_id, "complete", figures=FIGURES, artifacts={"rows": digest})
    reached("after finish")


if __name__ == "__main__":
    main(*sys.argv[1:])
