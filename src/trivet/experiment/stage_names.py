"""What the keys of a profile stand for, as people call it: models of the service, and variants that were judged."""

from trivet.errors import UserError
from trivet.experiment.simulating.simulated import stage_key
from trivet.experiment.variants.judged_variants import kept_judgements
from trivet.spec.configuration import Configuration
from trivet.variants.apply import with_variant
from trivet.variants.store import VariantStore


def stage_names(configuration: Configuration, store: VariantStore) -> dict[str, str]:
    """By the first part of the key. A variant that is no longer in the store keeps its digest."""
    names: dict[str, str] = {}
    for judged in kept_judgements(configuration, store):
        try:
            changed = with_variant(configuration, judged.variant, store)
        except (UserError, OSError):
            continue
        for digest, model in _digests(changed).items():
            own = model in configuration.service.models
            names[digest] = judged.variant.name if own else f"{judged.variant.name} {model}"
    return names | _digests(configuration)


def _digests(configuration: Configuration) -> dict[str, str]:
    """The first part of each model stage's key, and the model."""
    pipeline = configuration.service.pipeline
    return {
        stage_key(configuration, index).split("/", 1)[0]: stage.model
        for index, stage in enumerate(pipeline)
        if stage.model is not None
    }
