"""The protocol's datatypes as numpy's. Apart from `signature.py`, so that the supervisor and the commands, which move no
tensors, start without numpy.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

# Open Inference Protocol datatype -> numpy. BYTES is an object array of `bytes`; BF16 travels as its raw 16
# bits (uint16), because numpy has no such type: an engine that takes it reinterprets them.
NUMPY_OF_DATATYPE: Mapping[str, DTypeLike] = MappingProxyType(
    {
        "BOOL": np.bool_,
        "UINT8": np.uint8,
        "UINT16": np.uint16,
        "UINT32": np.uint32,
        "UINT64": np.uint64,
        "INT8": np.int8,
        "INT16": np.int16,
        "INT32": np.int32,
        "INT64": np.int64,
        "FP16": np.float16,
        "FP32": np.float32,
        "FP64": np.float64,
        "BF16": np.uint16,
        "BYTES": np.object_,
    }
)
