"""What a job of the load generator gives back. It crosses a process as msgpack."""

from collections.abc import Collection
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.load.record import Chunks, Record
from trivet.load.server_timing import phase_columns
from trivet.spec.row import ABSENT, CACHE_OUTCOMES, OUTCOMES, PHASES, RowColumns, RowsHeader, Words
from trivet.stats.percentile import percentile_ns

NS_PER_MS = 1_000_000
# Below it answers lie unread while others run, which counts against the server, too. Who allows sends to be later than
# a millisecond has said that the generator may share its core.
MIN_CPU_SHARE = 0.8
MAX_BUSY_SHARE = 0.95  # above it answers lie unread: they count against the server though the client is slow
OUTCOME_OF_STATUS = {429: "refused", 503: "refused", 504: "dropped"}


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """How the load generator itself fared. `invalid` is empty, or says why the run must not be used."""

    num_sent: int
    num_waited: int  # requests that found all connections busy: the server's doing, within max_connections
    send_lag_p50_ns: int
    send_lag_p99_ns: int
    send_lag_max_ns: int
    busy_share: float  # of its wall time, in which the loop had something to do
    cpu_share: float  # of its wall time, in which it had the processor; below 1 others ran on its core
    invalid: str = ""
    cores: tuple[int, ...] = ()  # on which it was allowed to run


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as RowColumns.encode() makes them, of the warm-up too; measuring starts at `measured_from_ns`.

    chunks: for each row, when how many bytes of its body were there; empty unless the job keeps them.
    partial: the run was stopped: there are rows for what was intended until then.
    """

    rows: bytes
    generator: Generator
    start_ns: int
    measured_from_ns: int
    end_ns: int
    chunks: list[Chunks] = []
    partial: bool = False

    def measured(self) -> RowColumns:
        """The rows of requests intended after the warm-up."""
        rows = RowColumns.decode(self.rows)
        return rows.select(rows["intended_ns"] >= self.measured_from_ns)


def rows_of(
    record: Record, header: RowsHeader, picks: NDArray[np.int64], deadline_ns: int | None
) -> RowColumns:
    """One row for each request of the schedule, whatever became of it."""
    num = len(record.intended_ns)
    columns: dict[str, Any] = {
        name: np.array(getattr(record, name), np.int64)
        for name in ("intended_ns", "sent_ns", "first_byte_ns", "done_ns", "status")
    }
    if deadline_ns is not None:
        columns["deadline_ns"] = columns["intended_ns"] + deadline_ns
    words = _outcomes(record, columns["status"], columns["done_ns"] > columns.get("deadline_ns", np.inf))
    reasons = [""] * num
    for request, (_, reason) in record.failures.items():
        reasons[request] = reason
    columns |= phase_columns(record.server_timing)
    _forget_misfits(columns, never_ran=words.equal("refused", "dropped", "invalid", "unsent"))
    return RowColumns.of(
        header,
        num,
        **columns,
        outcome=words,
        reason=Words.of(reasons, num),
        item=picks[np.arange(num) % len(picks)],
        answer=record.answers,
    )


def _outcomes(record: Record, status: NDArray[np.int64], late: NDArray[np.bool_]) -> Words:
    """By status, which few rows differ in; late where it is good and the deadline has passed; failures as recorded."""
    names = list(OUTCOMES)
    codes = np.zeros(len(status), np.int32)
    for value in np.unique(status).tolist():
        codes[status == value] = names.index(_outcome(value))
    codes[late & (codes == names.index("ok"))] = names.index("late")
    for request, (outcome, _) in record.failures.items():
        codes[request] = names.index(outcome)
    used, compact = np.unique(codes, return_inverse=True)
    return Words(compact.astype(np.int32), tuple(names[code] for code in used))


def _outcome(status: int) -> str:
    if 200 <= status < 300:
        return "ok"
    return OUTCOME_OF_STATUS.get(status, "invalid" if 400 <= status < 500 else "failed")


def _forget_misfits(columns: dict[str, Any], never_ran: NDArray[np.bool_]) -> None:
    """A foreign server may say anything: what contradicts the row schema is taken as not said."""
    phases = [columns[f"{phase}_ns"] for phase in PHASES]
    total_ns = sum(np.maximum(phase, 0) for phase in phases)
    misfit = total_ns > columns["done_ns"] - columns["sent_ns"]
    for phase in phases:
        phase[misfit] = ABSENT
    columns["compute_ns"][never_ran] = ABSENT
    columns["batch_size"][never_ran] = ABSENT
    columns["cache"] = [word if word in CACHE_OUTCOMES else "" for word in columns["cache"]]


def generator_of(
    record: Record,
    cpu_share: float,
    max_send_lag_ns: int,
    measured_from_ns: int,
    *,
    cores: Collection[int] = (),
    server_cores: Collection[int] = (),
) -> Generator:
    """Lags and waits of the measured requests; sends and shares of the whole run."""
    measured = np.array(record.intended_ns, np.int64) >= measured_from_ns
    all_lags = np.array(record.send_lag_ns, np.int64)[measured]
    lags = all_lags[all_lags != ABSENT] if (all_lags != ABSENT).any() else np.zeros(1, np.int64)
    p99 = percentile_ns(lags, 0.99)
    reasons = [_behind(p99, max_send_lag_ns, record.busy_share, cpu_share), _shared(cores, server_cores)]
    return Generator(
        num_sent=sum(instant != ABSENT for instant in record.sent_ns),
        num_waited=int((all_lags == ABSENT).sum()),
        send_lag_p50_ns=percentile_ns(lags, 0.5),
        send_lag_p99_ns=p99,
        send_lag_max_ns=int(lags.max()),
        busy_share=record.busy_share,
        cpu_share=cpu_share,
        invalid="; ".join(reason for reason in reasons if reason),
        cores=tuple(sorted(cores)),
    )


def _shared(cores: Collection[int], server_cores: Collection[int]) -> str:
    """Why a generator beside the server on one core takes from it what it measures; empty where they are apart."""
    if not (shared := sorted(set(cores) & set(server_cores))):
        return ""
    names = ", ".join(map(str, shared))
    return f"the load generator may run on core {names}, which the server has: give each cores of its own"


def _behind(send_lag_p99_ns: int, max_send_lag_ns: int, busy_share: float, cpu_share: float) -> str:
    """Why the run says more about the load generator than about the server; empty where it does not."""
    if send_lag_p99_ns > max_send_lag_ns:
        what = (
            f"the load generator fell behind: p99 send lag {send_lag_p99_ns / NS_PER_MS:.2f} ms, at most "
            f"{max_send_lag_ns / NS_PER_MS:g} ms"
        )
    elif cpu_share < MIN_CPU_SHARE and max_send_lag_ns <= NS_PER_MS:
        what = "others ran on the load generator's core"
    elif busy_share > MAX_BUSY_SHARE:
        what = "the load generator itself was the limit"
    else:
        return ""
    return (
        f"{what}; it was busy {busy_share:.0%} of the time and had {cpu_share:.0%} of a core: "
        "offer less, or give it a core of its own"
    )
