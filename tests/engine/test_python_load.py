"""How python engines start: what a target may be, how a signature is declared, what a failure tells."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from python_support import HERE, bytes_array, running, spec, wait_exit

from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.events import Exited
from trivet.engine.python.process import PythonProcess, PythonSpec
from trivet.errors import EngineError
from trivet.spec.signature import Signature, TensorSpec

DECLARED = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),), batch_axis=True
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    return write


def load_error(target: str, root: Path, signature: Signature | None = DECLARED) -> str:
    process = PythonProcess(PythonSpec(target, root, signature))
    process.start()
    (exited,) = wait_exit(process)
    process.close()
    assert isinstance(exited, Exited)
    return exited.reason


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        ("import nowhere", "m.py:f", "could not be loaded: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f(:", "m.py:f", "could not be loaded: SyntaxError: invalid syntax (m.py, line 1)"),
        ("", "m.py:f", "could not be loaded: m.py has no attribute 'f'"),
        ("", "m.py", "could not be loaded: 'm.py' names no attribute; expected module:attribute"),
        ("", "other.py:f", "could not be loaded: no file "),
        (
            "",
            "no_such_module:f",
            "could not be loaded: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "def f(inputs): ...\nf.inputs = f.outputs = [{'name': 'x', 'datatype': 'FLOAT', 'shape': [1]}]",
            "m.py:f",
            "could not be loaded: tensor 'x': unknown datatype 'FLOAT'; known: BOOL,",
        ),
        ("f = 3", "m.py:f", "could not be loaded: 'f' in m.py is a int; expected a function"),
        (
            "class C:\n def load(self): raise OSError('no weights')\n def predict(self, x): ...",
            "m.py:C",
            "no weights",
        ),
        (
            "class C:\n async def load(self): raise OSError('no weights')\n def predict(self, x): ...",
            "m.py:C",
            "could not be loaded: OSError: no weights",
        ),
        (
            "class C:\n def __init__(self, path): ...\n def predict(self, x): ...",
            "m.py:C",
            "TypeError: C.__init__()",
        ),
        ("import os; os.abort()", "m.py:f", "ended while it loaded: it was killed by signal 6 (SIGABRT)"),
        ("import os; os._exit(9)", "m.py:f", "ended while it loaded: it exited with status 9"),
        ("raise SystemExit('gone')", "m.py:f", "ended while it loaded: it exited with status 1"),
    ],
)
def test_a_target_that_does_not_load_tells_why(
    write: Callable[..., Path], text: str, target: str, told: str
) -> None:
    reason = load_error(target, write("m.py", text), None if "FLOAT" in text else DECLARED)
    assert reason.startswith(target)
    assert told in reason


@pytest.mark.parametrize("target", ["undeclared", "declared_badly"])
def test_a_signature_that_is_missing_or_wrong_tells_how_to_declare_it(target: str) -> None:
    reason = load_error(f"python_models.py:{target}", HERE, None)
    assert (
        "declare `inputs` and `outputs` in the service file, or as attributes of the function or class"
        in reason
    )
    assert '[{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]' in reason


def test_a_declared_signature_wins(write: Callable[..., Path]) -> None:
    root = write("m.py", "def f(inputs): return inputs['x']\nf.inputs = f.outputs = 7")
    with closing(PythonEngine(PythonSpec("m.py:f", root, DECLARED))) as engine:
        assert engine.signature == DECLARED


@pytest.mark.parametrize(
    ("text", "batch_axis"),
    [
        (
            "f.inputs = [T('x', 'FP32', (-1, 2))]; f.outputs = [dict(name='y', datatype='FP32', shape=[-1])]",
            True,
        ),
        ("f.inputs = [T('x', 'FP32', (-1, 2))]; f.outputs = [T('y', 'FP32', ())]", False),
        (
            "f.inputs = [T('x', 'FP32', (-1, 2))]; f.outputs = [T('y', 'FP32', (-1,))]; f.batch_axis = False",
            False,
        ),
    ],
)
def test_the_batch_axis_is_axis_0_where_it_is_variable_everywhere(
    write: Callable[..., Path], text: str, batch_axis: bool
) -> None:
    head = "from trivet.spec.signature import TensorSpec as T\ndef f(inputs): return inputs['x'][:, 0]\n"
    with closing(PythonEngine(PythonSpec("m.py:f", write("m.py", head + text)))) as engine:
        assert engine.signature.batch_axis is batch_axis
        assert engine.signature.inputs == (TensorSpec("x", "FP32", (-1, 2)),)


@pytest.mark.parametrize(
    "target", ["sub/tokenize.py:make.method", "package.inner:f", "sub/tokenize.py:instance"]
)
def test_files_find_their_neighbours_and_modules_are_found_beside_the_service_file(
    write: Callable[..., Path], target: str
) -> None:
    """A file may have the name of a standard module: both stay themselves."""
    code = (
        "import linecache, adding\nassert hasattr(linecache.tokenize, 'open')\n"
        "class Model:\n  def method(self, inputs): return adding.add(inputs)\n  __call__ = method\n"
        "make = instance = Model()\n"
    )
    write("sub/tokenize.py", code)
    write("sub/adding.py", "def add(inputs): return inputs['x'] + 1")
    root = write("package/inner.py", "def f(inputs): return inputs['x'] + 1")
    with closing(PythonEngine(PythonSpec(target, root, DECLARED))) as engine:
        assert engine.run({"x": np.zeros((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


def test_libraries_get_as_many_threads_as_the_engine_and_its_own_environment() -> None:
    names = bytes_array(b"OMP_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"MKL_NUM_THREADS", b"MY_SETTING")
    with closing(PythonEngine(spec("environment", threads=2, env={"MY_SETTING": "on"}))) as engine:
        assert engine.run({"x": names})["y"].tolist() == [[b"2", b"2", b"2", b"on"]]


def test_the_process_imports_little() -> None:
    with closing(PythonEngine(spec("modules"))) as engine:
        modules = {name.decode() for name in engine.run({})["y"]}
    assert not modules & {"asyncio", "onnxruntime", "yaml", "uvloop", "trivet.engine.python.process"}


def test_a_target_that_hangs_while_it_loads_is_killed_after_the_time_given(
    write: Callable[..., Path],
) -> None:
    root = write("m.py", "import signal; signal.pause()")
    with pytest.raises(EngineError, match=r"ended while it loaded: it said nothing for 1e-09 s"):
        PythonEngine(PythonSpec("m.py:f", root, DECLARED), load_timeout_ns=1)


def test_an_engine_that_hangs_is_killed_after_the_time_given_and_stays_dead() -> None:
    engine = PythonEngine(spec("misbehave"), timeout_ns=1_000_000)
    with closing(engine):
        for _ in range(2):
            with pytest.raises(EngineError, match=r"it said nothing for 0.001 s"):
                engine.run({"how": bytes_array(b"hang-with-the-lock")})
    with pytest.raises(EngineError):
        engine.run({"how": bytes_array(b"good")})


def test_nothing_is_sent_before_it_is_ready_nor_what_the_signature_does_not_have() -> None:
    process = PythonProcess(spec("identity", signature=DECLARED))
    process.start()
    with pytest.raises(EngineError, match="its process is not ready"):
        process.send(1, {"x": np.zeros((1, 2), np.float32)})
    process.close()
    with running("identity", signature=DECLARED) as ready:
        with pytest.raises(EngineError, match="expected an input 'x' of float32, got one of int64"):
            ready.send(1, {"x": np.zeros((1, 2), np.int64)})
        with pytest.raises(EngineError, match=r"expected an input 'x' of float32, got only \['y'\]"):
            ready.send(1, {"y": np.zeros((1, 2), np.float32)})
        with pytest.raises(EngineError, match=r"expected the inputs \['x'\], got \['x', 'y'\]"):
            ready.send(1, {name: np.zeros((1, 2), np.float32) for name in "xy"})
