"""A configuration with one of its models replaced by a variant."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from trivet.engine.onnx import OnnxEngine
from trivet.spec.configuration import Configuration, configuration
from trivet.spec.convert import convert
from trivet.spec.service import Model, Service, Stage
from trivet.spec.validation import validate
from trivet.variants.errors import VariantError
from trivet.variants.store import VariantStore
from trivet.variants.variant import ORIGINAL, Variant

MODELS = "models"  # of a variant's settings: what is declared of a file of its own, where it is not as the original


def with_variant(before: Configuration, variant: Variant, store: VariantStore) -> Configuration:
    """The same service with the model's file, or its stage, replaced; the original changes nothing.

    Raises: VariantError: the service has no such model.  FieldError: what comes out is no valid service.
    """
    if variant.name == ORIGINAL:
        return before
    service = before.service
    if variant.model not in service.models:
        raise VariantError(
            f"variant {variant.name} is of model {variant.model!r}; the service has {[*service.models]}"
        )
    changed = (
        _with_file(service, variant, store)
        if variant.stages is None
        else _with_stages(service, variant, store)
    )
    validate(changed)
    return configuration(changed, Path(before.root), before.source)


def _with_file(service: Service, variant: Variant, store: VariantStore) -> Service:
    model = _model(service.models[variant.model], variant, store, variant.files[0])
    return msgspec.structs.replace(service, models={**service.models, variant.model: model})


def _with_stages(service: Service, variant: Variant, store: VariantStore) -> Service:
    original = service.models[variant.model]
    named = {
        file: f"{variant.model}.{Path(file).stem}"
        for file in variant.files
        if file.endswith((".onnx", ".xml"))
    }
    models = {name: model for name, model in service.models.items() if name != variant.model}
    for file, name in named.items():
        models[name] = _model_of_stage(_model(original, variant, store, file), variant, store, file)
    stages: list[Stage] = []
    for stage in service.pipeline:
        stages += _stages(variant, named, stage) if stage.model == variant.model else [stage]
    return msgspec.structs.replace(service, models=models, pipeline=tuple(stages))


def _stages(variant: Variant, named: Mapping[str, str], replaced: Stage) -> list[Stage]:
    """The stages in place of one; the first takes what that one took, unless it says otherwise."""
    trees = [
        dict(tree) | ({"model": named[tree["model"]]} if "model" in tree else {})
        for tree in variant.stages or ()
    ]
    stages = [convert(tree, Stage) for tree in trees]
    if stages[0].inputs is None:
        stages[0] = msgspec.structs.replace(stages[0], inputs=replaced.inputs)
    return stages


def _model(original: Model, variant: Variant, store: VariantStore, file: str) -> Model:
    return msgspec.structs.replace(original, file=str(store.path(variant, file)), engine=variant.engine)


def _model_of_stage(model: Model, variant: Variant, store: VariantStore, file: str) -> Model:
    """Part of a model: what is declared about tensors that it does not have is left out."""
    own: Mapping[str, Any] = variant.settings.get(MODELS, {}).get(file, {})
    engine = OnnxEngine(store.path(variant, file))
    inputs = {spec.name for spec in engine.signature.inputs}
    outputs = {spec.name for spec in engine.signature.outputs}
    engine.close()
    declared = convert({"file": model.file, **own}, Model)
    ragged = {name: one for name, one in model.ragged.items() if name in inputs}
    cut = {name: one for name, one in model.cut.items() if name in outputs and one.like in inputs}
    return msgspec.structs.replace(model, ragged={**ragged, **declared.ragged}, cut={**cut, **declared.cut})
