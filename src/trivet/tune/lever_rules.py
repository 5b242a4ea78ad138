"""What service.yaml says of a lever: fixed, listed, bounded, or kept as declared."""

from dataclasses import replace

from trivet.catalog.study import LeftOut
from trivet.errors import SpecError
from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.levers import Levers
from trivet.spec.semantic import LARGEST_BUDGET
from trivet.spec.tuning import KEPT, Bounds, LeverRule
from trivet.spec.units import parse_duration_ns, parse_size
from trivet.tune.choice import Value
from trivet.tune.degrade_lever import check_degrade_value
from trivet.tune.lever import (
    CACHE,
    DECLARED,
    DEGRADE,
    DURATIONS,
    EXIT,
    OF_CORES,
    OFF,
    ROUTE,
    SEMANTIC_CACHE,
    Lever,
    levers_with,
)
from trivet.tune.route_lever import check_route_value


def ruled(
    lever: Lever, rule: LeverRule | None, num_cores: int, path: FieldPath = ()
) -> tuple[Lever | None, LeftOut | None]:
    """A lever under the rule of service.yaml, and what is to be said of what it leaves out.

    Raises: FieldError: a value that the lever cannot have, or a range without one.
    """
    if rule is None:
        return lever, None
    if rule == KEPT:
        return None, LeftOut(name=lever.name, why=f"kept at {lever.default}: service.yaml says so")
    if isinstance(rule, Bounds):
        return _bounded(lever, rule, path), LeftOut(name=lever.name, why=_told(rule))
    values = rule if isinstance(rule, tuple) else (rule,)
    for value in values:
        check_value(lever.lever, value, num_cores, path)
    default = lever.default if lever.default in values else values[0]
    fixed = f"fixed at {default} in service.yaml" if len(values) == 1 else "only the values of service.yaml"
    listed = tuple(dict.fromkeys((default, *values)))
    return replace(lever, values=listed, default=default), LeftOut(name=lever.name, why=fixed)


def _bounded(lever: Lever, rule: Bounds, path: FieldPath) -> Lever:
    low, high = _number(rule.at_least, lever, path), _number(rule.at_most, lever, path)
    held = [value for value in lever.values if _is_within(value, low, high)]
    if not any(_size(value) is not None for value in held):
        known = ", ".join(map(str, lever.values))
        raise FieldError(path, f"no value of {lever.name} lies in this range here; values: {known}")
    default = lever.default if lever.default in held else held[0]
    return replace(lever, values=tuple(dict.fromkeys((default, *held))), default=default)


def _is_within(value: Value, low: float | None, high: float | None) -> bool:
    """`auto` stays: what it becomes is for the host to say, and is looked at where it is simulated."""
    size = _size(value)
    return size is None or ((low is None or size >= low) and (high is None or size <= high))


def _size(value: Value) -> float | None:
    """A number, or a duration in nanoseconds; None for a word."""
    if isinstance(value, str):
        try:
            return float(parse_duration_ns(value))
        except SpecError:
            return None
    return float(value)


def _number(bound: float | str | None, lever: Lever, path: FieldPath) -> float | None:
    if bound is None:
        return None
    size = _size(bound)
    if size is None or (lever.lever in DURATIONS) != isinstance(bound, str):
        wanted = "a duration such as 2ms" if lever.lever in DURATIONS else "a number"
        raise FieldError(path, f"{lever.name}: expected {wanted}, got {bound!r}")
    return size


def check_value(lever: str, value: Value, num_cores: int, path: FieldPath) -> None:
    """Raises: FieldError: not a value of the lever, or more than there are cores."""
    if lever == "engine":
        if value not in ("onnxruntime", "openvino"):
            raise FieldError(path, f"engine: expected onnxruntime or openvino, got {value!r}")
        return
    if lever == EXIT:
        is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        if value != DECLARED and not is_share:
            raise FieldError(path, f"exit: expected a confidence from 0 to 1, or {DECLARED}, got {value!r}")
        return
    if lever == DEGRADE:
        check_degrade_value(value, path)
        return
    if lever == ROUTE:
        check_route_value(value, path)
        return
    if lever == CACHE:
        if value != OFF:
            _check_size(value, path)
        return
    if lever == SEMANTIC_CACHE:
        is_budget = (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_BUDGET
        )
        if value != OFF and not is_budget:
            raise FieldError(
                path,
                f"semantic_cache: expected a share of wrong answers such as 0.01, or {OFF}, got {value!r}",
            )
        return
    if lever in OF_CORES and isinstance(value, int) and not 1 <= value <= num_cores:
        raise FieldError(
            path,
            f"{lever} of {value}: the server has {num_cores} core{'s' * (num_cores > 1)} here; give 1 to {num_cores}",
        )
    if lever != "workers":
        levers_with(Levers(), {lever: value}, path)


def _check_size(value: Value, path: FieldPath) -> None:
    try:
        parse_size(value)
    except SpecError as error:
        raise FieldError(path, f"cache: expected a size such as 64MiB, or {OFF}: {error}") from None


def _told(rule: Bounds) -> str:
    ends = [("at least", rule.at_least), ("at most", rule.at_most)]
    return (
        " and ".join(f"{word} {bound}" for word, bound in ends if bound is not None)
        + ", as service.yaml says"
    )
