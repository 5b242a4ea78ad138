"""What the two processes tell each other. Small msgpack arrays; tensors lie in shared memory, beside them.

Rules for maintainers: a message fits into one packet (channel.MAX_MESSAGE_BYTES), nothing is ever pickled,
and every answer of the child names the batch or stream that it answers.

`received`, on what the parent sends, counts the `Done` and `Chunk` messages whose tensors it has copied so
far. The child may write over them from then on. A count is enough, because packets keep their order.
"""

from typing import Annotated

import msgspec

from trivet.spec.signature import Signature

# Never negative, which the decoder sees to: numpy takes a negative offset or shape without complaint.
Size = Annotated[int, msgspec.Meta(ge=0)]
# (offset in the slab, bytes, shape), in the order of the signature, which says name and datatype
Place = tuple[Size, Size, tuple[Size, ...]]
Places = tuple[Place, ...]


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """An array of a tag and the fields in order: the two sides are always of one version."""


class Load(_Message, tag=0, frozen=True):
    target: str
    root: str
    signature: Signature | None
    max_output_bytes: int


class Run(_Message, tag=1, frozen=True):
    batch_id: int
    received: int
    places: Places


class Open(_Message, tag=2, frozen=True):
    stream_id: int
    received: int
    credits: int
    places: Places


class Grant(_Message, tag=3, frozen=True):
    stream_id: int
    received: int
    credits: int


class Cancel(_Message, tag=4, frozen=True):
    stream_id: int


class Stop(_Message, tag=5, frozen=True):
    """Finish what was sent before, cancel the streams, exit."""


class Loaded(_Message, tag=0, frozen=True):
    signature: Signature
    streams: bool


class LoadFailed(_Message, tag=1, frozen=True):
    error: str


class Done(_Message, tag=2, frozen=True):
    batch_id: int
    places: Places


class Error(_Message, tag=3, frozen=True):
    """`bad_request`: the code says that the client is at fault."""

    batch_id: int
    error: str
    bad_request: bool = False


class Chunk(_Message, tag=4, frozen=True):
    stream_id: int
    places: Places


class End(_Message, tag=5, frozen=True):
    """`bad_request`: as of `Error`."""

    stream_id: int
    error: str | None
    bad_request: bool = False


ToChild = Load | Run | Open | Grant | Cancel | Stop
ToParent = Loaded | LoadFailed | Done | Error | Chunk | End
