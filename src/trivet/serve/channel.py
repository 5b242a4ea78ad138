"""Messages over a stream socket: four bytes of length, then MessagePack."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

_LENGTH = 4
_LONGEST = 1 << 30


class Channel(asyncio.Protocol):
    """One end. Calls `on_message` for each whole message and `on_lost` once when the other end is gone."""

    def __init__(self, messages: Any, on_message: Callable[[Any], None], on_lost: Callable[[], None]) -> None:
        self._decode = msgspec.msgpack.Decoder(messages).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._on_message = on_message
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def send(self, message: msgspec.Struct) -> None:
        """Write a message; dropped when the other end is gone (`on_lost` has told)."""
        if self._transport is not None and not self._transport.is_closing():
            data = self._encode(message)
            self._transport.write(len(data).to_bytes(_LENGTH, "little") + data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream socket gives a Transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH:
            size = int.from_bytes(self._buffer[:_LENGTH], "little")
            if size > _LONGEST:
                raise ValueError(f"a message of {size} bytes: the stream is out of step")
            if len(self._buffer) < _LENGTH + size:
                return
            message = self._decode(self._buffer[_LENGTH : _LENGTH + size])
            del self._buffer[: _LENGTH + size]
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost()
