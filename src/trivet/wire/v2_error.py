"""Open Inference Protocol V2: the body of every error."""

import msgspec


def error_body(message: str) -> bytes:
    return msgspec.json.encode({"error": message})
