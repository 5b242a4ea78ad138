"""Whose key a request carries."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from trivet.errors import UnauthorizedError
from trivet.serve.messages import KnownTenant

_BEARER = b"bearer "


class Tenants:
    """The owners of keys. A worker holds digests only: looking one up tells nothing by its time."""

    __slots__ = ("_names",)

    def __init__(self, tenants: Iterable[KnownTenant]) -> None:
        self._names = {bytes.fromhex(tenant.key_sha256): tenant.name for tenant in tenants}

    def of(self, headers: Mapping[bytes, bytes]) -> str:
        """The tenant's name, from `Authorization: Bearer KEY` or `X-API-Key: KEY`; the first wins where both are there.

        Raises: UnauthorizedError: no key, or nobody's; the message does not repeat it.
        """
        given = headers.get(b"authorization")
        if given is not None and given[:7].lower() == _BEARER:
            key = given[7:].strip()
        else:
            key = headers.get(b"x-api-key", b"").strip()
        if not key:
            raise UnauthorizedError(
                "this server asks for a key: send Authorization: Bearer KEY or X-API-Key: KEY"
            )
        name = self._names.get(sha256(key).digest())
        if name is None:
            raise UnauthorizedError("the key is not one of this server's; ask whoever runs it for yours")
        return name
