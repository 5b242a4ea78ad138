"""`trivet validate`: what a service file says, and what became of it on this machine."""

import msgspec

from trivet.runtime.preparing import known_resolution
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.yaml_text import configuration_text


def as_text(configuration: Configuration) -> str:
    lines = [configuration_text(configuration).rstrip()]
    for name, resolution in _resolutions(configuration).items():
        if resolution is None:
            lines.append(f"# {name} here: not profiled yet; the first `trivet serve` does it")
        else:
            values = msgspec.structs.asdict(resolution)
            here = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
            lines.append(f"# {name} here: {here}")
    return "\n".join(lines)


def as_json_text(configuration: Configuration) -> str:
    values = msgspec.to_builtins(configuration) | {
        "resolution": {
            name: msgspec.to_builtins(found) for name, found in _resolutions(configuration).items()
        }
    }
    return msgspec.json.format(msgspec.json.encode(values)).decode()


def _resolutions(configuration: Configuration) -> dict[str, Resolution | None]:
    return {name: known_resolution(configuration, name) for name in configuration.service.models}
