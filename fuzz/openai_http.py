"""Requests under `/v1/`: any body, to each of the endpoints, of services of each kind.

The first byte of an input says where it is sent, and how; the rest is the body.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from benchmarks import models as build
from fuzz._world import World
from tests.serve.http_support import Answer, request, write_echo
from trivet.serve.http.openai.front import OpenAIFront
from trivet.spec.deployment import Limits

_URLS = (
    b"chat/completions",
    b"completions",
    b"embeddings",
    b"models",
    b"models/talk",
    b"chat/completions/%ff",
)
_COMPRESSED = 64  # a bit of the first byte
_SERVICES = {
    "talk": ("chat", {"messages": "text", "options": "finish_reason"}),
    "plain": ("completions", {"prompt": "text"}),
    "raw": ("chat", {"request": "response"}),
    "embed": ("embeddings", {"text": "vector"}),
}
_STATUSES = (200, 400, 404, 405, 413, 415)


def _body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


_MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]
SEEDS = {
    "chat": b"\0" + _body(model="talk", messages=_MESSAGES),
    "options": b"\0" + _body(model="talk", messages=_MESSAGES, top_k=3, temperature=0.5, user="u"),
    "streamed": b"\0" + _body(model="talk", messages=_MESSAGES, stream=True, stream_options={"include_usage": True}),
    "raw": b"\0" + _body(model="raw", messages=_MESSAGES, stream=False, n=2),
    "prompt": b"\1" + _body(model="plain", prompt="a"),
    "prompts": b"\1" + _body(model="plain", prompt=["a", "b", "é"], stream=False, n=1),
    "embeddings": b"\2" + _body(model="embed", input=["a", "b"], encoding_format="base64", dimensions=1),
    "compressed": bytes([2 | _COMPRESSED]) + gzip.compress(_body(model="embed", input="a"), mtime=0),
    "models": b"\3",
    "model": b"\4",
}  # fmt: skip
TOKENS = [
    *(bytes([code]) for code in range(6)), bytes([_COMPRESSED]),
    b'"model":', b'"talk"', b'"plain"', b'"raw"', b'"embed"', b'"messages":[', b'"role":"user"', b'"content":',
    b'"prompt":', b'"input":', b'"stream":true', b'"stream_options":{"include_usage":true}', b'"n":',
    b'"encoding_format":', b'"float"', b'"base64"', b'"dimensions":', b'"options":', b"null", b"true", b"[[", b"]]",
    b"1e999", b"-0", b"\\ud800", b"\\u0000", b"\xff", b"\xef\xbb\xbf", b"{}", b"[]", b",", b":",
]  # fmt: skip


@cache
def _world() -> World:
    limits = Limits(max_body_bytes=8192, max_decompressed_bytes=16384)
    world = World(lambda folder: [write_echo(folder), *(_write(folder, name) for name in _SERVICES)], limits)
    OpenAIFront(world.front.router).register()
    return world


def _write(folder: Path, name: str) -> Path:
    """A service that gives back what it is given, by a model that always runs in the loop."""
    kind, pairs = _SERVICES[name]
    nodes, weights = [], {}
    for takes, gives in pairs.items():
        if kind == "embeddings":
            keys = {"keys_strings": ["a", "b"], "values_floats": [1.0, 2.0], "default_float": 0.5}
            nodes += [
                helper.make_node("LabelEncoder", [takes], ["number"], domain="ai.onnx.ml", **keys),
                helper.make_node("Unsqueeze", ["number", "one"], [gives]),
            ]
            weights["one"] = np.array([1], np.int64)
        else:
            nodes.append(helper.make_node("Identity", [takes], [gives]))
    inputs = [build.tensor(one, "BYTES", ["n"]) for one in pairs]
    outputs = [
        build.tensor(one, "FP32", ["n", 1]) if kind == "embeddings" else build.tensor(one, "BYTES", ["n"])
        for one in pairs.values()
    ]
    build.write(build.build(name, nodes, inputs, outputs, weights), folder / f"{name}.onnx")
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\nopenai: {kind}\n"
        f"models: {{m: {{file: {name}.onnx, levers: {{execution: inline, max_batch_size: 8}}}}}}\n"
    )
    return path


def check(data: bytes) -> int:
    """One whole answer in OpenAI's form, which says what is wrong and of whose making; and the worker goes on.

    Returns: its status.
    """
    world = _world()
    front = world.front
    where = data[0] if data else 0
    url, body = _URLS[where % 32 % len(_URLS)], data[1:]
    headers = [b"Content-Encoding: gzip"] if where & _COMPRESSED else []
    method = b"GET" if url.startswith(b"models") and not body else b"POST"
    client = front.connect()
    client.send(request(method, b"/v1/" + url, body, headers))
    answers = client.answers()
    if len(answers) != 1:
        raise AssertionError(f"{len(answers)} answers")
    _check_answer(answers[0])
    if not client.is_lost:
        client.leave()
    front.loop.run()
    answering = front.router.answering
    if (
        front.complaints
        or front.runtime.scheduler.num_waiting
        or answering.num_accepted != answering.num_answered
    ):
        raise AssertionError(f"something stayed: {front.complaints}")
    world.count()
    return answers[0].status


def _check_answer(answer: Answer) -> None:
    if answer.status not in _STATUSES:
        raise AssertionError(f"status {answer.status}: {answer.body[:500]!r}")
    if answer.status != 200:
        error = json.loads(answer.body)["error"]
        if error.keys() != {"message", "type", "param", "code"} or not 0 < len(error["message"]) < 2000:
            raise AssertionError(f"not OpenAI's form of an error: {answer.body[:500]!r}")
    elif answer.headers["content-type"].startswith("text/event-stream"):
        if not answer.body.endswith(b"data: [DONE]\n\n"):
            raise AssertionError(f"a stream without its end: {answer.body[-200:]!r}")
    elif not isinstance(json.loads(answer.body), dict):
        raise AssertionError(f"not an object: {answer.body[:500]!r}")
