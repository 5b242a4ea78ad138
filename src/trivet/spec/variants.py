"""`variants:` of a service file: options of the variants that are built of its models. It changes no answer and no lever,
so it is no part of the hash.

    variants:
      exclude: [fp16, openvino-int8]
      int8-static: {calibration_rows: 300}
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from trivet.spec.fields import FieldError

Name = Annotated[str, msgspec.Meta(min_length=1)]
Option = bool | int | float | str | tuple[int | float | str, ...]
Variants = Mapping[str, Mapping[str, Option] | tuple[Name, ...]]

EXCLUDE = "exclude"


def check_variants(declared: Variants) -> None:
    """What options there are, the builders know. Raises: FieldError: a list where options belong, or the other way round."""
    for name, value in declared.items():
        if (name == EXCLUDE) != isinstance(value, tuple):
            wanted = "a list of names" if name == EXCLUDE else "a mapping of its options"
            raise FieldError(("variants", name), f"variants.{name}: expected {wanted}")


def excluded(declared: Variants) -> tuple[str, ...]:
    """Names of variants that are not built."""
    value = declared.get(EXCLUDE, ())
    return value if isinstance(value, tuple) else ()


def options_of(declared: Variants) -> dict[str, Mapping[str, Option]]:
    """By name of the variant; what is not named has its defaults."""
    return {name: value for name, value in declared.items() if not isinstance(value, tuple)}
