"""What an engine gave for one batch, and how a single request's part is read from it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from trivet.runtime.exiting import Decided


class Results:
    """Outputs of one batch. `outputs[name]` has the batch's rows on axis 0 where the model has a batch axis."""

    __slots__ = ("_raw", "_rows", "batch_axis", "batch_rows", "decided", "outputs", "said")

    def __init__(self, outputs: Mapping[str, NDArray[Any]], batch_axis: bool, batch_rows: int) -> None:
        self.outputs = outputs
        self.batch_axis = batch_axis
        self.batch_rows = batch_rows
        self._raw: dict[str, bytes] = {}
        self._rows: dict[str, list[list[Any]]] | None = None
        self.decided: Decided | None = None  # where an exit stands behind the stage: what it said
        self.said = b""  # what a front says of the whole batch in each answer, once written

    def rows(self) -> dict[str, list[list[Any]]]:
        """Each row of each output as flat Python values: one conversion for the whole batch."""
        if self._rows is None:
            self._rows = {
                name: array.reshape(array.shape[0], -1).tolist() for name, array in self.outputs.items()
            }
        return self._rows

    def raw(self, name: str) -> bytes:
        """All rows of an output of a fixed-size datatype as bytes: one copy for the whole batch."""
        raw = self._raw.get(name)
        if raw is None:
            raw = self._raw[name] = self.outputs[name].tobytes()
        return raw

    def part(self, start: int, rows: int) -> Mapping[str, NDArray[Any]]:
        """The outputs of `rows` rows from `start`; views."""
        if not self.batch_axis or rows == self.batch_rows:
            return self.outputs
        return {name: array[start : start + rows] for name, array in self.outputs.items()}
