"""The environment of a run: everything that could make another run of the same configuration different."""

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

import trivet
from trivet.catalog import machine
from trivet.catalog.code_version import CodeVersion, code_version
from trivet.catalog.conditions import Conditions
from trivet.catalog.differences import Difference, differences_of
from trivet.catalog.host_files import HOST, HostFiles
from trivet.catalog.machine import Limits, Processor
from trivet.catalog.noise import Noise
from trivet.catalog.packages import installed
from trivet.host import WAKE_LATENCY, is_awake

__all__ = ["Difference", "Environment", "differences", "fingerprint"]


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Every field has a default: an older record lacks what was added later, an anonymised one what was taken out.

    packages: versions of all that is installed.  contents: digests of what they installed, where that is known.
    code: of the folder that was measured.  trivet_code: of trivet, where it runs from a working tree.
    pinning: cores by what runs on them ("server", "generator").
    awake: idle cores were held awake (`trivet --awake`).
    threads: environment variables that set how many threads libraries start.
    load: runnable tasks and load averages at the beginning.
    conditions, noise_before, noise_after: what went on meanwhile; None: not measured.
    """

    trivet: str = ""
    trivet_code: CodeVersion = CodeVersion()
    code: CodeVersion = CodeVersion()
    packages: dict[str, str] = {}
    contents: dict[str, str] = {}
    python: str = ""
    os: str = ""
    kernel: str = ""
    libc: str = ""
    architecture: str = ""
    host: str = ""
    processor: Processor = Processor(model="")
    memory_mib: int = 0
    swap_mib: int = 0
    huge_pages: str = ""
    clock_source: str = ""
    limits: Limits = Limits()
    cores: tuple[int, ...] = ()
    pinning: dict[str, tuple[int, ...]] = {}
    awake: bool = False
    threads: dict[str, str] = {}
    gpus: tuple[str, ...] = ()
    load: dict[str, float] = {}
    conditions: Conditions | None = None
    noise_before: Noise | None = None
    noise_after: Noise | None = None


def fingerprint(
    folder: Path | None = None,
    *,
    pinning: Mapping[str, tuple[int, ...]] | None = None,
    noise: Noise | None = None,
    keep: Callable[[bytes], str] | None = None,
    files: HostFiles = HOST,
    environ: Mapping[str, str] = os.environ,
) -> Environment:
    """The environment as it is now. Costs tens of milliseconds: not while load is offered.

    Args: folder: whose code is measured (the working directory).  noise: the probe before the run.
        keep: stores a diff and returns its digest: `Catalog.put`; without it diffs are not kept, their digests are.
    """
    cores = tuple(sorted(os.sched_getaffinity(0)))
    memory, packages = machine.memory_mib(files), installed()
    return Environment(
        trivet=trivet.__version__,
        trivet_code=_trivet_code(keep),
        code=code_version(folder or Path.cwd(), keep),
        packages=dict(packages.versions),
        contents=dict(packages.contents),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        os=machine.operating_system(files),
        kernel=platform.release(),
        libc=" ".join(platform.libc_ver()).strip(),
        architecture=platform.machine(),
        host=platform.node(),
        processor=machine.processor(files, cores),
        memory_mib=memory["total"],
        swap_mib=memory["swap"],
        huge_pages=machine.selected(files, "sys/kernel/mm/transparent_hugepage/enabled"),
        clock_source=files.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        limits=machine.limits(files),
        cores=cores,
        pinning=dict(pinning or {}),
        awake=is_awake(files.root / WAKE_LATENCY.relative_to("/")),
        threads=machine.thread_settings(environ),
        gpus=machine.gpus(files),
        load=_load(files),
        noise_before=noise,
    )


def finished(environment: Environment, conditions: Conditions | None, noise: Noise | None) -> Environment:
    """The environment of a run that has ended: with what was seen meanwhile, and the probe after it."""
    return msgspec.structs.replace(environment, conditions=conditions, noise_after=noise)


def differences(a: Environment, b: Environment) -> list[Difference]:
    """The fields in which two environments differ, causes first; see `Difference`.

    What a package installed is named only where its version does not tell already, and could have been the same.
    """
    same_builds = (a.architecture, a.libc, _minor(a.python)) == (b.architecture, b.libc, _minor(b.python))
    of_one_version = {
        name
        for name in a.contents.keys() & b.contents.keys()
        if same_builds and a.packages.get(name) == b.packages.get(name)
    }
    sides = [msgspec.to_builtins(side) for side in (a, b)]
    for side in sides:
        side["contents"] = {name: side["contents"][name] for name in of_one_version}
    return differences_of(*sides)


def _minor(python: str) -> str:
    """`CPython 3.12` of `CPython 3.12.4`: wheels are made for one of these."""
    return python.rpartition(".")[0]


def _trivet_code(keep: Callable[[bytes], str] | None) -> CodeVersion:
    """Empty where trivet is installed as a package: then its version says it all."""
    folder = Path(trivet.__file__).parent
    return CodeVersion() if "site-packages" in folder.parts else code_version(folder, keep)


def _load(files: HostFiles) -> dict[str, float]:
    words = files.text("proc/loadavg").split()
    if len(words) < 4:
        return {}
    names = ("average_1min", "average_5min", "average_15min")
    return dict(zip(names, map(float, words), strict=False)) | {"runnable": float(words[3].split("/")[0])}
