"""The declared tenants, as workers are told of them: keys are read here, and only their digests go on."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from trivet.errors import SpecError
from trivet.serve.messages import KnownTenant, ServedService
from trivet.spec.cost import NANO
from trivet.spec.tenants import Tenant


def known_tenants(tenants: Mapping[str, Tenant], environment: Mapping[str, str]) -> tuple[KnownTenant, ...]:
    """Raises: SpecError: a key's variable is not set, or two tenants have one key."""
    known = tuple(_known(name, tenant, environment) for name, tenant in tenants.items())
    owners: dict[str, str] = {}
    for one in known:
        other = owners.setdefault(one.key_sha256, one.name)
        if other != one.name:
            raise SpecError(f"tenants {other!r} and {one.name!r} have one key; give each its own", "tenants")
    return known


def check_prices(tenants: Sequence[KnownTenant], services: Sequence[ServedService]) -> None:
    """Raises: SpecError: budgets of what has no price, or prices that cannot be added up."""
    if not any(tenant.has_budget for tenant in tenants):
        return
    costs = [entry.configuration.service.cost for service in services for entry in service.entries]
    currencies = {cost.currency for cost in costs if cost is not None}
    if not currencies:
        raise SpecError("budgets need prices: declare `cost:` in the service files", "tenants")
    if len(currencies) > 1:
        raise SpecError(
            f"budgets count one currency; the services' prices are in {', '.join(sorted(currencies))}",
            "tenants",
        )


def _known(name: str, tenant: Tenant, environment: Mapping[str, str]) -> KnownTenant:
    digest = tenant.key_sha256
    if digest is None:
        assert tenant.key_env is not None  # Tenant has one of the two
        key = environment.get(tenant.key_env, "").strip()
        if not key:
            raise SpecError(
                f"the environment variable {tenant.key_env} is not set; put the key of tenant {name!r} there",
                f"tenants.{name}.key_env",
            )
        digest = sha256(key.encode()).hexdigest()
    budget = tenant.budget
    return KnownTenant(
        name=name,
        key_sha256=digest,
        soft_nano=None if budget is None else _nano(budget.soft),
        hard_nano=None if budget is None else _nano(budget.hard),
    )


def _nano(amount: float | None) -> int | None:
    return None if amount is None else round(amount * NANO)
