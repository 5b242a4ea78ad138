"""A machine made of files: /proc and /sys as tests want them."""

from pathlib import Path

from trivet.catalog.host_files import HostFiles

CPUINFO = """processor\t: 0
model name\t: Fast CPU
microcode\t: 0x1
cpu MHz\t\t: 2000.5
flags\t\t: sse2 avx fma

processor\t: 1
model name\t: Fast CPU
cpu MHz\t\t: 2400.0
flags\t\t: sse2 avx fma
"""
STAT = "cpu  300 0 0 0 0 0 0 0 0 0\ncpu0 {0}\ncpu1 {1}\nintr 1\n"


def tree(folder: Path, files: dict[str, str]) -> HostFiles:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return HostFiles(folder)


def process(pid: int, command: str, parent: int, ticks: int, started: int = 5) -> dict[str, str]:
    fields = ["S", str(parent), *["0"] * 9, str(ticks), "0", *["0"] * 6, str(started)]
    return {f"proc/{pid}/stat": f"{pid} ({command}) {' '.join(fields)}\n"}


MACHINE = {
    "proc/cpuinfo": CPUINFO,
    "proc/cmdline": "quiet mitigations=off ro\n",
    "proc/meminfo": "MemTotal:  2097152 kB\nMemAvailable: 1048576 kB\nSwapTotal: 0 kB\n",
    "proc/loadavg": "0.50 0.40 0.30 3/200 999\n",
    "proc/stat": STAT.format("10 0 0 80 0 0 0 10 0 0", "0 0 0 100 0 0 0 0 0 0"),
    "proc/vmstat": "pswpin 5\npswpout 6\n",
    "proc/self/cgroup": "0::/box/inner\n",
    "etc/os-release": 'NAME=X\nPRETTY_NAME="Some Linux 12"\n',
    "sys/devices/system/cpu/online": "0-1\n",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    "sys/fs/cgroup/box/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/box/cpu.stat": "nr_throttled 2\nthrottled_usec 3000\n",
    "sys/fs/cgroup/box/inner/memory.max": "536870912\n",
    "sys/fs/cgroup/box/memory.max": "max\n",
    "sys/class/power_supply/AC/online": "0\n",
}
