"""A model answers in chunks, and who asked wants the answer whole: the chunks are kept until the last is there."""

from trivet.errors import RequestError
from trivet.runtime.request import Reply, Request
from trivet.runtime.results import Results
from trivet.wire.openai_server import PieceWriter


class Joined:
    """The `StreamReply` of such a request; `reply` hears of it once.

    The deadline stays that of the first chunk, as for every answer in chunks.
    """

    __slots__ = ("_is_over", "_pieces", "_reply")

    def __init__(self, reply: Reply, pieces: PieceWriter) -> None:
        self._reply = reply
        self._pieces = pieces
        self._is_over = False

    def answer(self, request: Request, results: Results, start: int) -> None:
        self._reply.answer(request, results, start)

    def fail(self, request: Request, error: RequestError) -> None:
        self._reply.fail(request, error)

    def chunk(self, request: Request, results: Results) -> None:
        if self._is_over:
            return
        stream = request.stream  # none where the chunks were kept from another answer
        try:
            self._pieces.add(results.outputs)
        except RequestError as error:
            self._is_over = True
            if stream is not None:
                stream.stop("OTHER")
            if request.live.fronts is not None:
                request.live.fronts.left(request)
            self._reply.fail(request, error)
            return
        if stream is not None:
            stream.grant(1)

    def ended(self, request: Request, error: RequestError | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        request.stream = None
        if error is None:
            try:
                results = Results(self._pieces.joined(), False, request.rows)
            except RequestError as not_whole:
                error = not_whole
            else:
                self._reply.answer(request, results, 0)
                return
        self._reply.fail(request, error)
