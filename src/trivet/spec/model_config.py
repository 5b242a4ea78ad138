"""A `config.pbtxt` of a model repository in our words.

Taken over: names and shapes of tensors, max_batch_size, dynamic batching with its delay, queue timeout and
priorities, instances, onnxruntime's threads, the version policy and the model's file name. Everything else
is ignored, and said so in `warnings`. Refused: what would make the answers different (another backend,
ensembles, sequences). Source of the meanings: `ModelConfig` in Triton's model_config.proto, and its manual.
"""

from dataclasses import dataclass, field
from typing import Literal

from trivet.spec.fields import close, nearest
from trivet.spec.levers import Levers, Priorities
from trivet.spec.pbtxt import Block, parse
from trivet.spec.pbtxt_fields import Fields, line_of
from trivet.spec.service import Model, ProviderName
from trivet.spec.signature import DATATYPES, VARIABLE, TensorSpec

_IGNORED = (
    "runtime", "batch_input", "batch_output", "optimization", "cc_model_filenames", "metric_tags",
    "model_warmup", "model_operations", "model_transaction_policy", "model_repository_agents",
    "response_cache",
)  # fmt: skip
_REFUSED = ("ensemble_scheduling", "sequence_batching")
_READ = (
    "name", "platform", "backend", "max_batch_size", "input", "output", "dynamic_batching", "instance_group",
    "version_policy", "default_model_filename", "parameters",
)  # fmt: skip
_KIND_PROVIDERS: dict[str, tuple[ProviderName, ...]] = {
    "KIND_AUTO": ("cpu",),
    "KIND_CPU": ("cpu",),
    "KIND_GPU": ("cuda", "cpu"),
}
_DEFAULT_FILE = {"onnxruntime": "model.onnx", "openvino": "model.xml"}
_MIN_SHARE = Priorities().min_share


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which of the version folders are served: all, the latest `num_latest`, or the `specific` ones."""

    kind: Literal["latest", "all", "specific"] = "latest"
    num_latest: int = 1
    specific: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What one config.pbtxt says. `inputs`, `outputs`: with the batch axis that max_batch_size implies."""

    model: Model
    name: str = ""
    priorities: Priorities = field(default_factory=Priorities)
    versions: VersionPolicy = field(default_factory=VersionPolicy)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    warnings: tuple[str, ...] = ()


def parse_config(text: str, file: str) -> ModelConfig:
    """What a config.pbtxt says. Raises: SpecError: names file and line."""
    return _Reader(file).read(parse(text, file))


class _Reader(Fields):
    def read(self, top: Block) -> ModelConfig:
        for entry in top.entries:
            if entry.name in _REFUSED:
                raise self.error(entry.line, f"{entry.name} is not served; serve its models one by one")
            if entry.name in _IGNORED:
                self.warn(entry.line, f"{entry.name} is ignored")
            elif entry.name not in _READ:
                self.warn(entry.line, f"unknown field {entry.name!r} is ignored{close(entry.name, _READ)}")
        engine = self._engine(top)
        max_batch_size = self.number(top, "max_batch_size", at_least=0)
        dynamic = self.block(top, "dynamic_batching")
        instances, providers = self._instances(top)
        model = Model(
            file=self.text(top, "default_model_filename") or _DEFAULT_FILE[engine],
            engine=engine,
            providers=providers,
            levers=Levers(
                threads=self._threads(top) or "auto",
                instances=instances or "auto",
                max_batch_size=max_batch_size or "auto",
                deferral_ns=self._deferral_ns(dynamic, max_batch_size),
                queue_ns=self._queue_ns(dynamic) or "auto",
            ),
            batching=_batching(max_batch_size, dynamic),
            batch_axis="auto" if max_batch_size is None else max_batch_size > 0,
        )
        return ModelConfig(
            model=model,
            name=self.text(top, "name") or "",
            priorities=self._priorities(dynamic),
            versions=self._versions(top),
            inputs=self._tensors(top, "input", bool(max_batch_size)),
            outputs=self._tensors(top, "output", bool(max_batch_size)),
            warnings=self.warnings(),
        )

    def _engine(self, top: Block) -> Literal["onnxruntime", "openvino"]:
        platform, backend = self.text(top, "platform") or "", self.text(top, "backend") or ""
        if platform not in ("", "onnxruntime_onnx"):
            line = line_of(top, "platform")
            raise self.error(line, f"platform {platform!r} is not served; known: onnxruntime_onnx")
        match backend:
            case "" | "onnxruntime":
                return "onnxruntime"
            case "openvino":
                return "openvino"
        line = line_of(top, "backend")
        raise self.error(line, f"backend {backend!r} is not served; known: onnxruntime, openvino")

    def _tensors(self, top: Block, name: str, batched: bool) -> tuple[TensorSpec, ...]:
        specs = []
        for entry, block in self.blocks(top, name):
            tensor, datatype = self.text(block, "name"), self.word(block, "data_type") or ""
            if not tensor:
                raise self.error(entry.line, f"this {name} has no name")
            known = {f"TYPE_{word}": word for word in DATATYPES if word != "BYTES"} | {"TYPE_STRING": "BYTES"}
            if datatype not in known:
                line = line_of(block, "data_type", entry.line)
                raise self.error(
                    line, f"{name} {tensor!r}: unknown data_type {datatype!r}{nearest(datatype, known)}"
                )
            dims = tuple(self.checked_number(item, -1) for item in block.entries if item.name == "dims")
            for item in block.entries:
                if item.name not in ("name", "data_type", "dims"):
                    self.warn(item.line, f"{item.name} of {name} {tensor!r} is ignored")
            specs.append(TensorSpec(tensor, known[datatype], ((VARIABLE, *dims) if batched else dims)))
        return tuple(specs)

    def _instances(self, top: Block) -> tuple[int | None, tuple[ProviderName, ...]]:
        groups = self.blocks(top, "instance_group")
        counts, providers = 0, list[ProviderName]()
        for entry, block in groups:
            kind = self.word(block, "kind") or "KIND_AUTO"
            if kind not in _KIND_PROVIDERS:
                raise self.error(
                    entry.line, f"kind {kind!r} is not served; known: {', '.join(_KIND_PROVIDERS)}"
                )
            counts += self.number(block, "count", at_least=1) or 1
            providers += [provider for provider in _KIND_PROVIDERS[kind] if provider not in providers]
            for item in block.entries:
                if item.name not in ("kind", "count", "name"):
                    self.warn(item.line, f"{item.name} of instance_group is ignored")
        return (counts, tuple(providers)) if groups else (None, ("cpu",))

    def _threads(self, top: Block) -> int | None:
        """onnxruntime's `intra_op_thread_count`; 0 leaves the choice to the server."""
        threads = None
        for entry, block in self.blocks(top, "parameters"):
            key, value = self.text(block, "key") or "", self.block(block, "value")
            text = self.text(value, "string_value") if value else None
            if key != "intra_op_thread_count":
                self.warn(entry.line, f"parameter {key!r} is ignored")
            elif text is None or not text.isdecimal():
                raise self.error(entry.line, f"intra_op_thread_count: expected a whole number, got {text!r}")
            else:
                threads = int(text) or None
        return threads

    def _deferral_ns(self, dynamic: Block | None, max_batch_size: int | None) -> int:
        if dynamic is None:
            return 0
        for entry in dynamic.entries:
            if entry.name not in _DYNAMIC:
                self.warn(entry.line, f"{entry.name} of dynamic_batching is ignored")
        delay = self.number(dynamic, "max_queue_delay_microseconds", at_least=0) or 0
        return delay * 1_000 if _batching(max_batch_size, dynamic) != "off" else 0

    def _queue_ns(self, dynamic: Block | None) -> int | None:
        policy = self.block(dynamic, "default_queue_policy") if dynamic else None
        if policy is None:
            return None
        action = self.word(policy, "timeout_action") or "REJECT"
        for entry in policy.entries:
            if entry.name not in ("timeout_action", "default_timeout_microseconds"):
                self.warn(entry.line, f"{entry.name} of default_queue_policy is ignored")
        if action != "REJECT":
            self.warn(policy.line, f"timeout_action {action}: late requests are refused, never served late")
        return (self.number(policy, "default_timeout_microseconds", at_least=0) or 0) * 1_000 or None

    def _priorities(self, dynamic: Block | None) -> Priorities:
        levels = self.number(dynamic, "priority_levels", at_least=0) if dynamic else None
        if dynamic is None or not levels:
            return Priorities()
        default = self.number(dynamic, "default_priority_level", at_least=1) or 1
        if default > levels:
            line = line_of(dynamic, "default_priority_level")
            raise self.error(line, f"default_priority_level {default} is not one of the {levels} levels")
        return Priorities(default=default, levels=levels, min_share=min(_MIN_SHARE, 0.5 / levels))

    def _versions(self, top: Block) -> VersionPolicy:
        policy = self.block(top, "version_policy")
        if policy is None:
            return VersionPolicy()
        for entry, block in ((item, item.value) for item in policy.entries):
            match entry.name, block:
                case "latest", Block():
                    return VersionPolicy(
                        "latest", num_latest=self.number(block, "num_versions", at_least=1) or 1
                    )
                case "all", Block():
                    return VersionPolicy("all")
                case "specific", Block():
                    numbers = [
                        self.checked_number(item, 1) for item in block.entries if item.name == "versions"
                    ]
                    return VersionPolicy("specific", specific=tuple(numbers))
        raise self.error(policy.line, "version_policy: expected latest, all or specific")


_DYNAMIC = (
    "max_queue_delay_microseconds",
    "default_queue_policy",
    "priority_levels",
    "default_priority_level",
)


def _batching(max_batch_size: int | None, dynamic: Block | None) -> Literal["auto", "off"]:
    """As there: requests share a batch only where max_batch_size allows it and dynamic_batching is written.

    Without a max_batch_size nothing is declared, and the model's own shapes decide.
    """
    return "auto" if max_batch_size is None or (max_batch_size > 1 and dynamic is not None) else "off"
