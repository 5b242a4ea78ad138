"""certified.yaml: what a certified cascade or route is served by."""

import os
import tempfile
from pathlib import Path

from trivet.errors import SpecError
from trivet.pipeline.certified import Guard
from trivet.spec.certified import Cascade, certificate_text, check_certificate, read_certificate

_LONGEST_MESSAGE = 4000
_HEAD = b"""\
format: 1
stages: "aa11"
exits: ["front"]
max_loss: 0.02
confidence: 0.95
loss: "net"
router: ""
points:
"""
SEEDS = {
    "one": _HEAD
    + b"  - {thresholds: [0.9], risk_bound: 0.01, saving: 0.5, rows: 900, changed: 0.02, lost: 0.01}\n",
    "several": _HEAD.replace(b'["front"]', b'["front", "middle"]')
    + b"  - {thresholds: [2.0, 0.99], risk_bound: -0.01, saving: -0.1, rows: 900}\n"
    + b"  - {thresholds: [0.9, 0.8], risk_bound: 0.02, saving: 0.5, rows: 900, changed: 2%, lost: 1%}\n",
    "route": _HEAD.replace(b'router: ""', b'router: "ff00"')
    + b"  - thresholds: [1.25]\n    risk_bound: 1e-3\n    saving: 0.25\n    rows: 0\n",
    "old": b"format: 0\nstages: a\nexits: []\nmax_loss: 1\nconfidence: 0.5\nloss: one-sided\npoints: []\n",
}
TOKENS = [
    b"format:", b"stages:", b"exits:", b"max_loss:", b"confidence:", b"loss:", b"router:", b"points:",
    b"thresholds:", b"risk_bound:", b"saving:", b"rows:", b"changed:", b"lost:", b"net", b"one-sided", b".nan",
    b".inf", b"-1", b"1e400", b"100%", b"[]", b"- ", b"{", b"}", b"&a ", b"*a", b"null", b"!!python/object:os.system ",
]  # fmt: skip
_folder = tempfile.TemporaryDirectory()
_PATH = Path(_folder.name, f"certified-{os.getpid()}.yaml")


def check(data: bytes) -> bool:
    """A certificate that a guard can keep to, and that is read back as it is; or an error that names the file.

    True: the former.
    """
    _PATH.write_bytes(data)
    try:
        found = read_certificate(_PATH)
    except SpecError as error:
        if not str(error).startswith(str(_PATH)) or len(str(error)) > _LONGEST_MESSAGE + len(str(_PATH)):
            raise AssertionError(f"{len(str(error))} characters: {str(error)[:200]!r}") from error
        return False
    _PATH.write_text(certificate_text(found))
    if read_certificate(_PATH) != found:
        raise AssertionError(f"not as it was written: {found}")
    check_certificate(
        found, _PATH, Cascade(confidence=found.confidence, loss=found.loss), found.max_loss, found.exits, found.stages,
        found.router,
    )  # fmt: skip
    guard = Guard(found.points, found.max_loss, 1 - found.confidence)
    for lost in (True, False):
        for _ in range(3):
            guard.learn(lost)
    guard.learn_kept(5)
    return True
