"""`trivet init`: a first service.yaml beside a model."""

from pathlib import Path

from trivet.engine.onnx import OnnxEngine
from trivet.errors import UserError
from trivet.spec.data import column_names
from trivet.spec.init import guess_data, service_text


def write_service(model: Path, data: Path | None, output: Path, *, force: bool) -> None:
    """Raises: UserError: the model or the data cannot be read, or the output exists."""
    if output.exists() and not force:
        raise UserError(f"{output} exists; choose another --output, or --force to replace it")
    if not model.is_file():
        raise UserError(f"no model file {model}")
    model_file = _relative(model, output)
    signature = OnnxEngine(model).signature
    guess = None if data is None else guess_data(_relative(data, output), column_names(data), signature)
    output.write_text(service_text(model.stem, model_file, signature, guess))


def _relative(path: Path, output: Path) -> str:
    try:
        return str(path.resolve().relative_to(output.resolve().parent))
    except ValueError:
        raise UserError(
            f"{output} must lie beside {path}, or above it: a service is whole in its folder"
        ) from None
