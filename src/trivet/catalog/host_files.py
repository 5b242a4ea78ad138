"""What the kernel tells about this machine: text files under /proc and /sys, or a copy of them for tests."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Files by their path from the root. One that this machine does not have reads as empty."""

    root: Path = Path("/")

    def text(self, path: str) -> str:
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:  # not this kernel, not in this container, or not for this user
            return ""

    def number(self, path: str) -> int | None:
        """The file's only number, or None."""
        text = self.text(path)
        return int(text) if text.removeprefix("-").isdecimal() else None

    def fields(self, path: str) -> dict[str, str]:
        """`key: value` or `key value` lines; of a repeated key the first."""
        found: dict[str, str] = {}
        for line in self.text(path).splitlines():
            key, colon, value = line.partition(":")
            if not colon:
                key, _, value = line.partition(" ")
            found.setdefault(key.strip(), value.strip())
        return found

    def paths(self, pattern: str) -> list[str]:
        """The existing paths that a glob pattern matches, sorted."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob(pattern))


HOST = HostFiles()
