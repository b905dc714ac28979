"""Every column of every row that one worked course gives, as the tables have it; each number was worked by hand.

The course has what a course can have: two treatment phases, local therapy and radiotherapy, lesions in and outside
the liver, nodes, a benign lesion, findings of readers, laboratory markers, another contrast agent, an unreadable
study, a new lesion that is established late, and disease outside the liver that progresses alone.
"""

import csv
import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from mrresponse.domain import (
    Agent,
    Assessment,
    Contribution,
    Cytology,
    Finding,
    FindingKind,
    FindingStatus,
    Flag,
    Marker,
    MarkerSummary,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    PhaseSummary,
    RoleRecord,
    StudyRecord,
    Treatment,
    TreatmentKind,
    TreatmentPhase,
)
from mrresponse.respond import RespondSettings, contributions, respond, settings_id
from mrresponse.respond.settings import ProbabilityMethod
from mrresponse.tables import format_rows

DAY = date(2024, 1, 1)
SETTINGS = RespondSettings(criteria=("mRECIST", "RECIST 1.1"), probability=ProbabilityMethod.NONE)
STUDIES = (-60, 0, 30, 60, 118, 160, 195, 260)
# lesion: what stays the same; then day: whole diameter, viable diameter (or the short axis of a node)
LUNG, NODE = {"organ": "lung"}, {"organ": "nodes", "is_node": True}
LESIONS: tuple[tuple[str, dict[str, Any], dict[int, tuple[float, float]]], ...] = (
    (
        "L01",
        {"aphe": True, "washout": True},
        {-60: (36.0, 30.0), 0: (40.0, 36.0), 30: (40.0, 30.0), 60: (36.0, 16.0), 118: (36.0, 18.0),
         195: (34.0, 22.0), 260: (30.0, 10.0)},
    ),
    (
        "L02",
        {},
        {-60: (18.0, 16.0), 0: (20.0, 20.0), 30: (20.0, 15.0), 60: (16.0, 12.0), 118: (14.0, 12.0),
         195: (14.0, 14.0), 260: (12.0, 0.0)},
    ),
    (
        "L03",
        {},
        {0: (12.0, 12.0), 30: (12.0, 12.0), 60: (12.0, 12.0), 118: (12.0, 0.0), 195: (12.0, 0.0),
         260: (12.0, 11.0)},
    ),
    (
        "L04",
        LUNG,
        {0: (15.0, 0.0), 30: (15.0, 0.0), 60: (14.0, 0.0), 118: (16.0, 0.0), 195: (24.0, 0.0),
         260: (12.0, 0.0)},
    ),
    ("L05", NODE, {0: (18.0, 12.0), 30: (18.0, 12.0), 60: (15.0, 9.0), 118: (15.0, 9.0), 195: (15.0, 9.0),
                   260: (15.0, 9.0)}),
    ("L06", {"pattern": "haemangioma-like"}, {0: (30.0, 30.0), 60: (30.0, 30.0)}),
    ("L07", {}, {118: (9.0, 9.0), 195: (19.0, 19.0), 260: (19.0, 8.0)}),
    ("L08", NODE, {0: (12.0, 8.0), 118: (14.0, 11.0)}),
)  # fmt: skip


def day(number: int) -> date:
    return DAY + timedelta(days=number)


def measured(name: str, number: int, sizes: tuple[float, float], more: dict[str, Any]) -> Measurement:
    whole, second = sizes
    is_node = more.get("is_node", False)
    return Measurement(
        patient_id="P",
        lesion_id=name,
        study_date=day(number),
        reader="A",
        state=MeasurementState.MEASURED,
        longest_diameter_mm=whole,
        perpendicular_diameter_mm=second if is_node else None,
        viable_longest_diameter_mm=None if is_node or "organ" in more else second,
        source=MeasurementSource.MASK,
        **more,
    )


def finding(number: int, kind: FindingKind, status: FindingStatus, site: str = "", **more: Any) -> Finding:
    return Finding(patient_id="P", date=day(number), kind=kind, status=status, site=site, **more)


def treated(phase: str, kind: TreatmentKind, start: int, end: int | None = None) -> Treatment:
    return Treatment(
        patient_id="P", treatment_phase=phase, name="x", kind=kind, start_date=day(start),
        end_date=None if end is None else day(end),
    )  # fmt: skip


def marker(name: str, number: int, value: float) -> Marker:
    unit = "ng/mL" if name == "AFP" else "mAU/mL"
    return Marker(patient_id="P", date=day(number), name=name, value=value, unit=unit)


PATIENT = Patient(
    patient_id="P",
    treatments=(
        treated("TACE and radiotherapy", TreatmentKind.LOCOREGIONAL, 10),
        treated("TACE and radiotherapy", TreatmentKind.RADIOTHERAPY, 20, 30),
        treated("immunotherapy", TreatmentKind.SYSTEMIC, 200),
    ),
    findings=(
        finding(0, FindingKind.VEIN_THROMBUS, FindingStatus.PRESENT, "portal vein", author="R"),
        finding(32, FindingKind.VEIN_THROMBUS, FindingStatus.STABLE, "Portal vein", author="R"),
        finding(60, FindingKind.VEIN_THROMBUS, FindingStatus.STABLE, "portal vein"),
        finding(60, FindingKind.ASCITES, FindingStatus.NEW),
        finding(118, FindingKind.VEIN_THROMBUS, FindingStatus.GONE, "portal vein"),
        finding(118, FindingKind.OTHER, FindingStatus.NEW, "spleen"),
        finding(195, FindingKind.VEIN_THROMBUS, FindingStatus.GONE, "portal vein"),
        finding(195, FindingKind.EXTRAHEPATIC_LESION, FindingStatus.NEW, "ilium", size_mm=22.0),
        finding(258, FindingKind.EXTRAHEPATIC_LESION, FindingStatus.PROGRESSING, "ilium", size_mm=30.0),
        finding(260, FindingKind.EFFUSION, FindingStatus.NEW, "pleura", cytology=Cytology.POSITIVE),
    ),
    markers=(
        *(marker("AFP", *one) for one in ((0, 800.0), (30, 300.0), (60, 150.0), (118, 400.0), (195, 900.0))),
        *(marker("PIVKA-II", *one) for one in ((2, 500.0), (60, 100.0), (195, 120.0), (262, 50.0))),
    ),
    last_contact_date=day(300),
)
RECORDS = tuple(
    StudyRecord(
        patient_id="P",
        study_date=day(number),
        agent=Agent.GADOXETATE if number == 118 else Agent.EXTRACELLULAR,
        lesions_assessable=number != 160,
        reason="motion in every phase" if number == 160 else "",
    )
    for number in STUDIES
)
MEASUREMENTS = tuple(
    measured(name, number, sizes, more) for name, more, days in LESIONS for number, sizes in days.items()
)


def written() -> dict[str, str]:
    """Return the tables of the course as they are written."""
    result = respond(PATIENT, RECORDS, MEASUREMENTS, SETTINGS)
    given = contributions(PATIENT, RECORDS, MEASUREMENTS, result, SETTINGS)
    return {
        "assessments": format_rows(result.assessments, Assessment),
        "contributions": format_rows(given, Contribution),
        "flags": format_rows(result.flags, Flag),
        "markers": format_rows(result.markers, MarkerSummary),
        "phases": format_rows(result.phases, TreatmentPhase),
        "roles": format_rows(result.roles, RoleRecord),
        "summaries": format_rows(result.summaries, PhaseSummary),
    }


def cells(text: str) -> list[dict[str, Any]]:
    return [{name: _cell(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _cell(text: str) -> object:
    try:
        return round(float(text), 9)
    except ValueError:
        return text


def test_every_column_of_every_table_is_written_as_worked() -> None:
    for name, text in written().items():
        worked = cells((Path(__file__).parent / "written" / f"{name}.csv").read_text(encoding="utf-8"))
        found = cells(text.replace(settings_id(SETTINGS), "SETTINGS"))
        assert len(found) == len(worked), name
        for number, (row, expected) in enumerate(zip(found, worked, strict=True), start=2):
            assert row == expected, (name, number)
