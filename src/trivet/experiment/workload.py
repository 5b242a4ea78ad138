"""Offered load as a value: what is recorded with a run, and what a job of the load generator is made of (offered.py)."""

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from trivet.load.arrivals import NS
from trivet.load.popularity import EVEN

MIN_WARMUP_NS, MAX_WARMUP_NS = 100_000_000, 1_000_000_000
WARMUP_SHARE = 0.05  # of a block: what is left of the block before, and connections that are new
NS_PER_MS = 1_000_000


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What each side is asked, and in which language.

    dialect: v2, json (any endpoint, by `template`), openai-chat, openai-embeddings.
    binary: V2 tensors as bytes instead of JSON.
    model, version: by name, where a server has several; empty: of the service, else the only one.
    template, answer: of json: the body with placeholders, and where in the answer the outputs are.
    inputs: a file of rows; empty: the service's data, else random values.
    shapes: of inputs whose dimensions the model leaves free, without the batch axis; else each of those is 1.
    phases: our own servers say in each answer where the request's time went.
    """

    dialect: Literal["v2", "json", "openai-chat", "openai-embeddings"] = "v2"
    binary: bool = False
    model: str = ""
    version: str = ""
    template: str = ""
    answer: str = ""
    inputs: str = ""
    shapes: dict[str, tuple[Annotated[int, Meta(ge=0)], ...]] = {}
    max_inputs: Annotated[int, Meta(ge=1)] = 256
    phases: bool = True


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Load as it is offered to each side, in `num_blocks` blocks.

    arrivals: the arrival process in words, as the command takes it; nothing of it counts where there are `users`.
    rate_rps: requests a second of the whole; None: as the trace says.
    duration_ns: of all blocks of one side together, without their warm-ups.
    users, think_ns: a closed loop instead of an open one.
    slo_percentile, slo_latency_ns: what goodput and attainment are counted by; None: every answer counts.
    popularity: of the inputs, in words: even, or zipf:1.0 (load/popularity.py).
    seed: every block's arrivals and choice of inputs, and the order of sides, come from it.
    until_decided: pairs of blocks are looked at after each, and it ends when they have decided.
    num_starts: how often each of several sides that are started here is started, with an equal part of the blocks each
    time; None: as often as the blocks and the time that a start takes allow.
    turn_ns: how long one of several sides is offered its load until it is the next one's turn, within each block; 0: the
    blocks themselves are the turns; None: as short as the load allows.
    """

    arrivals: str = "poisson"
    rate_rps: Annotated[float, Meta(gt=0)] | None = None
    duration_ns: Annotated[int, Meta(gt=0)] = 10 * NS
    users: Annotated[int, Meta(ge=1)] | None = None
    think_ns: Annotated[int, Meta(ge=0)] = 0
    scenario: str = "steady"
    popularity: str = EVEN
    slo_percentile: Annotated[float, Meta(gt=0, lt=100)] = 99.0
    slo_latency_ns: Annotated[int, Meta(gt=0)] | None = None
    seed: Annotated[int, Meta(ge=0)] = 0
    num_blocks: Annotated[int, Meta(ge=1)] = 1
    until_decided: bool = False
    num_starts: Annotated[int, Meta(ge=1)] | None = None
    turn_ns: Annotated[int, Meta(ge=0)] | None = None
    timeout_ns: Annotated[int, Meta(gt=0)] = 5 * NS
    max_connections: Annotated[int, Meta(ge=1)] = 512
    max_send_lag_ns: Annotated[int, Meta(gt=0)] = NS_PER_MS
    workers: Annotated[int, Meta(ge=1)] | None = None  # of a deployment that is started
    split: str | None = None  # of the labelled data
    asking: Asking = Asking()

    @property
    def block_ns(self) -> int:
        return max(1, self.duration_ns // self.num_blocks)

    @property
    def warmup_ns(self) -> int:
        """Before each block, on top of its length."""
        return min(MAX_WARMUP_NS, max(MIN_WARMUP_NS, int(WARMUP_SHARE * self.block_ns)))

    def block_seed(self, block: int) -> int:
        """The same for all sides of a block, another for each block."""
        return int(np.random.SeedSequence((self.seed, block)).generate_state(1, np.uint64)[0] >> 1)
