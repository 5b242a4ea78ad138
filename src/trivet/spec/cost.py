"""What cores, calls and tokens cost, as the user pays them: of a million requests in a plan, of each in the metrics."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from trivet.spec.fields import FieldError

NS_PER_HOUR = 3_600_000_000_000
NANO = 1_000_000_000  # costs of single requests are counted in 1e-9 of the currency
REQUESTS = 1_000_000  # costs are told for so many

Price = Annotated[float, msgspec.Meta(ge=0)]


class CallPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a service that somebody else runs asks for one call.

    per_call: each. per_1k_tokens: a thousand tokens of the prompt, and of the answer too, unless per_1k_output_tokens says
    what those cost.
    """

    per_call: Price = 0.0
    per_1k_tokens: Price = 0.0
    per_1k_output_tokens: Price | None = None

    def nano(self, input_tokens: int = 0, output_tokens: int = 0) -> int:
        """The price of one call, in 1e-9 of the currency."""
        output_price = self.per_1k_tokens if self.per_1k_output_tokens is None else self.per_1k_output_tokens
        thousandths = self.per_1k_tokens * input_tokens + output_price * output_tokens
        return round((self.per_call + thousandths / 1000) * NANO)


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Not part of the hash: it changes no answer. At least one price.

    core_hour: the price of one core for one hour, busy or not.
    per_call, per_1k_tokens, per_1k_output_tokens: of each call of a remote model, as in CallPrice; tokens also of Python
        code that counts them, where clients ask in OpenAI's words.
    models: for models with other prices, by their names.
    currency: printed behind every price.
    """

    core_hour: Price = 0.0
    per_call: Price = 0.0
    per_1k_tokens: Price = 0.0
    per_1k_output_tokens: Price | None = None
    models: Mapping[str, CallPrice] = {}
    currency: Annotated[str, msgspec.Meta(min_length=1)] = "USD"

    def __post_init__(self) -> None:
        if not (
            self.core_hour or self.per_call or self.per_1k_tokens or self.per_1k_output_tokens or self.models
        ):
            raise FieldError(
                (), "nothing has a price; write core_hour, per_call, per_1k_tokens, or leave the section out"
            )

    def call_nano(self, model: str, input_tokens: int = 0, output_tokens: int = 0) -> int:
        """The price of one call of a remote model, in 1e-9 of the currency."""
        return self._price(model).nano(input_tokens, output_tokens)

    def tokens_nano(self, model: str, input_tokens: int, output_tokens: int) -> int:
        """The price of tokens alone, in 1e-9 of the currency."""
        return msgspec.structs.replace(self._price(model), per_call=0.0).nano(input_tokens, output_tokens)

    def _price(self, model: str) -> CallPrice:
        price = self.models.get(model)
        if price is None:
            price = CallPrice(
                per_call=self.per_call,
                per_1k_tokens=self.per_1k_tokens,
                per_1k_output_tokens=self.per_1k_output_tokens,
            )
        return price

    def nano_per_core_ns(self) -> float:
        """The price of a busy core for a nanosecond, in 1e-9 of the currency."""
        return self.core_hour * NANO / NS_PER_HOUR

    def of_processor_time(self, cpu_ns_per_request: float) -> float:
        """The price of a million requests, were only busy cores paid."""
        return self.core_hour * cpu_ns_per_request * REQUESTS / NS_PER_HOUR

    def of_cores(self, num_cores: float, rate_rps: float) -> float:
        """The price of a million requests at a mean rate above 0, where all cores are paid all the time."""
        return self.core_hour * num_cores * REQUESTS / (rate_rps * 3600)
