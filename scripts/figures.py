"""Measured figures with their bars: what every study of `scripts` prints and writes.

Rows have the shape of ``benchmark.py``: name, value, unit, bar, holds; a figure without a bar is only reported.
"""

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value; ``bar`` says what it must reach, in words."""

    name: str
    value: float
    unit: str
    bar: str = ""
    holds: bool = True


def reported(name: str, value: float, unit: str) -> Figure:
    """Return a figure that has no bar."""
    return Figure(name=name, value=round(float(value), 4), unit=unit)


def at_most(name: str, value: float, unit: str, bar: float) -> Figure:
    """Return a figure that must not exceed a bar."""
    value = round(float(value), 4)
    return Figure(name=name, value=value, unit=unit, bar=f"<= {bar:g}", holds=value <= bar)


def at_least(name: str, value: float, unit: str, bar: float) -> Figure:
    """Return a figure that must reach a bar."""
    value = round(float(value), 4)
    return Figure(name=name, value=value, unit=unit, bar=f">= {bar:g}", holds=value >= bar)


def peak_memory_bytes() -> int:
    """Return the most memory that this program had in use so far.

    Linux counts what ``ru_maxrss`` says from the process that started this one, before it became this program: a large
    parent would be reported instead of it. ``VmHWM`` is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    # in bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def publish(figures: Sequence[Figure], file: Path | None, *, last: str) -> int:
    """Print the figures, write them where asked, and return 1 where a bar is missed, else 0."""
    width = max(len(figure.name) for figure in figures) + 2
    for figure in figures:
        verdict = "" if not figure.bar else "  holds" if figure.holds else "  MISSED"
        print(f"{figure.name:<{width}}{figure.value:10.3f} {figure.unit:<6} {figure.bar:<10}{verdict}")
    if file is not None:
        rows = [asdict(figure) for figure in figures]
        file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(last)
    return 0 if all(figure.holds for figure in figures) else 1
