"""trivet as a server under measurement: started on cores, with its control API at hand."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks._processes import Server, ask, free_port, wait_for_answer
from benchmarks._records import OUT
from trivet.load.http import request_bytes
from trivet.load.job import HttpRequest


class Trivet(Server):
    """Made by `serve`. `control` is the address of the control API, `folder` holds the log and the token."""

    control = ""
    folder = Path()

    @classmethod
    def serve(
        cls,
        name: str,
        services: Sequence[Path],
        *,
        cores: Sequence[int],
        first: HttpRequest,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """`trivet serve` of `services`, ready when it has answered `first` with 200; one worker unless `options`
        say otherwise. Profiles are kept between starts, apart from the user's own.

        Raises: StartError: not ready in time.
        """
        folder = OUT / "sides" / name
        folder.mkdir(parents=True, exist_ok=True)
        port, control = free_port(), f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "trivet.cli.main", "serve", *map(str, services)]
        command += ["--port", str(port), "--control-port", control.rpartition(":")[2]]
        command += [] if "--workers" in options else ["--workers", "1"]
        env = {"TRIVET_STATE": str(folder), "TRIVET_CACHE": str(OUT / "cache"), **(environment or {})}
        server = cls.start(
            [*command, *options],
            f"127.0.0.1:{port}",
            log=folder / "log",
            cores=cores,
            ready_path="/v2/health/ready",
            env=env,
        )
        server.control, server.folder = control, folder
        try:
            wait_for_answer(server, whole(first, server.target))
        except BaseException:
            server.stop()
            raise
        return server

    def set_live(self, service: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Replace the live configurations of a service, each `{"path": ..., "share": ...}`.

        Raises: RuntimeError: the control API says no.
        """
        # The workers answer before the control API does; once that has answered, its token is there.
        ask(self.control, request_bytes("GET", "/ready", self.control, {"Connection": "close"}))
        token = (self.folder / "control-token").read_text().strip()
        body = json.dumps({"entries": list(entries)}).encode()
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        path = f"/services/{service}/versions/1/live"
        status, answer = ask(
            self.control, request_bytes("PUT", path, self.control, headers, body), timeout_s=60
        )
        if status != 200:
            raise RuntimeError(f"PUT {path}: {status} {answer.decode(errors='replace')}")


def whole(request: HttpRequest, target: str) -> bytes:
    """The bytes of a request."""
    return request_bytes(request.method, request.path, target, request.headers, request.body)
