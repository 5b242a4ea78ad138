"""What the peers' own environments lack for our scripts: installed beside them, into DIR/extra and nowhere else.

usage: python -m benchmarks._peer_packages DIR
"""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

PACKAGE = "tokenizers"
PEERS = ("mosec", "granian")


def extra(peers: Path) -> Path:
    """The folder that the scripts get as PYTHONPATH."""
    return peers / "extra"


def main(args: list[str]) -> int:
    if len(args) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    peers = Path(args[0])
    if (extra(peers) / PACKAGE).is_dir():
        return 0
    pythons = [path for name in PEERS if (path := peers / name / "bin" / "python").exists()]
    if not pythons:
        sys.stderr.write(f"missing: none of {', '.join(PEERS)} is under {peers}\n")
        return 0
    # Without its dependencies: they are for downloads from a hub, which nobody makes here.
    pinned = f"{PACKAGE}=={importlib.metadata.version(PACKAGE)}"
    command = [str(pythons[0]), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    return subprocess.run([*command, "--target", str(extra(peers)), pinned], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
