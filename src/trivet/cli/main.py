"""`trivet`: each command is a thin call of the package that does the work, imported when it is called."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from trivet import __version__, host
from trivet.cli.audit import audit
from trivet.cli.bench import bench, compare
from trivet.cli.certify import certify
from trivet.cli.convert import convert
from trivet.cli.doctor import doctor
from trivet.cli.export import export
from trivet.cli.gate import gate
from trivet.cli.losses import losses
from trivet.cli.plan import plan
from trivet.cli.precompute import precompute
from trivet.cli.replay import replay
from trivet.cli.report import report
from trivet.cli.runs import runs, show
from trivet.cli.simulate import simulate
from trivet.cli.tune import tune
from trivet.cli.variants import variants
from trivet.errors import UserError

_Path = click.Path(path_type=Path)


class _Group(click.Group):
    """Prints what the user did wrong in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trivet")
@click.option(
    "--awake",
    envvar="TRIVET_AWAKE",
    is_flag=True,
    help="Meanwhile the machine's idle cores poll instead of sleeping: shorter tails, more power.",
)
@click.pass_context
def cli(context: click.Context, awake: bool) -> None:
    """Serve models with the best balance of latency, throughput and accuracy."""
    if awake:
        context.with_resource(_held_awake())


@contextlib.contextmanager
def _held_awake() -> Iterator[None]:
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(host.awake(host.WAKE_LATENCY))
        except OSError as error:
            raise UserError(
                f"--awake: {error.strerror}: {host.WAKE_LATENCY}; run as a user who may write there, or leave "
                "--awake (or TRIVET_AWAKE) away: cores that sleep are slower to begin"
            ) from None
        yield


@cli.command()
@click.argument("services", nargs=-1, metavar="SERVICE.yaml|MODEL.onnx|REPOSITORY/...")
@click.option("--config", type=_Path, help="A deployment file; options given here win over it.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free port.  [default: 8000]")
@click.option("--uds", metavar="PATH", help="Also listen on a Unix socket.")
@click.option(
    "--control-port", type=click.IntRange(0, 65535), help="Metrics, health, status, changes.  [default: 8002]"
)
@click.option("--workers", metavar="N|auto", help="Processes that own requests.  [default: auto]")
@click.option(
    "--rows", "rows_dir", metavar="DIR", help="Keep sampled requests there as rows in Parquet files."
)
@click.option("--rows-share", type=click.FloatRange(0, 1), help="The share that is sampled.  [default: 0.01]")
@click.option(
    "--otel", "otel_endpoint", metavar="URL", help="Send sampled requests there as OpenTelemetry traces."
)
@click.option(
    "--enable-load-unload", is_flag=True, help="Clients may load and unload models of repositories."
)
@click.option(
    "--cache-url", metavar="URL", help="A Redis or Valkey in which servers share answers of exact caches."
)
def serve(services: tuple[str, ...], config: Path | None, **options: Any) -> None:
    """Serve services until SIGTERM or Ctrl-C.

    A service is a service.yaml, a bare .onnx file, or a repository folder of models.
    """
    from trivet.cli.deployment import deployment
    from trivet.serve.run import Addresses
    from trivet.serve.run import serve as run

    def on_ready(addresses: Addresses) -> None:
        click.echo(f"trivet: serving on {addresses.data}, control on {addresses.control}", err=True)

    run(deployment(services, config, options), on_ready)


@cli.command()
@click.argument("service", type=_Path)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(service: Path, as_json: bool) -> None:
    """Check a service.yaml or a model file; print its configuration, hash and, once profiled, its resolution."""
    from trivet.cli.validate import as_json_text, as_text
    from trivet.spec.service_file import load_configuration

    configuration = load_configuration(service)
    click.echo(as_json_text(configuration) if as_json else as_text(configuration))


@cli.command()
@click.argument("model", type=_Path)
@click.option("--data", type=_Path, help="A labelled sample: guesses are made from its columns.")
@click.option("--output", default="service.yaml", show_default=True, type=_Path)
@click.option("--force", is_flag=True, help="Replace the output file.")
def init(model: Path, data: Path | None, output: Path, force: bool) -> None:
    """Write a commented service.yaml for a model, with guesses to correct."""
    from trivet.cli.init import write_service

    for line in write_service(model, data, output, force=force):
        click.echo(f"note: {line}", err=True)
    click.echo(f"wrote {output}; next:  trivet validate {output}   trivet serve {output}")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script:  eval "$(trivet completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # the choices above are click's own
    click.echo(found(cli, {}, "trivet", "_TRIVET_COMPLETE").source())


cli.add_command(bench)
cli.add_command(compare)
cli.add_command(export)
cli.add_command(replay)
cli.add_command(plan)
cli.add_command(report)
cli.add_command(simulate)
cli.add_command(gate)
cli.add_command(runs)
cli.add_command(show)
cli.add_command(audit)
cli.add_command(doctor)
cli.add_command(tune)
cli.add_command(losses)
cli.add_command(variants)
cli.add_command(convert)
cli.add_command(precompute)
cli.add_command(certify)


def main() -> None:
    sys.exit(cli())


if __name__ == "__main__":
    main()
