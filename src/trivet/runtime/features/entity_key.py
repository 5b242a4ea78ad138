"""What names an entity, in a table as in a request."""

from hashlib import blake2b
from typing import Any

from numpy.typing import NDArray

from trivet.errors import BadRequestError
from trivet.runtime.fronts.key_index import KEY_BYTES


def entity_keys(name: str, tensor: NDArray[Any]) -> list[bytes]:
    """Each element as text: integers in decimal.

    Raises: BadRequestError: a tensor of other numbers, which are not good names.
    """
    if tensor.dtype.kind in "iu":
        return [b"%d" % number for number in tensor.reshape(-1).tolist()]
    if tensor.dtype.kind == "O":
        return [bytes(element) for element in tensor.reshape(-1).tolist()]
    raise BadRequestError(f"{name!r} names entities: it holds integers or text, not {tensor.dtype}")


def digest(key: bytes) -> bytes:
    """Of any length, as `KeyIndex` takes it."""
    return blake2b(key, digest_size=KEY_BYTES).digest()
