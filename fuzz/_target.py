"""One target in its own process, under libFuzzer: python -m fuzz._target TARGET [libFuzzer options, corpus or files]."""

import sys
from importlib import import_module

import atheris


def main() -> None:
    name, *options = sys.argv[1:]
    # Only our own code is measured; of C extensions the fuzzer sees nothing but what they return.
    with atheris.instrument_imports(include=["trivet"]):
        target = import_module(f"fuzz.{name}")
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
