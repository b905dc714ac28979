"""Show the responses of a run beside the expected ones of a synthetic patient.

``compare_responses.py RUN TRUTH`` reads ``RUN/assessments.csv`` and ``TRUTH/assessments.csv``, prints one
table per patient and criterion, and marks every row that differs. Exit code 0; with ``--exact`` 1 where a
row differs; 2 where a file is missing or has not the columns expected.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

KEYS = ("patient_id", "criterion", "treatment_phase", "study_date")
ANSWERS = ("is_baseline", "liver_response", "overall")
NUMBERS = ("current_burden", "change_from_baseline", "change_from_nadir")
HEADER = (
    "study",
    "treatment phase",
    "burden",
    "to baseline",
    "to nadir",
    "liver",
    "overall",
    "expected liver",
    "expected overall",
    "",
)

Row = dict[str, str]
Key = tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("truth", type=Path, help="truth folder of mrresponse phantom")
    parser.add_argument("--exact", action="store_true", help="exit with 1 where a row differs")
    chosen = parser.parse_args(argv)
    try:
        expected = read_rows(chosen.truth / "assessments.csv", (*KEYS, *ANSWERS))
        found = read_rows(chosen.run / "assessments.csv", (*KEYS, *ANSWERS, *NUMBERS))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differing = print_comparison(expected, found)
    print(f"{len(expected) - differing} of {len(expected)} expected rows are found, {differing} differ")
    return 1 if chosen.exact and differing else 0


def read_rows(path: Path, columns: Sequence[str]) -> dict[Key, Row]:
    """Read a table of assessments by patient, criterion, treatment phase and study."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        return {tuple(row[key] for key in KEYS): row for row in reader}


def print_comparison(expected: dict[Key, Row], found: dict[Key, Row]) -> int:
    """Print a table per patient and criterion; return how many expected rows differ or are missing."""
    differing = 0
    ordered = sorted(expected, key=lambda key: (key[0], key[1], key[2] == "course", key[3], key[2]))
    for (patient, criterion), keys in groupby(ordered, key=lambda key: key[:2]):
        lines = [_line(key, expected[key], found.get(key)) for key in keys]
        differing += sum(line[-1] != "" for line in lines)
        print(f"\n{patient}, {criterion}")
        _print_table(lines)
    return differing


def _line(key: Key, expected: Row, found: Row | None) -> tuple[str, ...]:
    _, _, treatment_phase, study_date = key
    if found is None:
        return (study_date, treatment_phase, *[""] * 5, *_responses(expected), "MISSING")
    same = all(expected[name].casefold() == found[name].casefold() for name in ANSWERS)
    return (
        study_date,
        treatment_phase,
        found["current_burden"],
        _percent(found["change_from_baseline"]),
        _percent(found["change_from_nadir"]),
        *_responses(found),
        *_responses(expected),
        "" if same else "DIFFERS",
    )


def _responses(row: Row) -> tuple[str, str]:
    if row["is_baseline"].casefold() == "true":
        return "baseline", ""
    return row["liver_response"], row["overall"]


def _percent(fraction: str) -> str:
    return f"{100 * float(fraction):+.0f} %" if fraction else ""


def _print_table(lines: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in (HEADER, *lines)) for column in range(len(HEADER))]
    for line in (HEADER, *lines):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
