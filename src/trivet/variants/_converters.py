"""Libraries whose fitted models become ONNX, each through the package made for it. All of them take one matrix of rows."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError
from trivet.variants._models import Model, onnx_package
from trivet.variants.errors import VariantError

Rows = NDArray[Any]
_INPUT = "x"
_CLASS = re.compile(r"<class '([\w.]+)'>")
_SERVE_IT = (
    "serve it as it is with `python: file.py:attribute`, in a process of its own, or exchange that part"
)


class Original(Protocol):
    """A fitted model: what is asked of every library."""

    library: str

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the columns it was fitted on; empty where it does not know."""

    def rows_of(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        """One matrix: float32, columns of several numbers side by side, or of bytes where there is one column of text.

        Raises: VariantError: anything else.
        """

    def random_rows(self, num: int, shape: tuple[int, ...], rng: np.random.Generator) -> Rows:
        """Raises: VariantError: it does not say how wide a row is."""

    def converted(self, rows: Rows) -> Model:
        """Raises: VariantError: it has a part that has no ONNX form; names it."""

    def answers(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What the model itself answers, in the order of the ONNX file's outputs."""


def original_of(model: Any) -> Original:
    """Raises: VariantError: of no library that is known here."""
    modules = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    for library, kind in _KINDS.items():
        if library in modules:
            found: Original = kind(model)
            return found
    raise VariantError(
        f"a {type(model).__module__}.{type(model).__qualname__} is of no library that is converted here "
        f"({', '.join(_KINDS)}); export it to ONNX with its own tools, or {_SERVE_IT}"
    )


class _Tabular:
    """A model with scikit-learn's methods."""

    library = "sklearn"

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(str(name) for name in getattr(self._model, "feature_names_in_", ()))

    def rows_of(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        try:
            parts = [np.asarray(values, np.float32) for values in columns.values()]
            return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        except (ValueError, TypeError):
            if len(columns) > 1:
                raise VariantError(
                    f"columns {', '.join(columns)} hold text: a model takes numbers, or one column of text; choose with "
                    "--columns"
                ) from None
        (values,) = columns.values()
        return np.array([[str(value).encode()] for value in values], object)

    def random_rows(self, num: int, shape: tuple[int, ...], rng: np.random.Generator) -> Rows:
        width = shape or tuple(filter(None, [getattr(self._model, "n_features_in_", 0)]))
        if not width:
            raise VariantError(
                "the model does not say how many numbers a row has: give rows with --data, or --shape"
            )
        return rng.normal(size=(num, *width)).astype(np.float32)

    def converted(self, rows: Rows) -> Model:
        try:
            import skl2onnx
            from skl2onnx.common.data_types import FloatTensorType, StringTensorType
        except ImportError:
            raise ExtraMissingError("converting a scikit-learn model", "variants") from None
        kind = StringTensorType if rows.dtype == object else FloatTensorType
        options: dict[Any, Any] = {id(self._model): {"zipmap": False}} if self._is_classifier() else {}
        if rows.dtype == object:
            options |= _of_text()
        try:
            types = [(_INPUT, kind([None, rows.shape[1]]))]
            return skl2onnx.convert_sklearn(self._model, "model", types, options=options)
        except Exception as error:  # converters of many estimators, each with errors of its own
            raise VariantError(_does_not_convert(self._model, error)) from None

    def answers(self, rows: Rows) -> dict[str, NDArray[Any]]:
        given = [value.decode() for value in rows[:, 0]] if rows.dtype == object else rows
        if self._is_classifier():
            found = {"label": np.asarray(self._model.predict(given))}
            if hasattr(self._model, "predict_proba"):
                found["probabilities"] = np.asarray(self._model.predict_proba(given))
            return found
        method = "predict" if hasattr(self._model, "predict") else "transform"
        answer = getattr(self._model, method)(given)
        return {method: np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)}

    def _is_classifier(self) -> bool:
        return hasattr(self._model, "classes_")


def _of_text() -> dict[Any, Any]:
    """Words as scikit-learn's default pattern has them, in a locale that every Linux has."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    words = {"locale": "C.UTF-8", "tokenexp": r"[\p{L}\p{N}_][\p{L}\p{N}_]+"}
    return {CountVectorizer: words, TfidfVectorizer: words}


class _Boosted(_Tabular):
    """Trees of LightGBM or XGBoost with scikit-learn's methods."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.library = type(model).__module__.partition(".")[0]
        if not hasattr(model, "predict") or not hasattr(model, "n_features_in_"):
            raise VariantError(
                f"a {type(model).__name__} of {self.library} alone is not converted: fit its classifier or regressor with "
                "scikit-learn's methods (LGBMClassifier, XGBRegressor ...)"
            )

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ()  # they name columns Column_0, Column_1 ... where nobody did

    def converted(self, rows: Rows) -> Model:
        try:
            import onnxmltools
            from onnxmltools.convert.common.data_types import FloatTensorType
        except ImportError:
            raise ExtraMissingError(f"converting a model of {self.library}", self.library) from None
        if getattr(self._model, "classes_", np.empty(0)).dtype == np.bool_:
            raise VariantError(
                f"onnxmltools cannot write the classes True and False of {self.library}: fit it on 0 and 1"
            )
        convert = getattr(onnxmltools, f"convert_{self.library}")
        settings = {"zipmap": False} if self._is_classifier() and self.library == "lightgbm" else {}
        try:
            types = [(_INPUT, FloatTensorType([None, rows.shape[1]]))]
            return convert(self._model, "model", initial_types=types, **settings)
        except Exception as error:  # as above
            raise VariantError(_does_not_convert(self._model, error)) from None


class _Torch:
    """A module with one input, whose first axis counts rows."""

    library = "torch"
    feature_names: tuple[str, ...] = ()

    def __init__(self, model: Any) -> None:
        self._model = model.eval()

    def rows_of(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        return _Tabular(None).rows_of(columns)

    def random_rows(self, num: int, shape: tuple[int, ...], rng: np.random.Generator) -> Rows:
        if not shape:
            raise VariantError(
                "a module does not say what it takes: give rows with --data, or the --shape of one"
            )
        return rng.normal(size=(num, *shape)).astype(np.float32)

    def converted(self, rows: Rows) -> Model:
        import torch

        with tempfile.TemporaryDirectory(prefix="trivet-convert-") as folder:
            path = Path(folder, "model.onnx")
            try:
                torch.onnx.export(
                    self._model,
                    (torch.from_numpy(rows[:2]),),
                    str(path),
                    input_names=[_INPUT],
                    output_names=["y"],
                    dynamic_axes={_INPUT: {0: "N"}, "y": {0: "N"}},
                    dynamo=False,
                )
            except Exception as error:  # of its tracer and of each operator's export
                raise VariantError(_does_not_convert(self._model, error)) from None
            return onnx_package().load(str(path))

    def answers(self, rows: Rows) -> dict[str, NDArray[Any]]:
        import torch

        with torch.no_grad():
            answer: NDArray[Any] = self._model(torch.from_numpy(rows)).numpy()
        return {"y": answer}


# A library's own classes before those of scikit-learn, which they derive from.
_KINDS: dict[str, Any] = {"lightgbm": _Boosted, "xgboost": _Boosted, "torch": _Torch, "sklearn": _Tabular}


def _does_not_convert(model: Any, error: Exception) -> str:
    """The part that has no ONNX form, as far as the error tells it, and what to do."""
    lines = str(error).strip().splitlines() or [""]
    parts = [name for name in _CLASS.findall(str(error)) if name.rpartition(".")[2] != type(model).__name__]
    what = f": {parts[0]} has no ONNX form" if parts else ""
    return f"{type(model).__name__} does not convert{what} ({type(error).__name__}: {lines[0][:300]}); {_SERVE_IT}"
