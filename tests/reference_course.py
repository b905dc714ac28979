"""A finished result of the reference course, typed by hand: no image was read and nothing was computed."""

import math
from datetime import date

import numpy as np

from mrresponse.domain import (
    Affects,
    Agent,
    Assessment,
    Caliper,
    ContrastPhase,
    DrawnCaliper,
    Finding,
    FindingKind,
    FindingStatus,
    Flag,
    LesionRole,
    Marker,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    PatientResult,
    PhaseSummary,
    PicturedSlice,
    Response,
    ResponseResult,
    RoleRecord,
    Snapshot,
    StudyRecord,
    Treatment,
    TreatmentKind,
    TreatmentPhase,
)

PATIENT = "HCC-COURSE"
READER = "liver-mr 0.1 + lesions-mr 0.1"
PHASES = (
    ("RT + lenvatinib", "2020-06-25", "2020-09-14", "2020-06-07"),
    ("lenvatinib + camrelizumab", "2020-09-14", "2021-03-15", "2020-09-10"),
    ("HAIC-FOLFOX + lenvatinib + camrelizumab", "2021-03-15", "2021-06-25", "2021-03-12"),
    ("lenalidomide + lenvatinib + camrelizumab", "2021-06-25", None, "2021-06-22"),
)
# Phase, study, then for mRECIST and RECIST 1.1: sum, liver, overall, sentence.
VISITS = (
    (0, "2020-06-07", 92.0, None, None, "", 108.0, None, None, ""),
    (
        0,
        "2020-09-10",
        58.0,
        "PR",
        "PD",
        "new extrahepatic lesion (left ilium); liver: sum 58.0 mm is 37.0 % below baseline 92.0 mm",
        84.0,
        "SD",
        "PD",
        "new extrahepatic lesion (left ilium); liver: sum 84.0 mm, 22.2 % below baseline 108.0 mm",
    ),
    (1, "2020-09-10", 58.0, None, None, "", 84.0, None, None, ""),
    (
        1,
        "2021-03-12",
        55.0,
        "SD",
        "SD",
        "neither enough decrease from baseline 58.0 mm nor enough increase from nadir 58.0 mm",
        82.0,
        "SD",
        "SD",
        "neither enough decrease nor enough increase",
    ),
    (2, "2021-03-12", 55.0, None, None, "", 82.0, None, None, ""),
    (
        2,
        "2021-03-22",
        36.0,
        "PR",
        "PR",
        "sum 36.0 mm is 34.5 % below baseline 55.0 mm",
        74.0,
        "SD",
        "SD",
        "neither enough decrease nor enough increase",
    ),
    (
        2,
        "2021-06-22",
        61.0,
        "PD",
        "PD",
        "sum 61.0 mm is 69.4 % above nadir 36.0 mm; definite new lesions L02, L03",
        90.0,
        "PD",
        "PD",
        "definite new lesions L02, L03; sum 90.0 mm is 21.6 % above nadir 74.0 mm",
    ),
    (3, "2021-06-22", 83.0, None, None, "", 114.0, None, None, ""),
    (
        3,
        "2021-07-16",
        52.0,
        "PR",
        "PR",
        "sum 52.0 mm is 37.3 % below baseline 83.0 mm",
        95.0,
        "SD",
        "SD",
        "neither enough decrease nor enough increase",
    ),
    (
        3,
        "2021-09-25",
        31.0,
        "PR",
        "PR",
        "sum 31.0 mm is 62.7 % below baseline 83.0 mm",
        70.0,
        "PR",
        "PR",
        "sum 70.0 mm is 38.6 % below baseline 114.0 mm",
    ),
    (
        3,
        "2021-12-20",
        None,
        "NE",
        "NE",
        "target L02 was not found at its place and its absence is not shown",
        None,
        "NE",
        "NE",
        "target L02 was not found at its place and its absence is not shown",
    ),
    (
        3,
        "2022-06-24",
        0.0,
        "CR",
        "CR",
        "no arterial enhancement in any target or non-target",
        34.0,
        "PR",
        "PR",
        "sum 34.0 mm is 70.2 % below baseline 114.0 mm",
    ),
    (
        3,
        "2023-06-20",
        0.0,
        "CR",
        "CR",
        "no arterial enhancement in any target or non-target",
        28.0,
        "PR",
        "PR",
        "sum 28.0 mm is 75.4 % below baseline 114.0 mm",
    ),
)
# Lesion, study, whole and viable diameter; -1 stands for "not found" in this list only.
SIZES = (
    ("L01", "2020-06-07", 108.0, 92.0),
    ("L01", "2020-09-10", 84.0, 58.0),
    ("L01", "2021-03-12", 82.0, 55.0),
    ("L01", "2021-03-22", 74.0, 36.0),
    ("L01", "2021-06-22", 90.0, 61.0),
    ("L01", "2021-07-16", 78.0, 38.0),
    ("L01", "2021-09-25", 58.0, 22.0),
    ("L01", "2021-12-20", 44.0, 12.0),
    ("L01", "2022-06-24", 34.0, 0.0),
    ("L01", "2023-06-20", 28.0, 0.0),
    ("L02", "2021-06-22", 24.0, 22.0),
    ("L02", "2021-07-16", 17.0, 14.0),
    ("L02", "2021-09-25", 12.0, 9.0),
    ("L02", "2021-12-20", -1.0, -1.0),
    ("L02", "2022-06-24", 0.0, 0.0),
    ("L02", "2023-06-20", 0.0, 0.0),
    ("L03", "2021-06-22", 14.0, 14.0),
    ("L03", "2021-07-16", 9.0, 8.0),
    ("L03", "2021-09-25", 5.0, 5.0),
    ("L03", "2021-12-20", 0.0, 0.0),
)
MARKERS = (
    ("2020-06-07", 18400.0, 9120.0),
    ("2020-09-10", 2100.0, 1460.0),
    ("2021-03-12", 1680.0, 990.0),
    ("2021-06-22", 5250.0, 3310.0),
    ("2021-07-16", 900.0, 410.0),
    ("2021-09-25", 64.0, 71.0),
    ("2021-12-20", 8.1, 30.0),
    ("2022-06-24", 3.2, 24.0),
    ("2023-06-20", 2.9, 21.0),
)


def reference_course() -> PatientResult:
    """Give the reference course as the line would hand it to the report."""
    measurements = tuple(_measurement(*row) for row in SIZES)
    days = sorted({row[1] for row in VISITS})
    return PatientResult(
        patient=Patient(
            patient_id=PATIENT,
            treatments=_treatments(),
            markers=_markers(),
            findings=_findings(),
            last_contact_date=date(2023, 7, 1),
        ),
        studies=tuple(_study(day) for day in days),
        measurements=measurements,
        snapshots=tuple(_snapshot(*row) for row in SIZES if row[2] > 0),
        response=ResponseResult(
            phases=(
                *_phases(),
                TreatmentPhase(
                    patient_id=PATIENT,
                    name="course",
                    start_date=date(2020, 6, 25),
                    baseline_date=date(2020, 6, 7),
                ),
            ),
            roles=_roles(),
            assessments=_assessments(),
            summaries=_summaries(),
            flags=(
                Flag(
                    patient_id=PATIENT,
                    study_date=date(2021, 3, 22),
                    code="early_study",
                    message="the study is 7 days after the start of the phase; changes may be treatment effect",
                ),
            ),
        ),
        flags=(
            Flag(
                patient_id=PATIENT,
                study_date=date(2021, 12, 20),
                lesion_id="L02",
                code="not_found",
                message="the network found nothing at the lesion's place; look there",
            ),
            Flag(
                patient_id=PATIENT,
                study_date=date(2020, 9, 10),
                code="no_precontrast",
                message="no precontrast phase: viability judged without subtraction",
            ),
            Flag(
                patient_id=PATIENT,
                study_date=date(2021, 3, 12),
                code="no_precontrast",
                message="no precontrast phase: viability judged without subtraction",
            ),
        ),
    )


def _treatments() -> tuple[Treatment, ...]:
    rows = (
        (
            PHASES[0][0],
            "radiotherapy",
            TreatmentKind.RADIOTHERAPY,
            "2020-06-25",
            "2020-07-07",
            "50 Gy / 25 fractions, liver tumour",
        ),
        (PHASES[0][0], "lenvatinib", TreatmentKind.SYSTEMIC, "2020-06-25", None, "8 mg daily"),
        (PHASES[1][0], "camrelizumab", TreatmentKind.SYSTEMIC, "2020-09-14", None, ""),
        (
            PHASES[1][0],
            "radiotherapy",
            TreatmentKind.RADIOTHERAPY,
            "2020-09-20",
            "2020-10-02",
            "30 Gy / 10 fractions, left ilium",
        ),
        (PHASES[2][0], "HAIC-FOLFOX", TreatmentKind.LOCOREGIONAL, "2021-03-15", None, ""),
        (PHASES[3][0], "lenalidomide", TreatmentKind.SYSTEMIC, "2021-06-25", None, ""),
    )
    return tuple(
        Treatment(
            patient_id=PATIENT,
            treatment_phase=phase,
            name=name,
            kind=kind,
            start_date=date.fromisoformat(start),
            end_date=date.fromisoformat(end) if end else None,
            details=details,
        )
        for phase, name, kind, start, end, details in rows
    )


def _markers() -> tuple[Marker, ...]:
    afp = [
        Marker(patient_id=PATIENT, date=date.fromisoformat(d), name="AFP", value=a, unit="ng/mL")
        for d, a, _ in MARKERS
    ]
    pivka = [
        Marker(patient_id=PATIENT, date=date.fromisoformat(d), name="PIVKA-II", value=p, unit="mAU/mL")
        for d, _, p in MARKERS
    ]
    return (*afp, *pivka)


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(
            patient_id=PATIENT,
            date=date(2020, 6, 7),
            kind=FindingKind.VEIN_THROMBUS,
            status=FindingStatus.PRESENT,
            site="portal vein, Vp3",
            affects=Affects.BOTH,
            author="radiologist 1",
        ),
        Finding(
            patient_id=PATIENT,
            date=date(2020, 9, 12),
            kind=FindingKind.EXTRAHEPATIC_LESION,
            status=FindingStatus.NEW,
            site="left ilium",
            author="nuclear medicine",
            note="bone scan",
        ),
    )


def _phases() -> tuple[TreatmentPhase, ...]:
    return tuple(
        TreatmentPhase(
            patient_id=PATIENT,
            name=name,
            start_date=date.fromisoformat(start),
            end_date=date.fromisoformat(end) if end else None,
            baseline_date=date.fromisoformat(baseline),
            baseline_reason="the last study within 28 days before the start",
        )
        for name, start, end, baseline in PHASES
    )


def _study(day: str) -> StudyRecord:
    contrast = [
        ContrastPhase.PRECONTRAST,
        ContrastPhase.ARTERIAL,
        ContrastPhase.PORTAL_VENOUS,
        ContrastPhase.DELAYED,
    ]
    return StudyRecord(
        patient_id=PATIENT,
        study_date=date.fromisoformat(day),
        contrast_phases=tuple(contrast),
        agent=Agent.EXTRACELLULAR,
        slice_thickness_mm=3.0,
        reference_phase=ContrastPhase.ARTERIAL,
        model=READER,
        liver_volume_ml=1510.0,
        lesions_assessable=True,
    )


def _assessments() -> tuple[Assessment, ...]:
    rows = []
    for offset, criterion in ((2, "mRECIST"), (6, "RECIST 1.1")):
        for visit in VISITS:
            same = [v for v in VISITS if v[0] == visit[0]]
            burden, liver, overall, reason = visit[offset : offset + 4]
            before = [v[offset] for v in same if v[1] < visit[1] and v[offset] is not None]
            baseline, nadir = same[0][offset], min(before, default=None)
            rows.append(
                Assessment(
                    patient_id=PATIENT,
                    treatment_phase=PHASES[visit[0]][0],
                    criterion=criterion,
                    study_date=date.fromisoformat(visit[1]),
                    reader=READER,
                    is_baseline=liver is None,
                    baseline_burden=baseline,
                    nadir_burden=nadir,
                    current_burden=burden,
                    change_from_baseline=_change(burden, baseline) if liver else None,
                    change_from_nadir=_change(burden, nadir),
                    liver_change_from_baseline=_change(burden, baseline) if liver else None,
                    target=Response(liver) if liver else None,
                    non_target=Response.NON_CR_NON_PD if liver else None,
                    new_lesions=("definite" if overall == "PD" else "none") if liver else None,
                    liver_response=Response(liver) if liver else None,
                    overall=Response(overall) if overall else None,
                    reason=reason,
                    flags=("early_study",) if visit[1] == "2021-03-22" else (),
                    settings_id="3f2a91c0",
                )
            )
    return tuple(rows)


def _change(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else (value - reference) / reference


def _roles() -> tuple[RoleRecord, ...]:
    rows = []
    for criterion in ("mRECIST", "RECIST 1.1"):
        for name, *_ in PHASES:
            rows.append((name, criterion, "L01", LesionRole.TARGET, "largest measurable lesion at baseline"))
        rows.append(
            (PHASES[2][0], criterion, "L02", LesionRole.NEW, "not there at the baseline of the phase")
        )
        rows.append(
            (PHASES[2][0], criterion, "L03", LesionRole.NEW, "not there at the baseline of the phase")
        )
        rows.append((PHASES[3][0], criterion, "L02", LesionRole.TARGET, "second largest measurable lesion"))
        rows.append(
            (
                PHASES[3][0],
                criterion,
                "L03",
                LesionRole.NON_TARGET,
                "two targets in the liver are already chosen",
            )
        )
    return tuple(
        RoleRecord(
            patient_id=PATIENT, treatment_phase=p, criterion=c, reader=READER, lesion_id=i, role=r, reason=why
        )
        for p, c, i, r, why in rows
    )


def _summaries() -> tuple[PhaseSummary, ...]:
    best = (("PR", "PD"), ("SD", "SD"), ("PR", "PR"), ("CR", "CR"))
    return tuple(
        PhaseSummary(
            patient_id=PATIENT,
            treatment_phase=name,
            criterion="mRECIST",
            basis=basis,
            reader=READER,
            best_overall_response=Response(word),
            depth_of_response=-0.37 if basis == "liver" else None,
        )
        for (name, *_), words in zip(PHASES, best, strict=True)
        for basis, word in zip(("liver", "overall"), words, strict=True)
    )


def _measurement(lesion_id: str, day: str, whole: float, viable: float) -> Measurement:
    common = {
        "patient_id": PATIENT,
        "lesion_id": lesion_id,
        "study_date": date.fromisoformat(day),
        "reader": READER,
    }
    if whole < 0:
        return Measurement(
            **common,
            state=MeasurementState.NOT_FOUND,
            reason="the network found nothing at the registered place; absence is not shown",
            source=MeasurementSource.NETWORK,
        )
    if whole == 0:
        return Measurement(
            **common,
            state=MeasurementState.ABSENT,
            longest_diameter_mm=0.0,
            reason="a reader looked at the registered place and saw liver",
            source=MeasurementSource.MASK,
        )
    is_new = lesion_id != "L01" and day == "2021-06-22"
    volume = math.pi / 6 * whole**3 / 1000 * 0.7
    return Measurement(
        **common,
        state=MeasurementState.MEASURED if whole > 5 else MeasurementState.TOO_SMALL,
        longest_diameter_mm=whole,
        perpendicular_diameter_mm=round(whole * 0.8, 1),
        caliper=Caliper(slice_index=2, start_mm=(0.0, 0.0, 0.0), end_mm=(whole, 0.0, 0.0)),
        viable_caliper=Caliper(slice_index=3, start_mm=(0.0, 0.0, 5.0), end_mm=(viable, 0.0, 5.0))
        if viable
        else None,
        viable_longest_diameter_mm=viable,
        viable_state=MeasurementState.MEASURED if viable else MeasurementState.ABSENT,
        volume_ml=round(volume, 3),
        viable_volume_ml=round(volume * 0.6, 3) if viable else 0.0,
        aphe=True if viable else None,
        washout=True if is_new else None,
        new_lesion_status=NewLesionStatus.DEFINITE if is_new else None,
    )


def _snapshot(lesion_id: str, day: str, whole: float, viable: float) -> Snapshot:
    """Draw five slices through a dark ball with a bright part on grey noise; the calipers are its long axes.

    The whole diameter lies in the middle slice, the viable one in the slice above.
    """
    size, spacing = 120, 1.25
    rng = np.random.default_rng(int(whole * 10) + ord(lesion_id[-1]))
    centre = (size - 1) / 2
    arterial, subtracted, slices = [], [], []
    for step in range(-2, 3):
        shrink = math.sqrt(1.0 - (step / 4) ** 2)
        a, b = shrink * whole / 2 / spacing, shrink * whole * 0.4 / spacing
        share = viable / whole
        x = centre + a * (1 - share)
        outline = _ellipse(centre, centre, a, b)
        bright = _ellipse(x, centre, a * share, b * share) if viable else None
        grey = 95 + 9 * rng.standard_normal((size, size))
        grey[_inside(size, centre, a, b)] -= 35
        change = 20 + 9 * rng.standard_normal((size, size))
        if viable:
            part = _inside(size, x, a * share, b * share)
            grey[part] += 125
            change[part] += 150
        arterial.append(grey)
        subtracted.append(change)
        slices.append(
            PicturedSlice(
                slice_index=30 + step,
                step=step,
                offset_mm=3.0 * step,
                outlines=(outline,),
                viable_outlines=(bright,) if bright else (),
                reference_outlines=(_ellipse(12.0, 12.0, 9.0, 9.0),),
            )
        )
    end = whole / 2 / spacing
    start = centre + end - 2 * end * viable / whole
    return Snapshot(
        patient_id=PATIENT,
        lesion_id=lesion_id,
        study_date=date.fromisoformat(day),
        contrast_phase=ContrastPhase.ARTERIAL,
        pixels=np.clip(arterial, 0, 255).astype(np.uint8),
        subtraction=np.clip(subtracted, 0, 255).astype(np.uint8),
        spacing_mm=(spacing, spacing),
        slices=tuple(slices),
        caliper=DrawnCaliper(slice_number=2, start=(centre - end, centre), end=(centre + end, centre)),
        viable_caliper=DrawnCaliper(
            slice_number=3, start=(start, centre + 2.0), end=(centre + end, centre + 2.0)
        )
        if viable
        else None,
    )


def _ellipse(x: float, y: float, a: float, b: float) -> tuple[tuple[float, float], ...]:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return tuple((float(x + a * np.cos(t)), float(y + b * np.sin(t))) for t in angles)


def _inside(size: int, x: float, a: float, b: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot((columns - x) / a, (rows - (size - 1) / 2) / b) < 1
