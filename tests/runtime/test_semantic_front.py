"""The semantic cache in a worker, over HTTP: whose answers it gives, what it learns from, and what it does about faults."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models as build
from tests.serve.cache_support import CachedFront
from tests.serve.cache_support import Timers as TimersByHand
from tests.serve.http_support import Answer, Client, request
from trivet.errors import SpecError
from trivet.runtime.fronts.front import Front
from trivet.runtime.notes import Notes
from trivet.runtime.preparing.preparing import prepare
from trivet.runtime.semantic.front import SemanticFront
from trivet.serve.http.tenants import Tenants
from trivet.serve.messages import KnownTenant
from trivet.spec.service_file import load_configuration

_STEPS = """
import numpy as np

def score(inputs):
    "What a question is about: its last word, a letter from a to e."
    word = inputs["text"][0].decode().split()[-1]
    scores = np.zeros((1, 5), np.float32)
    scores[0, "abcde".index(word)] = 1
    return {"x": scores}

failing = []

def embed(texts):
    if failing:
        raise ValueError("no vector today")
    return [[float(text.count(letter)) + 0.01 for letter in "abcdexyz"] for text in texts]

def wrong(texts):
    return [["no", "number"]]
"""
_SERVICE = """
name: letters
inputs: [{name: text, datatype: BYTES, shape: [1]}, {name: lang, datatype: BYTES, shape: [1]}]
models: {m: {file: identity.onnx, levers: {execution: inline, max_batch_size: 8, threads: 1}}}
pipeline: [{preprocess: steps.py:score, execution: inline, outputs: [{name: x, datatype: FP32, shape: [-1, 5]}]}, {model: m}]
decode: {by: argmax, labels: [a, b, c, d, e]}
slo: {deadline: 1s}
"""
_CACHE = "semantic_cache: {input: text, max_wrong: 5%, audit: 10%, topic: answer}\n"


class Timers(TimersByHand):
    """With threads whose work is done when the test says so; by default at once."""

    def __init__(self) -> None:
        super().__init__()
        self.work: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self.is_eager = True

    def run_in_executor(self, _pool: Any, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.work.append((future, call, arguments))
        return future

    def do_work(self) -> None:
        while self.work:
            future, call, arguments = self.work.popleft()
            try:
                found = call(*arguments)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(found)

    def run(self) -> None:
        super().run()
        while self.is_eager and self.work:
            self.do_work()
            super().run()


class SemanticWorker(CachedFront):
    def __init__(self, path: Path, more: Sequence[Front] = ()) -> None:
        super(CachedFront, self).__init__([])
        self.loop = Timers()
        self.runtime._loop = self.loop  # type: ignore[assignment]  # has what a runtime uses
        self.live = self.add(path, more)
        self.lives.append(self.live)

    @property
    def semantic(self) -> SemanticFront:
        assert self.live.fronts is not None
        return next(front for front in self.live.fronts.all if isinstance(front, SemanticFront))


def _write(folder: Path, cache: str = _CACHE, service: str = _SERVICE) -> Path:
    build.write(build.identity(), folder / "identity.onnx")
    (folder / "steps.py").write_text(_STEPS)
    path = folder / "letters.yaml"
    path.write_text(service + cache)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("letters"))


@pytest.fixture
def worker(path: Path) -> SemanticWorker:
    return SemanticWorker(path)


def _asked(text: str, lang: str = "en", key: str = "") -> bytes:
    inputs = [
        {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]},
        {"name": "lang", "shape": [1], "datatype": "BYTES", "data": [lang]},
    ]
    headers = [b"X-API-Key: " + key.encode()] if key else []
    return request(
        url=b"/v2/models/letters/infer", body=json.dumps({"inputs": inputs}).encode(), headers=headers
    )


def _cache_of(answer: Answer) -> str:
    assert answer.status == 200, answer
    said: str = json.loads(answer.body)["parameters"]["cache"]
    return said


def _letter_of(answer: Answer) -> str:
    scores = json.loads(answer.body)["outputs"][0]["data"]
    return "abcde"[scores.index(max(scores))]


def _question(number: int) -> str:
    """Half of them say what they are about a second time and can be told; the others cannot."""
    letter = "abcde"[number * 7 % 5]
    return (
        f"what is known of {letter * 9} in {letter}" if number % 2 else f"and then number {number} {letter}"
    )


def _teach(client: Client, num: int = 500, key: str = "") -> None:
    for number in range(num):
        client.ask(_asked(_question(number), key=key))


def test_it_learns_whom_it_can_answer(worker: SemanticWorker) -> None:
    client = worker.connect()
    assert _cache_of(client.ask(_asked("what is known of aaaaaaaaa in a"))) == "miss"
    _teach(client)
    answers = [client.ask(_asked(f"what is known of {'b' * 9}, in b")) for _ in range(20)]
    hits = [answer for answer in answers if _cache_of(answer) == "semantic"]
    assert len(hits) >= 15  # the others are audits
    assert {_letter_of(answer) for answer in answers} == {"b"}
    assert hits[0].headers["x-trivet-cache"] == "semantic"
    num_hits = worker.semantic.policy.num_hits
    assert worker.count("trivet_cache_hits_total", kind="semantic") == num_hits
    assert worker.count("trivet_cache_lookups_total", kind="semantic") == 521
    assert worker.count("trivet_semantic_topic_hits_total", topic="b") >= len(hits)
    assert worker.num_executed == 521 - num_hits
    assert worker.count("trivet_semantic_entries") == worker.num_executed


def test_no_answer_crosses_to_another_tenant_or_other_inputs(worker: SemanticWorker) -> None:
    known = [KnownTenant(name=name, key_sha256=_digest(name)) for name in ("one", "two")]
    worker.router.tenants = Tenants(known)
    client = worker.connect()
    _teach(client, key="one")
    asked = f"what is known of {'b' * 9}, in b"
    mine = [_cache_of(client.ask(_asked(asked, key="one"))) for _ in range(10)]
    theirs = [_cache_of(client.ask(_asked(asked, key="two"))) for _ in range(10)]
    french = [_cache_of(client.ask(_asked(asked, "fr", key="one"))) for _ in range(10)]
    assert "semantic" in mine
    assert theirs[0] == french[0] == "miss"  # nothing was there; what follows is of their own


def _digest(key: str) -> str:
    from hashlib import sha256

    return sha256(key.encode()).hexdigest()


def test_opposites_are_not_given(worker: SemanticWorker) -> None:
    client = worker.connect()
    _teach(client)
    said = [_cache_of(client.ask(_asked(f"what is not known of {'b' * 9} in b"))) for _ in range(3)]
    assert said[0] == "miss"


def test_only_the_pipelines_own_answers_teach(path: Path) -> None:
    class Stand:
        name = "stand-in"

        def ask(self, request: Any, go_on: Callable[[], None]) -> bool:
            request.notes = Notes(instead="degraded:small")
            return False

        def answered(self, *_: Any) -> None: ...
        def failed(self, *_: Any) -> None: ...
        def stale(self, _request: Any) -> None: ...
        def close(self) -> None: ...

    other = SemanticWorker(path, [Stand()])
    other.connect().ask(_asked("what is known of aaa in a"))
    assert other.count("trivet_semantic_entries") == 0
    assert other.num_executed == 1


def test_an_entry_ends_with_its_time(tmp_path: Path) -> None:
    worker = SemanticWorker(_write(tmp_path, _CACHE.replace("audit:", "ttl: 10s, audit:")))
    client = worker.connect()
    _teach(client, 400)
    assert worker.count("trivet_semantic_entries") > 100
    worker.clock.advance_ns(10_000_000_000)
    assert _cache_of(client.ask(_asked("what is known of bbbbbbbbb, in b"))) == "miss"


def test_the_least_recently_used_entry_makes_room(tmp_path: Path) -> None:
    worker = SemanticWorker(_write(tmp_path, _CACHE.replace("audit:", "size: 3, audit:")))
    _teach(worker.connect(), 8)
    assert worker.count("trivet_semantic_entries") == 3


def test_long_texts_are_the_pipelines(worker: SemanticWorker) -> None:
    client = worker.connect()
    assert _letter_of(client.ask(_asked("x" * 4_000 + " a"))) == "a"
    assert worker.count("trivet_semantic_entries") == 0
    assert _letter_of(client.ask(_asked("x" * 3_998 + " a"))) == "a"
    assert worker.count("trivet_semantic_entries") == 1


def test_a_failing_encoder_costs_hits_only(tmp_path: Path) -> None:
    worker = SemanticWorker(_write(tmp_path, _CACHE.replace("audit:", "encoder: steps.py:embed, audit:")))
    client = worker.connect()
    assert _cache_of(client.ask(_asked("x a"))) == "miss"
    assert worker.count("trivet_semantic_entries") == 1
    _failing(worker).append(True)
    assert _letter_of(client.ask(_asked("x b"))) == "b"
    assert worker.count("trivet_semantic_encoder_failures_total") == 1
    assert worker.count("trivet_semantic_entries") == 1


def _failing(worker: SemanticWorker) -> list[bool]:
    encoder: Any = worker.semantic._encoder
    found: list[bool] = encoder._call.__closure__[0].cell_contents.__globals__["failing"]
    return found


def test_a_stuck_encoder_holds_nobody_for_long(tmp_path: Path) -> None:
    worker = SemanticWorker(_write(tmp_path, _CACHE.replace("audit:", "encoder: steps.py:embed, audit:")))
    loop: Any = worker.loop
    loop.is_eager = False
    client, other = worker.connect(), worker.connect()
    client.send(_asked("x a"))
    assert client.answers() == []
    loop.fire()  # a quarter of its time has passed
    assert [_letter_of(answer) for answer in client.answers()] == ["a"]
    assert _letter_of(other.ask(_asked("x b"))) == "b"  # it is not asked while it is stuck
    assert worker.count("trivet_semantic_encoder_failures_total") == 2
    loop.do_work()
    loop.is_eager = True
    assert _letter_of(other.ask(_asked("x c"))) == "c"
    assert worker.count("trivet_semantic_entries") == 1


def test_a_client_that_leaves_while_its_text_is_encoded_is_no_fault(tmp_path: Path) -> None:
    worker = SemanticWorker(_write(tmp_path, _CACHE.replace("audit:", "encoder: steps.py:embed, audit:")))
    loop: Any = worker.loop
    loop.is_eager = False
    client = worker.connect()
    client.send(_asked("x a"))
    client.leave()
    loop.run()
    loop.do_work()
    loop.run()
    assert worker.num_executed == 0
    loop.is_eager = True
    assert _letter_of(worker.connect().ask(_asked("x c"))) == "c"
    assert worker.complaints == []


@pytest.mark.parametrize(
    ("cache", "service", "expected"),
    [
        ("semantic_cache: {input: texts}", _SERVICE, r"no input 'texts'.*'text'"),
        ("semantic_cache: {input: text, encoder: nobody}", _SERVICE, r"neither hashed, nor one of models"),
        (
            "semantic_cache: {input: text, encoder: m}",
            _SERVICE,
            r"model 'm' takes x FP32; an encoder takes one text",
        ),
        (
            "semantic_cache: {input: text, encoder: 'steps.py:wrong'}",
            _SERVICE,
            r"steps.py:wrong raised ValueError",
        ),
        ("semantic_cache: {input: text, encoder: 'steps.py:nothing'}", _SERVICE, r"no attribute 'nothing'"),
        ("semantic_cache: {input: text, max_wrong: 0%}", _SERVICE, r"above 0% and up to 20%"),
        ("semantic_cache: {input: text, ttl: 0s}", _SERVICE, r"leave semantic_cache out"),
        ("semantic_cache: {input: text, topic: country}", _SERVICE, r"no input 'country'"),
        (
            "semantic_cache: {input: text}",
            _SERVICE.replace("decode:", "# decode:"),
            r"no two are alike: declare `decode:`",
        ),
    ],
)
def test_what_cannot_work_is_said_at_load(tmp_path: Path, cache: str, service: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        prepare(
            load_configuration(_write(tmp_path, cache + "\n", service)), "1", lambda: 0, lambda _text: None
        )


def test_the_cache_is_part_of_the_hash(tmp_path: Path) -> None:
    def hash_of(cache: str) -> str:
        return load_configuration(_write(tmp_path, cache + "\n")).hash

    plain = hash_of("")
    one = hash_of("semantic_cache: {input: text, max_wrong: 1%}")
    assert one == hash_of("semantic_cache: {input: text, max_wrong: 0.01, encoder: hashed}")
    assert len({plain, one, hash_of("semantic_cache: {input: text, max_wrong: 2%}")}) == 3
    coded = hash_of("semantic_cache: {input: text, encoder: 'steps.py:embed'}")
    (tmp_path / "steps.py").write_text(_STEPS + "\n# changed\n")
    changed = load_configuration(tmp_path / "letters.yaml").hash
    assert changed != coded


def test_a_model_can_be_the_encoder(tmp_path: Path) -> None:
    (tmp_path / "embed.py").write_text(
        "import numpy as np\n\n\ndef embed(inputs):\n"
        "    return {'embedding': np.array([len(inputs['text'][0]), 1], np.float32)}\n"
    )
    service = _SERVICE.replace("models: {", "models: {enc: {python: embed.py:embed}, ")
    worker = SemanticWorker(_write(tmp_path, _CACHE.replace("audit:", "encoder: enc, audit:"), service))
    assert _letter_of(worker.connect().ask(_asked("x a"))) == "a"
    assert worker.count("trivet_semantic_entries") == 1
    assert worker.count("trivet_semantic_encoder_failures_total") == 0
    worker.semantic.close()
