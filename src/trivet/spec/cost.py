"""What a core costs, as the user pays it; a plan turns it into the price of a million requests."""

from typing import Annotated

import msgspec

NS_PER_HOUR = 3_600_000_000_000
NANO = 1_000_000_000  # costs of single requests are counted in 1e-9 of the currency
REQUESTS = 1_000_000  # costs are told for so many

Price = Annotated[float, msgspec.Meta(ge=0)]


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Not part of the hash: it changes no answer.

    core_hour: the price of one core for one hour, busy or not.
    currency: printed behind every price.
    """

    core_hour: Price
    currency: Annotated[str, msgspec.Meta(min_length=1)] = "USD"

    def of_processor_time(self, cpu_ns_per_request: float) -> float:
        """The price of a million requests, were only busy cores paid."""
        return self.core_hour * cpu_ns_per_request * REQUESTS / NS_PER_HOUR

    def of_cores(self, num_cores: float, rate_rps: float) -> float:
        """The price of a million requests at a mean rate above 0, where all cores are paid all the time."""
        return self.core_hour * num_cores * REQUESTS / (rate_rps * 3600)
