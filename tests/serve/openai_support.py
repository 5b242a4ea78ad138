"""Small models that speak as OpenAI's do, and what tests of them need."""

import contextlib
import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from tests.support.server import ServerProcess

CODE = """
import json
import numpy as np
from trivet.errors import BadRequestError

def texts(*names):
    return [{"name": name, "datatype": "BYTES", "shape": [1]} for name in names]

log = open("log", "a", buffering=1)

# Says the words of the last message; before each one it waits for a word of its own where that is wanted.
def talk(inputs):
    options = json.loads(inputs["options"][0])
    if "top_k" in options:
        raise BadRequestError("no top_k here")
    said = json.loads(inputs["messages"][0])[-1]["content"].split(" ")
    words = open("words") if options.get("waits") else None
    log.write(f"begun {len(said)}\\n")
    made = 0
    try:
        for made, word in enumerate(said, start=1):
            if words is not None:
                words.readline()
            if word == "fail":
                raise ValueError("no more")
            end = "length" if made == options.get("max_tokens") else ""
            yield {"text": [word + " "], "finish_reason": [end], "prompt_tokens": [9], "completion_tokens": [made]}
            if end:
                return
    finally:
        log.write(f"closed {made} of {len(said)}\\n")

talk.inputs = texts("messages", "options")
talk.outputs = texts("text", "finish_reason") + [
    {"name": name, "datatype": "INT64", "shape": [1]} for name in ("prompt_tokens", "completion_tokens")
]

def whole(inputs):
    return [f"{len(json.loads(inputs['messages'][0]))} messages"]

whole.inputs, whole.outputs = texts("messages"), texts("text")

def complete(inputs):
    text = inputs["prompt"][0].decode()
    if text == "fail":
        raise ValueError("cannot")
    return [text.upper()]

complete.inputs, complete.outputs = texts("prompt"), texts("text")

def vector(text):
    return [len(text), text[:1] == b"a", 0.1]

def embed(inputs):
    return np.array([vector(text) for text in inputs["text"]], np.float32)

embed.inputs = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
embed.outputs = [{"name": "vector", "datatype": "FP32", "shape": [-1, 3]}]

def one(inputs):
    return np.array(vector(inputs["text"][0]), np.float32)

one.inputs = texts("text")
one.outputs = [{"name": "vector", "datatype": "FP32", "shape": [3]}]

# As a service behind an API gives it: events of a stream, or one whole message.
def raw(inputs):
    request = json.loads(inputs["request"][0])
    head = {"id": "up-1", "model": "far-away", "created": 5}
    words = request["messages"][-1]["content"].split(" ")
    if not request.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(words)}, "finish_reason": "stop"}
        yield [json.dumps({**head, "object": "chat.completion", "choices": [choice]})]
        return
    for word in words:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None, "x": request.get("x")}
        yield [json.dumps({**head, "object": "chat.completion.chunk", "choices": [choice]}, indent=1)]
    yield ["[DONE]"]

raw.inputs, raw.outputs = texts("request"), texts("response")
"""

PAGE = Path(__file__).parents[2] / "docs" / "openai.md"
KINDS = {
    "talk": "{kind: chat, names: [org/talker]}",
    "whole": "chat",
    "complete": "completions",
    "embed": "embeddings",
    "one": "embeddings",
    "raw": "chat",
}


def write_service(folder: Path, name: str, kind: str) -> Path:
    """The service `name` in `folder`, a file of its own."""
    if not (folder / "model.py").exists():
        (folder / "model.py").write_text(CODE)
        os.mkfifo(folder / "words")
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\nmodels: {{{name}: {{python: 'model.py:{name}', levers: {{instances: 1}}}}}}\n"
        f"slo: {{deadline: 20s}}\nopenai: {kind}\n"
    )
    return path


def words_pipe(folder: Path) -> BinaryIO:
    """The pipe on which `talk` waits, held open at both ends, so that nobody waits for the other to open it."""
    return open(os.open(folder / "words", os.O_RDWR), "wb", buffering=0)


def drain(words: BinaryIO) -> None:
    """Take out the words that nobody has read."""
    os.set_blocking(words.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        os.read(words.fileno(), 1 << 16)


def say(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def counters(server: ServerProcess, name: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{server.control}/status", timeout=30) as answer:
        services = json.load(answer)["workers"][0]["services"]
    found: dict[str, Any] = next(one for one in services if one["name"] == name)["models"][0]
    return found


def write_services(folder: Path) -> None:
    """A file for each of `KINDS`, the example of the page, one that keeps answers, and one that is not asked this way."""
    for name, kind in KINDS.items():
        write_service(folder, name, kind)
    kept = write_service(folder, "kept", "chat")
    kept.write_text(
        kept.read_text().replace("model.py:kept", "model.py:talk") + "cache: {exact: {size: 1MiB}}\n"
    )
    several = write_service(folder, "several", "completions")
    several.write_text(
        several.read_text().replace("model.py:several", "model.py:complete")
        + "cache: {exact: {size: 1MiB}}\n"
    )
    for name, language in (("parrot.yaml", "yaml\n# service.yaml"), ("parrot.py", "python\n# parrot.py")):
        found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert found is not None
        (folder / name).write_text(found[1])
    (folder / "hidden.yaml").write_text("name: hidden\nmodels: {hidden: {python: 'model.py:complete'}}\n")
