"""From what a user gives the server, a service.yaml or a bare model file, to a validated service."""

from pathlib import Path
from typing import TYPE_CHECKING

from trivet.errors import SpecError
from trivet.spec.configuration import Configuration, configuration
from trivet.spec.fields import FieldError
from trivet.spec.service import Model, Service
from trivet.spec.validation import validate

if TYPE_CHECKING:
    from trivet.spec.yaml_tree import Document

MODEL_SUFFIXES = (".onnx",)
SERVICE_SUFFIXES = (".yaml", ".yml")
DEFAULT_VERSION = "1"  # of a service that does not come from a numbered folder


def load_configuration(path: Path) -> Configuration:
    """The configuration of a service file or a bare model; its files are relative to the folder of `path`.

    Raises: SpecError: names file and line.
    """
    if path.suffix not in SERVICE_SUFFIXES:
        return configuration(service_of_model(path), path.parent)
    document = _parse(path)
    try:
        return configuration(_service(document, path), path.parent, str(path))
    except FieldError as error:
        raise document.located(error) from None


def located(configuration: Configuration, error: FieldError) -> SpecError:
    """An error that was found after loading, with file and line where the configuration came from a file."""
    return _parse(Path(configuration.source)).located(error) if configuration.source else error


def load_service(path: Path) -> Service:
    """The service of a service file or a bare model. Raises: SpecError: names file and line."""
    if path.suffix not in SERVICE_SUFFIXES:
        return service_of_model(path)
    document = _parse(path)
    try:
        return _service(document, path)
    except FieldError as error:
        raise document.located(error) from None


def service_of_model(path: Path) -> Service:
    """The service that a bare model file is: named after it, every lever at its default.

    Raises: SpecError: no such file, or not a model file.
    """
    if path.suffix not in MODEL_SUFFIXES:
        known = ", ".join((*MODEL_SUFFIXES, *SERVICE_SUFFIXES))
        raise SpecError(f"expected a file that ends in {known}, or a repository folder", str(path))
    if not path.is_file():
        raise SpecError("no such file", str(path))
    service = Service(name=path.stem, models={path.stem: Model(file=path.name)})
    validate(service)
    return service


def default_name(path: Path) -> str:
    """The name of a service that does not say it: the file's stem, for `service.yaml` the folder's name."""
    return path.resolve().parent.name if path.stem == "service" else path.stem


def _parse(path: Path) -> "Document":
    from trivet.spec.yaml_tree import parse_file  # a bare model needs neither this nor `convert`

    return parse_file(path)


def _service(document: "Document", path: Path) -> Service:
    from trivet.spec.convert import convert

    tree = document.tree
    if isinstance(tree, dict):
        tree = {"name": default_name(path), **tree}
    service = convert(tree, Service)
    validate(service)
    return service
