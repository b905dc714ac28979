"""What stands in the reason of a row, for one worked patient: every part that the decision used."""

from datetime import date, timedelta
from typing import Any

from mrresponse.domain import (
    Cytology,
    Finding,
    FindingKind,
    FindingStatus,
    LesionRole,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    ResponseResult,
    StudyRecord,
)
from mrresponse.respond import RespondSettings, respond

START = date(2024, 1, 1)
NODE = {"organ": "nodes", "is_node": True}
LUNG = {"organ": "lung"}
NODULE = {"aphe": True, "washout": False}


def lesion(name: str, day: int, size: float | None, **more: Any) -> Measurement:
    state = MeasurementState.NOT_ASSESSED if size is None else MeasurementState.MEASURED
    values: dict[str, Any] = {
        "state": MeasurementState.ABSENT if size == 0.0 else state,
        "longest_diameter_mm": size,
        "perpendicular_diameter_mm": size,
        "viable_longest_diameter_mm": size,
        "reader": "A",
        "source": MeasurementSource.MASK,
        **more,
    }
    return Measurement(patient_id="P", lesion_id=name, study_date=START + timedelta(days=day), **values)


def finding(day: int, kind: FindingKind, status: FindingStatus, **more: Any) -> Finding:
    return Finding(patient_id="P", date=START + timedelta(days=day), kind=kind, status=status, **more)


def worked(criterion: str) -> ResponseResult:
    rows = [
        lesion("L01", 0, 30.0), lesion("L02", 0, 20.0), lesion("L03", 0, 15.0), lesion("L04", 0, 12.0, **LUNG),
        lesion("L05", 0, 14.0, **{**NODE, "perpendicular_diameter_mm": 12.0}), lesion("L06", 0, 9.0),
        lesion("L01", 60, 20.0), lesion("L02", 60, None, reason="motion"), lesion("L03", 60, 15.0),
        lesion("L04", 60, 12.0, **LUNG), lesion("L05", 60, 14.0, **{**NODE, "perpendicular_diameter_mm": 9.0}),
        lesion("L06", 60, 0.0),
        lesion("L01", 120, 20.0), lesion("L02", 120, 14.0), lesion("L03", 120, 15.0),
        lesion("L04", 120, 30.0, **LUNG), lesion("L05", 120, 14.0, **{**NODE, "perpendicular_diameter_mm": 9.0}),
        lesion("L06", 120, 0.0), lesion("L07", 120, 14.0, **NODULE),
        lesion("L01", 180, 20.0), lesion("L02", 180, 14.0), lesion("L03", 180, 0.0),
        lesion("L04", 180, 30.0, **LUNG), lesion("L05", 180, 14.0, **{**NODE, "perpendicular_diameter_mm": 9.0}),
        lesion("L06", 180, 0.0), lesion("L07", 180, 25.0, **NODULE),
    ]  # fmt: skip
    findings = (
        finding(0, FindingKind.VEIN_THROMBUS, FindingStatus.PRESENT, site="portal vein", author="R"),
        finding(65, FindingKind.VEIN_THROMBUS, FindingStatus.STABLE, site="Portal vein", author="R"),
        finding(118, FindingKind.ASCITES, FindingStatus.NEW, cytology=Cytology.POSITIVE),
    )
    days = (0, 60, 120, 180)
    studies = [
        StudyRecord(patient_id="P", study_date=START + timedelta(days=day), lesions_assessable=True)
        for day in days
    ]
    patient = Patient(patient_id="P", findings=findings)
    return respond(patient, studies, rows, RespondSettings(criteria=(criterion,)))


def test_every_part_of_a_decision_under_mrecist_stands_in_its_reason() -> None:
    assert [row.reason for row in worked("mRECIST").assessments] == [
        "baseline: first evaluable study; no treatment table; sum of viable diameters 62.0 mm: L01 30.0 mm, "
        "L02 20.0 mm, L04 12.0 mm; non-targets: L03, L05, L06, vein thrombus portal vein",
        "NE: not evaluable: L02 not assessed: motion; the rest, 32.0 mm, is no progression from nadir 62.0 mm "
        "[L01 20.0 mm, L02 not assessed: motion, L04 12.0 mm]; non-target NON-CR/NON-PD, persists: L03 15.0 mm; "
        "vein thrombus Portal vein stable (2024-03-06 by R); new lesions none",
        "PD: target SD, sum of viable diameters 64.0 mm is +3.2 % from baseline 62.0 mm (not <= -30 %) and +3.2 % "
        "(+2.0 mm) from nadir 62.0 mm (not >= +20 %) [L01 20.0 mm, L02 14.0 mm, L04 30.0 mm]; non-target NE, not "
        "assessed: vein thrombus portal vein not reported at this visit; new lesions definite, ascites new, "
        "cytology positive (2024-04-28); the liver alone is PR: target PR (sum of viable diameters 34.0 mm is "
        "-32.0 % from baseline 50.0 mm (<= -30 %)), non-target NE, new lesions equivocal",
        "PD: target SD, sum of viable diameters 64.0 mm is +3.2 % from baseline 62.0 mm (not <= -30 %) and +3.2 % "
        "(+2.0 mm) from nadir 62.0 mm (not >= +20 %) [L01 20.0 mm, L02 14.0 mm, L04 30.0 mm]; non-target NE, not "
        "assessed: vein thrombus portal vein not reported at this visit; new lesions definite, L07 first seen "
        "2024-04-30 (25.0 mm, grown by 11.0 mm since first seen); ascites first reported 2024-04-28; progression is "
        "dated 2024-04-30, when the lesion was first seen",
    ]


def test_under_irecist_the_reason_also_says_what_confirms() -> None:
    reasons = [row.reason for row in worked("iRECIST").assessments]
    assert reasons[2].endswith(
        "new lesions definite, L07 first seen 2024-04-30 (14.0 mm, not there at baseline); ascites new, cytology "
        "positive (2024-04-28); first progression: to be confirmed after 4 to 8 weeks"
    )
    assert reasons[3].endswith(
        "confirms the iUPD of 2024-04-30: new target sum 25 mm, at least 5.0 mm above 14 mm"
    )
    assert [row.overall for row in worked("iRECIST").assessments] == [None, "NE", "iUPD", "iCPD"]


def test_flags_and_dates_stand_beside_the_reason() -> None:
    rows = worked("mRECIST").assessments
    assert [row.flags for row in rows] == [
        (),
        ("target_missing",),
        ("new_lesion_equivocal",),
        ("progression_dated_earlier",),
    ]
    assert [row.dated_from for row in rows] == [None, None, None, START + timedelta(days=120)]
    assert [row.liver_response for row in rows] == [None, "NE", "PR", "PD"]


def test_every_lesion_has_a_role_and_the_reason_for_it() -> None:
    found = {row.lesion_id: (row.role, row.reason) for row in worked("RECIST 1.1").roles}
    assert found == {
        "L01": (LesionRole.TARGET, "longest diameter 30.0 mm >= 10.0 mm"),
        "L02": (LesionRole.TARGET, "longest diameter 20.0 mm >= 10.0 mm"),
        "L03": (
            LesionRole.NON_TARGET,
            "longest diameter 15.0 mm >= 10.0 mm; the limit of 2 targets in the liver is reached",
        ),
        "L04": (LesionRole.TARGET, "longest diameter 12.0 mm >= 10.0 mm"),
        "L05": (LesionRole.NON_TARGET, "node with short axis 12.0 mm < 15.0 mm"),
        "L06": (LesionRole.NON_TARGET, "longest diameter 9.0 mm < 10.0 mm"),
        "L07": (LesionRole.NEW, "first seen 2024-04-30, not there at baseline"),
    }
