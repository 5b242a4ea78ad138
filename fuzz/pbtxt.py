"""config.pbtxt of a model repository: protobuf's text format, written by other people's tools."""

from trivet.errors import SpecError
from trivet.spec.model_config import parse_config

_LONGEST_MESSAGE = 4000

SEEDS = {
    "small": b'name: "m"\nmax_batch_size: 8\n',
    "full": b"""\
name: "encoder"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "text" data_type: TYPE_STRING dims: 1 reshape { shape: [ ] } }
]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 384 ] label_filename: "l.txt" } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 priority_levels: 2 }
instance_group [ { count: 2 kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value: { string_value: "3" } }
version_policy: { latest { num_versions: 2 } }
""",
    "specific": b"name: 'm' # a comment\nversion_policy: { specific: { versions: [1, 2] } };\n",
    "strings": b'name: "a\\n\\x41\\101" "b"\nplatform: "onnxruntime_onnx",',
}
TOKENS = [
    b"name: ", b"max_batch_size: ", b"input ", b"output ", b"data_type: ", b"dims: ", b"version_policy ",
    b"specific ", b"all ", b"latest ", b"TYPE_FP32", b"KIND_GPU", b"{", b"}", b"[", b"]", b"<", b">", b'"',
    b"'", b"\\x", b"\\777", b"#", b";", b"-", b"0x7f", b"1e400", b"nan", b"18446744073709551616", b"true",
    b"[a.b/c]", b"instance_group ", b"dynamic_batching ", b"parameters ", b"value ", b"key ",
]  # fmt: skip


def check(data: bytes) -> None:
    """A configuration or an error that names the line; never anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        parse_config(text, "config.pbtxt")
    except SpecError as error:
        if not str(error).startswith("config.pbtxt") or len(str(error)) > _LONGEST_MESSAGE:
            raise AssertionError(f"{len(str(error))} characters: {str(error)[:200]!r}") from error
