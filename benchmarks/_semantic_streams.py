"""Streams of requests for a semantic cache: texts with the meaning of their answer, or vectors drawn with a known one."""

import csv
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._sides import SHARED
from trivet.pipeline.semantic.wording import Wording, read
from trivet.runtime.semantic.hashed import encode

_DATA = SHARED / "data"
_SIZE = 48  # of drawn vectors
_NOTHING = read("")


@dataclass(frozen=True)
class Stream:
    """In the order of their arrival. vectors: shape (n, size), of length 1.  answers: shape (n,).  texts: what repeats."""

    vectors: NDArray[np.float32]
    answers: NDArray[np.int64]
    wordings: list[Wording]
    texts: NDArray[np.int64]  # equal where two requests are the same, bit by bit

    def __len__(self) -> int:
        return len(self.answers)

    def taken(self, places: NDArray[np.int64]) -> "Stream":
        wordings = [self.wordings[place] for place in places]
        return Stream(self.vectors[places], self.answers[places], wordings, self.texts[places])


def kept(vectors: Path | None = None) -> dict[str, Stream]:
    """The streams of texts that are there, by name. Args: vectors: of another encoder: NAME.npy for each."""
    readers: Mapping[str, Callable[[], list[tuple[str, str]]]] = {
        "banking77": _banking,
        "mmlu-subjects": _subjects,
        "paraphrases": _paraphrases,
    }
    found = {}
    for name, reader in readers.items():
        try:
            rows = reader()
        except FileNotFoundError:
            continue
        texts = [text for text, _ in rows]
        answers = np.unique([answer for _, answer in rows], return_inverse=True)[1]
        given = None if vectors is None else vectors / f"{name}.npy"
        if given is not None and not given.is_file():
            continue
        encoded = np.array([encode(text) for text in texts]) if given is None else np.load(given)
        same = np.unique(texts, return_inverse=True)[1]
        found[name] = Stream(encoded, answers, [read(text) for text in texts], same)
    return found


def shuffled(stream: Stream, num: int, seed: int) -> Stream:
    return stream.taken(np.random.default_rng(1000 + seed).permutation(len(stream))[:num])


def replayed(stream: Stream, num: int, seed: int) -> Stream:
    """Requests drawn again and again, the r-th most frequent with a probability proportional to 1 / r (Zipf's law)."""
    rng = np.random.default_rng(2000 + seed)
    weights = 1 / np.arange(1, len(stream) + 1)
    ranked = rng.permutation(len(stream))
    return stream.taken(ranked[rng.choice(len(stream), size=num, p=weights / weights.sum())])


def _banking() -> list[tuple[str, str]]:
    rows = []
    for part in ("train", "test"):
        with (_DATA / "banking77" / f"{part}.csv").open(newline="") as file:
            rows += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    return rows


def _subjects() -> list[tuple[str, str]]:
    """Questions of examinations; what is asked for is their subject."""
    with gzip.open(_DATA / "routellm-responses" / "mmlu_responses.csv.gz", "rt", newline="") as file:
        return [(row["prompt"], row["subject"]) for row in csv.DictReader(file)]


def _paraphrases() -> list[tuple[str, str]]:
    """Sentences and a rewording of each: every answer is right for two or three requests."""
    pairs = json.loads((_DATA / "paraphrase-mock" / "mock_data.json").read_text())
    first = dict.fromkeys(pair["origin"] for pair in pairs)
    return [(text, text) for text in first] + [(pair["similar"], pair["origin"]) for pair in pairs]


# --- drawn ------------------------------------------------------------------------------------------------------------


def drawn(kind: str, num: int, seed: int) -> Stream:
    """Groups of requests around centres, of which a third lie next to another's; sizes, popularity and width vary by seed.

    groups: as said.  noise: 2 % of the answers are anybody's.  turned: halfway three answers of ten change.
    renewed: halfway all answers change.  invaded: halfway half of the traffic moves to new groups next to the old ones.
    popularity: halfway others are popular.  twins: 4,000 questions in pairs that look alike, 30 % repeated bit by bit.
    nonsense: no two answers are alike.  narrow: an encoder that gives everything a cosine of about 0.8.
    drip: three answers of five change, each at a time of its own.  copies: from halfway 4 % of the requests lie next to an
    earlier one each, and nobody else has their answer.
    """
    rng = np.random.default_rng(seed)
    if kind == "twins":
        return _twins(num, rng)
    num_groups = int(rng.integers(60, 400))
    centres = _unit(rng.normal(size=(num_groups, _SIZE)))
    third = num_groups // 3
    near = rng.normal(size=(third, _SIZE)) * rng.uniform(0.03, 0.12, size=(third, 1))
    centres[:third] = _unit(centres[third : 2 * third] + near)
    width = rng.uniform(0.02, 0.12, size=num_groups)
    weights = 1 / np.arange(1, num_groups + 1) ** rng.uniform(0.4, 1.1)
    rng.shuffle(weights)
    group = rng.choice(num_groups, size=num, p=weights / weights.sum())
    late = np.arange(num) >= num // 2
    if kind == "popularity":
        rng.shuffle(weights)
        group = np.where(late, rng.choice(num_groups, size=num, p=weights / weights.sum()), group)
    centre, answers = centres[group], group.copy()
    if kind == "invaded":
        moved = late & (rng.random(num) < 0.5)
        others = _unit(centres + rng.normal(size=centres.shape) * 0.04)
        centre, answers = (
            np.where(moved[:, None], others[group], centre),
            np.where(moved, group + num_groups, group),
        )
    vectors = _unit(centre + rng.normal(size=(num, _SIZE)) * width[group, None])
    if kind == "copies":
        copied = late & (rng.random(num) < 0.04)
        beside = _unit(vectors[rng.integers(0, num // 2, num)] + rng.normal(size=vectors.shape) * 0.003)
        vectors = np.where(copied[:, None], beside, vectors)
        answers = np.where(copied, num_groups + np.arange(num), answers)
    answers = _answered(kind, answers, group, num_groups, late, rng)
    if kind == "narrow":
        vectors = _unit(vectors + 2 * _unit(np.ones(_SIZE)))
    return Stream(vectors, answers, [_NOTHING] * num, np.arange(num))


KINDS = (
    *("groups", "noise", "turned", "renewed", "invaded", "popularity", "twins", "nonsense", "narrow"),
    *("drip", "copies"),
)


def _answered(
    kind: str,
    answers: NDArray[np.int64],
    group: NDArray[np.int64],
    num_groups: int,
    late: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    if kind == "noise":
        return np.where(rng.random(len(group)) < 0.02, rng.integers(0, num_groups, size=len(group)), answers)
    if kind == "turned":
        return np.where(late & (rng.random(num_groups) < 0.3)[group], answers + num_groups, answers)
    if kind == "drip":
        at = np.where(rng.random(num_groups) < 0.6, rng.uniform(0, len(group), num_groups), np.inf)
        return np.where(np.arange(len(group)) >= at[group], answers + num_groups, answers)
    if kind == "renewed":
        return np.where(late, answers + num_groups, answers)
    return np.arange(len(group)) if kind == "nonsense" else answers


def _twins(num: int, rng: np.random.Generator) -> Stream:
    centres = _unit(rng.normal(size=(4_000, _SIZE)))
    apart = rng.normal(size=(2_000, _SIZE)) * rng.uniform(0.02, 0.2, size=(2_000, 1))
    centres[1::2] = _unit(centres[::2] + apart)
    weights = 1 / np.arange(1, 4_001)
    rng.shuffle(weights)
    group = rng.choice(4_000, size=num, p=weights / weights.sum())
    same = rng.random(num) < 0.3
    noise = np.where(same[:, None], 0, rng.normal(size=(num, _SIZE)) * 0.06)
    return Stream(
        _unit(centres[group] + noise), group, [_NOTHING] * num, np.where(same, -1 - group, np.arange(num))
    )


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
