"""A model repository: `<repository>/<model>/<version>/model.onnx`, and beside the versions a `config.pbtxt`.

The config is optional. Nothing outside the repository's folder is ever read, whatever a name, a link or a
model file says: clients may ask for models by name.
"""

from dataclasses import dataclass
from pathlib import Path

from trivet.errors import SpecError
from trivet.spec.configuration import files_of
from trivet.spec.fields import FieldError
from trivet.spec.model_config import ModelConfig, VersionPolicy, parse_config
from trivet.spec.service import Model, Service
from trivet.spec.signature import TensorSpec
from trivet.spec.validation import validate

CONFIG_NAME = "config.pbtxt"
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RepositoryModel:
    """One version of one model. `root`: the version's folder, which the service's files are relative to.

    inputs, outputs: as config.pbtxt declares them; empty where it does not.
    warnings: what config.pbtxt says and this server does not do.
    """

    name: str
    version: str
    service: Service
    root: Path
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    warnings: tuple[str, ...] = ()


def model_names(repository: Path) -> list[str]:
    """The models of a repository, sorted: its folders, hidden ones left out.

    Raises: SpecError: it is not a folder that can be read.
    """
    return [name for name in _names(repository) if not name.startswith(".") and (repository / name).is_dir()]


def read_repository(repository: Path) -> list[RepositoryModel]:
    """Every model in every version that its policy serves.

    Raises: SpecError: the first model that cannot be served, with file and line.
    """
    names = model_names(repository)
    if not names:
        raise SpecError("no models here; expected folders <model>/<version>/model.onnx", str(repository))
    return [model for name in names for model in read_model(repository, name)]


def read_model(repository: Path, name: str) -> list[RepositoryModel]:
    """The versions of one model that its policy serves, oldest first.

    Args: name: may come from a client.
    Raises: SpecError: no such model, or it cannot be served; names the file, and the line where there is one.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise SpecError(f"{name!r} cannot be the name of a model")
    folder = repository / name
    if not folder.is_dir():
        raise SpecError(f"no model {name!r} in the repository", str(repository))
    _refuse_outside(folder, repository)
    config = _config(folder, repository)
    if config.name not in ("", name):
        raise SpecError(f"name {config.name!r} differs from the folder {name!r}", str(folder / CONFIG_NAME))
    return [
        _version(folder / str(number), name, config, repository)
        for number in _served(folder, config.versions)
    ]


def _config(folder: Path, repository: Path) -> ModelConfig:
    path = folder / CONFIG_NAME
    if not path.exists():
        if path.is_symlink():
            raise SpecError("a link to nothing", str(path))
        return ModelConfig(Model(file="model.onnx"))
    _refuse_outside(path, repository)
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise SpecError(f"larger than {_MAX_CONFIG_BYTES} bytes", str(path))
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", str(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text at byte {error.start}", str(path)) from None
    return parse_config(text, str(path))


def _served(folder: Path, policy: VersionPolicy) -> list[int]:
    """The numbered folders that the policy picks; as in Triton, `0…` and words are no versions."""
    names = _names(folder)
    numbers = sorted(int(name) for name in names if _is_version(name) and (folder / name).is_dir())
    if not numbers:
        raise SpecError("no version folder; expected 1, 2, … with the model file inside", str(folder))
    match policy.kind:
        case "all":
            return numbers
        case "latest":
            return numbers[-policy.num_latest :]
    for number in policy.specific:
        if number not in numbers:
            have = ", ".join(map(str, numbers))
            raise SpecError(f"version_policy names version {number}; the folder has {have}", str(folder))
    return sorted(set(policy.specific))


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and name[0] != "0"


def _version(root: Path, name: str, config: ModelConfig, repository: Path) -> RepositoryModel:
    _refuse_outside(root, repository)
    file = config.model.file or ""
    if "/" in file or file in ("", ".", ".."):
        raise SpecError(f"the model file {file!r} must lie in the version folder", str(root))
    if not (root / file).exists():
        others = ", ".join(_names(root)) or "nothing"
        raise SpecError(f"no model file {file!r}; the folder holds {others}", str(root))
    _refuse_outside(root / file, repository)
    for path in files_of(file, root):
        _refuse_outside(path, repository)
    service = Service(name=name, models={name: config.model}, priorities=config.priorities)
    try:
        validate(service)
    except FieldError as error:
        raise SpecError(str(error), str(root)) from None
    return RepositoryModel(
        name=name,
        version=root.name,
        service=service,
        root=root,
        inputs=config.inputs,
        outputs=config.outputs,
        warnings=config.warnings,
    )


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise SpecError(f"not a folder that can be read: {error.strerror}", str(folder)) from None


def _refuse_outside(path: Path, repository: Path) -> None:
    """Follow every link: what it ends at must lie in the repository."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise SpecError("a link to nothing", str(path)) from None
    if not real.is_relative_to(repository.resolve()):
        raise SpecError(f"leads out of the repository, to {real}", str(path))
