"""Losses and gradients against finite differences; the same lesson gives the same student."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from trivet.variants.errors import VariantError
from trivet.variants.learned.network import Dense, Examples, Network, forward, gradient, new_network
from trivet.variants.learned.targets import UNKNOWN, Kind, Target, agreement, label_positions, target_of
from trivet.variants.learned.training import Schedule, fit

EVERY = np.arange(6)


def _target(kind: Kind) -> Target:
    random = np.random.default_rng(3)
    values = random.standard_normal((6, 3))
    if kind == "shares":
        values = random.random((6, 3))
    if kind == "directions":
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    classes = np.array([0, 2, UNKNOWN, 1, UNKNOWN, 0])
    return Target(
        name="y", kind=kind, values=values, inner=(3,), dtype="float32",  # type: ignore[arg-type]  # doubles: exact
        mean=np.zeros(3, np.float32), scale=1.0, classes=classes,
    )  # fmt: skip


def _network() -> tuple[Network, Examples]:
    """All in doubles, so that differences are exact enough."""
    random = np.random.default_rng(4)
    network = new_network(table=(9, 2), slots=2, features=3, hidden=(5, 4), outputs=[3], random=random)
    network.table = network.table.astype(np.float64) if network.table is not None else None  # type: ignore[assignment]
    for part in (network.hidden, network.heads):
        part[:] = [
            Dense(layer.weight.astype(np.float64), random.standard_normal(len(layer.bias)))  # type: ignore[arg-type]
            for layer in part
        ]
    bag = csr_matrix(random.random((12, 9)) * (random.random((12, 9)) < 0.4))
    return network, Examples(bag, random.standard_normal((6, 3)), 2)  # type: ignore[arg-type]


def _loss(network: Network, examples: Examples, target: Target) -> float:
    return target.loss(forward(network, examples)[1][0], EVERY, 2.0, 0.3)[0]


@pytest.mark.parametrize("kind", ["scores", "probabilities", "shares", "directions", "numbers"])
def test_gradients_are_the_slopes_of_the_loss(kind: Kind) -> None:
    target, (network, examples) = _target(kind), _network()
    assert network.table is not None
    seen, raw = forward(network, examples)
    found = gradient(network, examples, seen, [target.loss(raw[0], EVERY, 2.0, 0.3)[1]])
    of_table = np.zeros_like(network.table)
    of_table[found.rows] = found.table
    step = 1e-6
    for array, slopes in zip([network.table, *network.dense()], [of_table, *found.dense], strict=True):
        for place in np.ndindex(array.shape):
            before = array[place]
            array[place] = before + step
            above = _loss(network, examples, target)
            array[place] = before - step
            below = _loss(network, examples, target)
            array[place] = before
            assert slopes[place] == pytest.approx((above - below) / (2 * step), abs=2e-5)


def test_a_linear_rule_is_learned_and_the_same_lesson_gives_the_same_bytes() -> None:
    random = np.random.default_rng(5)
    features = random.standard_normal((400, 4)).astype(np.float32)
    answers = features @ np.array([[1.0], [-2], [0.5], [0]], np.float32) + 3
    target = target_of("y", answers, decides=False, classes=[UNKNOWN] * 400)
    fitted = []
    for _ in range(2):
        again = np.random.default_rng(6)
        network = new_network(table=None, slots=0, features=4, hidden=(), outputs=[1], random=again)
        schedule = Schedule(epochs=100, dropout=0.0, rate=0.03)
        learn, watch = np.arange(300), np.arange(300, 400)
        fitted.append(
            fit(
                network, Examples(None, features, 0), [target], learn, watch, schedule, again, lambda *_: None
            )
        )
    assert fitted[0].loss < 1e-4
    assert fitted[0].network.heads[0].weight.tobytes() == fitted[1].network.heads[0].weight.tobytes()


@pytest.mark.parametrize(
    ("answers", "decides", "kind"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], False, "probabilities"),
        ([[2.0, -1], [0, 1]], True, "scores"),
        ([[0.6, 0.8], [0, -1]], False, "directions"),
        ([[0.6, 0.9], [0, 1]], False, "shares"),
        ([[0.1], [0.9]], False, "shares"),
        ([[3.0], [-0.9]], False, "numbers"),
        ([[2.0, -1], [0, 1]], False, "numbers"),
    ],
)
def test_what_an_output_is_shows_in_its_values(answers: list[list[float]], decides: bool, kind: str) -> None:
    assert target_of("y", np.array(answers, np.float32), decides=decides, classes=[UNKNOWN] * 2).kind == kind


def test_answers_that_are_not_finite_teach_nothing() -> None:
    with pytest.raises(VariantError, match="'y' has values that are not finite"):
        target_of("y", np.array([[np.nan]]), decides=False, classes=[UNKNOWN])


def test_numbers_come_back_in_their_own_unit() -> None:
    answers = np.array([[10.0, 200], [14, 260]])
    target = target_of("y", answers, decides=False, classes=[UNKNOWN] * 2)
    np.testing.assert_allclose(target.values * target.scale + target.mean, answers, rtol=1e-6)


def test_agreement_by_kind() -> None:
    wanted, given = np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([[0.3, 0.7], [0.4, 0.6]])
    assert agreement("probabilities", wanted, given).tolist() == [1, 0]
    assert agreement("shares", wanted, given).tolist() == [1, 0]
    assert agreement("directions", wanted, wanted) == pytest.approx([1, 1])
    assert agreement("numbers", wanted, np.tile(wanted.mean(axis=0), (2, 1))).mean() == pytest.approx(
        0
    )  # R² of the mean


def test_labels_are_placed_by_asking_what_decode_calls_each_position() -> None:
    names = ("cat", "dog", "7")
    answer = {"y": np.zeros((1, 3), np.float32)}
    decides, places = label_positions(
        lambda a: names[int(a["y"].argmax())], answer, "y", ["dog", 7.0, "cow"], 3
    )
    assert decides
    assert places == [1, 2, UNKNOWN]
    assert label_positions(lambda a: a["y"][0], answer, "y", ["1"], 1) == (False, [UNKNOWN])  # a vector, not a class
    assert label_positions(lambda a: float(a["y"].max()), answer, "y", ["1"], 1) == (False, [UNKNOWN])
