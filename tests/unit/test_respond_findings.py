"""What readers reported beside the lesions: the sentence, the words and the flags that each report gives."""

from dataclasses import replace
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Contribution,
    Cytology,
    Finding,
    FindingKind,
    FindingStatus,
    LesionRole,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    Response,
    StudyRecord,
)
from mrresponse.respond import RespondSettings, contributions, respond
from mrresponse.respond.settings import ProbabilityMethod
from tests.readings import on, reading, treatments_from

PRESENT, NEW, WORSE, STABLE, GONE = FindingStatus
BONE, NODE = FindingKind.EXTRAHEPATIC_LESION, FindingKind.LYMPH_NODE
VEIN, ASCITES, EFFUSION = FindingKind.VEIN_THROMBUS, FindingKind.ASCITES, FindingKind.EFFUSION
POSITIVE, NEGATIVE = {"cytology": Cytology.POSITIVE}, {"cytology": Cytology.NEGATIVE}
ILIUM, PORTA = {"site": "ilium"}, {"site": "porta hepatis"}
Said = tuple[int, FindingKind, FindingStatus, dict[str, Any]]


def lesion(number: int, name: str = "L01", size: float = 30.0, **more: Any) -> Measurement:
    return reading(number, name, size, **{"viable_longest_diameter_mm": size, **more})


def findings(*said: Said) -> tuple[Finding, ...]:
    return tuple(
        Finding(patient_id="P", date=on(day), kind=kind, status=status, **more)
        for day, kind, status, more in said
    )


def settings(criterion: str) -> RespondSettings:
    return RespondSettings(criteria=(criterion,), probability=ProbabilityMethod.NONE)


def rows(*said: Said, criterion: str = "RECIST 1.1", unread: tuple[int, ...] = ()) -> list[Assessment]:
    """Return the follow-up rows of a patient with one stable target, read every 60 days."""
    studies = [
        StudyRecord(patient_id="P", study_date=on(day), lesions_assessable=day not in unread)
        for day in (0, 60, 120)
    ]
    measured = [lesion(day) for day in (0, 60, 120) if day not in unread]
    patient = Patient(patient_id="P", findings=findings(*said))
    return [
        row
        for row in respond(patient, studies, measured, settings(criterion)).assessments
        if not row.is_baseline
    ]


CASES: list[tuple[tuple[Said, ...], str, tuple[str, ...], str]] = [
    # what was reported; then of the visit on day 60 the reason behind the target, the flags, the response
    ((), "new lesions none", (), "SD"),
    # fluid is disease by its cytology
    (((60, ASCITES, NEW, {}),), "new lesions none", ("cytology_missing",), "SD"),
    (((60, ASCITES, WORSE, NEGATIVE),), "new lesions none", ("cytology_missing",), "SD"),
    (((60, ASCITES, PRESENT, {}),), "new lesions none", (), "SD"),
    (((60, ASCITES, GONE, {}),), "new lesions none", (), "SD"),
    (((60, EFFUSION, STABLE, {}),), "new lesions none", (), "SD"),
    (
        ((60, EFFUSION, NEW, {**POSITIVE, "site": "pleura", "size_mm": 30.0, "author": "R"}),),
        "new lesions definite, effusion pleura 30.0 mm new, cytology positive (2024-03-01 by R)", (), "PD",
    ),
    (
        ((0, ASCITES, PRESENT, POSITIVE), (60, ASCITES, WORSE, {})),
        "non-target NON-CR/NON-PD, persists: ascites progressing (2024-03-01); new lesions none",
        ("cytology_missing",), "SD",
    ),
    (
        ((0, ASCITES, PRESENT, POSITIVE), (60, ASCITES, NEW, NEGATIVE)),
        "non-target NON-CR/NON-PD, persists: ascites new, cytology negative (2024-03-01); new lesions none",
        ("cytology_missing",), "SD",
    ),
    (
        ((0, ASCITES, PRESENT, POSITIVE), (60, ASCITES, WORSE, POSITIVE)),
        "non-target PD, unequivocal progression: ascites progressing, cytology positive (2024-03-01); "
        "new lesions none", (), "PD",
    ),
    (
        ((0, ASCITES, PRESENT, POSITIVE), (60, ASCITES, STABLE, {})),
        "non-target NON-CR/NON-PD, persists: ascites stable (2024-03-01); new lesions none", (), "SD",
    ),
    (
        ((0, ASCITES, PRESENT, POSITIVE), (60, ASCITES, GONE, {})),
        "non-target CR, gone: ascites gone (2024-03-01); new lesions none", (), "SD",
    ),
    (
        ((0, ASCITES, PRESENT, POSITIVE),),
        "non-target NE, not assessed: ascites not reported at this visit; new lesions none", (), "SD",
    ),
    (((0, ASCITES, PRESENT, NEGATIVE), (60, ASCITES, STABLE, {})), "new lesions none", (), "SD"),
    (
        ((0, ASCITES, PRESENT, NEGATIVE), (60, ASCITES, PRESENT, POSITIVE)),
        "new lesions equivocal, ascites present, cytology positive (2024-03-01)",
        ("new_lesion_equivocal", "finding_without_baseline"), "SD",
    ),
    # other kinds are disease as they stand
    (((60, FindingKind.OTHER, NEW, {"site": "spleen"}),), "new lesions none", ("finding_not_counted",), "SD"),
    (
        ((60, BONE, PRESENT, ILIUM),), "new lesions equivocal, extrahepatic lesion ilium present (2024-03-01)",
        ("new_lesion_equivocal", "finding_without_baseline"), "SD",
    ),
    (
        ((60, BONE, STABLE, ILIUM),), "new lesions equivocal, extrahepatic lesion ilium stable (2024-03-01)",
        ("new_lesion_equivocal", "finding_without_baseline"), "SD",
    ),
    (((60, BONE, GONE, ILIUM),), "new lesions none", (), "SD"),
    # the case of a site does not matter, its kind does
    (
        ((0, BONE, NEW, ILIUM), (60, BONE, STABLE, {"site": "Ilium"})),
        "non-target NON-CR/NON-PD, persists: extrahepatic lesion Ilium stable (2024-03-01); new lesions none", (),
        "SD",
    ),
    (
        ((0, VEIN, PRESENT, ILIUM), (60, BONE, NEW, ILIUM)),
        "non-target NE, not assessed: vein thrombus ilium not reported at this visit; new lesions definite, "
        "extrahepatic lesion ilium new (2024-03-01)", (), "PD",
    ),
    # what was gone at the baseline is new when it is back
    (
        ((-30, BONE, NEW, ILIUM), (0, BONE, GONE, ILIUM), (60, BONE, NEW, ILIUM)),
        "new lesions definite, extrahepatic lesion ilium new (2024-03-01)", (), "PD",
    ),
    # nodes by their size, where it is given
    (((60, NODE, NEW, {"size_mm": 9.9}),), "new lesions none", ("finding_not_counted",), "SD"),
    (((60, NODE, WORSE, {"size_mm": 9.9}),), "new lesions none", ("finding_not_counted",), "SD"),
    (((60, NODE, PRESENT, {"size_mm": 9.9}),), "new lesions none", (), "SD"),
    (
        ((60, NODE, NEW, {"size_mm": 10.0}),), "new lesions definite, lymph node 10.0 mm new (2024-03-01)", (), "PD",
    ),
    (((60, NODE, NEW, PORTA),), "new lesions definite, lymph node porta hepatis new (2024-03-01)", (), "PD"),
    (
        ((0, NODE, PRESENT, {**PORTA, "size_mm": 15.0}), (60, NODE, STABLE, {**PORTA, "size_mm": 15.0})),
        "non-target NON-CR/NON-PD, persists: lymph node porta hepatis 15.0 mm stable (2024-03-01); "
        "new lesions none", (), "SD",
    ),
]  # fmt: skip


def behind_the_target(row: Assessment) -> str:
    return row.reason.split("[L01 30.0 mm]; ")[1].split("; the liver alone")[0]


@pytest.mark.parametrize(("said", "reason", "flags", "word"), CASES)
def test_a_report_gives_its_component_its_sentence_and_its_flags(
    said: tuple[Said, ...], reason: str, flags: tuple[str, ...], word: str
) -> None:
    row = rows(*said)[0]
    assert (behind_the_target(row), row.flags, row.overall) == (reason, flags, word)


@pytest.mark.parametrize(
    ("size", "known", "reason"),
    [
        (19.9, False, "new lesions none"),
        (
            20.0, True,
            "non-target NE, not assessed: lymph node porta hepatis not reported at this visit; new lesions none",
        ),
    ],
)  # fmt: skip
def test_under_criteria_of_the_liver_a_reported_node_of_the_porta_hepatis_is_disease_from_20_mm(
    size: float, known: bool, reason: str
) -> None:
    said = (0, NODE, PRESENT, {**PORTA, "size_mm": size})
    assert behind_the_target(rows(said, criterion="mRECIST")[0]) == reason
    new = (60, NODE, NEW, {**PORTA, "size_mm": size})
    assert rows(new, criterion="mRECIST")[0].new_lesions == ("definite" if known else "none")
    assert rows(new)[0].new_lesions == "definite"


@pytest.mark.parametrize(
    ("said", "unread", "reason"),
    [
        ((), (), "new lesions definite, extrahepatic lesion ilium first reported 2024-03-01"),
        (
            ((120, BONE, STABLE, ILIUM),),
            (),
            "new lesions definite, extrahepatic lesion ilium stable (2024-04-30)",
        ),
        (((120, BONE, GONE, ILIUM),), (), "new lesions none"),
        (
            ((120, BONE, WORSE, ILIUM),),
            (),
            "non-target PD, unequivocal progression: extrahepatic lesion ilium progressing (2024-04-30); "
            "new lesions none",
        ),
        ((), (120,), "new lesions not assessed"),
    ],
)
def test_new_disease_stays_new_until_it_is_reported_gone(
    said: tuple[Said, ...], unread: tuple[int, ...], reason: str
) -> None:
    row = rows((60, BONE, NEW, ILIUM), *said, unread=unread)[1]
    assert row.reason.split("; the liver alone")[0].endswith(f"; {reason}")


def test_two_reports_of_one_visit_stand_in_the_order_of_their_kind_and_place() -> None:
    said = (
        (60, VEIN, NEW, {"site": "portal vein"}),
        (60, BONE, NEW, {"site": "rib"}),
        (60, BONE, NEW, ILIUM),
    )
    assert behind_the_target(rows(*said)[0]) == (
        "new lesions definite, extrahepatic lesion ilium new (2024-03-01); extrahepatic lesion rib new (2024-03-01); "
        "vein thrombus portal vein new (2024-03-01)"
    )


def test_every_column_of_what_lesions_and_reports_give_to_each_visit() -> None:
    lung = {"organ": "lung"}
    measured = [
        lesion(0), lesion(0, "L02", 9.0, **lung), lesion(60, size=20.0), lesion(60, "L02", 9.5, **lung),
        lesion(60, "L03", 15.0, **lung),
    ]  # fmt: skip
    studies = [
        StudyRecord(patient_id="P", study_date=on(0)),
        StudyRecord(patient_id="P", study_date=on(60)),
        StudyRecord(patient_id="P", study_date=on(90), lesions_assessable=False, reason="motion"),
    ]
    patient = Patient(
        patient_id="P",
        findings=findings(
            (0, VEIN, PRESENT, {"site": "portal vein"}),
            (60, VEIN, STABLE, {"site": "Portal vein"}),
            (60, BONE, NEW, ILIUM),
            (90, BONE, GONE, ILIUM),
            (90, NODE, PRESENT, {"site": "axilla", "size_mm": 12.0}),
        ),
    )
    chosen = settings("RECIST 1.1")
    result = respond(patient, studies, measured, chosen)
    common: dict[str, Any] = {
        "patient_id": "P", "treatment_phase": "course", "criterion": "RECIST 1.1", "reader": "A", "unit": "mm",
    }  # fmt: skip

    def of_lesion(day: int, name: str, role: LesionRole, value: float | None, **more: Any) -> Contribution:
        given = {"quantity": "longest diameter", "state": MeasurementState.MEASURED, "organ": "lung", **more}
        return Contribution(study_date=on(day), lesion_id=name, role=role, value=value, is_baseline=day == 0,
                            source=MeasurementSource.MASK, **common, **given)  # fmt: skip

    def of_report(day: int, name: str, role: LesionRole, note: str, **more: Any) -> Contribution:
        given = {"quantity": "finding", "state": MeasurementState.MEASURED, **more}
        return Contribution(study_date=on(day), lesion_id=name, role=role, note=note, is_baseline=day == 0,
                            source=MeasurementSource.READER, **common, **given)  # fmt: skip

    liver, unread = {"organ": "liver"}, {"organ": "", "state": None, "note": "lesions not assessable: motion"}
    vein, bone, node = "vein thrombus portal vein", "extrahepatic lesion ilium", "lymph node axilla"
    at_vein, at_bone = {"organ": "portal vein"}, {"organ": "ilium"}
    new = LesionRole.NEW
    target, non_target = LesionRole.TARGET, LesionRole.NON_TARGET
    assert contributions(patient, studies, measured, result, chosen) == (
        of_lesion(0, "L01", target, 30.0, **liver),
        of_lesion(0, "L02", non_target, 9.0),
        of_lesion(60, "L01", target, 20.0, **liver),
        of_lesion(60, "L02", non_target, 9.5),
        of_lesion(60, "L03", new, 15.0, new_lesion_status="definite"),
        of_lesion(90, "L01", target, None, **unread),
        of_lesion(90, "L02", non_target, None, **unread),
        of_report(0, vein, non_target, "", **at_vein),
        of_report(60, bone, new, f"{bone} new (2024-03-01)", new_lesion_status="definite", **at_bone),
        of_report(60, vein, non_target, "vein thrombus Portal vein stable (2024-03-01)", **at_vein),
        of_report(90, node, new, f"{node} 12.0 mm present (2024-03-31)", new_lesion_status="equivocal", organ="axilla"),
        of_report(90, vein, non_target, f"{vein} not reported at this visit", state=MeasurementState.NOT_ASSESSED,
                  **at_vein),
    )  # fmt: skip
    assert [row.overall for row in result.assessments] == [None, Response.PD, Response.NE]


def test_a_report_that_is_gone_is_normal_and_one_that_grows_is_not_new() -> None:
    said = findings((0, VEIN, PRESENT, {}), (60, VEIN, GONE, {}), (120, VEIN, WORSE, {}))
    patient = Patient(patient_id="P", findings=said)
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60, 120)]
    measured = [lesion(day) for day in (0, 60, 120)]
    chosen = settings("RECIST 1.1")
    result = respond(patient, studies, measured, chosen)
    found = [
        (row.role, row.state, row.is_normal, row.new_lesion_status, row.value)
        for row in contributions(patient, studies, measured, result, chosen)
        if row.quantity == "finding"
    ]
    assert found == [
        (LesionRole.NON_TARGET, MeasurementState.MEASURED, False, "", None),
        (LesionRole.NON_TARGET, MeasurementState.ABSENT, True, "", None),
        (LesionRole.NON_TARGET, MeasurementState.MEASURED, False, "", None),
    ]


def test_disease_that_progresses_unannounced_is_non_target_disease() -> None:
    said = findings((60, BONE, WORSE, ILIUM))
    patient = Patient(patient_id="P", findings=said)
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60)]
    measured = [lesion(day) for day in (0, 60)]
    chosen = settings("RECIST 1.1")
    result = respond(patient, studies, measured, chosen)
    (row,) = [r for r in contributions(patient, studies, measured, result, chosen) if r.quantity == "finding"]
    assert (row.lesion_id, row.role) == ("extrahepatic lesion ilium", LesionRole.NON_TARGET)
    assert result.assessments[1].non_target == "PD"


def test_a_report_on_a_day_of_its_own_is_no_missed_scan() -> None:
    lung = {"site": "lung"}
    said = findings(*((day, BONE, PRESENT, lung) for day in (0, 60, 100, 140, 240)))
    sizes = {0: 30.0, 60: 30.0, 180: 30.0, 240: 50.0}
    measured = [lesion(day, size=size) for day, size in sizes.items()]
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in sizes]
    chosen = settings("RECIST 1.1")
    # the study of day 180 could not be read, and on days 100 and 140 the liver was not imaged
    studies[2] = StudyRecord(patient_id="P", study_date=on(180), lesions_assessable=False, reason="motion")
    patient = Patient(patient_id="P", findings=said)
    result = respond(patient, studies, measured, chosen)
    assert [row.overall for row in result.assessments] == [None, "SD", "NE", "NE", "NE", "PD"]
    for row in result.summaries:
        assert (row.progression_free_days, row.progression_free_event, row.event) == (
            240,
            True,
            "progression",
        )
    # one scan that could not be read may lie between two that confirm a response, whatever was reported meanwhile
    measured = [lesion(day, size=30.0 if day == 0 else 20.0) for day in sizes]
    confirmed = respond(patient, studies, measured, chosen).summaries
    assert [row.confirmed_best_overall_response for row in confirmed] == ["PR", "PR"]


def test_without_a_scan_after_the_baseline_a_report_alone_is_no_best_response() -> None:
    studies = [StudyRecord(patient_id="P", study_date=on(0))]
    chosen = settings("RECIST 1.1")
    best = {}
    for status in (PRESENT, WORSE):
        said = findings((0, BONE, PRESENT, ILIUM), (100, BONE, status, ILIUM))
        result = respond(Patient(patient_id="P", findings=said), studies, [lesion(0)], chosen)
        best[status] = {row.basis: row.best_overall_response for row in result.summaries}
    assert best == {PRESENT: {"liver": None, "overall": None}, WORSE: {"liver": None, "overall": "PD"}}


@pytest.mark.parametrize("status", [PRESENT, NEW, WORSE])
def test_what_was_reported_before_the_treatment_began_is_known_disease(status: FindingStatus) -> None:
    # the baseline is the study of day 0; that of day 20 could not be read, and on day 35 there was a report alone
    studies = [
        StudyRecord(patient_id="P", study_date=on(day), lesions_assessable=day != 20) for day in (0, 20, 100)
    ]
    rib = {"site": "rib"}
    said = findings(
        (20, BONE, status, ILIUM),
        (50, BONE, status, rib),
        (100, BONE, STABLE, ILIUM),
        (100, BONE, STABLE, rib),
    )
    patient = Patient(patient_id="P", findings=said, treatments=treatments_from(51))
    chosen = replace(settings("RECIST 1.1"), baseline_fallback_before_days=60)
    measured = [lesion(0), lesion(100)]
    result = respond(patient, studies, measured, chosen)
    first, then = (row for row in result.assessments if row.treatment_phase == "from 51")
    ilium, bone = "extrahepatic lesion ilium", "extrahepatic lesion rib"
    assert first.reason.endswith(f"; non-targets: {ilium}, {bone}")
    assert (then.non_target, then.new_lesions, then.overall) == ("NON-CR/NON-PD", "none", "SD")
    assert "finding_without_baseline" not in then.flags
    found = {
        (row.study_date, row.lesion_id, row.role)
        for row in contributions(patient, studies, measured, result, chosen)
        if row.quantity == "finding" and row.treatment_phase == "from 51"
    }
    assert found == {(on(day), name, LesionRole.NON_TARGET) for day in (0, 100) for name in (ilium, bone)}


@pytest.mark.parametrize(
    ("size", "status", "response", "overall"),
    [
        (10.0, PRESENT, "NON-CR/NON-PD", "PR"),
        (9.9, PRESENT, "CR", "CR"),
        (9.9, STABLE, "CR", "CR"),
        # whatever its size, growth that a reader calls unequivocal is progression
        (9.9, WORSE, "PD", "PD"),
        (None, PRESENT, "NON-CR/NON-PD", "PR"),
    ],
)
def test_a_known_node_of_normal_size_is_gone(
    size: float | None, status: FindingStatus, response: str, overall: str
) -> None:
    groin = {"site": "groin"}
    said = findings(
        (0, NODE, PRESENT, {**groin, "size_mm": 14.0}), (60, NODE, status, {**groin, "size_mm": size})
    )
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60)]
    measured = [lesion(0), lesion(60, size=0.0, state=MeasurementState.ABSENT)]
    patient = Patient(patient_id="P", findings=said)
    (_, row) = respond(patient, studies, measured, settings("RECIST 1.1")).assessments
    assert (row.non_target, row.overall) == (response, overall)
    words = "gone: lymph node groin 9.9 mm present (2024-03-01), of normal size"
    assert (words in row.reason) is ((size, status) == (9.9, PRESENT))


def test_a_node_that_is_normal_at_the_baseline_is_no_disease_there() -> None:
    groin = {"site": "groin"}
    said = findings(
        (-60, NODE, PRESENT, {**groin, "size_mm": 14.0}), (0, NODE, STABLE, {**groin, "size_mm": 9.0})
    )
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (-60, 0, 60)]
    measured = [lesion(day) for day in (-60, 0, 60)]
    patient = Patient(patient_id="P", findings=said, treatments=treatments_from(1))
    result = respond(patient, studies, measured, settings("RECIST 1.1"))
    rows = [row for row in result.assessments if row.treatment_phase == "from 1"]
    assert [row.non_target for row in rows] == [None, None]


def given(
    studies: tuple[StudyRecord, ...], measured: tuple[Measurement, ...], *said: Said, **more: Any
) -> tuple[Contribution, ...]:
    patient = Patient(patient_id="P", findings=findings(*said), **more)
    chosen = settings("RECIST 1.1")
    return contributions(patient, studies, measured, respond(patient, studies, measured, chosen), chosen)


STUDIES = tuple(StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60, 120))
MEASURED = tuple(lesion(day) for day in (0, 60, 120))


def test_a_report_keeps_the_role_that_it_had_first() -> None:
    said = (
        (60, BONE, NEW, ILIUM),
        (120, BONE, WORSE, ILIUM),
        # a node of 12 mm is disease, one of 9 mm is none
        (0, NODE, PRESENT, {"site": "groin", "size_mm": 12.0}),
        (0, NODE, PRESENT, {"site": "axilla", "size_mm": 9.0}),
    )
    found = [
        (row.study_date, row.lesion_id, row.role, row.new_lesion_status)
        for row in given(STUDIES, MEASURED, *said)
        if row.quantity == "finding"
    ]
    bone, node = "extrahepatic lesion ilium", "lymph node groin"
    assert found == [
        (on(0), node, LesionRole.NON_TARGET, ""),
        (on(60), bone, LesionRole.NEW, "definite"),
        (on(60), node, LesionRole.NON_TARGET, ""),
        (on(120), bone, LesionRole.NEW, ""),
        (on(120), node, LesionRole.NON_TARGET, ""),
    ]


def test_known_disease_that_is_reported_as_new_stays_non_target_disease() -> None:
    rows = given(STUDIES[:2], MEASURED[:2], (0, VEIN, PRESENT, {}), (60, VEIN, NEW, {}))
    found = [(row.role, row.new_lesion_status) for row in rows if row.quantity == "finding"]
    assert found == [(LesionRole.NON_TARGET, "")] * 2


def test_a_phase_without_a_baseline_has_neither_lesions_nor_reports() -> None:
    assert given(STUDIES, MEASURED, (60, BONE, NEW, ILIUM), treatments=treatments_from(-200)) == ()
    later = given(STUDIES, MEASURED, treatments=treatments_from(-200, 0))
    assert {row.treatment_phase for row in later} == {"from 0", "course"}


def under_treatment(
    start: int, days: tuple[int, ...], *said: Said
) -> list[tuple[int, str | None, str | None, str]]:
    """Return day, non-target response, response and reason of the rows of a treatment with a stable target."""
    patient = Patient(patient_id="P", treatments=treatments_from(start), findings=findings(*said))
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in days]
    result = respond(patient, studies, [lesion(day) for day in days], settings("RECIST 1.1"))
    return [
        ((row.study_date - on(0)).days, row.non_target, row.overall, row.reason)
        for row in result.assessments
        if row.treatment_phase == f"from {start}"
    ]


def test_what_was_reported_before_a_treatment_is_no_news_of_the_study_after_it() -> None:
    # day 20 is nearer to the study of day 25, the first under the treatment
    baseline, first, _ = under_treatment(24, (0, 25, 90), (20, BONE, PRESENT, ILIUM))
    assert baseline[3].endswith("non-targets: extrahepatic lesion ilium")
    assert first[1:3] == ("NE", "SD")


@pytest.mark.parametrize(
    ("day", "status", "expected"),
    [
        # a study of the first week could be the baseline too
        (7, NEW, [(0, None, None), (60, "NE", "SD")]),
        (8, NEW, [(0, None, None), (8, None, "PD"), (60, None, "PD")]),
        (8, WORSE, [(0, None, None), (8, "PD", "PD"), (60, None, "SD")]),
        # what is there, or stable, was not otherwise before
        (8, PRESENT, [(0, None, None), (60, "NE", "SD")]),
        (32, NEW, [(0, None, None), (60, None, "PD")]),
    ],
)
def test_what_changed_under_a_treatment_was_not_so_at_its_baseline(
    day: int, status: FindingStatus, expected: list[tuple[int, str | None, str | None]]
) -> None:
    found = under_treatment(0, (0, 60), (day, BONE, status, ILIUM))
    assert [row[:3] for row in found] == expected


def test_what_was_reported_before_a_treatment_is_part_of_a_baseline_after_its_start() -> None:
    baseline, follow_up = under_treatment(24, (28, 90), (20, BONE, PRESENT, ILIUM))
    assert baseline[0] == 28
    assert baseline[3].endswith("non-targets: extrahepatic lesion ilium")
    assert follow_up[:3] == (90, "NE", "SD")


def test_what_is_gone_under_a_treatment_was_there_at_its_baseline() -> None:
    said = ((0, BONE, PRESENT, ILIUM), (20, BONE, GONE, ILIUM), (60, BONE, GONE, ILIUM))
    found = under_treatment(0, (0, 60), *said)
    assert [row[:3] for row in found] == [(0, None, None), (20, "CR", "NE"), (60, "CR", "SD")]
