"""`trivet variants`: builds other forms of a service's models, judges them, and prints what each is worth."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trivet.cli.live_line import LiveLine
    from trivet.experiment.variants.judged_variants import JudgedVariant
    from trivet.spec.configuration import Configuration
    from trivet.variants.store import VariantStore
    from trivet.variants.variant import BuildFailure, Variant


@click.command()
@click.argument("service", metavar="SERVICE.yaml|MODEL.onnx")
@click.option("--only", metavar="A,B", help="Only these.  [default: all that mean something for the model]")
@click.option("--rebuild", is_flag=True, help="Build and judge again what is kept already.")
@click.option("--no-judge", is_flag=True, help="Only build.")
@click.option(
    "--rows", type=click.IntRange(0), default=6000, show_default=True, help="Of data to build with, at most."
)
@click.option(
    "--judged",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="Rows to judge by, at most; others.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--catalog", "catalog_url", metavar="URL", help="Variants are kept beside it.  [default: ./.trivet]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def variants(context: click.Context, /, service: str, **options: Any) -> None:
    """Build other forms of a model (rewritten, int8, smaller ...) and say which of them pay on this machine.

    Accuracy is measured through a server of each, on rows of `data:` that no variant was fitted or certified by; times are
    of the engines alone, in turn with the original's. What is kept is not built again. Ctrl-C keeps what is done.
    """
    try:
        click.echo(_variants(service, options))
    except KeyboardInterrupt:
        click.echo("trivet: stopped; what was built is kept", err=True)
        context.exit(130)


def _variants(service: str, options: Mapping[str, Any]) -> str:
    from trivet.cli.live_line import LiveLine
    from trivet.errors import UserError
    from trivet.experiment.target import subject_of
    from trivet.experiment.variants.variant_store import default_store

    configuration = subject_of(service).configuration
    if configuration is None:
        raise UserError(
            f"{service} is a server that runs: name the service file or the model, its forms are built here"
        )
    store = default_store(options["catalog_url"])
    with LiveLine(sys.stderr) as line:
        built, judged = _built_and_judged(configuration, store, options, line)
    return (
        _json(configuration, store, built, judged) if options["as_json"] else "\n".join(_text(built, judged))
    )


def _built_and_judged(
    configuration: "Configuration", store: "VariantStore", options: Mapping[str, Any], line: "LiveLine"
) -> tuple[list["Variant | BuildFailure"], list["JudgedVariant"]]:
    from trivet.experiment.model_rows import sources_of
    from trivet.experiment.placement import place
    from trivet.experiment.variants.judged_variants import judge_variants, kept_judgements
    from trivet.spec.fields import FieldError
    from trivet.spec.service_file import located
    from trivet.spec.variants import excluded
    from trivet.variants.build import build_variants

    sources = sources_of(configuration, max_rows=options["rows"], seed=options["seed"], say=line.say)
    only = [name.strip() for name in options["only"].split(",")] if options["only"] else None
    try:
        built = build_variants(
            sources,
            only,
            store,
            exclude=excluded(configuration.service.variants),
            rebuild=options["rebuild"],
            on_progress=lambda model, name, done, total: line.step(
                f"{name} of {model} ({done + 1} of {total})" if done < total else "built"
            ),
            say=line.step,
        )
    except FieldError as error:
        raise located(configuration, error) from None
    if options["no_judge"]:
        return built, []
    kept = kept_judgements(configuration, store)
    if not options["rebuild"] and _is_of(kept, built):
        return built, kept
    judged = judge_variants(
        configuration,
        built,
        store,
        placement=place(),
        sources=sources,
        on_progress=lambda what, done, total: line.step(
            f"{what} ({done + 1} of {total})" if done < total else what
        ),
        max_judged=options["judged"],
        seed=options["seed"],
    )
    return built, judged


def _is_of(kept: Sequence["JudgedVariant"], built: Sequence["Variant | BuildFailure"]) -> bool:
    """Whether these very variants were judged."""
    from trivet.variants.variant import ORIGINAL, Variant

    judged = {
        (one.variant.model, one.variant.name, one.variant.digest)
        for one in kept
        if one.variant.name != ORIGINAL
    }
    return bool(kept) and judged == {
        (one.model, one.name, one.digest) for one in built if isinstance(one, Variant)
    }


def _json(
    configuration: "Configuration",
    store: "VariantStore",
    built: Sequence["Variant | BuildFailure"],
    judged: Sequence["JudgedVariant"],
) -> str:
    import msgspec

    from trivet.variants.variant import BuildFailure

    tree = {
        "service": configuration.service.name,
        "configuration": configuration.hash,
        "store": str(store.folder),
        "judged": judged,
        "built": [one for one in built if not isinstance(one, BuildFailure)],
        "not_built": [one for one in built if isinstance(one, BuildFailure)],
    }
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode()


def _text(built: Sequence["Variant | BuildFailure"], judged: Sequence["JudgedVariant"]) -> list[str]:
    from trivet.report.variants_text import built_text, failures_text, judged_text

    return [*(judged_text(judged) if judged else built_text(built)), *failures_text(built)]
