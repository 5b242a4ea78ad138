"""From the outputs of one request to its prediction, as the service's `decode:` says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.judge.errors import JudgeError
from trivet.judge.user_code import called, load_function
from trivet.spec.fields import nearest
from trivet.spec.service import Decode
from trivet.spec.sources import resolve_file

Outputs = Mapping[str, NDArray[Any]]
IDENTITY = Decode(by="identity")
NOTHING = None  # the prediction of scores that are not numbers: it equals no label


class Decoder:
    """Call it with the outputs of one request.

    It returns a class by its name where `decode.labels` names them, else by its position (argmax) or as a bool
    (threshold); identity and functions may return numbers, text and arrays as well; NOTHING where scores are NaN.

    names: by position; empty where none are declared.
    """

    def __init__(self, decode: Decode, root: Path) -> None:
        self.by = decode.by
        self.names = _names(decode, root)
        self._output, self._threshold = decode.output, decode.threshold
        self._function = load_function(decode.by, root) if ":" in decode.by else None
        if decode.by == "threshold" and len(self.names) not in (0, 2):
            raise JudgeError(f"decode.labels has {len(self.names)} names; a threshold knows two: [no, yes]")

    def row(self, outputs: Outputs) -> NDArray[Any]:
        """The output that is read, without the batch axis of 1.

        Raises: JudgeError: no such output, or several rows.
        """
        if not outputs:
            raise JudgeError("the answer has no outputs")
        name = self._output or next(iter(outputs))
        if name not in outputs:
            raise JudgeError(f"the answer has no output {name!r}{nearest(name, outputs)}")
        array = outputs[name]
        return array[0] if array.ndim > 1 and len(array) == 1 else array

    def scores(self, outputs: Outputs) -> NDArray[np.float64]:
        """The row as numbers, shape (classes,).

        Raises: JudgeError: not numbers, or more than one axis of them.
        """
        row = self.row(outputs)
        while row.ndim > 1 and len(row) == 1:
            row = row[0]
        if row.dtype.kind not in "biuf":
            raise JudgeError(f"{self.by} needs numbers; the output is text: declare `decode: identity`")
        if row.ndim > 1:
            shape = list(row.shape)
            raise JudgeError(
                f"{self.by} needs one list of scores, the output has the shape {shape}: decode it by a function"
            )
        return row.reshape(-1).astype(np.float64)

    def score(self, outputs: Outputs) -> float:
        """One number that grows with «yes»: the only score, or the second of two minus the first.

        Raises: JudgeError: another number of scores.
        """
        if self._function is not None:
            return _number(self(outputs), self.by)
        scores = self.scores(outputs)
        if len(scores) == 2:  # monotonic in the probability of the second, for probabilities and logits alike
            return float(scores[1] - scores[0])
        if len(scores) == 1:
            return float(scores[0])
        raise JudgeError(f"the output has {len(scores)} scores; auc ranks rows of two classes by one score")

    def classes(self, outputs: Outputs) -> Sequence[Any] | None:
        """All predictions that there can be, the positive last where there are two; None: not known."""
        if self.names:
            return self.names
        if self.by == "argmax":
            return range(len(self.scores(outputs)))
        return (False, True) if self.by == "threshold" else None

    def __call__(self, outputs: Outputs) -> Any:
        if self.by == "argmax":
            return self._argmax(self.scores(outputs))
        if self.by == "threshold":
            return self._over_threshold(self.scores(outputs))
        row = self.row(outputs)
        found = _plain(row if self._function is None else called(self.by, self._function, row))
        if self.names and isinstance(found, int) and not isinstance(found, bool):
            if not 0 <= found < len(self.names):
                raise JudgeError(f"{self.by} gives {found}; decode.labels has {len(self.names)} names")
            return self.names[found]
        return found

    def _argmax(self, scores: NDArray[np.float64]) -> Any:
        if len(scores) < 2:
            raise JudgeError("argmax of one score is always the first: declare `decode: threshold`")
        if self.names and len(self.names) != len(scores):
            raise JudgeError(
                f"the output has {len(scores)} scores; decode.labels has {len(self.names)} names"
            )
        if np.isnan(scores).any():
            return NOTHING
        position = int(scores.argmax())
        return self.names[position] if self.names else position

    def _over_threshold(self, scores: NDArray[np.float64]) -> Any:
        if len(scores) != 1:
            raise JudgeError(
                f"a threshold reads one score, the output has {len(scores)}: declare `decode: argmax`"
            )
        if np.isnan(scores[0]):
            return NOTHING
        yes = bool(scores[0] >= self._threshold)
        return self.names[yes] if self.names else yes


def decoder(decode: Decode | None, root: Path) -> Decoder:
    """Args: decode: None: identity.  root: the service file's folder.

    Raises: SpecError, JudgeError: the labels' file or the function is not there, or is none.
    """
    return Decoder(decode or IDENTITY, root)


def _names(decode: Decode, root: Path) -> tuple[str, ...]:
    if decode.labels is None or isinstance(decode.labels, tuple):
        names = decode.labels or ()
        where = "decode.labels"
    else:
        path = resolve_file(decode.labels, root)
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot be read as text: {error}", where) from None
        names = tuple(line.strip() for line in text.rstrip().splitlines())
    for name in names:
        if not name or names.count(name) > 1:
            raise SpecError(
                f"label {name!r} is there {names.count(name)} times; each class has a name of its own", where
            )
    if decode.labels is not None and not names:
        raise SpecError("no names of labels", where)
    return names


def _plain(value: Any) -> Any:
    """A single value as Python has it, text for bytes; arrays as they are."""
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.reshape(-1)[0] if isinstance(value, np.ndarray) else value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value


def _number(value: Any, target: str) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise JudgeError(f"{target} gives {value!r}; auc ranks rows by a number")
