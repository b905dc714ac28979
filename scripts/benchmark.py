"""Measure a figure that has a bar.

``benchmark.py NAME --json FILE`` prints a table and writes the same as JSON: name, value, unit, bar, and
whether the bar holds. Exit code 0 where every bar holds, 1 where one does not.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

REPEATS = 7
TIMED_IMPORT = (
    "import time; start = time.perf_counter(); import mrresponse; print(time.perf_counter() - start)"
)
COMMAND = "from mrresponse.cli import entry; entry()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value and the bar that it must not exceed."""

    name: str
    value: float
    unit: str
    bar: float
    holds: bool


def startup() -> tuple[Figure, ...]:
    """Measure the wait before anything happens: medians of fresh processes, files already cached."""
    _python(TIMED_IMPORT)
    import_seconds = median(float(_python(TIMED_IMPORT)) for _ in range(REPEATS))
    help_seconds = median(_seconds("--help") for _ in range(REPEATS))
    respond_seconds = median(_seconds("respond", "--help") for _ in range(REPEATS))
    return (
        _at_most("import mrresponse", import_seconds, 0.3),
        _at_most("mrresponse --help", help_seconds, 0.5),
        _at_most("mrresponse respond --help", respond_seconds, 1.0),
    )


BENCHMARKS: dict[str, Callable[[], tuple[Figure, ...]]] = {"startup": startup}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark, print it, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="file to write")
    chosen = parser.parse_args(argv)
    figures = BENCHMARKS[chosen.name]()
    for figure in figures:
        value = f"{figure.value:8.3f} {figure.unit:<4}"
        verdict = "holds" if figure.holds else "MISSED"
        print(f"{figure.name:<28}{value} bar {figure.bar:g} {figure.unit:<4} {verdict}")
    if chosen.json:
        rows = [asdict(figure) for figure in figures]
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"{figures[0].name} takes {figures[0].value:.3f} {figures[0].unit}.")
    return 0 if all(figure.holds for figure in figures) else 1


def _at_most(name: str, value: float, bar: float) -> Figure:
    return Figure(name=name, value=round(value, 4), unit="s", bar=bar, holds=value <= bar)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def _seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
