"""What a worker tells the supervisor of itself: plain values, merged and rendered there."""

import gc
import resource
import time
from typing import TYPE_CHECKING, Any

from trivet.runtime.live import LiveModel, LiveService
from trivet.runtime.runtime import Runtime
from trivet.serve.http.router import Router

if TYPE_CHECKING:
    from trivet.serve.samples import Outlet


class GcPauses:
    """Counts garbage collections and the time they took."""

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.longest_ns = 0
        self._started_ns = 0

    def watch(self) -> None:
        gc.callbacks.append(self._on_collection)

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._started_ns = time.monotonic_ns()
            return
        pause_ns = time.monotonic_ns() - self._started_ns
        self.count += 1
        self.total_ns += pause_ns
        self.longest_ns = max(self.longest_ns, pause_ns)


def snapshot(router: Router, runtime: Runtime, pauses: GcPauses, outlet: "Outlet | None") -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "services": [_service(live) for live in router.live()],
        "connections": len(router.connections),
        "waiting": runtime.scheduler.num_waiting,
        "rows": None if outlet is None else {"kept": outlet.num_kept, "dropped": outlet.num_dropped},
        "process": {
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "minor_faults": usage.ru_minflt,
            "major_faults": usage.ru_majflt,
            "voluntary_switches": usage.ru_nvcsw,
            "involuntary_switches": usage.ru_nivcsw,
            "gc_pauses": pauses.count,
            "gc_pause_ns": pauses.total_ns,
            "gc_longest_pause_ns": pauses.longest_ns,
        },
    }


def _service(live: LiveService) -> dict[str, Any]:
    return {
        "name": live.name,
        "version": live.version,
        "configuration": live.hash,
        "deadline_ns": live.deadline_ns,
        "models": [_model(model) for model in live.models],
        "counts": live.counts.snapshot(),
    }


def _model(model: LiveModel) -> dict[str, Any]:
    scheduled = model.scheduled
    classes = [
        {
            "priority": one.priority,
            "waiting": one.num_waiting,
            "finished": one.num_finished,
            "refused": one.refused,
            "dropped": one.dropped,
        }
        for one in scheduled.classes.values()
    ]
    return {
        "name": model.name,
        "resolution": {
            "execution": model.resolution.execution,
            "instances": model.resolution.instances,
            "threads": model.resolution.threads,
            "max_batch_size": model.resolution.max_batch_size,
        },
        "largest_batch_difference": model.largest_batch_difference,
        "running": scheduled.num_running,
        "classes": classes,
        "exits": {} if model.exit is None else {model.exit.name: [model.exit.num_left, model.exit.num_on]},
        "counters": model.counters.snapshot(),
    }
