"""Run the synthetic scenarios end to end with their true masks and list every expected response that differs.

``scenario_suite.py --size standard --out FOLDER`` makes each scenario, assesses it once with the true viable masks
(every row must agree: exit code 1 otherwise) and once with viability derived from the images (differences are
listed, and the error of the viable diameter). ``--networks`` adds a run with the networks. A table and ``suite.json``
are written; a scenario that is finished is not run again.
"""

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Required, TypedDict

from mrresponse import RunFolder, Settings, assess_cohort
from mrresponse.domain import Failure, PatientResult
from mrresponse.ingest import ingest
from mrresponse.store import run_info
from mrresponse.synthetic.scenarios import generate

RESPONSE_SCENARIOS = (
    *(f"R{number}" for number in (1, 2, 3, 4, 5)),
    *(f"R6{letter}" for letter in "abcd"),
    *(f"R{number}" for number in (7, 8, 9, 10)),
    "hcc-course",
)
Row = dict[str, str]


class Outcome(TypedDict, total=False):
    """What one scenario gave: a line per differing row, by the masks that were used."""

    scenario: Required[str]
    expected: Required[int]
    true_masks: Required[list[str]]
    derived_viability: Required[list[str]]
    viable_diameter_errors_mm: Required[list[float]]
    networks: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for images, runs and suite.json")
    parser.add_argument("--size", default="standard", help="tiny, standard, clinical or fine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--networks", action="store_true", help="add a run with the shipped networks")
    parser.add_argument("scenarios", nargs="*", default=RESPONSE_SCENARIOS)
    chosen = parser.parse_args(argv)
    rows = []
    for scenario in chosen.scenarios:
        row = run_scenario(
            scenario, chosen.out / scenario, size=chosen.size, seed=chosen.seed, networks=chosen.networks
        )
        print(describe(row), flush=True)
        rows.append(row)
    (chosen.out / "suite.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    wrong = sum(len(row["true_masks"]) for row in rows)
    print(f"{len(rows)} scenarios, {sum(row['expected'] for row in rows)} expected rows, {wrong} differ")
    return 1 if wrong else 0


def run_scenario(name: str, folder: Path, *, size: str, seed: int, networks: bool) -> Outcome:
    """Make one scenario, assess it in every way, and return the differences."""
    done = folder / "row.json"
    if done.is_file():
        found: Outcome = json.loads(done.read_text(encoding="utf-8"))
        return found
    shutil.rmtree(folder, ignore_errors=True)
    generate(name, size=size, seed=seed, image_format="nifti", out=folder)
    masks = folder / "truth" / "masks"
    without_viable = folder / "masks-without-viable"
    shutil.copytree(masks, without_viable, ignore=shutil.ignore_patterns("viable.nii.gz"))
    expected = read_expected(folder / "truth")
    data = folder / "data"
    derived = assess(data, without_viable, folder / "run-derived-viability")
    row: Outcome = {
        "scenario": name,
        "expected": len(expected),
        "true_masks": list(differences(expected, assess(data, masks, folder / "run-true-masks"))),
        "derived_viability": list(differences(expected, derived)),
        "viable_diameter_errors_mm": list(viable_errors(folder / "truth", derived)),
    }
    if networks:
        found_by_networks = assess(data, None, folder / "run-networks")
        row["networks"] = list(differences(expected, found_by_networks))
    done.write_text(json.dumps(row), encoding="utf-8")
    return row


def assess(data: Path, masks: Path | None, out: Path) -> list[PatientResult]:
    """Assess a data folder as ``mrresponse run`` does, and write its run folder."""
    settings = Settings()
    folder = RunFolder.create(out)
    found = ingest(data, settings.ingest)
    info = run_info(settings, masks)
    names = []
    for outcome in [*found.failures, *assess_cohort(found.patients, settings, masks=masks, folder=folder)]:
        if isinstance(outcome, Failure):
            raise SystemExit(f"error: {outcome.patient_id}: {outcome.message}")
        names.append(outcome.patient.patient_id)
    return list(folder.finish(names, (), info))


def read_expected(truth: Path) -> list[Row]:
    """Read the expected responses of a phantom."""
    with (truth / "assessments.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def differences(expected: Sequence[Row], results: Sequence[PatientResult]) -> Iterator[str]:
    """Yield one line for every expected row that was not found so."""
    found = {
        (row.patient_id, row.treatment_phase, row.criterion, row.study_date.isoformat()): row
        for result in results
        for row in result.response.assessments
    }
    for row in expected:
        key = (row["patient_id"], row["treatment_phase"], row["criterion"], row["study_date"])
        have = found.get(key)
        wanted = (row["is_baseline"], row["liver_response"], row["overall"])
        got = (
            ("", "", "")
            if have is None
            else (str(have.is_baseline).lower(), have.liver_response or "", have.overall or "")
        )
        if got != wanted:
            reason = "no such row" if have is None else have.reason
            yield f"{' '.join(key[1:])}: {'/'.join(got[1:])} instead of {'/'.join(wanted[1:])} ({reason})"


def viable_errors(truth: Path, results: Sequence[PatientResult]) -> Iterator[float]:
    """Yield the error of each derived viable diameter against the true one, both of a study largest first."""
    content = json.loads((truth / "truth.json").read_text(encoding="utf-8"))
    known = {
        (patient["patient_id"], study["study_date"]): sorted(_viable_diameters(study), reverse=True)
        for patient in content["patients"]
        for study in patient["studies"]
    }
    for result in results:
        for date in {row.study_date for row in result.measurements}:
            found = sorted(
                (
                    row.viable_longest_diameter_mm
                    for row in result.measurements
                    if row.study_date == date and row.viable_longest_diameter_mm is not None
                ),
                reverse=True,
            )
            wanted = known[result.patient.patient_id, date.isoformat()]
            if len(found) == len(wanted):
                yield from (round(one - other, 1) for one, other in zip(found, wanted, strict=True))


def _viable_diameters(study: Mapping[str, object]) -> Iterator[float]:
    lesions = study["lesions"]
    assert isinstance(lesions, list)
    for lesion in lesions:
        value = lesion["analytic"]["viable_longest_diameter_mm"]
        yield 0.0 if value is None else float(value)


def describe(row: Outcome) -> str:
    """Return what the terminal shows of one scenario."""
    lines = [f"{row['scenario']}: {row['expected']} expected rows"]
    ways = {"true masks": row["true_masks"], "derived viability": row["derived_viability"]}
    if "networks" in row:
        ways["networks"] = row["networks"]
    for way, found in ways.items():
        lines.append(f"  {way}: {len(found)} differ")
        lines += [f"    {line}" for line in found]
    errors = [abs(value) for value in row["viable_diameter_errors_mm"]]
    if errors:
        lines.append(f"  viable diameter: median error {median(errors):.1f} mm")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
