"""The reference course: one patient, eleven studies, four treatment phases.

The course follows a published case report (hepatocellular carcinoma, man of 54 years). Dates of the report: 2020-06-07,
2020-06-25, 2020-07-07, 2021-03-15, 2021-03-22, 2021-06-25 and the intervals of phase 4. All other dates, and every size
and marker value, are chosen here; the images are synthetic.

Sizes in mm, whole / viable (A left lobe; B and C right lobe)::

    study        A        B        C        RECIST 1.1 sum      mRECIST sum
    2020-06-07   56 / 56                    56 (base 1)         56 (base 1)
    2020-09-14   50 / 34                    50  -11 %  SD       34  -39 %  PR   new bone metastasis: overall PD
                                            50 (base 2)         34 (base 2)
    2021-03-10   49 / 33                    49   -2 %  SD       33   -3 %  SD
                                            49 (base 3)         33 (base 3)
    2021-03-22   42 / 16                    42  -14 %  SD       16  -52 %  PR
    2021-06-18   60 / 46  24 / 24  16 / 16  60  +43 % of nadir  46  +188 % of nadir  PD, and by new lesions
                                            84 (base 4, A + B)  70 (base 4, A + B)
    2021-07-16   56 / 30  20 / 14  13 / 10  76  -10 %  SD       44  -37 %  PR
    2021-09-24   52 / 22  16 / 10  11 / 8   68  -19 %  SD       32  -54 %  PR
    2021-12-24   36 / 12  gone     gone     36  -57 %  PR       12  -83 %  PR
    2022-03-25   30 / 0   gone     gone     30  -64 %  PR        0         CR   vein thrombus gone too
    2022-06-24   28 / 0   gone     gone     28  -67 %  PR        0         CR
    2023-06-23   24 / 0   gone     gone     24  -71 %  PR        0         CR

Phase 4 counts two targets in the liver, A and B; C is non-target. The metastasis of the ilium stays, so where the liver
is in complete response the patient is in partial response.

The whole course (baseline 2020-06-07: A alone, nadir over everything). mRECIST: 34 PR, 33 PR, 16 PR (-39, -41 and
-71 % of 56), 46 PD, 30 PD (+88 % of the nadir 16), 22 PD (+38 %), 12 PR (-79 %), 0 CR. RECIST 1.1: 50, 49, 42 SD (-11,
-13, -25 %), 60 PD, 56 PD (+33 % of the nadir 42), 52 PD (+24 %, 10 mm), 36 PR (-36 %), 30, 28, 24 PR. While B and C are
there they are new lesions of the course, which says PD at the same three studies. The ilium is a new lesion of the
course from 2020-09 on and never goes: overall PD from there to the end.
"""

from datetime import date

from mrresponse.domain import (
    Affects,
    Agent,
    Finding,
    FindingKind,
    FindingStatus,
    Marker,
    Response,
    Treatment,
    TreatmentKind,
)
from mrresponse.synthetic.anatomy import Lobe
from mrresponse.synthetic.plans import (
    EXTRACELLULAR_PHASES,
    GADOXETATE_PHASES,
    ExpectedResponse,
    LesionPlan,
    LesionSize,
    PatientPlan,
    Scenario,
    StudyPlan,
)

_PATIENT = "HCC-COURSE"
_DATES = tuple(
    date.fromisoformat(day)
    for day in (
        "2020-06-07",
        "2020-09-14",
        "2021-03-10",
        "2021-03-22",
        "2021-06-18",
        "2021-07-16",
        "2021-09-24",
        "2021-12-24",
        "2022-03-25",
        "2022-06-24",
        "2023-06-23",
    )
)
# Gadoxetate from phase 4 on: later follow-up with a hepatobiliary phase.
_FIRST_WITH_GADOXETATE = date(2021, 6, 18)


def _sizes(*pairs: tuple[float, float] | None) -> tuple[LesionSize | None, ...]:
    return tuple(None if pair is None else LesionSize(whole_mm=pair[0], viable_mm=pair[1]) for pair in pairs)


_LESIONS = (
    LesionPlan(
        identity="A",
        lobe=Lobe.LEFT,
        aspect=(0.86, 0.9),
        sizes=_sizes(
            (56, 56),
            (50, 34),
            (49, 33),
            (42, 16),
            (60, 46),
            (56, 30),
            (52, 22),
            (36, 12),
            (30, 0),
            (28, 0),
            (24, 0),
        ),
    ),
    LesionPlan(
        identity="B",
        lobe=Lobe.RIGHT,
        sizes=_sizes(None, None, None, None, (24, 24), (20, 14), (16, 10), None, None, None, None),
    ),
    LesionPlan(
        identity="C",
        lobe=Lobe.RIGHT,
        sizes=_sizes(None, None, None, None, (16, 16), (13, 10), (11, 8), None, None, None, None),
    ),
)

# treatment phase, name, kind, start, end, details
_TREATMENTS = (
    (
        "phase 1",
        "radiotherapy",
        "radiotherapy",
        "2020-06-25",
        "2020-07-07",
        "50 Gy in 25 fractions to the liver",
    ),
    ("phase 1", "lenvatinib", "systemic", "2020-06-25", "2020-09-20", "8 mg daily"),
    ("phase 2", "lenvatinib", "systemic", "2020-09-21", "2021-03-14", "8 mg daily"),
    ("phase 2", "camrelizumab", "systemic", "2020-09-21", "2021-03-14", "200 mg every 3 weeks"),
    (
        "phase 2",
        "radiotherapy",
        "radiotherapy",
        "2020-09-21",
        "2020-10-02",
        "30 Gy in 10 fractions to the left ilium",
    ),
    ("phase 3", "HAIC-FOLFOX", "locoregional", "2021-03-15", "2021-06-24", "hepatic arterial infusion"),
    ("phase 3", "lenvatinib", "systemic", "2021-03-15", "2021-06-24", "8 mg daily"),
    ("phase 3", "camrelizumab", "systemic", "2021-03-15", "2021-06-24", "200 mg every 3 weeks"),
    ("phase 4", "lenalidomide", "systemic", "2021-06-25", "", "10 mg daily"),
    ("phase 4", "lenvatinib", "systemic", "2021-06-25", "", "8 mg daily"),
    ("phase 4", "camrelizumab", "systemic", "2021-06-25", "", "200 mg every 3 weeks"),
)

# date, AFP (ng/mL), PIVKA-II (mAU/mL)
_MARKERS = (
    ("2020-06-07", 1210.0, 5400.0),
    ("2020-09-14", 420.0, 1300.0),
    ("2021-03-10", 385.0, 1150.0),
    ("2021-03-22", 340.0, 980.0),
    ("2021-06-18", 2650.0, 8200.0),
    ("2021-07-16", 310.0, 900.0),
    ("2021-09-24", 42.0, 120.0),
    ("2021-12-24", 8.1, 38.0),
    ("2022-03-25", 4.2, 25.0),
    ("2022-06-24", 3.6, 22.0),
    ("2023-06-23", 3.1, 21.0),
)

_THROMBUS_GONE_FROM = date(2022, 3, 25)
_BONE_SCAN = date(2020, 9, 16)

# treatment phase, number of its baseline study, then criterion -> (study number, liver, overall)
_EXPECTED: tuple[tuple[str, int, dict[str, tuple[tuple[int, str, str], ...]]], ...] = (
    ("phase 1", 0, {"mRECIST": ((1, "PR", "PD"),), "RECIST 1.1": ((1, "SD", "PD"),)}),
    ("phase 2", 1, {"mRECIST": ((2, "SD", "SD"),), "RECIST 1.1": ((2, "SD", "SD"),)}),
    (
        "phase 3",
        2,
        {
            "mRECIST": ((3, "PR", "PR"), (4, "PD", "PD")),
            "RECIST 1.1": ((3, "SD", "SD"), (4, "PD", "PD")),
        },
    ),
    (
        "phase 4",
        4,
        {
            "mRECIST": (
                (5, "PR", "PR"),
                (6, "PR", "PR"),
                (7, "PR", "PR"),
                (8, "CR", "PR"),
                (9, "CR", "PR"),
                (10, "CR", "PR"),
            ),
            "RECIST 1.1": (
                (5, "SD", "SD"),
                (6, "SD", "SD"),
                (7, "PR", "PR"),
                (8, "PR", "PR"),
                (9, "PR", "PR"),
                (10, "PR", "PR"),
            ),
        },
    ),
    (
        "course",
        0,
        {
            "mRECIST": (
                (1, "PR", "PD"),
                (2, "PR", "PD"),
                (3, "PR", "PD"),
                (4, "PD", "PD"),
                (5, "PD", "PD"),
                (6, "PD", "PD"),
                (7, "PR", "PD"),
                (8, "CR", "PD"),
                (9, "CR", "PD"),
                (10, "CR", "PD"),
            ),
            "RECIST 1.1": (
                (1, "SD", "PD"),
                (2, "SD", "PD"),
                (3, "SD", "PD"),
                (4, "PD", "PD"),
                (5, "PD", "PD"),
                (6, "PD", "PD"),
                (7, "PR", "PD"),
                (8, "PR", "PD"),
                (9, "PR", "PD"),
                (10, "PR", "PD"),
            ),
        },
    ),
)


def _studies() -> tuple[StudyPlan, ...]:
    early = [
        StudyPlan(study_date=day, contrast_phases=EXTRACELLULAR_PHASES)
        for day in _DATES
        if day < _FIRST_WITH_GADOXETATE
    ]
    late = [
        StudyPlan(study_date=day, agent=Agent.GADOXETATE, contrast_phases=GADOXETATE_PHASES)
        for day in _DATES
        if day >= _FIRST_WITH_GADOXETATE
    ]
    return (*early, *late)


def _treatments() -> tuple[Treatment, ...]:
    return tuple(
        Treatment(
            patient_id=_PATIENT,
            treatment_phase=phase,
            name=name,
            kind=TreatmentKind(kind),
            start_date=date.fromisoformat(start),
            end_date=date.fromisoformat(end) if end else None,
            details=details,
        )
        for phase, name, kind, start, end, details in _TREATMENTS
    )


def _markers() -> tuple[Marker, ...]:
    rows = []
    for day, afp, pivka in _MARKERS:
        at = date.fromisoformat(day)
        rows.append(Marker(patient_id=_PATIENT, date=at, name="AFP", value=afp, unit="ng/mL"))
        rows.append(Marker(patient_id=_PATIENT, date=at, name="PIVKA-II", value=pivka, unit="mAU/mL"))
    return tuple(rows)


def _findings() -> tuple[Finding, ...]:
    rows = []
    for number, day in enumerate(_DATES):
        thrombus = FindingStatus.PRESENT if number == 0 else FindingStatus.STABLE
        if day >= _THROMBUS_GONE_FROM:
            thrombus = FindingStatus.GONE
        rows.append(
            Finding(
                patient_id=_PATIENT,
                date=day,
                kind=FindingKind.VEIN_THROMBUS,
                status=thrombus,
                site="portal vein, first-order branch (Vp3)",
                affects=Affects.BOTH,
                author="radiology",
            )
        )
        if day >= _BONE_SCAN:
            rows.append(_ilium(day, FindingStatus.STABLE, "irradiated"))
    rows.append(_ilium(_BONE_SCAN, FindingStatus.NEW, "bone scan"))
    return tuple(sorted(rows, key=lambda row: row.date))


def _ilium(day: date, status: FindingStatus, note: str) -> Finding:
    return Finding(
        patient_id=_PATIENT,
        date=day,
        kind=FindingKind.EXTRAHEPATIC_LESION,
        status=status,
        site="left ilium",
        author="nuclear medicine" if status is FindingStatus.NEW else "radiology",
        note=note,
    )


def _expected() -> tuple[ExpectedResponse, ...]:
    rows = []
    for phase, baseline, by_criterion in _EXPECTED:
        for criterion, visits in by_criterion.items():
            rows.append(
                ExpectedResponse(
                    patient_id=_PATIENT,
                    treatment_phase=phase,
                    criterion=criterion,
                    study_date=_DATES[baseline],
                    is_baseline=True,
                )
            )
            rows += [
                ExpectedResponse(
                    patient_id=_PATIENT,
                    treatment_phase=phase,
                    criterion=criterion,
                    study_date=_DATES[number],
                    liver_response=Response(liver),
                    overall=Response(overall),
                )
                for number, liver, overall in visits
            ]
    return tuple(rows)


HCC_COURSE = Scenario(
    name="hcc-course",
    summary="reference course: one patient, eleven studies, four treatment phases",
    patients=(
        PatientPlan(
            patient_id=_PATIENT,
            studies=_studies(),
            lesions=_LESIONS,
            large_left_lobe=True,
            treatments=_treatments(),
            markers=_markers(),
            findings=_findings(),
            last_contact_date=_DATES[-1],
            expected=_expected(),
            expected_targets=1,
        ),
    ),
)
