"""Accuracy of a configuration whose exits or route have other thresholds: from the rows that the profile has measured."""

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.experiment.making_figures import interval_figure
from trivet.experiment.simulating.simulated import ease_of, has_exits, table_key, thresholds_of
from trivet.experiment.variants.judged_answers import CONFIDENCE, values_difference
from trivet.judge import intervals
from trivet.simulate.profile import ServiceProfile
from trivet.spec.configuration import Configuration
from trivet.stats.proportion import proportion_interval

Values = NDArray[np.float64]
_LEAST_ROWS = 2


def exit_accuracy(configuration: Configuration, profile: ServiceProfile) -> Figure | None:
    """None: nothing was judged of its exits, or its route."""
    values = _values(configuration, profile)
    if values is None or len(values) < _LEAST_ROWS:
        return None
    unit = configuration.service.metric or ""
    if np.isin(values, (0.0, 1.0)).all():
        interval = proportion_interval(int(values.sum()), len(values), CONFIDENCE)
    else:
        interval = intervals.mean(values, CONFIDENCE, np.random.default_rng(0))
    return interval_figure(interval, unit, f"by the confidences of {len(values)} rows")


def exit_difference(
    configuration: Configuration, default: Configuration, profile: ServiceProfile
) -> Figure | None:
    """Its accuracy minus that of the service as declared, on the same rows; None: they were not judged together."""
    values, before = _values(configuration, profile), _before(configuration, default, profile)
    if values is None or before is None:
        return None
    return values_difference(before, values, configuration.service.metric or "")


def _values(configuration: Configuration, profile: ServiceProfile) -> Values | None:
    if configuration.service.route is not None:
        routes = profile.routes.get(table_key(configuration))
        return None if routes is None else routes.values(routes.ways(ease_of(configuration)))
    table = profile.exits.get(table_key(configuration)) if has_exits(configuration) else None
    return None if table is None else table.values(table.exits(thresholds_of(configuration)))


def _before(configuration: Configuration, default: Configuration, profile: ServiceProfile) -> Values | None:
    key = table_key(configuration)
    if has_exits(default) or default.service.route is not None:
        return _values(default, profile) if table_key(default) == key else None
    table = profile.exits.get(key)
    if table is None or table.last not in table.right:
        return None
    # The stages of a variant, with nobody leaving, are the model that it was made of.
    return np.asarray(table.right[table.last], np.float64)
