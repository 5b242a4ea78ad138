"""One target in its own process, under libFuzzer: python -m fuzz._target TARGET [libFuzzer options, corpus or files]."""

import sys
from importlib import import_module

import atheris


def main() -> None:
    name, *options = sys.argv[1:]
    # Only our own code is measured; of C extensions the fuzzer sees nothing but what they return.
    with atheris.instrument_imports(include=["trivet"]):
        target = import_module(f"fuzz.{name}")

    def one(data: bytes) -> None:  # what a check tells is for tests
        target.check(data)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
