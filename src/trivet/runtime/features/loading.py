"""From the words of a features stage to the step that looks them up."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from trivet.errors import SpecError
from trivet.runtime.features.file import FeatureFile
from trivet.runtime.features.joining import FeatureJoin
from trivet.runtime.features.store import FeatureStore
from trivet.spec.features import Features
from trivet.spec.signature import TensorSpec


def load_features(
    declared: Features, inputs: Sequence[TensorSpec], root: Path, say: Callable[[str], None]
) -> FeatureJoin:
    """Blocking.

    Args: inputs: of the service.
    Raises: UserError: the table cannot be used, and nothing stands in for it; the store's address is nowhere.
    """
    if not declared.prefix:
        source = FeatureFile(declared, root / declared.table, say)
        source.load()
        return FeatureJoin(declared, source)
    names = [spec.name for spec in inputs]
    if declared.key not in names:
        message = (
            f"with Redis the key is an input of the service; {declared.key!r} is none of {', '.join(names)}"
        )
        raise SpecError(message, "features.key")
    url = os.environ.get(declared.url_env, "")
    if "://" not in url:
        raise SpecError(
            f"the environment variable {declared.url_env} holds no address; set it to redis://HOST:PORT/NUMBER",
            "features.url_env",
        )
    store = FeatureStore(declared, url, say)
    place = names.index(declared.key)
    store.ask_for(place, inputs[place].datatype)
    return FeatureJoin(declared, store)
