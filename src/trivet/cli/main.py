"""`trivet`: each command is a thin call of the package that does the work, imported when it is called."""

import sys
from typing import Any

import click

from trivet import __version__
from trivet.errors import UserError


class _Group(click.Group):
    """Prints what the user did wrong in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trivet")
def cli() -> None:
    """Serve models with the best balance of latency, throughput and accuracy."""


@cli.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE.yaml|MODEL.onnx|REPOSITORY/...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port."
)
@click.option("--uds", metavar="PATH", help="Also listen on a Unix socket.")
@click.option(
    "--control-port",
    default=8002,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Metrics, health, status and changes.",
)
@click.option(
    "--workers", default="auto", show_default=True, metavar="N|auto", help="Processes that own requests."
)
def serve(
    services: tuple[str, ...], host: str, port: int, uds: str | None, control_port: int, workers: str
) -> None:
    """Serve services until SIGTERM or Ctrl-C.

    A service is a service.yaml, a bare .onnx file, or a repository folder of models.
    """
    from trivet.serve.run import Addresses
    from trivet.serve.run import serve as run
    from trivet.spec.deployment import Deployment, validate_deployment

    deployment = Deployment(
        services=services, host=host, port=port, uds=uds, control_port=control_port, workers=_workers(workers)
    )
    validate_deployment(deployment)

    def on_ready(addresses: Addresses) -> None:
        click.echo(f"trivet: serving on {addresses.data}, control on {addresses.control}", err=True)

    run(deployment, on_ready)


def _workers(text: str) -> Any:
    if text == "auto":
        return "auto"
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise click.BadParameter(f"{text!r} is neither a count nor 'auto'", param_hint="--workers")


def main() -> None:
    sys.exit(cli())


if __name__ == "__main__":
    main()
