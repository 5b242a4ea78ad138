"""Who may ask: the owners of API keys, and what each may spend in a day. They belong to a deployment, not to a service."""

import re
from typing import Annotated

import msgspec

from trivet.spec.fields import FieldError

Amount = Annotated[float, msgspec.Meta(gt=0)]
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tenant may cost in one day (UTC), in the currency of the services' `cost`.

    soft: from here on it is said and counted; requests are answered as before.
    hard: from here on requests are answered 429 until the day ends. What is being answered then is still paid.
    """

    soft: Amount | None = None
    hard: Amount | None = None

    def __post_init__(self) -> None:
        if self.soft is None and self.hard is None:
            raise FieldError((), "a budget is `soft:`, `hard:` or both: amounts a day")
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            raise FieldError(
                ("soft",), f"the soft budget {self.soft:g} lies above the hard one, {self.hard:g}"
            )


class Tenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner of one API key, which stands in no file.

    key_sha256: the key's SHA-256 in hexadecimal:  printf %s "$KEY" | sha256sum
    key_env: the environment variable of the server that holds the key.
    budget: what its requests may cost in a day; None: nobody counts.
    """

    key_sha256: str | None = None
    key_env: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if (self.key_sha256 is None) == (self.key_env is None):
            raise FieldError((), "a tenant has either `key_sha256:` or `key_env:`; give exactly one")
        if self.key_sha256 is not None and not _SHA256.fullmatch(self.key_sha256):
            raise FieldError(
                ("key_sha256",),
                f"{len(self.key_sha256)} characters that are not a SHA-256; expected 64 of 0-9a-f, "
                'as `printf %s "$KEY" | sha256sum` prints them',
            )
