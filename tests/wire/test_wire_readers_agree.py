"""The fast decoder and the careful one accept the same requests with the same result; neither raises anything else."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.wire_support import (
    DATATYPES,
    JSON_DATATYPES,
    arrays,
    carefully,
    free,
    json_request,
    outcome,
    raw_request,
    signature,
)
from trivet.wire.v2_request import RequestDecoder

numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(
        [
            10**41,
            -(10**41),
            10**308,
            10**309,
            2**31,
            2**63,
            2**64,
            -(2**63) - 1,
            1e39,
            3.4028235677973366e38,
            1.7e308,
            -0.0,
        ]
    )
)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=3)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(data=st.data(), datatype=st.sampled_from(JSON_DATATYPES), request_id=st.text())
def test_right_requests(data: st.DataObject, datatype: str, request_id: str) -> None:
    array = data.draw(arrays(datatype, text_only=True))
    flat = [item.decode() for item in array.flat] if datatype == "BYTES" else array.reshape(-1).tolist()
    body = json_request(flat, array.shape, datatype, id=request_id)
    decoder = RequestDecoder(signature(datatype, free(array)))
    found = outcome(decoder, datatype, body)
    assert found != "refused"
    assert found == outcome(decoder, datatype, carefully(body))
    assert found[2] == request_id


@given(
    values=st.lists(scalars, max_size=4) | st.lists(numbers, max_size=4) | anything,
    shape=st.lists(st.integers(-2, 4), max_size=3) | st.just([1, 2]),
    datatype=st.sampled_from(DATATYPES),
    claimed=st.sampled_from(DATATYPES),
    is_right=st.booleans(),
)
def test_any_data_of_any_shape(
    values: Any, shape: list[int], datatype: str, claimed: str, is_right: bool
) -> None:
    body = json_request(values, shape, datatype if is_right else claimed)
    decoder = RequestDecoder(signature(datatype))
    assert outcome(decoder, datatype, body) == outcome(decoder, datatype, carefully(body))


number_text = st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?\Z")


@given(
    texts=st.lists(number_text, min_size=1, max_size=3),
    datatype=st.sampled_from(["FP32", "FP64", "INT64", "UINT8"]),
)
def test_any_spelling_of_a_number(texts: list[str], datatype: str) -> None:
    body = raw_request(f"[{','.join(texts)}]", f"[1,{len(texts)}]", datatype)
    decoder = RequestDecoder(signature(datatype))
    found = outcome(decoder, datatype, body)
    assert found == outcome(decoder, datatype, carefully(body))
    if datatype == "FP64" and found != "refused":
        expected = [float(json.loads(text)) for text in texts]
        again = outcome(decoder, datatype, json_request(expected, [1, len(texts)], datatype))
        assert found == again, "a number was read as another one than Python reads"


documents = st.recursive(
    scalars | st.sampled_from(["FP32", "x", "y", [1, 2], [1, 1]]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "inputs",
                    "outputs",
                    "parameters",
                    "id",
                    "name",
                    "shape",
                    "datatype",
                    "data",
                    "binary_data_size",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(document=documents, tail=st.binary(max_size=8), has_tail=st.booleans())
def test_any_document_is_read_or_refused(document: Any, tail: bytes, has_tail: bool) -> None:
    body = json.dumps(document).encode()
    decoder, json_size = RequestDecoder(signature()), len(body) if has_tail else None
    found = outcome(decoder, "FP32", body + tail, json_size)
    assert found == outcome(decoder, "FP32", body + tail, json_size), (
        "what was remembered changed the verdict"
    )


@given(
    at=st.integers(0, 200),
    cut=st.integers(0, 20),
    put=st.binary(max_size=6),
    json_size=st.none() | st.integers(-1, 200),
    datatype=st.sampled_from(["FP32", "BYTES", "BOOL", "FP16"]),
)
def test_a_damaged_request_is_read_or_refused(
    at: int, cut: int, put: bytes, json_size: int | None, datatype: str
) -> None:
    head = json.dumps(
        {
            "id": "1",
            "inputs": [
                {"name": "x", "shape": [1, 1], "datatype": datatype, "parameters": {"binary_data_size": 5}}
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    whole = head + b"\1\0\0\0a"
    body = whole[:at] + put + whole[at + cut :]
    decoder, size = RequestDecoder(signature(datatype)), len(head) if json_size == -1 else json_size
    found = outcome(decoder, datatype, body, size)
    assert found == outcome(decoder, datatype, body, size), "what was remembered changed the verdict"
