"""What requests cost, who pays, and what becomes of who has spent the day's budget: through a worker's front."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.http_support import Answer, Front, infer, request, write_echo
from tests.serve.test_precomputed_live import publish_answers
from trivet.errors import SpecError
from trivet.load.server_timing import phase_columns
from trivet.runtime.costing import charge
from trivet.serve.http.budgets import Budgets
from trivet.serve.http.tenants import Tenants
from trivet.serve.known_tenants import check_prices
from trivet.serve.messages import KnownTenant, Served, ServedService
from trivet.serve.sampling import Sampler
from trivet.serve.spending import Spending, open_page
from trivet.spec.service_file import load_configuration

DAY_NS = 86_400_000_000_000
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2
TENANTS = (
    KnownTenant(name="anne", key_sha256=sha256(b"a").hexdigest(), soft_nano=1_000, hard_nano=2_000),
    KnownTenant(name="bert", key_sha256=sha256(b"b").hexdigest()),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_echo(tmp_path)
    return tmp_path


def priced(folder: Path, more: str = "") -> Path:
    """The clock of these tests moves a microsecond with every look: at this price each costs 1000."""
    path = folder / f"priced{len(more)}.yaml"
    text = (folder / "echo.yaml").read_text()
    path.write_text(f"name: echo\n{text}cost: {{core_hour: 3600, currency: EUR}}\n{more}")
    return path


def counted(front: Front, family: str) -> dict[str, Any]:
    """Sums by the way that requests took."""
    return {
        labels["way"]: value for name, labels, value in front.lives[0].counts.snapshot() if name == family
    }


def test_a_batchs_engine_time_is_paid_by_its_requests_by_their_rows(folder: Path) -> None:
    front = Front([priced(folder)])
    live = front.lives[0]
    requests: list[Any] = []
    front.runtime.submit = requests.append  # type: ignore[method-assign]  # none of them runs
    body = b'{"inputs":[{"name":"x","shape":[%d,1],"datatype":"FP32","data":[%b]}]}'
    for rows in (1, 2, 5):
        front.connect().send(request(body=body % (rows, b",".join([b"1"] * rows))))
    charge(live.models[0], requests, 8, 80_000)
    price = live.models[0].nano_per_ns
    assert [one.notes.cost_nano for one in requests] == [round(price * ns) for ns in (10_000, 20_000, 50_000)]
    charge(live.models[0], requests[:1], 2, 80_000)  # as at a second stage
    assert requests[0].notes.cost_nano == round(price * 50_000)


def test_all_that_engines_cost_is_paid_by_somebody(folder: Path) -> None:
    front = Front([priced(folder)])
    costs: list[int] = []
    costing, model = front.lives[0].costing, front.lives[0].models[0]
    assert costing is not None
    costing.spend = lambda _tenant, nano: costs.append(nano)
    clients = [front.connect() for _ in range(5)]
    for client in clients:
        client.send(infer(b"1"))
    assert [client.answers()[0].status for client in clients] == [200] * 5
    assert sum(costs) == pytest.approx(model.counters.compute_ns * model.nano_per_ns, abs=5)
    assert counted(front, "trivet_cost_total") == {"pipeline": pytest.approx(sum(costs) / 1e9)}
    assert counted(front, "trivet_cost_requests_total") == {"pipeline": 5}


def test_a_large_requests_parts_are_paid_by_the_whole(folder: Path) -> None:
    front = Front([priced(folder)])
    rows = 20  # in three parts
    body = b'{"inputs":[{"name":"x","shape":[%d,1],"datatype":"FP32","data":[%b]}]}'
    assert front.connect().ask(request(body=body % (rows, b",".join([b"1"] * rows)))).status == 200
    model = front.lives[0].models[0]
    assert model.counters.executions == 3
    expected = model.counters.compute_ns * model.nano_per_ns / 1e9
    assert counted(front, "trivet_cost_total") == {"pipeline": pytest.approx(expected, rel=1e-3)}


def test_what_a_shortcut_saves_is_what_the_pipeline_cost_before(folder: Path) -> None:
    path = priced(folder, "precomputed: {table: answers.parquet}\n")
    publish_answers(path)
    front = Front([path])
    client = front.connect()
    client.ask(infer(b"1"))  # known: nothing to compare with yet
    assert counted(front, "trivet_cost_saved_total") == {}
    client.ask(infer(b"7"))
    client.ask(infer(b"2"))
    costs = counted(front, "trivet_cost_total")
    assert costs["precomputed"] == 0
    assert costs["pipeline"] > 0
    assert counted(front, "trivet_cost_saved_total") == {"precomputed": pytest.approx(costs["pipeline"])}
    assert counted(front, "trivet_cost_requests_total") == {"precomputed": 2, "pipeline": 1}


def test_a_service_without_prices_keeps_no_accounts(folder: Path) -> None:
    front = Front([folder / "echo.yaml"])
    assert front.connect().ask(infer(b"1")).status == 200
    assert front.lives[0].costing is None
    assert front.lives[0].counts.snapshot() == []


class Bank:
    """A front whose tenants have budgets, on a day of the test's."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.said: list[str] = []
        self.now_ns = NOON_NS
        self.page = Spending(open_page(folder, 0, 2, ["anne", "bert"]), 2, 2)
        self.front = Front([path])
        router, live = self.front.router, self.front.lives[0]
        router.tenants = Tenants(TENANTS)
        router.budgets = Budgets(TENANTS, self.page, 0, self.said.append, lambda: self.now_ns)
        assert live.costing is not None
        live.costing.spend = router.budgets.spend
        self.client = self.front.connect()

    def ask(self, key: bytes) -> Answer:
        return self.client.ask(infer(b"1", headers=[b"X-API-Key: " + key]))

    def spent(self, tenant: int) -> int:
        return self.page.spent(tenant, self.now_ns // DAY_NS)


def test_who_has_spent_the_budget_is_refused_until_the_day_ends(folder: Path) -> None:
    bank = Bank(priced(folder), folder)
    statuses = []
    while bank.spent(0) < 2_000:
        statuses.append(bank.ask(b"a").status)
    refused = bank.ask(b"a")
    assert (set(statuses), refused.status) == ({200}, 429)
    assert b"the budget of 2e-06 a day is spent; it begins anew at 00:00 UTC" in refused.body
    assert refused.headers["retry-after"] == str(12 * 3600)
    spent = bank.spent(0)
    assert [bank.ask(b"b").status for _ in range(3)] == [200] * 3  # who has no budget
    assert (bank.spent(0), bank.spent(1) > 0) == (spent, True)
    bank.now_ns += DAY_NS // 2
    assert (bank.spent(0), bank.ask(b"a").status) == (0, 200)
    assert bank.spent(0) > 0


def test_a_soft_budget_is_said_once_a_day_and_counted(folder: Path) -> None:
    bank = Bank(priced(folder), folder)
    bank.page.add(1, 0, NOON_NS // DAY_NS, 1_000)  # by another worker
    for _ in range(2):
        bank.now_ns += DAY_NS
        bank.page.add(1, 0, bank.now_ns // DAY_NS, 1_000)
        assert bank.ask(b"a").status == 200
    assert bank.said == ["tenant 'anne' has spent its soft budget of the day"] * 2
    counts = {name: value for name, _, value in bank.front.lives[0].counts.snapshot() if "budget" in name}
    assert counts == {"trivet_budget_soft_total": 2}


SPENT = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(5, 7), st.integers(0, 1 << 40)))


@settings(deadline=None, derandomize=True)
@given(SPENT)
def test_the_page_adds_up_what_all_workers_spent_on_a_day(spent: Sequence[tuple[int, int, int, int]]) -> None:
    in_order = sorted(spent, key=lambda one: one[2])  # days pass in one direction
    page = Spending(open_page(Path("/nowhere"), 0, 3, ["a", "b"]), 3, 2)
    for worker, tenant, day, nano in in_order:
        page.add(worker, tenant, day, nano)
    last = max((day for _, _, day, _ in spent), default=0)
    for tenant in (0, 1):
        assert page.spent(tenant, last) == sum(n for _, t, day, n in spent if (t, day) == (tenant, last))
    page.close()


def test_a_restart_does_not_forget_the_day_and_other_tenants_have_another_page(tmp_path: Path) -> None:
    first = Spending(open_page(tmp_path / "state", 8000, 1, ["anne"]), 1, 1)
    first.add(0, 0, 7, 30)
    first.close()
    again = Spending(open_page(tmp_path / "state", 8000, 1, ["anne"]), 1, 1)
    other = Spending(open_page(tmp_path / "state", 8000, 1, ["bert"]), 1, 1)
    assert (again.spent(0, 7), again.spent(0, 8), other.spent(0, 7)) == (30, 0, 0)


def test_budgets_need_prices_in_one_currency(folder: Path) -> None:
    def services(*paths: Path) -> list[ServedService]:
        return [
            ServedService(name="echo", version="1", entries=(Served(load_configuration(path)),))
            for path in paths
        ]

    with pytest.raises(SpecError, match="budgets need prices"):
        check_prices(TENANTS, services(folder / "echo.yaml"))
    dollars = folder / "dollars.yaml"
    dollars.write_text((folder / "echo.yaml").read_text() + "cost: {core_hour: 1}\n")
    with pytest.raises(SpecError, match="the services' prices are in EUR, USD"):
        check_prices(TENANTS, services(priced(folder), dollars))
    check_prices(TENANTS, services(priced(folder), folder / "echo.yaml"))
    check_prices(TENANTS[1:], services(folder / "echo.yaml"))


def test_who_asks_for_times_is_told_the_cost_and_a_row_holds_it(folder: Path) -> None:
    path = priced(folder, "precomputed: {table: answers.parquet}\n")
    publish_answers(path)
    front = Front([path])
    rows: list[Any] = []
    kept: Any = SimpleNamespace(put=lambda sample: rows.append(sample.row), is_full=False)
    front.router.answering.sampler = Sampler(kept, share=1.0, seed=0, traces=False)
    asked = [front.connect().ask(infer(value, headers=[b"X-Trivet-Timing: 1"])) for value in (b"1", b"7")]
    told = [phase_columns([answer.headers["server-timing"].encode()]) for answer in asked]
    assert [columns["cost_nano"][0] for columns in told] == [row.cost_nano for row in rows]
    assert (rows[0].cost_nano, rows[1].cost_nano > 0) == (0, True)
    assert [row.cache for row in rows] == ["precomputed", "miss"]
