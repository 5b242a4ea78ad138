"""What this processor has instructions for: it decides which number formats can pay."""

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

# Multiplies bytes without overflow on the way: weights may use all of their 8 bits.
_DOT_PRODUCT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
FP16 = ("avx512_fp16", "amx_fp16", "asimdhp")
BF16 = ("amx_bf16", "avx512_bf16", "bf16")


@cache
def flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Names of instruction sets as the kernel lists them; empty where it does not."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def has_dot_product(found: frozenset[str] | None = None) -> bool:
    return bool(_DOT_PRODUCT & (flags() if found is None else found))


def lacks(wanted: tuple[str, ...], found: frozenset[str] | None = None) -> str:
    """Empty where the processor has one of the instruction sets, else a sentence that names them."""
    if set(wanted) & (flags() if found is None else found):
        return ""
    return f"this processor ({platform.machine()}) has none of {', '.join(wanted)}: it would compute in fp32 and convert"
