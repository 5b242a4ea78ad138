"""A first service.yaml for a model: what its signature and a data file let one guess, with comments to go on.

The text itself is a valid service; each guess stands where it is changed.
"""

from collections.abc import Iterable, Sequence

from trivet.spec.service import Data
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.spec.yaml_text import quoted

_LABELS = ("label", "labels", "target", "class", "y", "truth", "intent", "category")
_SPLITS = ("split", "part", "fold", "subset")
_COHORTS = ("cohort", "group", "segment", "language", "lang", "region")
_FLOATS = ("FP16", "FP32", "FP64", "BF16")


def guess_data(path: str, columns: Sequence[str], signature: Signature) -> Data:
    """Which column feeds which input, and which is the label, by their names.

    An input takes the column of its name, whatever the case. What is left over goes to the only input without a
    column, if it is as many columns as the input is wide, or one column.
    """
    by_lower = {name.lower(): name for name in reversed(columns)}
    inputs = [spec.name for spec in signature.inputs]
    feeds: dict[str, str | tuple[str, ...]] = {
        name: by_lower[name.lower()] for name in inputs if name.lower() in by_lower
    }
    free = [name for name in columns if name not in feeds.values()]
    split, cohort, label = _first(free, _SPLITS), _first(free, _COHORTS), _first(free, _LABELS)
    free = [name for name in free if name not in (split, cohort, label)]
    hungry = [spec for spec in signature.inputs if spec.name not in feeds]
    if len(hungry) == 1:
        width = hungry[0].shape[-1] if len(hungry[0].shape) > 1 else 1
        if label is None and width > 0 and len(free) == width + 1:
            label = free.pop()  # by custom the last column
        if len(free) == width > 1:
            feeds[hungry[0].name] = tuple(free)
        elif len(free) == 1:
            feeds[hungry[0].name] = free[0]
    return Data(path=path, columns=feeds, label=label, cohort=cohort, split=split)


def service_text(name: str, model_file: str, signature: Signature, data: Data | None = None) -> str:
    """The text of a commented service.yaml beside `model_file`; it parses and validates as it stands."""
    lines = [
        f"# The service {_comment(name)}: what is served, how, and what is promised.",
        "# A key that is left out has the default that stands in its comment.",
        f"# Check it:  trivet validate {_FILE}      Serve it:  trivet serve {_FILE}",
        "",
        f"name: {quoted(name)}",
        "",
        "models:",
        "  model:",
        f"    file: {quoted(model_file)}",
        *_signature_comment(signature),
        *_ragged_comment(signature),
        *_LEVERS,
        "",
        *_SLO,
        *_data(data, signature),
    ]
    return "\n".join(lines) + "\n"


_FILE = "service.yaml"
_LEVERS = (
    "    # files: [tokenizer.json]     # whatever else belongs to the model; its bytes count in the hash",
    "    # levers:                      # auto: decided on this machine from a short profile",
    "    #   threads: auto              # cores for one batch",
    "    #   instances: auto            # copies that run at the same time",
    "    #   execution: auto            # inline | thread",
    "    #   max_batch_size: auto",
    "    #   deferral: 0ms              # longest wait on purpose for a larger batch",
    "    #   queue: auto                # longest time in the queue",
)
_SLO = (
    "# slo:",
    "#   percentile: 99               # this share of requests, in percent, ...",
    "#   latency: 50ms                # ... is answered within this time",
    "#   deadline: auto               # after this an answer is worthless: refused, never late",
    "#   accuracy: 0.9                # the worst acceptable value of `metric`; needs data",
    "#   throughput: 200              # requests a second",
)


def _signature_comment(signature: Signature) -> Iterable[str]:
    for kind, specs in (("takes", signature.inputs), ("gives", signature.outputs)):
        for spec in specs:
            yield f"    # {kind} {_comment(spec.name)}: {spec.datatype} {list(spec.shape)}"


def _ragged_comment(signature: Signature) -> Iterable[str]:
    ragged = [spec for spec in signature.inputs if VARIABLE in spec.shape[1:]]
    if not ragged or not signature.batch_axis:
        return
    yield "    # Requests of different sizes share a batch only where padding is declared. Declare it if the model"
    yield "    # ignores what is padded (an attention mask); batched and single answers are compared at load."
    yield "    # ragged:"
    for spec in ragged:
        yield f"    #   {_comment(quoted(spec.name))}: {{axis: {spec.shape.index(VARIABLE, 1)}, pad: 0}}"


def _data(data: Data | None, signature: Signature) -> Iterable[str]:
    if data is None:
        yield "# data:                          # labelled rows: CSV, Parquet, npz or a folder"
        yield "#   path: test.csv"
        first = _comment(quoted(signature.inputs[0].name)) if signature.inputs else "input"
        yield f"#   columns: {{{first}: column}}"
        yield "#   label: label"
        yield "# decode: argmax                 # argmax | threshold | identity | file.py:function"
        yield "# metric: accuracy               # accuracy | f1 | auc | mae | rmse | cosine | file.py:function"
        return
    yield ""
    yield "# Guessed from the names of the columns."
    yield "data:"
    yield f"  path: {quoted(data.path)}"
    if data.columns:
        yield "  columns:"
    for name, columns in data.columns.items():
        value = quoted(columns) if isinstance(columns, str) else f"[{', '.join(map(quoted, columns))}]"
        yield f"    {quoted(name)}: {value}"
    for spec in signature.inputs:
        if spec.name not in data.columns:
            yield f"  # No column found for the input {_comment(spec.name)}: add it under columns."
    for key in ("label", "cohort", "split"):
        column = getattr(data, key)
        yield f"  {key}: {quoted(column)}" if column is not None else f"  # {key}: column"
    yield from _judging(data, signature)


def _judging(data: Data, signature: Signature) -> Iterable[str]:
    """A decoder and a metric that fit the first output of scores, when there is a label to compare with."""
    scores = next((spec for spec in signature.outputs if spec.datatype in _FLOATS), None)
    if data.label is None or scores is None:
        yield "# decode: argmax                 # argmax | threshold | identity | file.py:function"
        yield "# metric: accuracy               # accuracy | f1 | auc | mae | rmse | cosine | file.py:function"
        return
    by, metric = ("argmax", "accuracy") if _has_classes(scores) else ("identity", "mae")
    yield f"decode: {{by: {by}, output: {quoted(scores.name)}}}  # argmax | threshold | identity | file.py:function"
    yield f"metric: {metric}  # accuracy | f1 | auc | mae | rmse | cosine | file.py:function"


def _has_classes(spec: TensorSpec) -> bool:
    return len(spec.shape) > 1 and spec.shape[-1] != 1


def _first(names: Sequence[str], known: Sequence[str]) -> str | None:
    found = [name for word in known for name in names if name.lower() == word]
    return found[0] if found else None


def _comment(text: str) -> str:
    """The text on one line of a comment."""
    return "".join(character if character.isprintable() else "?" for character in text)
