"""Which inputs a side is asked about: a file's, the service's own data, else random values of the right shape."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trivet.errors import UserError
from trivet.experiment.workload import Asking
from trivet.load.dialects.contract import Row
from trivet.load.inputs.random_rows import random_rows
from trivet.load.inputs.reading import read_inputs, service_inputs
from trivet.spec.configuration import Configuration
from trivet.spec.fields import FieldError
from trivet.spec.service_file import located
from trivet.spec.signature import Signature, TensorSpec

NUM_RANDOM = 64
_A_TEXT = Signature((TensorSpec("text", "BYTES", (1,)),), ())


def input_rows_of(
    configuration: Configuration | None, signature: Signature | None, asking: Asking, seed: int
) -> Sequence[Row]:
    """Rows of single requests.

    Raises: UserError: the file or the data does not fit the model; an endpoint whose inputs nobody knows has no file.
    """
    if asking.inputs:
        return read_inputs(Path(asking.inputs), signature, shapes=asking.shapes, max_rows=asking.max_inputs)
    data = configuration.service.data if configuration is not None else None
    if configuration is not None and signature is not None and data is not None and data.columns:
        try:
            return service_inputs(data, Path(configuration.root), signature, asking.max_inputs)
        except FieldError as error:
            raise located(configuration, error) from None
    rng = np.random.default_rng((seed, NUM_RANDOM))
    num = min(NUM_RANDOM, asking.max_inputs)
    if signature is not None:
        return random_rows(signature, num, rng, asking.shapes)
    if asking.dialect.startswith("openai"):
        return random_rows(_A_TEXT, num, rng)
    if "{{" not in asking.template:
        return [{}]  # a constant request
    raise UserError("the template has places to fill: name a file of inputs with --input")
