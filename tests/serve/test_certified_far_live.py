"""A certified cascade whose last model is another real server: certified against it, served with it, alone without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.serve.faults_support import GRACE_S, Said, ask, metric, rows
from tests.support.cascades import write_cascade
from tests.support.far_cascades import write_far_cascade
from tests.support.redis_server import free_port
from tests.support.server import ServerProcess
from trivet.cli.main import cli
from trivet.errors import UserError
from trivet.experiment.certifying.certifying import certify
from trivet.experiment.placement import place
from trivet.spec.certified import read_certificate
from trivet.spec.service_file import load_configuration

SURE, UNSURE = [9.0, -9.0, 5.0, -5.0], [1.0, 0.9, -5.0, 5.0]  # what the front sees, and what the far one does


class Far:
    """The second server; it keeps its port over its ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.server: ServerProcess | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.server = ServerProcess(["--port", str(self.port), "rest.onnx"], self.folder)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("far")
    write_cascade(folder, num_rows=1)
    found = Far(folder)
    found.start()
    yield found
    found.stop()


def test_it_is_certified_served_cut_off_and_comes_back(far: Far, tmp_path: Path) -> None:
    path = write_far_cascade(tmp_path, far.address)
    done = CliRunner().invoke(cli, ["certify", str(path)])
    assert done.exit_code == 0, done.output
    found = read_certificate(tmp_path / "certified.yaml")
    assert (found.exits, found.points[-1].risk_bound <= 0.05) == (("front",), True)
    assert load_configuration(path).stages_digest(2) == found.stages
    with ServerProcess(["service.yaml", "--rows", "rows", "--rows-share", "1"], tmp_path) as near:
        sure, unsure = ask(near, "two", SURE), ask(near, "two", UNSURE)
        assert (sure.values, who(sure)) == ([9.0, -9.0], ("front", "", ""))
        assert (unsure.values, who(unsure)) == ([-5.0, 5.0], ("rest", "", far.address))
        far.stop()
        alone = [ask(near, "two", UNSURE) for _ in range(8)]
        for said in alone:
            assert said.values == pytest.approx([1.0, 0.9])
            assert who(said) == ("rest", "fallback:front", "")
            assert said.seconds < GRACE_S
        assert metric(near, "trivet_fallbacks_total", 'by="front"') == 8
        assert metric(near, "trivet_upstream_breaker_open") == 1
        assert ask(near, "two", SURE).values == [9.0, -9.0]
        far.start()
        back = ask(near, "two", UNSURE)
        while back.parameters.get("instead"):  # until the breaker's probe
            back = ask(near, "two", UNSURE)
        assert (back.values, who(back)) == ([-5.0, 5.0], ("rest", "", far.address))
    written = rows(tmp_path / "rows", "two")
    assert [row["outcome"] for row in written] == ["ok"] * len(written)
    assert sum(row["instead"] == "fallback:front" for row in written) >= 8
    assert sum(row["upstream"] == far.address for row in written) == 2


def who(said: Said) -> tuple[str, str, str]:
    """The model that should answer, what answers instead, and where."""
    return said.parameters["exit"], said.parameters.get("instead", ""), said.parameters.get("upstream", "")


def test_it_is_not_certified_against_a_server_that_does_not_answer(tmp_path: Path) -> None:
    path = write_far_cascade(tmp_path, f"127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match="model 'rest' has to answer every row"):
        certify(path, place())
    assert not (tmp_path / "certified.yaml").exists()
