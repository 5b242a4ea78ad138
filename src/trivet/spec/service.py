"""What a user declares in service.yaml, static defaults filled in; validation.py checks what spans fields."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from trivet.spec.cache import Cache
from trivet.spec.cost import Cost
from trivet.spec.exit import Exit
from trivet.spec.failures import Failures
from trivet.spec.features import Features
from trivet.spec.fields import FieldError
from trivet.spec.levers import Auto, Count, Levers, Priorities, Slo
from trivet.spec.openai import OpenAI
from trivet.spec.precomputed import Precomputed
from trivet.spec.remote import Remote
from trivet.spec.signature import TensorSpec
from trivet.spec.tuning import DeploymentHint, Tuning
from trivet.spec.variants import Variants

EngineName = Literal["onnxruntime", "openvino", "python", "remote"]
ProviderName = Literal["cpu", "cuda", "tensorrt", "openvino"]
StageKind = Literal["preprocess", "features", "model", "postprocess"]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Axis = Annotated[int, msgspec.Meta(ge=1)]  # axis 0 counts the requests of a batch

METRICS = ("accuracy", "f1", "auc", "mae", "rmse", "cosine")
SMALLER_IS_BETTER = frozenset({"mae", "rmse"})
DECODERS = ("argmax", "threshold", "identity")


class Ragged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input whose size along `axis` differs between requests; in a batch `pad` fills the shorter ones."""

    axis: Axis
    pad: int | float = 0


class Cut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An output as long along `axis` as the ragged input `like`: each request gets its own length back."""

    axis: Axis
    like: Text


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: a file for a native engine, Python code, or one that another server runs.

    file: the model file, relative to the service file.
    python: `module:attribute` or `file.py:attribute`: a function, a class with `load` and `predict`, or a
        generator.
    remote: upstream servers that answer.
    files: whatever else belongs to the model (tokenizer, vocabulary); their bytes are part of the hash.
    engine: by default onnxruntime for a file, python for Python code; remote for upstream servers.
    providers: where onnxruntime runs, in order of preference.
    ragged, cut: inputs that may be padded to share a batch, and how the outputs are cut again.
    batching: whether requests may share a batch; auto: where the model's batch axis is known and a check at
        load finds the same answers.
    batch_axis: whether axis 0 of every input and output counts rows; auto: as the symbolic shapes say.
    lengths: sizes of the free dimensions that the profile measures where no data tells real ones. Not part of
        the hash: it changes no answer and no lever.
    """

    file: Text | None = None
    python: Text | None = None
    remote: Remote | None = None
    files: tuple[Text, ...] = ()
    engine: EngineName = None  # type: ignore[assignment]  # filled in below: never None
    providers: tuple[ProviderName, ...] = ("cpu",)
    levers: Levers = Levers()
    ragged: Mapping[str, Ragged] = {}
    cut: Mapping[str, Cut] = {}
    batching: Literal["auto", "on", "off"] = "auto"
    batch_axis: Auto | bool = "auto"
    lengths: tuple[Count, ...] = ()

    def __post_init__(self) -> None:
        if sum(kind is not None for kind in (self.file, self.python, self.remote)) != 1:
            raise FieldError((), "a model is `file:`, `python:` or `remote:`; give exactly one")
        if self.engine not in get_args(EngineName):
            engine = "onnxruntime" if self.file else "python" if self.python else "remote"
            msgspec.structs.force_setattr(self, "engine", engine)

    @property
    def source(self) -> str:
        """The file or Python target, as declared; of a remote model its name there."""
        return self.file or self.python or (self.remote.model if self.remote else "")


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of the pipeline: exactly one of `preprocess`, `features`, `model`, `postprocess`.

    preprocess, postprocess: Python code, `module:attribute` or `file.py:attribute`.
    features: tensors that are looked up in a table.
    model: a name under `models`.
    inputs: the tensors it takes, each from the latest stage (or the request) that gave one of that name: a list
        of tensors, or a mapping from its own names to the names they were given under. By default a model takes
        its inputs by their names, and Python code all outputs of the stage before. The first stage's stand at
        the top of the file.
    outputs: the tensors that Python code gives; the last stage's stand at the top of the file.
    files: whatever else belongs to Python code; their bytes are part of the hash.
    execution: where Python code runs; auto: in the event loop, unless rows of the service's data show that it
        takes long: then in a process of its own.
    exit: behind a model: rows of which it is sure enough are answered here.
    failures: of a model: how long it may take, when it is tried again, who answers instead.
    """

    preprocess: Text | None = None
    features: Features | None = None
    model: Text | None = None
    postprocess: Text | None = None
    inputs: tuple[TensorSpec, ...] | Mapping[str, Text] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    files: tuple[Text, ...] = ()
    execution: Literal["auto", "inline", "process"] = "auto"
    exit: Exit | None = None
    failures: Failures | None = None

    def __post_init__(self) -> None:
        kinds = (self.preprocess, self.features, self.model, self.postprocess)
        if sum(one is not None for one in kinds) != 1:
            raise FieldError((), "a stage is exactly one of preprocess, features, model, postprocess")

    @property
    def kind(self) -> StageKind:
        if self.features is not None:
            return "features"
        return "model" if self.model else "preprocess" if self.preprocess else "postprocess"

    @property
    def target(self) -> str:
        """The model's name, the Python target, or the table of features."""
        if self.features is not None:
            return self.features.table
        return self.model or self.preprocess or self.postprocess or ""

    @property
    def takes(self) -> Mapping[str, str] | None:
        """Its own name of each input -> the name that it was given under; None: nothing is declared."""
        if self.features is not None:
            return {self.features.key: self.features.key}
        if isinstance(self.inputs, tuple):
            return {spec.name: spec.name for spec in self.inputs}
        return self.inputs


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labelled rows: a CSV, Parquet or npz file, or a folder with one subfolder of files for each label.

    columns: for each input the column that feeds it, or the list of columns that together make its last axis.
    label, cohort, split: columns with the truth, the group to report separately, and the row's part.
    """

    path: Text
    columns: Mapping[str, Text | tuple[Text, ...]] = {}
    label: Text | None = None
    cohort: Text | None = None
    split: Text | None = None


class Decode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an answer means. `decode: argmax` is short for `decode: {by: argmax}`.

    by: argmax, threshold, identity, or `module:function` that is given one row of the output.
    output: the output that is read; by default the first.
    labels: names by position, in place or in a text file with one name a line.
    threshold: the score from which `threshold` says yes.
    """

    shorthand: ClassVar[str] = "by"

    by: Text
    output: Text | None = None
    labels: Text | tuple[Text, ...] | None = None
    threshold: float = 0.5


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service: models, a straight chain of stages over them, and what is promised and measured.

    inputs, outputs: the signature at the two ends, where an end is Python code (a model file has its own).
    pipeline: by default the only model.
    metric: accuracy, f1, auc, mae, rmse, cosine, or `module:function` that returns one value a row.
    precomputed: answers that were computed before anybody asked.
    cache: what is remembered of answers and stages; None: nothing.
    cost: what a core costs; plans and cost figures need it.
    openai: clients may ask it in OpenAI's words.
    """

    name: Text
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    models: Mapping[str, Model]
    pipeline: tuple[Stage, ...] = ()
    slo: Slo = Slo()
    priorities: Priorities = Priorities()
    data: Data | None = None
    decode: Decode | None = None
    metric: Text | None = None
    variants: Variants = {}
    precomputed: Precomputed | None = None
    cache: Cache | None = None
    cost: Cost | None = None
    openai: OpenAI | None = None
    tune: Tuning | None = None
    deployment: DeploymentHint | None = None

    def __post_init__(self) -> None:
        if not self.pipeline and len(self.models) == 1:
            msgspec.structs.force_setattr(self, "pipeline", (Stage(model=next(iter(self.models))),))

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The models that answer only where a stage of the pipeline has failed."""
        used = {stage.model for stage in self.pipeline}
        named = [one.model for stage in self.pipeline if stage.failures for one in stage.failures.fallback]
        return tuple(dict.fromkeys(name for name in named if name is not None and name not in used))

    @property
    def last_model(self) -> int:
        """The place of the last model in the pipeline, whose answers early exits stand for; -1: only steps."""
        return max((index for index, stage in enumerate(self.pipeline) if stage.model), default=-1)
