"""`trivet init`: a first service.yaml beside a model."""

from collections.abc import Iterator
from pathlib import Path

from trivet.engine.onnx import OnnxEngine
from trivet.errors import UserError
from trivet.spec.data import column_names
from trivet.spec.init import guess_data, service_text
from trivet.spec.service import Data
from trivet.spec.signature import Signature


def write_service(model: Path, data: Path | None, output: Path, *, force: bool) -> list[str]:
    """What could not be guessed, in sentences.

    Raises: UserError: the model or the data cannot be read, or the output exists.
    """
    if output.exists() and not force:
        raise UserError(f"{output} exists; choose another --output, or --force to replace it")
    if not model.is_file():
        raise UserError(f"no model file {model}")
    model_file = _relative(model, output)
    signature = OnnxEngine(model).signature
    guess = None if data is None else guess_data(_relative(data, output), column_names(data), signature)
    output.write_text(service_text(model.stem, model_file, signature, guess))
    return [] if guess is None else list(_not_guessed(guess, signature, output))


def _not_guessed(guess: Data, signature: Signature, output: Path) -> Iterator[str]:
    inputs = [spec.name for spec in signature.inputs if spec.name not in guess.columns]
    if inputs:
        yield (
            f"no column of {guess.path} was found for the {'input' if len(inputs) == 1 else 'inputs'} {', '.join(inputs)}: "
            f"name it in {output} under data.columns"
        )
    if guess.label is None:
        yield f"no column of {guess.path} looks like a label: name it in {output} as data.label, or nothing can be judged"


def _relative(path: Path, output: Path) -> str:
    try:
        return str(path.resolve().relative_to(output.resolve().parent))
    except ValueError:
        raise UserError(
            f"{output} must lie beside {path}, or above it: a service is whole in its folder"
        ) from None
