"""What this machine is, as far as it decides how fast something runs. Properties only: they hold for a whole run."""

import platform
from collections.abc import Collection, Mapping

import msgspec

from trivet import host
from trivet.catalog.host_files import HostFiles

_CPU = "sys/devices/system/cpu"
# What sets how many threads a numeric library starts, and where they run.
THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_WAIT_POLICY",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "GOMP_CPU_AFFINITY",
    "TOKENIZERS_PARALLELISM",
    "MALLOC_ARENA_MAX",
    "LD_PRELOAD",
    "PYTHONHASHSEED",
)
_NO_LIMIT = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """governor, turbo, siblings: empty where the kernel does not tell (most virtual machines)."""

    model: str
    flags: tuple[str, ...] = ()
    microcode: str = ""
    online: str = ""  # cores, as the kernel writes them: 0-3
    siblings: tuple[str, ...] = ()  # cores that share an execution unit, one entry for each pair
    governor: str = ""
    turbo: str = ""  # "on" or "off"
    mitigations: str = ""  # of the kernel's command line


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of the container or control group; None: none."""

    cores: float | None = None
    memory_mib: int | None = None


def processor(files: HostFiles, cores: Collection[int]) -> Processor:
    fields = files.fields("proc/cpuinfo")
    governors = {files.text(f"{_CPU}/cpu{core}/cpufreq/scaling_governor") for core in cores} - {""}
    words = files.text("proc/cmdline").split()
    return Processor(
        model=fields.get("model name") or platform.processor() or platform.machine(),
        flags=tuple(sorted((fields.get("flags") or fields.get("Features") or "").split())),
        microcode=fields.get("microcode", ""),
        online=files.text(f"{_CPU}/online"),
        siblings=siblings(files),
        governor=" ".join(sorted(governors)),
        turbo=turbo(files),
        mitigations=" ".join(sorted(word for word in words if word.startswith("mitigations="))),
    )


def siblings(files: HostFiles) -> tuple[str, ...]:
    """Groups of cores that are hardware threads of one, such as "0,2"."""
    lists = {files.text(path) for path in files.paths(f"{_CPU}/cpu[0-9]*/topology/thread_siblings_list")}
    return tuple(sorted(group for group in lists if "," in group or "-" in group))


def turbo(files: HostFiles) -> str:
    disabled = files.number(f"{_CPU}/intel_pstate/no_turbo")
    if disabled is not None:
        return "off" if disabled else "on"
    boost = files.number(f"{_CPU}/cpufreq/boost")
    return "" if boost is None else "on" if boost else "off"


def limits(files: HostFiles) -> Limits:
    root, membership = files.root / "sys/fs/cgroup", files.root / "proc/self/cgroup"
    found = []
    for folder in host.control_groups("memory", root, membership):
        group = HostFiles(folder)
        found += [group.number("memory.max"), group.number("memory.limit_in_bytes")]
    bytes_ = [value for value in found if value is not None and value < _NO_LIMIT]
    return Limits(cores=host.cpu_quota(root, membership), memory_mib=min(bytes_) >> 20 if bytes_ else None)


def memory_mib(files: HostFiles) -> dict[str, int]:
    """Total, available and swap."""
    fields = files.fields("proc/meminfo")
    names = {"total": "MemTotal", "available": "MemAvailable", "swap": "SwapTotal"}
    return {name: int(fields.get(field, "0 kB").split()[0]) >> 10 for name, field in names.items()}


def operating_system(files: HostFiles) -> str:
    for line in files.text("etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def selected(files: HostFiles, path: str) -> str:
    """The word in brackets of a file such as `always [madvise] never`."""
    return files.text(path).partition("[")[2].partition("]")[0]


def thread_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are set."""
    return {name: environ[name] for name in THREAD_SETTINGS if name in environ}


def gpus(files: HostFiles) -> tuple[str, ...]:
    """Model and driver of NVIDIA's; vendor, device and driver of others, as PCI ids."""
    driver = files.text("proc/driver/nvidia/version").partition("\n")[0]
    found = [
        f"{files.fields(path).get('Model', 'NVIDIA')} ({driver})"
        for path in files.paths("proc/driver/nvidia/gpus/*/information")
    ]
    for path in files.paths("sys/class/drm/renderD*/device/vendor"):
        device = path.removesuffix("/vendor")
        vendor = files.text(path)
        if vendor != "0x10de":  # NVIDIA's, named above
            found.append(f"{vendor}:{files.text(f'{device}/device')}")
    return tuple(found)
