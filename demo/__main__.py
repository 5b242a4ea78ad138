"""The main job on real input: find, prove and serve the best balance for a real model and real files of this machine.

Each step is a command of trivet that the reader could type; the demo only makes the service's folder and asks at the end.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from demo.asking import ask_about, beside_the_forecast, last_study
from demo.commands import StoppedError, serving, trivet
from demo.file_types import FileTypes
from demo.labelled_files import labelled_files, roots_of_this_machine
from demo.scanning import scan, with_shortcuts
from demo.service import write_service

OUT = Path("out/demo")
WANTED = 2000
_OWN = """
Your own model, the same way:
    trivet init model.onnx --data rows.csv       # writes service.yaml: set slo and accuracy in it
    trivet tune service.yaml --budget 5min
    trivet report last --html report.html
    trivet certify configuration.yaml --before distilled --max-loss 1%
    trivet serve configuration.yaml              # or cascade.yaml, where that saves time
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--budget", default="2min", help="of the tuning [2min]")
    parser.add_argument("--files", type=int, default=200, help="of an extension, at most [200]")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where everything is written [{OUT}]")
    options = parser.parse_args(arguments)
    begun_s = time.monotonic()
    try:
        _steps(options.out, options.budget, options.files)
    except KeyboardInterrupt:
        print("\nstopped; what was made so far is kept", file=sys.stderr)
        return 130
    except StoppedError as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        return 1
    print(f"done in {(time.monotonic() - begun_s) / 60:.1f} min; everything is in {options.out}/")
    return 0


def _steps(folder: Path, budget: str, max_of_extension: int) -> None:
    _head("A real model and real labelled files of this machine")
    model = FileTypes()
    print(
        f"model: {model.path.name} of the magika package; looking for files with an unambiguous extension ...",
        flush=True,
    )
    found = labelled_files(roots_of_this_machine(), model.features, max_of_extension)
    print(found.in_words())
    if len(found.files) < WANTED:
        print(
            f"fewer than {WANTED:,}: enough to go on with, and the intervals will be as wide as that makes them"
        )
    print(write_service(folder, model, found).in_words())
    print(f"written: {folder}/service.yaml")

    _head("Other forms of the model, judged on files that none of them has seen")
    trivet(folder, "variants", "service.yaml")

    _head("Every lever: profiled, simulated, the best verified live")
    trivet(folder, "tune", "service.yaml", "--variants", "built", "--budget", budget, codes=(0, 2))
    trivet(folder, "report", last_study(folder).id, "--html", "report.html")

    _head("The recommended configuration, served")
    name = "configuration.yaml" if (folder / "configuration.yaml").is_file() else "service.yaml"
    scanned = found.scanned()
    with serving(folder, name) as server:
        ask_about(server.address, model, found)
        plain = scan(server, scanned)
    beside_the_forecast(folder, name)

    _head("Shortcuts: the student where a certificate says that it may, and nothing twice")
    with_shortcuts(folder, name, scanned, plain)
    print(f"\nthe balance curve, and how it was found: {folder}/report.html")
    print(_OWN)


def _head(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
