"""Tokens that Python code counts itself, where clients ask in OpenAI's words: who asks pays for them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trivet.runtime.results import Results
from trivet.spec.openai import COUNTS, OpenAIForm
from trivet.wire.openai import tokens_of
from trivet.wire.openai_outputs import all_bytes

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.request import Request

Outputs = Mapping[str, NDArray[Any]]
TokensOf = Callable[[Outputs], tuple[int, int]]


def token_counter(form: OpenAIForm, names: Sequence[str]) -> TokensOf | None:
    """What reads the tokens of the input and of the output. Args: names: of a model's outputs.  None: it tells of none."""
    if form.is_raw:
        return (lambda outputs: _in_messages(outputs, form.answer)) if form.answer in names else None
    counts = [name if name in form.counts and name in names else None for name in COUNTS]
    if not any(counts):
        return None
    given, made = counts
    return lambda outputs: (_sum(outputs, given), _sum(outputs, made))


def charge_tokens(model: "LiveModel", requests: "Sequence[Request]", results: Results) -> None:
    """Each request of a batch for its own. Args: results: of the batch, the requests one behind the other."""
    assert model.tokens_of is not None  # who calls has looked
    start = 0
    for request in requests:
        costing = request.live.costing
        if costing is not None:
            costing.counted(request, model.name, model.tokens_of(results.part(start, request.rows)))
        start += request.rows


def _sum(outputs: Outputs, name: str | None) -> int:
    return 0 if name is None else max(0, int(outputs[name].sum()))


def _in_messages(outputs: Outputs, name: str) -> tuple[int, int]:
    """Of whole messages as an API gives them, or of one event of a stream."""
    found = (0, 0)
    for data in all_bytes(outputs, name):
        if b'"usage"' in data:
            try:
                message = json.loads(data)
            except (ValueError, RecursionError):
                continue  # whoever asked is told; it says nothing of tokens
            if isinstance(message, dict):
                found = max(found, tokens_of(message.get("usage")))
    return found
