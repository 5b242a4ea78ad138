"""The lock of what is installed: versions, and digests of what they installed, where that is known.

A version says what was asked for. Two builds of one version (another wheel, a patched file) are told apart by the
hashes that each installer writes down for every file that it puts in place.
"""

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

_HASH = ",sha256="
_METADATA = re.compile(r"[^/]+\.dist-info/")


@dataclass(frozen=True, slots=True)
class Installed:
    """Both by name, as PEP 503 writes it. `contents` lacks a package of which no hashes were written down."""

    versions: Mapping[str, str]
    contents: Mapping[str, str]


def installed(paths: Iterable[str] | None = None) -> Installed:
    """Everything that this Python would import. Args: paths: folders to look in; None: sys.path."""
    versions: dict[str, str] = {}
    contents: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=list(sys.path if paths is None else paths)):
        fields = distribution.metadata  # parsed at each look
        name = re.sub(r"[-_.]+", "-", fields["Name"] or "").lower()
        if not name or name in versions:  # a folder that pip left behind half removed has no name
            continue
        versions[name] = fields["Version"]
        if digest := _content(distribution):
            contents[name] = digest
    return Installed(dict(sorted(versions.items())), dict(sorted(contents.items())))


def _content(distribution: importlib.metadata.Distribution) -> str:
    """Of the hashes of its modules and libraries, in the order of their names; empty: not known.

    Scripts name the Python that they start, and what the installer notes for itself is no part of a package: both are
    left out. Files changed by hand later are not seen: nothing is read but the list.   Source: PEP 376, PEP 627.
    """
    record = distribution.read_text("RECORD")
    if record is None or _is_editable(distribution):
        return ""
    files = sorted(
        line.rpartition(",")[0]  # without the size
        for line in record.splitlines()
        if _HASH in line and not line.startswith("..") and not _METADATA.match(line)
    )
    return "sha256:" + hashlib.sha256("\n".join(files).encode()).hexdigest() if files else ""


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    """Its files are elsewhere, and change without it: the code's commit tells of them. Source: PEP 610."""
    text = distribution.read_text("direct_url.json")
    if text is None:
        return False
    folder = msgspec.json.decode(text).get("dir_info", {})
    return bool(folder.get("editable"))
