"""From the words of a features stage to the step that looks them up."""

from collections.abc import Callable
from pathlib import Path

from trivet.runtime.feature_file import FeatureFile
from trivet.runtime.features import FeatureJoin
from trivet.spec.features import Features
from trivet.spec.service import Service


def load_features(
    declared: Features, service: Service, root: Path, say: Callable[[str], None]
) -> FeatureJoin:
    """Blocking. Raises: UserError: the table cannot be used, and nothing stands in for it."""
    source = FeatureFile(declared, root / declared.table, say)
    source.load()
    return FeatureJoin(declared, source)
