"""What the words after `trivet serve` stand for: service files, model files, repository folders."""

from collections.abc import Sequence
from pathlib import Path

from trivet.errors import SpecError
from trivet.serve.messages import Served, ServedService
from trivet.spec.configuration import configuration
from trivet.spec.repository import RepositoryModel, read_model, read_repository
from trivet.spec.service_file import DEFAULT_VERSION, load_configuration


def served_services(paths: Sequence[str]) -> list[ServedService]:
    """Raises: SpecError: a path cannot be served, or two services have one name and version."""
    services = [service for path in paths for service in _of_path(Path(path))]
    seen: set[tuple[str, str]] = set()
    for service in services:
        key = (service.name, service.version)
        if key in seen:
            raise SpecError(f"two services are called {service.name!r}; give one another `name:`")
        seen.add(key)
    return services


def _of_path(path: Path) -> list[ServedService]:
    if path.is_dir():
        return _of_versions(read_repository(path))
    loaded = load_configuration(path)
    return [ServedService(name=loaded.service.name, version=DEFAULT_VERSION, entries=(Served(loaded),))]


def repository_services(repository: Path, name: str) -> list[ServedService]:
    """The versions of one model of a repository folder.

    Args: name: may come from a client.
    Raises: SpecError: no such model, or it cannot be served.
    """
    return _of_versions(read_model(repository, name))


def _of_versions(models: Sequence[RepositoryModel]) -> list[ServedService]:
    """Versions stand oldest first: the newest of each model answers requests that name none."""
    newest = {model.name: model.version for model in models}
    return [
        ServedService(
            name=model.name,
            version=model.version,
            entries=(Served(configuration(model.service, model.root)),),
            default_version=model.version == newest[model.name],
        )
        for model in models
    ]
