"""Run the synthetic scenarios end to end and compare every expected response, target and mark of quality.

``scenario_suite.py --size standard --out FOLDER`` makes each scenario once and assesses it with the true masks (every
expectation must hold: exit code 1 otherwise) and with viability derived from the images; ``--networks`` adds a run with
the shipped networks, of which everything that differs is listed. What is finished is kept in FOLDER: a second call
goes on, and ``--again`` assesses again what was generated. A table is written to ``suite.md``, all to ``suite.json``.
"""

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, Required, TypedDict

from mrresponse import Settings, assess_patient, make_segmenter
from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    LabelMap,
    LesionRole,
    MeasurementState,
    PatientResult,
    Study,
)
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.ingest import ingest
from mrresponse.segment.models import check_models
from mrresponse.synthetic.catalogue import find_scenario
from mrresponse.synthetic.scenarios import generate

SCENARIOS = (
    *(f"R{number}" for number in (1, 2, 3, 4, 5)),
    *(f"R6{letter}" for letter in "abcd"),
    *(f"R{number}" for number in (7, 8, 9, 10)),
    *(f"N{number}" for number in range(1, 5)),
    "H1",
    *(f"Q{number}" for number in range(1, 7)),
    *(f"M{number}" for number in range(1, 5)),
)
# What says that the images of a Q scenario are in doubt, where the result is not right.
STATED_FLAGS = {
    "Q1": {"registration_rejected"},
    "Q2": {"inhomogeneous", "registration_rejected"},
    "Q3": {"low_snr"},
    "Q4": {"fat_not_suppressed"},
    "Q5": {"liver_at_edge"},
    "Q6": {"gain"},
}
Row = dict[str, str]


class Outcome(TypedDict, total=False):
    """What one scenario gave: a line per expectation that does not hold, by the masks that were used."""

    scenario: Required[str]
    summary: Required[str]
    expected: Required[int]
    true_masks: list[str]
    derived_viability: list[str]
    viable_diameter_errors_mm: list[float]
    networks: list[str]
    flags: list[str]


@dataclass(slots=True)
class Examined:
    """Keeps examined studies in memory, so that viability is derived without aligning the images again."""

    studies: dict[date, ExaminedStudy] = field(default_factory=dict)
    without_viable: bool = False

    def recall_study(self, study: Study) -> ExaminedStudy | None:
        """Return a study that was examined before, on request without its given viable mask."""
        kept = self.studies.get(study.study_date)
        if kept is None or not self.without_viable:
            return kept
        return replace(kept, lesion_map=replace(kept.lesion_map, viable=None))

    def keep_study(self, examined: ExaminedStudy) -> None:
        """Keep a study."""
        self.studies[examined.study_date] = examined

    def keep_masks(self, examined: ExaminedStudy, viable: LabelMap | None) -> None:
        """Keep no mask."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for images, truth and results")
    parser.add_argument("--size", default="standard", help="tiny, standard, clinical or fine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--networks", action="store_true", help="add a run with the shipped networks")
    parser.add_argument("--again", action="store_true", help="assess again what was generated before")
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    chosen = parser.parse_args(argv)
    if chosen.networks and not networks_are_usable():
        return 2
    rows = []
    for scenario in chosen.scenarios:
        folder = chosen.out / scenario
        if chosen.again:
            (folder / "row.json").unlink(missing_ok=True)
        rows.append(run_scenario(scenario, folder, chosen.size, chosen.seed, networks=chosen.networks))
        print(describe(rows[-1]), flush=True)
    (chosen.out / "suite.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    (chosen.out / "suite.md").write_text(markdown(rows), encoding="utf-8")
    wrong = sum(len(row["true_masks"]) for row in rows)
    expected = sum(row["expected"] for row in rows)
    errors = [abs(value) for row in rows for value in row["viable_diameter_errors_mm"]]
    print(
        f"{len(rows)} scenarios, {expected} expectations: {wrong} differ with true masks, "
        f"{sum(len(row['derived_viability']) for row in rows)} with derived viability, whose diameters are off by "
        f"{median(errors) if errors else 0:.1f} mm (median of {len(errors)})."
    )
    return 1 if wrong else 0


def networks_are_usable() -> bool:
    """Say what is wrong with the shipped networks, before the first hour of work."""
    try:
        check_models(Settings().segment)
    except (ConfigError, ModelError) as error:
        sys.stderr.write(f"error: {error}\n")
        return False
    return True


def run_scenario(name: str, folder: Path, size: str, seed: int, *, networks: bool) -> Outcome:
    """Make one scenario where it is not there, assess it in every way that is missing, and return what differs."""
    file = folder / "row.json"
    row: Outcome = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}  # type: ignore[typeddict-item]
    if not (folder / "truth" / "truth.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        generate(name, size=size, seed=seed, image_format="nifti", out=folder)
    truth = read_truth(folder / "truth")
    if "true_masks" not in row:
        kept = Examined()
        masks = folder / "truth" / "masks"
        given = assess(folder / "data", masks, kept)
        kept.without_viable = True
        derived = assess(folder / "data", masks, kept)
        row = {
            "scenario": name,
            "summary": find_scenario(name, seed=seed).summary,
            "expected": len(truth.expected) + len(truth.targets),
            "true_masks": list(differences(truth, given, given_viable=True)),
            "derived_viability": excused(
                name, list(differences(truth, derived, given_viable=False)), derived
            ),
            "viable_diameter_errors_mm": list(viable_errors(truth, derived)),
            "flags": sorted({flag.code for result in given for flag in result.flags}),
        }
        file.write_text(json.dumps(row), encoding="utf-8")
    if networks and "networks" not in row:
        try:
            found = assess(folder / "data", None, Examined())
            row["networks"] = excused(name, list(differences(truth, found, given_viable=False)), found)
        except DataError as error:
            row["networks"] = [f"not assessed: {error.message}"]
        file.write_text(json.dumps(row), encoding="utf-8")
    return row


def assess(data: Path, masks: Path | None, keep: Examined) -> list[PatientResult]:
    """Assess the patient of a data folder as ``mrresponse run`` does."""
    settings = Settings()
    found = ingest(data, settings.ingest)
    if found.failures:
        raise SystemExit(f"error: {found.failures[0].message}")
    segmenter = make_segmenter(settings.segment, masks=masks)
    return [assess_patient(patient, segmenter, settings, keep=keep) for patient in found.patients]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is expected of a scenario: responses, and the targets at the first study by patient."""

    expected: Sequence[Row]
    targets: Mapping[str, int]
    patients: Sequence[Any]


def read_truth(folder: Path) -> Truth:
    """Read the truth of a phantom."""
    with (folder / "assessments.csv").open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    patients = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["patients"]
    targets = {
        one["patient_id"]: count
        for one in patients
        if (count := one["expected_target_lesions_at_first_study"]) is not None
    }
    return Truth(expected=expected, targets=targets, patients=patients)


def differences(truth: Truth, results: Sequence[PatientResult], *, given_viable: bool) -> Iterator[str]:
    """Yield one line for every expectation that does not hold."""
    found = {
        (row.patient_id, row.treatment_phase, row.criterion, row.study_date.isoformat()): row
        for result in results
        for row in result.response.assessments
    }
    for row in truth.expected:
        key = (row["patient_id"], row["treatment_phase"], row["criterion"], row["study_date"])
        have = found.get(key)
        wanted: tuple[str, ...] = (row["is_baseline"], row["liver_response"], row["overall"])
        if not given_viable and row["criterion"] == "mRECIST" and not _is_viability_seen(results, row):
            wanted = (row["is_baseline"], *("NE" if word else "" for word in wanted[1:]))
        got = (
            ("", "", "")
            if have is None
            else (str(have.is_baseline).lower(), have.liver_response or "", have.overall or "")
        )
        if got != wanted:
            reason = "no such row" if have is None else have.reason
            yield f"{' '.join(key[1:])}: {'/'.join(got[1:])} instead of {'/'.join(wanted[1:])} ({reason})"
    for result in results:
        yield from target_differences(truth, result)
        yield from quantity_differences(result, given_viable=given_viable)


def _is_viability_seen(results: Sequence[PatientResult], row: Row) -> bool:
    """Tell whether a study has the contrast phases that viability is derived from: without them mRECIST is NE."""
    needed = {ContrastPhase.ARTERIAL, ContrastPhase.PRECONTRAST}
    return any(
        needed <= set(study.contrast_phases)
        for result in results
        for study in result.studies
        if (study.patient_id, study.study_date.isoformat()) == (row["patient_id"], row["study_date"])
    )


def target_differences(truth: Truth, result: PatientResult) -> Iterator[str]:
    """Yield a line where the number of targets at the first study is another, by criterion."""
    wanted = truth.targets.get(result.patient.patient_id)
    first = result.patient.studies[0].study_date
    criteria = {row.criterion for row in result.response.assessments if row.study_date == first}
    for criterion in sorted(criteria) if wanted is not None else ():
        targets = [
            role
            for role in result.response.roles
            if role.criterion == criterion
            and role.role is LesionRole.TARGET
            and role.treatment_phase == "course"
        ]
        if len(targets) != wanted:
            yield f"{criterion}: {len(targets)} targets instead of {wanted}"


def quantity_differences(result: PatientResult, *, given_viable: bool) -> Iterator[str]:
    """Yield a line for a viable number where a phase that it needs is missing, or a benign lesion without a reason."""
    phases = {study.study_date: set(study.contrast_phases) for study in result.studies}
    needed = {ContrastPhase.ARTERIAL} if given_viable else {ContrastPhase.ARTERIAL, ContrastPhase.PRECONTRAST}
    for row in result.measurements:
        is_seen = row.state in (MeasurementState.MEASURED, MeasurementState.TOO_SMALL)
        if (
            is_seen
            and not needed <= phases[row.study_date]
            and row.viable_state is not MeasurementState.NOT_ASSESSED
        ):
            yield f"{row.study_date} {row.lesion_id}: viable part {row.viable_state} without the phases it needs"
    for role in result.response.roles:
        if not role.reason:
            yield f"{role.criterion} {role.lesion_id}: role {role.role} without a reason"


def excused(name: str, found: list[str], results: Sequence[PatientResult]) -> list[str]:
    """Return the differences of a scenario, or none where the stated flag of quality says that it is in doubt."""
    codes = {flag.code for result in results for flag in result.flags}
    said = sorted(STATED_FLAGS.get(name, set()) & codes)
    return [] if said else found


def viable_errors(truth: Truth, results: Sequence[PatientResult]) -> Iterator[float]:
    """Yield the error of each derived viable diameter against the true one, both of a study largest first."""
    known = {
        (patient["patient_id"], study["study_date"]): sorted(_viable_diameters(study), reverse=True)
        for patient in truth.patients
        for study in patient["studies"]
    }
    for result in results:
        for day in {row.study_date for row in result.measurements}:
            found = sorted(
                (
                    row.viable_longest_diameter_mm
                    for row in result.measurements
                    if row.study_date == day and row.viable_longest_diameter_mm is not None
                ),
                reverse=True,
            )
            wanted = known[result.patient.patient_id, day.isoformat()]
            if len(found) == len(wanted):
                yield from (round(one - other, 1) for one, other in zip(found, wanted, strict=True))


def _viable_diameters(study: Mapping[str, Any]) -> Iterator[float]:
    for lesion in study["lesions"]:
        value = lesion["analytic"]["viable_longest_diameter_mm"]
        yield 0.0 if value is None else float(value)


WAYS = {"true_masks": "true masks", "derived_viability": "derived viability", "networks": "networks"}


def describe(row: Outcome) -> str:
    """Return what the terminal shows of one scenario."""
    lines = [f"{row['scenario']}: {row['expected']} expectations"]
    found: Mapping[str, Any] = dict(row)
    for key, way in WAYS.items():
        if key in found:
            lines.append(f"  {way}: {len(found[key])} differ")
            lines += [f"    {line}" for line in found[key]]
    errors = [abs(value) for value in row["viable_diameter_errors_mm"]]
    if errors:
        lines.append(f"  viable diameter: median error {median(errors):.1f} mm")
    return "\n".join(lines)


def markdown(rows: Sequence[Outcome]) -> str:
    """Return the suite as a table."""
    head = "| scenario | shows | expectations | true masks | derived viability | networks | flags |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        found: Mapping[str, Any] = dict(row)
        cells = [
            "-" if key not in found else "all" if not found[key] else f"{len(found[key])} differ"
            for key in WAYS
        ]
        flags = ", ".join(f"`{code}`" for code in row["flags"])
        lines.append(
            f"| {row['scenario']} | {row['summary']} | {row['expected']} | {' | '.join(cells)} | {flags} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
