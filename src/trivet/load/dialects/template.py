"""Any JSON endpoint: a template makes the request of a row, paths find the outputs in the answer."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.dialects.contract import Row, read_ok
from trivet.load.dialects.json_path import JsonPath
from trivet.load.dialects.placeholders import Template
from trivet.load.job import HttpRequest
from trivet.wire.tensor import shown
from trivet.wire.v2_client import BadResponseError, error_text


class JsonTemplate:
    """Args: path: of the endpoint.  template: JSON text with places like `{{text}}` (see `Template`).
    answer: for each output the path of its value in the answer, as `$.result[0].score`.
    Raises: SpecError: template or path cannot be read, or there is no output.
    """

    def __init__(
        self,
        path: str,
        template: str,
        answer: Mapping[str, str],
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not path.startswith("/"):
            raise SpecError(f"path {path!r} does not start with a slash, as in /predict")
        if not answer:
            raise SpecError(
                "no output is named: say where in the answer it stands, as in score=$.result[0].score"
            )
        self._path, self._method, self._template = path, method, Template(template)
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._answer = {name: JsonPath(place) for name, place in answer.items()}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that the template takes."""
        return self._template.names

    def requests(self, rows: Sequence[Row]) -> list[HttpRequest]:
        return [
            HttpRequest(
                path=self._path,
                method=self._method,
                headers=self._headers,
                body=self._template.fill(row, number).encode(),
            )
            for number, row in enumerate(rows, start=1)
        ]

    def outputs(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
        """Numbers as float64, int64 or bool, text as BYTES; a single value has the shape ()."""
        return read_ok(status, body, self._read)

    def _read(self, body: bytes) -> dict[str, NDArray[Any]]:
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise BadResponseError(f"the answer is not JSON: {error_text(body)}") from None
        return {name: _array(name, path.find(message)) for name, path in self._answer.items()}


def _array(name: str, value: Any) -> NDArray[Any]:
    """Raises: BadResponseError: not numbers, or not text, of one shape."""
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise BadResponseError(f"output {name!r}: lists of different lengths: {shown(value)}") from None
    if array.dtype.kind == "U" and _only_text(value):
        flat = [text.encode() for text in array.reshape(-1).tolist()]
        encoded = np.empty(len(flat), object)
        encoded[:] = flat
        return encoded.reshape(array.shape)
    if array.dtype.kind not in "bif" or not array.size:
        raise BadResponseError(f"output {name!r} is {shown(value)}: expected numbers or text")
    return array


def _only_text(value: Any) -> bool:
    """numpy would turn numbers beside a text into texts, too."""
    return all(_only_text(one) for one in value) if isinstance(value, list) else isinstance(value, str)
