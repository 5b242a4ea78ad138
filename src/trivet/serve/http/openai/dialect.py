"""What one request's answer is written with where its client speaks as to OpenAI."""

from collections.abc import Sequence

from trivet.errors import EngineError, RequestError
from trivet.serve.http.openai.errors import error_answer, error_text
from trivet.serve.http.response import status_of
from trivet.spec.deployment import Statuses
from trivet.wire.openai_outputs import Outputs
from trivet.wire.openai_server import AnswerWriter, PieceWriter


class Dialect:
    """Args: pieces: the writer, where the answer may come in pieces."""

    __slots__ = ("_pieces", "_statuses", "_writer")

    def __init__(self, writer: AnswerWriter, pieces: PieceWriter | None, statuses: Statuses) -> None:
        self._writer = writer
        self._pieces = pieces
        self._statuses = statuses

    def whole(self, outputs: Outputs) -> bytes:
        """Raises: EngineError: the model gave no such answer; so do all methods here."""
        return self._writer.whole(outputs)

    def events(self, outputs: Outputs) -> list[bytes]:
        return self._in_pieces().events(outputs)

    def piece(self, outputs: Outputs) -> bytes | None:
        return self._in_pieces().piece(outputs)

    def end(self) -> list[bytes]:
        return self._in_pieces().end()

    def _in_pieces(self) -> PieceWriter:
        if self._pieces is None:
            raise EngineError("the model gave pieces of an answer that has none")
        return self._pieces

    def failure(self, error: RequestError, headers: Sequence[tuple[str, str]]) -> bytes:
        """The answer to a request that failed."""
        return error_answer(error, self._statuses, headers)

    def error_event(self, error: RequestError) -> bytes:
        """The last event of an answer that is not whole."""
        return error_text(error, status_of(error, self._statuses))
