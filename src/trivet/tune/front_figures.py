"""Accuracy of a configuration with a semantic cache: that of its pipeline, less the wrong answers among its hits.

The estimate is what the policy itself gave wrong on the inputs of the search; the interval reaches as far as the budget that
it is held to, as its users may bring another stream.
"""

import msgspec
import numpy as np

from trivet.catalog.records import Figure
from trivet.load.popularity import picks
from trivet.simulate.front_table import FrontTable
from trivet.simulate.fronts import semantic_share
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import FrontsSetup

NUM_REQUESTS = 3_000  # as long as a simulation of the second round


def wrong_share(profile: ServiceProfile, fronts: FrontsSetup | None, zipf: float, seed: int) -> float | None:
    """The share of all requests that got another answer than the pipeline's; None: it was not measured."""
    table: FrontTable | None = profile.fronts
    if fronts is None or fronts.semantic is None:
        return 0.0
    if table is None or table.semantic is None:
        return None
    items = picks(NUM_REQUESTS, table.num_inputs, zipf, np.random.default_rng(seed))
    return semantic_share(fronts, table, items)


def max_wrong_of(fronts: FrontsSetup | None) -> float:
    return 0.0 if fronts is None or fronts.semantic is None else fronts.semantic.max_wrong


def with_wrong_hits(accuracy: Figure, wrong: float, budget: float, *, larger_is_better: bool) -> Figure:
    """Each wrong hit counts as a right answer lost. Args: budget: of wrong answers, as declared."""
    return _moved(accuracy, wrong, budget, 0.0, larger_is_better)


def difference_with_wrong_hits(
    difference: Figure | None,
    wrong: float,
    budget: float,
    default_wrong: float,
    default_budget: float,
    *,
    larger_is_better: bool,
) -> Figure:
    """Args: difference: of the pipelines; None: they answer the same."""
    known = difference or Figure(estimate=0.0, low=0.0, high=0.0, unit="points")
    return _moved(known, wrong - default_wrong, budget, default_budget, larger_is_better)


def _moved(figure: Figure, wrong: float, down: float, up: float, larger_is_better: bool) -> Figure:
    if not larger_is_better:  # an error: what is lost is added
        return msgspec.structs.replace(
            figure,
            estimate=figure.estimate + wrong,
            low=None if figure.low is None else figure.low - up,
            high=None if figure.high is None else figure.high + down,
        )
    return msgspec.structs.replace(
        figure,
        estimate=figure.estimate - wrong,
        low=None if figure.low is None else figure.low - down,
        high=None if figure.high is None else figure.high + up,
    )
