"""A request on its way: what came in, where the answer goes, and the instants that its phases are computed from."""

from typing import TYPE_CHECKING, Any, Protocol

from trivet.errors import RequestError
from trivet.runtime.results import Results
from trivet.schedule.job import WAITING, Job
from trivet.schedule.queue import Queue
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trivet.runtime.exiting import Parting
    from trivet.runtime.fronts.front import Held
    from trivet.runtime.live import LiveService
    from trivet.runtime.notes import Notes
    from trivet.runtime.splitting import Split
    from trivet.runtime.streaming import Stream


class Reply(Protocol):
    """Where an answer goes. Each request gets exactly one call, of one of the two kinds."""

    def answer(self, request: "Request", results: Results, start: int) -> None:
        """The request's rows are `results[start : start + request.rows]`."""

    def fail(self, request: "Request", error: RequestError) -> None: ...


class StreamReply(Reply, Protocol):
    """Where an answer in chunks goes: any number of chunks, then `ended` once; `fail` where it never began."""

    def chunk(self, request: "Request", results: Results) -> None:
        """All of `results` is the request's. For each chunk taken, `request.stream.grant` lets one more be made."""

    def ended(self, request: "Request", error: RequestError | None) -> None:
        """Nothing more comes; with an error the answer is not whole."""


class Request(Job):
    """One request for one model of one service; mutable, lives until its answer is written.

    Instants are monotonic nanoseconds: `received_ns` (first byte read) <= `arrival_ns` (offered to the scheduler).
    """

    __slots__ = (
        "answers_after",
        "batch_rows",
        "carried",
        "declared",
        "end_by_ns",
        "ended_ns",
        "exit",
        "first_row",
        "formed_ns",
        "inputs",
        "live",
        "message",
        "notes",
        "options",
        "priority",
        "received_ns",
        "reply",
        "response",
        "split",
        "stage",
        "started_ns",
        "stream",
    )

    # What earlier stages gave for later ones, by name. Set for pipelines only: a lone model's requests pay nothing.
    carried: "dict[str, NDArray[Any]]"
    # Where there is a ladder only: its inputs for the declared model, whoever else has taken it.
    declared: list[InferInput]
    # Where there are exits only: the model that answers it (or will, as it looks now); of each row where they parted.
    exit: str | list[str]

    def __init__(
        self,
        queue: Queue,
        rows: int,
        arrival_ns: int,
        deadline_ns: int,
        received_ns: int,
        live: "LiveService",
        message: InferMessage,
        reply: Reply,
    ) -> None:
        # Job.__init__, written out: a call less for every request
        self.queue = queue
        self.rows = rows
        self.arrival_ns = arrival_ns
        self.deadline_ns = deadline_ns  # of this stage
        self.state = WAITING
        self.end_by_ns = deadline_ns  # of the whole request
        self.received_ns = received_ns
        self.live = live
        self.message = message
        self.inputs: list[InferInput] = message.inputs
        self.reply = reply
        self.stage = 0
        self.answers_after: Any = live.last_stage  # the stage whose results are the answer
        self.split: Split | Parting | Held | None = (
            None  # while it is on its way in parts, or a front holds it
        )
        self.stream: Stream | None = None  # while it is answered in chunks
        self.first_row = 0  # of a part: where it begins in its whole
        self.priority = 0
        self.formed_ns = 0  # its batch was formed
        self.started_ns = 0  # the engine began
        self.ended_ns = 0  # the engine was done
        self.batch_rows = 0
        self.notes: Notes | None = None  # what came between it and its pipeline
        self.options: Any = None  # what the front (HTTP, ...) needs for the answer
        self.response: bytes | None = None
