"""A lever of a search: its values here, its default, and why other values are not among them."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trivet.spec.convert import convert
from trivet.spec.fields import FieldPath
from trivet.spec.levers import Levers
from trivet.spec.service import Model
from trivet.spec.units import format_duration
from trivet.tune.choice import Value

DURATIONS = frozenset({"deferral", "queue"})
OF_CORES = frozenset({"threads", "instances", "workers"})
OF_A_MODEL = (
    "engine",
    "threads",
    "instances",
    "execution",
    "max_batch_size",
    "deferral",
    "queue",
    "graph_optimization",
    "spinning",
)
# The threshold of an early exit behind a model; `declared`: as service.yaml, or whoever built the variant, has it.
EXIT, DECLARED = "exit", "declared"
ROUTE = "route"  # of the service: which certified point (route_lever.py)
DEGRADE = "degrade"  # of the service: how much stand-ins may cost (degrade_lever.py)
FIRST_THRESHOLDS = (
    0.5,
    0.7,
    0.8,
    0.9,
    0.95,
    0.99,
)  # until a profile says what share of the rows leaves at which
# What may answer before the pipeline (front_levers.py).
CACHE, SEMANTIC_CACHE, OFF = "cache", "semantic_cache", "off"
CHANGE_ANSWERS = frozenset({"variant", EXIT, DEGRADE, ROUTE, SEMANTIC_CACHE})
# What simulation cannot tell apart, as it works on profiled times: tried live beside the best, one at a time.
LIVE_ONLY = frozenset({"graph_optimization", "spinning"})
MAX_BATCH_SIZE = 64
_DEFERRALS_NS = (1_000_000, 2_000_000, 5_000_000)
_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """values: the default first, then in ascending order. model: empty: of every model, or of the deployment.

    live_only: simulation cannot tell its values apart.
    """

    name: str
    lever: str
    model: str
    values: tuple[Value, ...]
    default: Value
    kind: Literal["serving", "answers"] = "serving"
    why: str = ""

    @property
    def live_only(self) -> bool:
        return self.lever in LIVE_ONLY


def changes_answers(lever: str) -> bool:
    """Args: lever: by name, `model.exit` where a service has several models."""
    return lever.rpartition(".")[2] in CHANGE_ANSWERS


def candidates(
    lever: str, model: Model, num_cores: int, slo_latency_ns: int | None
) -> tuple[Value, ...] | str:
    """Values worth a look for a model on so many cores, without the declared one; or why there are none."""
    if num_cores == 1 and lever in ("threads", "instances", "spinning"):
        return "the server has one core here"
    if model.python and lever not in ("instances", "queue", "max_batch_size", "deferral"):
        return "the model is Python code: it runs in processes of its own"
    if model.batching == "off" and lever in ("max_batch_size", "deferral"):
        return "batching is off: requests do not share a batch"
    match lever:
        case "engine":
            return _engines(model)
        case "threads" | "instances":
            return tuple(powers_up_to(num_cores))
        case "execution":
            return ("inline", "thread")
        case "max_batch_size":
            return tuple(powers_up_to(MAX_BATCH_SIZE))
        case "deferral":
            most = slo_latency_ns // 4 if slo_latency_ns is not None else _DEFERRALS_NS[-1]
            return ("0ms", *(format_duration(ns) for ns in _DEFERRALS_NS if ns <= most))
        case "queue":
            return () if slo_latency_ns is None else ("auto", _half(slo_latency_ns))
        case "graph_optimization":
            return _of_onnxruntime(model, ("all", "basic"))
        case "spinning":
            return _of_onnxruntime(model, (False, True))
    raise ValueError(f"no lever {lever!r}")


def _engines(model: Model) -> tuple[Value, ...] | str:
    if not (model.file or "").endswith(".onnx") or model.engine == "python":
        return "only one engine runs this model"
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed: pip install 'trivet[openvino]'"
    return ("onnxruntime", "openvino")


def _of_onnxruntime(model: Model, values: tuple[Value, ...]) -> tuple[Value, ...] | str:
    return values if model.engine == "onnxruntime" else "a lever of onnxruntime"


def _half(latency_ns: int) -> str:
    """Half the budget, to a whole millisecond where it has one."""
    half = latency_ns // 2
    return format_duration(half // _MS * _MS if half >= _MS else half)


def powers_up_to(most: int) -> list[int]:
    """1, 2, 4 ... and `most` itself."""
    powers = [1 << shift for shift in range(most.bit_length()) if 1 << shift <= most]
    return powers if powers[-1] == most else [*powers, most]


def declared_value(model: Model, lever: str) -> Value:
    """As service.yaml says it: durations as text."""
    return model.engine if lever == "engine" else declared_text(model.levers, lever)


def levers_with(levers: Levers, values: Mapping[str, Value], path: FieldPath = ()) -> Levers:
    """The levers with some of them set as service.yaml would say them. Raises: FieldError: not such a value."""
    tree = {name: declared_text(levers, name) for name in levers.__struct_encode_fields__} | dict(values)
    return convert(tree, Levers, path)


def declared_text(levers: Levers, name: str) -> Value:
    """A lever as service.yaml says it: durations as text."""
    value: Value = getattr(levers, f"{name}_ns" if name in DURATIONS else name)
    return format_duration(value) if name in DURATIONS and isinstance(value, int) else value
