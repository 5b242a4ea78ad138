"""The variants of a tune: built and judged, or those that are judged already."""

from trivet.cli.live_line import LiveLine
from trivet.experiment.model_rows import sources_of
from trivet.experiment.placement import Placement
from trivet.experiment.variants.judged_variants import JudgedVariant, judge_variants, kept_judgements
from trivet.spec.configuration import Configuration
from trivet.spec.variants import excluded, options_of
from trivet.variants.build import build_variants
from trivet.variants.builders import BUILDERS
from trivet.variants.store import VariantStore

# They train for minutes: built where service.yaml names them, or with --variants all.
TRAINED = frozenset({"pruned", "early-exit"})
NEED_ROWS = frozenset({"distilled"})


def judged_variants(
    configuration: Configuration, which: str | None, store: VariantStore, placement: Placement, line: LiveLine
) -> list[JudgedVariant]:
    """Args: which: built, all, none; None: those that take little time, and those that service.yaml names.

    Raises: UserError: the model cannot be served or judged.
    """
    service = configuration.service
    if which == "none" or not any(model.file for model in service.models.values()):
        return []
    kept = kept_judgements(configuration, store)
    if which == "built":
        if not kept:
            line.say(
                "no variants are judged yet (trivet variants builds and judges them): only the original is tuned"
            )
        return kept
    sources = sources_of(configuration, say=line.say)
    wanted = wanted_variants(configuration, which, has_rows=any(source.rows for source in sources))
    built = build_variants(
        sources,
        wanted,
        store,
        exclude=excluded(service.variants),
        on_progress=lambda model, name, done, total: line.step(
            f"variants {done} of {total}: {name} of {model}"
        ),
        say=line.step,
    )
    if kept and {one.variant.digest for one in kept} >= {
        one.digest for one in built if hasattr(one, "digest")
    }:
        return kept
    return judge_variants(
        configuration,
        built,
        store,
        placement=placement,
        sources=sources,
        on_progress=lambda what, done, total: line.step(f"variants {done} of {total}: {what}"),
    )


def wanted_variants(configuration: Configuration, which: str | None, *, has_rows: bool) -> list[str]:
    """Names, in the order of the builders."""
    named = set(options_of(configuration.service.variants))
    if which == "all":
        return list(BUILDERS)
    return [
        name
        for name in BUILDERS
        if name in named or (name not in TRAINED and (has_rows or name not in NEED_ROWS))
    ]
