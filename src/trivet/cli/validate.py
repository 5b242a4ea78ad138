"""`trivet validate`: what a service file says, and what became of it on this machine."""

import msgspec

from trivet.runtime.preparing.resolving import known_resolutions
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.deployment import num_workers
from trivet.spec.yaml_text import configuration_text


def as_text(configuration: Configuration) -> str:
    lines = [configuration_text(configuration).rstrip()]
    lines.append(
        f"# workers here: {num_workers('auto')} (auto; `trivet serve --workers N` sets another number)"
    )
    for name, resolution in known_resolutions(configuration).items():
        if resolution is None:
            lines.append(f"# {name} here: not profiled yet; the first `trivet serve` does it")
        else:
            lines.append(f"# {name} here: {_words(resolution)}")
    return "\n".join(lines)


def _words(resolution: Resolution) -> str:
    values = msgspec.structs.asdict(resolution)
    one_ns, profiled_on = values.pop("one_ns"), values.pop("profiled_on")
    words = [f"{key} {value}" for key, value in values.items() if value is not None]
    if one_ns is not None:
        words.append(f"{one_ns / 1e6:.3g} ms for one")
    if profiled_on is not None:
        words.append(f"profiled on {profiled_on}")
    return ", ".join(words)


def as_json_text(configuration: Configuration) -> str:
    found = known_resolutions(configuration)
    values = msgspec.to_builtins(configuration) | {
        "resolution": msgspec.to_builtins(found),
        "workers": num_workers("auto"),
    }
    return msgspec.json.format(msgspec.json.encode(values)).decode()
