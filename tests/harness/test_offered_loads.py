"""What the benchmarks offer and serve: spikes, sentences, the busy loop, the faulty model, consecutive ports."""

import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _sentences, faults, models, spikes
from benchmarks._in_process import Best, measure
from benchmarks._overloaded import _CODE, _SERVICE
from benchmarks._payloads import payloads, with_timeout
from benchmarks._processes import free_ports
from trivet.runtime.steps import load_callable
from trivet.spec.service_file import load_configuration
from trivet.wire.v2_request import RequestDecoder

S = 1_000_000_000


def test_spikes_add_to_a_base_that_is_the_same_without_them() -> None:
    without = spikes.instants_ns(50, 0, num_spikes=3, seed=1)
    with_spikes = spikes.instants_ns(50, 1_000, num_spikes=3, seed=1)
    assert set(without) <= set(with_spikes)
    extra = np.sort(np.setdiff1d(with_spikes, without))
    period = (extra - 3 * S) // (6 * S)  # 2 s of warm-up, and 1 s before each spike
    assert set(period) == {0, 1, 2}
    assert ((extra - 3 * S) % (6 * S)).max() < 2 * S
    assert 0.8 < len(extra) / (3 * 2 * 950) < 1.2
    assert not np.array_equal(without, spikes.instants_ns(50, 0, num_spikes=3, seed=2))


def test_sentences_are_asked_in_an_order_of_the_seeds_own() -> None:
    first, again, other = (_sentences.requests("x", seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(one.body for one in first) == sorted(one.body for one in other)


def test_drawn_sentences_are_as_long_as_customers_questions() -> None:
    lengths = [len(text.split()) for text in _sentences.drawn_sentences(2_000, seed=1)]
    assert min(lengths) >= 3
    assert max(lengths) <= 60
    assert 9 <= np.median(lengths) <= 11


def test_the_sentence_service_is_valid_and_its_step_makes_what_the_encoder_takes(tmp_path: Path) -> None:
    texts = _sentences.drawn_sentences(5, seed=1)
    models.write(models.encoder(), tmp_path / "encoder.onnx")
    (tmp_path / "tokenizer.json").write_text(_sentences._own_tokenizer(texts))
    (tmp_path / "steps.py").write_text(_sentences._STEPS.format(max_tokens=_sentences.MAX_TOKENS))
    (tmp_path / "service.yaml").write_text(_sentences._SERVICE)
    service = load_configuration(tmp_path / "service.yaml").service
    assert service.name == "m"
    tokenize = load_callable("steps.py:Tokenize", tmp_path)
    text = texts[0]
    tensors = tokenize({"text": np.array([text.encode()], object)})
    num_tokens = len(text.split()) + 3  # the question mark, and a token at either end
    assert tensors["input_ids"].shape == tensors["attention_mask"].shape == (1, num_tokens)
    assert len(set(tensors["input_ids"][0].tolist())) > num_tokens // 2
    assert tensors["attention_mask"].all()


def test_the_busy_loop_is_a_service_that_gives_back_its_rows(tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(_CODE.format(milliseconds=0, count=3))
    (tmp_path / "service.yaml").write_text(_SERVICE)
    assert load_configuration(tmp_path / "service.yaml").service.name == "m"
    busy = load_callable("busy.py:busy", tmp_path)
    x = np.arange(4, dtype=np.float32).reshape(4, 1)
    assert busy({"x": x})["y"] is x


def test_the_faulty_model_does_nothing_to_what_a_profile_sends(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(faults._CODE)
    (tmp_path / "service.yaml").write_text(faults._SERVICE)
    assert load_configuration(tmp_path / "service.yaml").service.name == "faulty"
    faulty = load_callable("faulty.py:faulty", tmp_path)
    x = np.random.default_rng(0).normal(size=(1, 2)).astype(np.float32)
    assert faulty({"x": x})["y"].shape == (1, 2)
    code = faults.FAULTS["returns a wrong shape"]
    assert faulty({"x": np.full((1, 2), 100 + code, np.float32)})["y"].shape == (1, 1)
    with pytest.raises(ValueError, match="on purpose"):
        faulty({"x": np.full((1, 2), 100 + faults.FAULTS["raises"], np.float32)})


def test_a_timeout_travels_with_a_request_and_its_inputs_stay() -> None:
    (plain, *_), signature = payloads("tiny", "v2"), _signature()
    timed = RequestDecoder(signature).decode(with_timeout(plain, 5_000_000).body, None)
    assert timed.parameters["timeout"] == 5_000
    untimed = RequestDecoder(signature).decode(plain.body, None)
    assert np.array_equal(timed.inputs[0].data, untimed.inputs[0].data)


def _signature() -> object:
    from trivet.spec.signature import Signature, TensorSpec

    return Signature(
        (TensorSpec("x", "FP32", (-1, 30)),), (TensorSpec("y", "FP32", (-1, 2)),), batch_axis=True
    )


def test_the_best_rate_in_process_keeps_to_batches_that_are_short_enough() -> None:
    sizes: list[int] = []
    unbounded = measure(lambda inputs: sizes.append(len(inputs["x"])), "tiny", 0.012, 0)
    assert isinstance(unbounded, Best)
    assert set(sizes) == {1, 2, 4, 8, 16, 32}
    bounded = measure(lambda inputs: None, "tiny", 0.012, 1)  # no batch takes so little: one row has to do
    assert bounded.batch == 1


def test_the_best_batch_in_process_is_measured_anew_when_it_has_been_chosen() -> None:
    """Four rows at once looked twice as fast as they are: noise chose them, and does not count."""
    now_s, seen_s = 0.0, {1: 0.001, 2: 0.002, 4: 0.002, 8: 0.008, 16: 0.016, 32: 0.032}
    counts: Counter[int] = Counter()

    def run(inputs: Mapping[str, Any]) -> None:
        nonlocal now_s
        rows = len(inputs["x"])
        counts[rows] += 1
        is_chosen = counts[4] > 50 + 1  # of the first 0.1 s
        now_s += 0.004 if rows == 4 and is_chosen else seen_s[rows]

    best = measure(run, "tiny", 0.6, 0, lambda: now_s)
    assert (best.batch, round(best.rps), round(best.singles_rps)) == (4, 1000, 1000)


def test_ports_for_one_server_follow_each_other_and_are_free() -> None:
    first = free_ports(3)
    for port in range(first, first + 3):
        with socket.create_server(("127.0.0.1", port)) as listener:
            assert listener.getsockname()[1] == port
