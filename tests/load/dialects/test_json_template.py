"""Any JSON endpoint: templates are filled, answers are looked through."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.load.dialects.speakers import reply, speaker
from trivet.errors import SpecError
from trivet.load.dialects.json_path import JsonPath
from trivet.load.dialects.template import JsonTemplate
from trivet.load.http import BadAnswerError
from trivet.load.job import ClosedLoop, Job
from trivet.load.offer import offer
from trivet.spec.row import RowColumns
from trivet.wire.v2_client import BadResponseError


def text(value: str | bytes) -> np.ndarray:
    return np.array(value if isinstance(value, bytes) else value.encode(), object)


def body(template: str, **row: np.ndarray) -> Any:
    (request,) = JsonTemplate("/", template, {"y": "$"}).requests([row])
    return json.loads(request.body)


def test_a_row_fills_the_template() -> None:
    filled = body(
        '{"text": "Is {{text}}?", "x": {{x}}, "first": {{x[0][1]}}, "n": {{n}}, "as text": "{{ n }}", "c": 1}',
        text=text('"quoted"\n\\'),
        x=np.array([[1.5, 2.0]], np.float32),
        n=np.array(7),
    )
    assert filled == {
        "text": 'Is "quoted"\n\\?',
        "x": [[1.5, 2.0]],
        "first": 2.0,
        "n": 7,
        "as text": "7",
        "c": 1,
    }


def test_bytes_travel_as_base64() -> None:
    filled = body('{"image": "{{i|base64}}", "x": {{x | base64}}}', i=text(b"\xff\0"), x=np.array([1], "<i2"))
    assert {"image": base64.b64encode(b"\xff\0").decode(), "x": "AQA="} == filled


@settings(deadline=None, derandomize=True)
@given(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4), st.booleans())
def test_every_row_gives_the_json_that_it_says(words: str, numbers: list[float], flag: bool) -> None:
    words = words.encode("utf-8", "ignore").decode()
    filled = body(
        '["<{{t}}>", {{t}}, {"{{t}}": {{x}}}, [{{f}}]]',
        t=text(words),
        x=np.array(numbers, np.float64),
        f=np.array(flag),
    )
    assert [f"<{words}>", words, {words: numbers}, [flag]] == filled


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('{"x": {{x}}', "the template is not JSON"),
        ('{"x": {{}}}', "expected {{input}}"),
        ('{"x": {{x y}}}', "expected {{input}}"),
        ('{"x": {{x[-1]}}}', "expected {{input}}"),
        ('{"x": {{x|upper}}}', "'upper' is no way to write a value; known: base64"),
        ("{{x}} {{y}}", "the template is not JSON"),
    ],
)
def test_a_template_that_cannot_be_read(template: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        JsonTemplate("/", template, {"y": "$"})


@pytest.mark.parametrize(
    ("template", "row", "message"),
    [
        ("{{z}}", {"x": text("")}, "row 1: no input 'z' for the template; known: x"),
        ('"{{x}}"', {"x": np.zeros(3)}, "row 1: input 'x' has 3 elements: inside quotes stands one value"),
        ("{{x[3]}}", {"x": np.zeros(3)}, r"input 'x' has the shape \[3\]: no index 3"),
        ("{{x[0]}}", {"x": np.array(1)}, r"input 'x' has the shape \[\]: no index 0"),
        ("{{x}}", {"x": np.array([np.nan])}, "input 'x' is nan, which JSON has no form for"),
        ('"{{x}}"', {"x": text(b"\xff")}, "input 'x' is not UTF-8 text; write it with |base64"),
    ],
)
def test_a_row_that_does_not_fit_is_named(template: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        JsonTemplate("/", template, {"y": "$"}).requests([row])


def test_an_endpoint_and_an_output_are_needed() -> None:
    with pytest.raises(SpecError, match="does not start with a slash"):
        JsonTemplate("predict", "1", {"y": "$"})
    with pytest.raises(SpecError, match="no output is named"):
        JsonTemplate("/predict", "1", {})


ANSWER = {"result": [{"score": 0.5, "odd key": "a", "": 1}, {"score": 2}], "n": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", ANSWER),
        ("$.result[0].score", 0.5),
        ("$.result[-1].score", 2),
        ("$.result[*].score", [0.5, 2]),
        ("$.n[*][0]", [1, 3]),
        ('$["result"][0]["odd key"]', "a"),
        ("$['result'][0]['']", 1),
    ],
)
def test_a_path_finds_its_place(path: str, expected: Any) -> None:
    assert expected == JsonPath(path).find(ANSWER)


@pytest.mark.parametrize(
    "path", ["", "result", ".result", "$result", "$.", "$.a[", "$[x]", "$..a", "$.a b", "a$"]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(SpecError, match="is not a path"):
        JsonPath(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "$.results",
            r"no \$.results in the answer: \$ is an object of 2 fields \(result, n\), not an object with 'results'",
        ),
        ("$.result[2]", r"\$.result is an array of 2 elements, not a list with an element 2"),
        ("$.result[*].odd", r"\$.result\[0\] is an object"),
        ("$.n[0][0].x", r"\$.n\[0\]\[0\] is 1, not an object"),
        ("$.result[0].score[*]", "is 0.5, not a list"),
    ],
)
def test_a_place_that_is_not_there_is_told_as_far_as_it_goes(path: str, message: str) -> None:
    with pytest.raises(BadResponseError, match=message):
        JsonPath(path).find(ANSWER)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, np.array(3)),
        ([0.5, 1], np.array([0.5, 1.0])),
        ([[True], [False]], np.array([[True], [False]])),
        ("ä", np.array("ä".encode(), object)),
        ([["a"], ["b"]], np.array([[b"a"], [b"b"]], object)),
    ],
)
def test_values_become_arrays(value: Any, expected: np.ndarray) -> None:
    found = JsonTemplate("/", "1", {"y": "$.v"}).outputs(200, {}, json.dumps({"v": value}).encode())["y"]
    assert (expected.dtype, expected.shape, expected.tolist()) == (found.dtype, found.shape, found.tolist())


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (500, b'{"detail":"boom"}', "status 500: boom"),
        (200, b"<html>", "not JSON: '<html>'"),
        (200, b'{"w":1}', r"no \$.v in the answer"),
        (200, b'{"v":null}', "output 'y' is null: expected numbers or text"),
        (200, b'{"v":{"a":1}}', "output 'y' is an object"),
        (200, b'{"v":[1,"a"]}', "output 'y' is an array"),
        (200, b'{"v":[]}', "output 'y' is an array"),
        (200, b'{"v":[[1],[2,3]]}', "lists of different lengths"),
    ],
)
def test_an_answer_without_the_output(status: int, answer: bytes, message: str) -> None:
    with pytest.raises(BadAnswerError, match=message):
        JsonTemplate("/", "1", {"y": "$.v"}).outputs(status, {}, answer)


def test_load_on_an_endpoint_of_somebodys_own() -> None:
    dialect = JsonTemplate(
        "/predict", '{"instances": [{"text": "{{text}}"}]}', {"length": "$.predictions[0].length"}
    )
    assert dialect.inputs == ("text",)

    def predict(body: bytes) -> bytes:
        return reply({"predictions": [{"length": len(json.loads(body)["instances"][0]["text"])}]})

    with speaker({"POST /predict": predict}) as server:
        job = Job(
            target=server.name,
            requests=dialect.requests([{"text": text("four")}, {"text": text('"5"\nä')}]),
            load=ClosedLoop(num_users=1, duration_ns=5_000_000_000, max_requests=2),
            seed=1,
            order="sequence",
            keep_answers=True,
            min_connections=1,
        )
        answers = RowColumns.decode(offer(job).rows).blobs["answer"]
    assert [int(dialect.outputs(200, {}, answer)["length"]) for answer in answers] == [4, 5]
