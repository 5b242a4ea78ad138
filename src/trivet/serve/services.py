"""What the words after `trivet serve` stand for: service files, model files, repository folders."""

from collections.abc import Sequence
from pathlib import Path

from trivet.errors import SpecError
from trivet.serve.messages import Served, ServedService
from trivet.spec.service_file import load_configuration


def served_services(paths: Sequence[str]) -> list[ServedService]:
    """Raises: SpecError: a path cannot be served, or two services have one name."""
    services: list[ServedService] = []
    for path in paths:
        services += [_of_file(Path(path))]
    seen: set[tuple[str, str]] = set()
    for service in services:
        key = (service.name, service.version)
        if key in seen:
            raise SpecError(f"two services are called {service.name!r}; give one another `name:`")
        seen.add(key)
    return services


def _of_file(path: Path) -> ServedService:
    configuration = load_configuration(path)
    return ServedService(name=configuration.service.name, version="1", entries=(Served(configuration),))
