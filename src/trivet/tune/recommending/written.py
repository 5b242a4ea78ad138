"""configuration.yaml: the chosen configuration as a service file that `trivet serve` takes as it is.

Every lever stands in it, the workers as `deployment:`, and its files are found from the folder that it is written to: a
variant's files are copied beside it, for their store may be emptied; the service's own are named where they are.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trivet.catalog.study import Study, Trial
from trivet.errors import SpecError
from trivet.spec.configuration import SHORT_LENGTH, Configuration
from trivet.spec.service import Service
from trivet.spec.service_file import load_configuration
from trivet.spec.sources import is_target
from trivet.spec.tuning import DeploymentHint
from trivet.spec.yaml_text import service_yaml
from trivet.tune.legs import ACCURACY, COST, LATENCY, RATE
from trivet.tune.prices import PRICE
from trivet.tune.recommending.wording import floors_in_words, slo_in_words, trial_in_words

FILE_NAME = "configuration.yaml"
FILES_FOLDER = "configuration-files"
_TOLD = (RATE, LATENCY, ACCURACY, COST, PRICE)


@dataclass(frozen=True, slots=True)
class Written:
    """A configuration as text for one folder. copies: path in that folder -> the file that belongs there."""

    text: str
    configuration_hash: str
    copies: Mapping[str, Path]


def configuration_yaml(
    configuration: Configuration,
    folder: Path,
    *,
    workers: int,
    header: Sequence[str] = (),
    store: Path | None = None,
) -> Written:
    """The text of a service file in `folder` that loads as this configuration, with the same hash.

    Args: header: lines of the comment on top.  store: the folder of variants: files in it are copied.
    Raises: SpecError: Python code, which is found from the service file's own folder, and `folder` is another.
    """
    moved = _Moved(configuration, folder.absolute(), None if store is None else store.absolute())
    service = msgspec.structs.replace(
        moved.service(), variants={}, tune=None, deployment=DeploymentHint(workers=workers)
    )
    lines = [f"# {_one_line(line)}" for line in header]
    text = "\n".join([*lines, service_yaml(service)])
    return Written(text, configuration.hash, moved.copies)


def write_configuration(written: Written, path: Path) -> None:
    """Write the file and copy what belongs beside it, replaced as a whole.

    Raises: SpecError: what was written would not load as the configuration that was measured (a file changed since);
    then nothing is replaced.
    """
    for name, source in written.copies.items():
        target = path.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    draft = path.with_name(f".{path.stem}.draft.yaml")
    draft.write_text(written.text)
    try:
        found = load_configuration(draft).hash
        if found != written.configuration_hash:
            raise SpecError(
                f"these files make configuration {found[:SHORT_LENGTH]}, and {written.configuration_hash[:SHORT_LENGTH]} "
                "was measured: a file changed since; tune again",
                str(path),
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def header_lines(study: Study, trial: Trial, configuration_hash: str) -> list[str]:
    """What stands on top of the file: where it comes from, what was found, and how to measure it again."""
    goal = study.goal
    lines = [
        f"Written by trivet tune: study {study.id or 'not kept'}, {trial_in_words(trial, study.levers)}.",
        f"Configuration {configuration_hash}.",
        f"Goal: {goal.objective}, {slo_in_words(goal)}{floors_in_words(goal)}, safety margin {goal.safety_margin:.0%}.",
    ]
    figures, kind = (
        (trial.measured, "measured") if trial.measured else (trial.predicted, "predicted, not measured")
    )
    lines += [f"{name}: {figures[name]} ({kind})" for name in _TOLD if name in figures]
    if trial.runs:
        lines.append(f"Measure it again: trivet replay {trial.runs[-1]}")
    if study.id:
        lines.append(f"See all of it: trivet report {study.id}")
    return [*lines, f"Serve it: trivet serve {FILE_NAME}"]


class _Moved:
    """The service with every file named from another folder; collects what has to be copied there."""

    def __init__(self, configuration: Configuration, folder: Path, store: Path | None) -> None:
        self._configuration, self._folder, self._store = configuration, folder, store
        self._root = Path(configuration.root).absolute()
        self.copies: dict[str, Path] = {}

    def service(self) -> Service:
        service = self._configuration.service
        decode = service.decode
        if decode is not None:
            labels = self._file(decode.labels) if isinstance(decode.labels, str) else decode.labels
            decode = msgspec.structs.replace(decode, by=self._code(decode.by), labels=labels)
        tabled, semantic = service.precomputed, service.semantic_cache
        if tabled is not None:
            tabled = msgspec.structs.replace(tabled, table=self._relative(self._root / tabled.table))
        if semantic is not None:
            semantic = msgspec.structs.replace(semantic, encoder=self._code(semantic.encoder))
        data = service.data
        if data is not None:
            data = msgspec.structs.replace(data, path=self._relative(self._root / data.path))
        return msgspec.structs.replace(
            service,
            models={
                name: msgspec.structs.replace(
                    model,
                    file=None if model.file is None else self._file(model.file),
                    python=None if model.python is None else self._code(model.python),
                    files=tuple(map(self._file, model.files)),
                )
                for name, model in service.models.items()
            },
            pipeline=tuple(
                msgspec.structs.replace(
                    stage,
                    preprocess=None if stage.preprocess is None else self._code(stage.preprocess),
                    postprocess=None if stage.postprocess is None else self._code(stage.postprocess),
                    files=tuple(map(self._file, stage.files)),
                )
                for stage in service.pipeline
            ),
            decode=decode,
            data=data,
            precomputed=tabled,
            semantic_cache=semantic,
            metric=None if service.metric is None else self._code(service.metric),
        )

    def _code(self, target: str) -> str:
        if is_target(target) and self._root != self._folder:
            raise SpecError(
                f"{target!r} is found from {self._root}: write the configuration there, not to {self._folder}"
            )
        return target

    def _file(self, name: str) -> str:
        path = Path(os.path.normpath(self._root / name))
        if self._store is None or not path.is_relative_to(self._store) or path.is_relative_to(self._folder):
            return self._relative(path)
        belonging = [file for file in self._configuration.files if file.name == name]
        beside = f"{FILES_FOLDER}/{belonging[0].digest[:SHORT_LENGTH]}"
        for file in belonging:
            inside = os.path.relpath(Path(file.path).absolute(), path.parent)
            self.copies[f"{beside}/{inside}"] = Path(file.path)
        return f"{beside}/{path.name}"

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self._folder)


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
