"""Models in OpenVINO's form on disk."""

from pathlib import Path
from typing import Any

_MODEL_FILE, _WEIGHTS_FILE = "model.xml", "model.bin"


def save(model: Any, folder: Path) -> tuple[str, ...]:
    """Into the folder, the same bytes from every process. Returns: the files' names."""
    import openvino

    # Names count all that this process ever made: by place they are the same in the next one.
    for place, operation in enumerate(model.get_ordered_ops()):
        if operation.get_type_name() != "Parameter":
            operation.set_friendly_name(f"{operation.get_type_name()}_{place}")
    openvino.save_model(model, str(folder / _MODEL_FILE), compress_to_fp16=False)
    return (_MODEL_FILE, _WEIGHTS_FILE)
