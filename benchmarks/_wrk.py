"""The closed-loop maximum by wrk (Debian's package): our own generator tops out below what a small model answers."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks._harness import Measurement
from trivet.load.http import request_bytes
from trivet.load.job import HttpRequest

_SCRIPT = """
local requests = {}
for size in string.gmatch(os.getenv("BENCH_SIZES"), "%d+") do requests[#requests + 1] = tonumber(size) end
local file = io.open(os.getenv("BENCH_REQUESTS"), "rb")
for i, size in ipairs(requests) do requests[i] = file:read(size) end
file:close()
local i = 0
request = function() i = i % #requests + 1; return requests[i] end
done = function(summary, latency)
  io.write(string.format('RESULT{"requests":%d,"us":%d,"status":%d,"broken":%d,"p50_us":%.1f,"p99_us":%.1f}\\n',
    summary.requests, summary.duration, summary.errors.status, summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def maximum(
    target: str,
    requests: Sequence[HttpRequest],
    *,
    core: int,
    seconds: float,
    folder: Path,
    connections: int = 32,
    warm_up_s: int = 1,
) -> Measurement:
    """Answers a second with `connections` users who never think. Invalid when an answer was not a 2xx.

    Whoever is free takes the next request, in their order. Invalid, too, when there was no answer at all.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    whole = [request_bytes(one.method, one.path, target, one.headers, one.body) for one in requests]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "requests").write_bytes(b"".join(whole))
    (folder / "script.lua").write_text(_SCRIPT)
    environment = {
        "PATH": "/usr/bin:/bin",
        "BENCH_REQUESTS": str(folder / "requests"),
        "BENCH_SIZES": " ".join(str(len(one)) for one in whole),
    }
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", "--timeout", "20s"]
    command += ["-s", str(folder / "script.lua"), f"http://{target}"]
    for duration_s in (warm_up_s, max(1, round(seconds))):  # wrk counts whole seconds
        done = subprocess.run(
            [*command, f"-d{duration_s}s"], env=environment, capture_output=True, text=True, check=True
        )
    values = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])
    good = values["requests"] - values["status"]
    bad = values["status"] + values["broken"]
    return Measurement(
        values={
            "max_rps": good / values["us"] * 1e6,
            "p50_ns": values["p50_us"] * 1e3,
            "p99_ns": values["p99_us"] * 1e3,
        },
        invalid=_invalid(values["requests"], bad, good),
    )


def _invalid(num_requests: int, bad: int, good: int) -> str:
    if bad:
        return f"{bad} of {num_requests} answers were errors"
    return "" if good else "there was no answer at all"
