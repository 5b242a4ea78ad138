"""One scheduler for all models of a worker: queues, admission, batches, service-time prediction. Decisions only."""

from trivet.schedule.commands import Batch, Drop, Refusal
from trivet.schedule.job import CANCELLED, DONE, DROPPED, REFUSED, RUNNING, WAITING, Job
from trivet.schedule.model import Class, Model
from trivet.schedule.queue import Queue
from trivet.schedule.scheduler import Scheduler
from trivet.schedule.service_time import Curve, ServiceTime

__all__ = [
    "CANCELLED",
    "DONE",
    "DROPPED",
    "REFUSED",
    "RUNNING",
    "WAITING",
    "Batch",
    "Class",
    "Curve",
    "Drop",
    "Job",
    "Model",
    "Queue",
    "Refusal",
    "Scheduler",
    "ServiceTime",
]
