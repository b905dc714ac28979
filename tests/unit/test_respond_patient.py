"""From measurements to rows: roles, baselines, findings, readers, new lesions."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Affects,
    Agent,
    Assessment,
    Cytology,
    Finding,
    FindingKind,
    FindingStatus,
    LesionRole,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    Response,
    ResponseResult,
    Study,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.errors import DataError
from mrresponse.respond import RespondSettings, contributions, respond

DAY = date(2024, 1, 1)
LATER, LAST = DAY + timedelta(days=60), DAY + timedelta(days=120)


def lesion(lesion_id: str, day: date, size: float | None, **more: Any) -> Measurement:
    values: dict[str, Any] = {
        "state": MeasurementState.MEASURED if size else MeasurementState.ABSENT,
        "longest_diameter_mm": size,
        "perpendicular_diameter_mm": size,
        "viable_longest_diameter_mm": size,
        "reader": "A",
        "source": MeasurementSource.MASK,
        **more,
    }
    return Measurement(patient_id="P", lesion_id=lesion_id, study_date=day, **values)


def missing(
    lesion_id: str, day: date, state: MeasurementState = MeasurementState.NOT_ASSESSED
) -> Measurement:
    return Measurement(
        patient_id="P", lesion_id=lesion_id, study_date=day, reader="A", state=state, reason="motion",
        source=MeasurementSource.MASK,
    )  # fmt: skip


def run(measurements: list[Measurement], **more: Any) -> ResponseResult:
    settings = more.pop("settings", RespondSettings())
    days = more.pop("days", sorted({m.study_date for m in measurements}))
    studies = more.pop(
        "studies", [StudyRecord(patient_id="P", study_date=day, lesions_assessable=True) for day in days]
    )
    return respond(Patient(patient_id="P", **more), studies, measurements, settings)


def row(result: ResponseResult, day: date, criterion: str = "mRECIST", phase: str = "course") -> Assessment:
    (found,) = [
        a
        for a in result.assessments
        if (a.study_date, a.criterion, a.treatment_phase, a.is_baseline) == (day, criterion, phase, False)
    ]
    return found


def roles(result: ResponseResult, criterion: str = "mRECIST") -> dict[str, tuple[LesionRole, str]]:
    return {r.lesion_id: (r.role, r.reason) for r in result.roles if r.criterion == criterion}


def treatment(
    phase: str, start: date, kind: TreatmentKind = TreatmentKind.SYSTEMIC, **more: Any
) -> Treatment:
    return Treatment(patient_id="P", treatment_phase=phase, name="x", kind=kind, start_date=start, **more)


def finding(day: date, kind: FindingKind, status: FindingStatus, **more: Any) -> Finding:
    return Finding(patient_id="P", date=day, kind=kind, status=status, **more)


def test_the_two_largest_eligible_liver_lesions_are_targets_and_every_role_has_a_reason() -> None:
    found = roles(
        run(
            [
                lesion("L01", DAY, 20.0),
                lesion("L02", DAY, 40.0),
                lesion("L03", DAY, 30.0),
                lesion("L04", DAY, 9.9),
                lesion("L05", DAY, 50.0, viable_longest_diameter_mm=9.0),
                lesion(
                    "L06", DAY, 60.0, viable_longest_diameter_mm=0.0, viable_state=MeasurementState.ABSENT
                ),
                lesion("L07", DAY, 70.0, well_delineated=False),
                lesion("L08", DAY, 80.0, organ="portal_vein"),
                lesion("L09", DAY, 30.0, slice_thickness_mm=16.0),
                lesion("L10", DAY, 35.0, pattern="haemangioma-like"),
                missing("L11", DAY),
            ]
        )
    )
    targets = {name for name, (role, _) in found.items() if role is LesionRole.TARGET}
    assert targets == {"L02", "L03"}
    assert "the limit of 2 targets" in found["L01"][1]
    assert found["L04"][1] == "longest diameter 9.9 mm < 10.0 mm"
    assert found["L05"][1] == "viable diameter 9.0 mm < 10.0 mm"
    assert found["L06"][1] == "no arterial enhancement"
    assert found["L07"][1] == "not well delineated"
    assert found["L08"][1] == "tumour in a vein is not measurable"
    assert found["L09"][1] == "longest diameter 30.0 mm < 32.0 mm"
    assert found["L10"][0] is LesionRole.EXCLUDED
    assert found["L11"] == (LesionRole.NON_TARGET, "not measured at baseline: motion")


def test_at_most_five_targets_in_all_and_nodes_by_short_axis() -> None:
    organs = [
        ("lung", False),
        ("lung", False),
        ("lung", False),
        ("bone", False),
        ("nodes", True),
        ("nodes", True),
    ]
    rows = [
        lesion(f"L{n}", DAY, 30.0 - n, organ=organ, is_node=node, perpendicular_diameter_mm=16.0 - n / 10)
        for n, (organ, node) in enumerate(organs)
    ]
    rows += [lesion("L8", DAY, 25.0), lesion("L9", DAY, 14.0, is_node=True, perpendicular_diameter_mm=9.0)]
    rows += [lesion("L7", DAY, 20.0, is_node=True, perpendicular_diameter_mm=12.0)]
    found = roles(run(rows), "RECIST 1.1")
    assert sum(role is LesionRole.TARGET for role, _ in found.values()) == 5
    assert found["L2"][1].endswith("the limit of 2 targets in the lung is reached")
    assert found["L5"][1].endswith("the limit of 5 targets is reached")
    assert found["L7"][1] == "node with short axis 12.0 mm < 15.0 mm"
    assert "L9" not in found


def test_a_treated_lesion_is_a_recist_target_only_while_it_progresses() -> None:
    treated = [lesion("L01", DAY, 20.0, previously_treated=True)]
    assert roles(run(treated), "RECIST 1.1")["L01"][1] == "treated before, progression since then not shown"
    assert roles(run(treated))["L01"][0] is LesionRole.TARGET
    grown = [
        lesion("L01", DAY - timedelta(days=90), 15.0, previously_treated=True),
        lesion("L01", DAY, 20.0, previously_treated=True),
    ]
    result = run(grown, treatments=(treatment("second", DAY),))
    assert roles(result, "RECIST 1.1")["L01"][0] is LesionRole.TARGET


@pytest.mark.parametrize(
    ("scan_days", "baseline", "flag"),
    [
        ((-40, -28, 60), -28, ""),
        ((-20, 0, 60), 0, ""),
        ((-42, 60), -42, "baseline_fallback"),
        ((7, 60), 7, "baseline_fallback"),
        ((-43, 8, 60), None, "no_baseline"),
    ],
)
def test_baseline_is_the_last_scan_of_the_window_or_a_flagged_fallback(
    scan_days: tuple[int, ...], baseline: int | None, flag: str
) -> None:
    days = [DAY + timedelta(days=n) for n in scan_days]
    result = run([lesion("L01", day, 30.0) for day in days], treatments=(treatment("first", DAY),))
    rows = [a for a in result.assessments if a.treatment_phase == "first" and a.criterion == "mRECIST"]
    found = [a.study_date for a in rows if a.is_baseline]
    assert found == ([] if baseline is None else [DAY + timedelta(days=baseline)])
    if baseline is None:
        assert {a.overall for a in rows} == {Response.NE}
        assert all("no_baseline" in a.flags for a in rows)
    else:
        assert rows[0].flags == ((flag,) if flag else ())


def test_a_scan_that_could_not_be_read_is_no_baseline_and_not_evaluable_later() -> None:
    days = [DAY - timedelta(days=20), DAY - timedelta(days=5), LATER]
    studies = [
        StudyRecord(patient_id="P", study_date=day, lesions_assessable=day != days[1], reason="ghosting")
        for day in days
    ]
    measurements = [lesion("L01", days[0], 30.0), missing("L01", days[1]), lesion("L01", LATER, 20.0)]
    result = run(measurements, studies=studies, treatments=(treatment("first", DAY),))
    (first,) = [p for p in result.phases if p.name == "first"]
    assert first.baseline_date == days[0]
    assert row(result, LATER, phase="first").overall is Response.PR


def test_an_unreadable_follow_up_is_not_evaluable_with_its_reason() -> None:
    studies = [
        StudyRecord(patient_id="P", study_date=DAY, lesions_assessable=True, model="net"),
        StudyRecord(
            patient_id="P",
            study_date=LATER,
            lesions_assessable=False,
            reason="no T1 contrast phase",
            model="net",
        ),
    ]
    found = row(run([lesion("L01", DAY, 30.0)], studies=studies), LATER)
    assert (found.target, found.new_lesions, found.overall) == (Response.NE, "not assessed", Response.NE)
    assert "no T1 contrast phase" in found.reason
    empty = respond(Patient(patient_id="P"), studies, [], RespondSettings())
    assert row(empty, LATER).overall is Response.NE
    assert row(empty, LATER).reader == "net"


def test_without_an_arterial_phase_viable_criteria_have_no_baseline_and_recist_has() -> None:
    more = {
        "viable_longest_diameter_mm": None,
        "viable_state": MeasurementState.NOT_ASSESSED,
        "viable_reason": "no ART",
    }
    result = run([lesion("L01", DAY, 30.0, **more), lesion("L01", LATER, 20.0, **more)])
    assert row(result, LATER, "RECIST 1.1").overall is Response.PR
    assert row(result, LATER).overall is Response.NE
    (baseline,) = [a for a in result.assessments if a.criterion == "mRECIST" and a.is_baseline]
    assert "L01 viability not assessed: no ART" in baseline.reason


def test_a_lesion_the_network_lost_is_never_a_complete_response() -> None:
    result = run([lesion("L01", DAY, 30.0), missing("L01", LATER, MeasurementState.NOT_FOUND)])
    found = row(result, LATER)
    assert found.overall is Response.NE
    assert "not_found" in found.flags
    assert any(flag.code == "not_found" and flag.study_date == LATER for flag in result.flags)


def test_too_small_counts_five_millimetres_and_absent_zero() -> None:
    small = Measurement(
        patient_id="P", lesion_id="L01", study_date=LATER, reader="A", state=MeasurementState.TOO_SMALL,
        viable_state=MeasurementState.TOO_SMALL, source=MeasurementSource.MASK,
    )  # fmt: skip
    result = run([lesion("L01", DAY, 30.0), small, lesion("L01", LAST, None)])
    assert row(result, LATER).current_burden == 5.0
    assert (row(result, LAST).current_burden, row(result, LAST).overall) == (0.0, Response.CR)


def test_merged_targets_count_once_and_only_where_the_parent_is_a_target() -> None:
    rows = [lesion("L01", DAY, 20.0), lesion("L02", DAY, 15.0)]
    parent = lesion("L01", LATER, 33.0, state=MeasurementState.MERGED)
    child = replace(
        missing("L02", LATER, MeasurementState.MERGED), reason="merged into L01 and counted there"
    )
    found = row(run([*rows, parent, child]), LATER)
    assert (found.current_burden, found.overall) == (33.0, Response.SD)
    assert "merged" in found.flags
    elsewhere = replace(child, reason="merged into L09 and counted there")
    found = row(run([*rows, lesion("L01", LATER, 20.0), elsewhere]), LATER)
    assert found.overall is Response.NE
    assert "merged into L09" in found.reason


@pytest.mark.parametrize(
    ("kind", "status", "more", "overall", "liver"),
    [
        (FindingKind.EXTRAHEPATIC_LESION, FindingStatus.NEW, {}, Response.PD, Response.SD),
        (FindingKind.VEIN_THROMBUS, FindingStatus.NEW, {}, Response.PD, Response.PD),
        (FindingKind.VEIN_THROMBUS, FindingStatus.PROGRESSING, {}, Response.PD, Response.PD),
        (FindingKind.NON_TARGET, FindingStatus.PROGRESSING, {"site": "liver"}, Response.PD, Response.PD),
        (
            FindingKind.NON_TARGET,
            FindingStatus.PROGRESSING,
            {"affects": Affects.LIVER},
            Response.PD,
            Response.PD,
        ),
        (FindingKind.NON_TARGET, FindingStatus.PROGRESSING, {"site": "spleen"}, Response.PD, Response.SD),
        (FindingKind.ASCITES, FindingStatus.NEW, {}, Response.SD, Response.SD),
        (FindingKind.ASCITES, FindingStatus.NEW, {"cytology": Cytology.NEGATIVE}, Response.SD, Response.SD),
        (FindingKind.EFFUSION, FindingStatus.NEW, {"cytology": Cytology.POSITIVE}, Response.PD, Response.SD),
        (FindingKind.LYMPH_NODE, FindingStatus.NEW, {"size_mm": 9.0}, Response.SD, Response.SD),
        (FindingKind.LYMPH_NODE, FindingStatus.NEW, {"size_mm": 16.0}, Response.PD, Response.SD),
        (
            FindingKind.LYMPH_NODE,
            FindingStatus.NEW,
            {"size_mm": 16.0, "site": "porta hepatis"},
            Response.SD,
            Response.SD,
        ),
        (FindingKind.OTHER, FindingStatus.NEW, {}, Response.SD, Response.SD),
        (FindingKind.EXTRAHEPATIC_LESION, FindingStatus.PRESENT, {}, Response.SD, Response.SD),
    ],
)
def test_findings_enter_the_overall_and_where_they_belong_the_liver_response(
    kind: FindingKind, status: FindingStatus, more: dict[str, Any], overall: Response, liver: Response
) -> None:
    rows = [lesion("L01", DAY, 30.0), lesion("L01", LATER, 30.0)]
    said = finding(LATER + timedelta(days=20), kind, status, **more)
    found = row(run(rows, findings=(said,)), LATER)
    assert (found.overall, found.liver_response) == (overall, liver), found.reason


def test_a_finding_far_from_any_study_is_a_visit_of_its_own() -> None:
    when = LATER + timedelta(days=29)
    rows = [lesion("L01", DAY, 30.0), lesion("L01", LATER, 30.0)]
    result = run(
        rows, findings=(finding(when, FindingKind.EXTRAHEPATIC_LESION, FindingStatus.NEW, site="bone"),)
    )
    assert row(result, LATER).overall is Response.SD
    alone = row(result, when)
    assert (alone.target, alone.liver_response, alone.overall) == (Response.NE, Response.NE, Response.PD)


def test_a_finding_belongs_to_the_nearest_study() -> None:
    rows = [lesion("L01", day, 30.0) for day in (DAY, LATER, LATER + timedelta(days=20))]
    said = finding(LATER + timedelta(days=12), FindingKind.EXTRAHEPATIC_LESION, FindingStatus.NEW)
    result = run(rows, findings=(said,))
    assert row(result, LATER).overall is Response.SD
    assert row(result, LATER + timedelta(days=20)).overall is Response.PD


def test_a_metastasis_found_at_the_baseline_of_the_next_phase_is_not_new_there() -> None:
    rows = [lesion("L01", day, 30.0) for day in (DAY, LATER, LAST)]
    said = (
        finding(LATER, FindingKind.EXTRAHEPATIC_LESION, FindingStatus.NEW, site="bone"),
        finding(LAST, FindingKind.EXTRAHEPATIC_LESION, FindingStatus.GONE, site="Bone"),
    )
    phases = (treatment("one", DAY), treatment("two", LATER))
    result = run(rows, findings=said, treatments=phases)
    assert row(result, LATER, phase="one").overall is Response.PD
    second = row(result, LAST, phase="two")
    assert (second.overall, second.non_target, second.new_lesions) == (Response.SD, Response.CR, "none")
    course = row(result, LAST)
    assert (course.overall, course.after_progression) == (Response.SD, True)


@pytest.mark.parametrize(
    ("source", "status", "more", "word"),
    [
        (MeasurementSource.NETWORK, NewLesionStatus.CANDIDATE, {"aphe": True, "washout": True}, "candidate"),
        (MeasurementSource.NETWORK, NewLesionStatus.DEFINITE, {}, "definite"),
        (MeasurementSource.NETWORK, None, {}, "candidate"),
        (MeasurementSource.READER, NewLesionStatus.REJECTED, {"aphe": True, "washout": True}, "none"),
        (MeasurementSource.READER, NewLesionStatus.EQUIVOCAL, {"aphe": True, "washout": True}, "equivocal"),
        (MeasurementSource.MASK, None, {"aphe": True, "washout": True}, "definite"),
        (MeasurementSource.MASK, None, {"aphe": True, "washout": False}, "equivocal"),
        (MeasurementSource.MASK, None, {"pattern": "cyst-like"}, "none"),
        (MeasurementSource.MASK, None, {"organ": "lung"}, "definite"),
        (MeasurementSource.MASK, None, {"is_node": True, "perpendicular_diameter_mm": 9.0}, "none"),
        (MeasurementSource.MASK, None, {"is_node": True, "perpendicular_diameter_mm": 12.0}, "equivocal"),
        (MeasurementSource.MASK, None, {"is_node": True, "perpendicular_diameter_mm": 15.0}, "definite"),
    ],
)
def test_a_new_lesion_is_as_sure_as_its_source_and_pattern_make_it(
    source: MeasurementSource, status: NewLesionStatus | None, more: dict[str, Any], word: str
) -> None:
    new = lesion("L02", LATER, 16.0, source=source, new_lesion_status=status, **more)
    found = row(run([lesion("L01", DAY, 30.0), lesion("L01", LATER, 30.0), new]), LATER)
    assert found.new_lesions == word
    assert found.overall is (Response.PD if word == "definite" else Response.SD)


def test_a_lesion_known_but_not_seen_at_baseline_is_not_new() -> None:
    rows = [
        lesion("L01", DAY, 30.0),
        missing("L02", DAY),
        lesion("L01", LATER, 30.0),
        lesion("L02", LATER, 25.0),
    ]
    found = row(run(rows), LATER)
    assert (found.new_lesions, found.overall) == ("none", Response.SD)


def test_readers_are_assessed_side_by_side() -> None:
    rows = [lesion("L01", DAY, 30.0), lesion("L01", LATER, 20.0)]
    other = [replace(m, reader="B") for m in rows[:1]] + [lesion("L01", LATER, 29.0, reader="B")]
    result = run(rows + other)
    found = {
        (a.reader, a.overall) for a in result.assessments if a.criterion == "mRECIST" and not a.is_baseline
    }
    assert found == {("A", Response.PR), ("B", Response.SD)}


def test_a_reader_who_did_not_read_a_study_has_it_not_evaluable() -> None:
    rows = [lesion("L01", DAY, 30.0), lesion("L01", LATER, 20.0)]
    other = [lesion("L01", DAY, 30.0, reader="B", source=MeasurementSource.READER)]
    studies = [
        StudyRecord(patient_id="P", study_date=day, model="A", lesions_assessable=True)
        for day in (DAY, LATER)
    ]
    result = run(rows + other, studies=studies)
    (found,) = [
        a
        for a in result.assessments
        if a.reader == "B" and a.study_date == LATER and a.criterion == "mRECIST"
    ]
    assert found.overall is Response.NE
    assert "no measurement by B" in found.reason


def test_early_reads_and_another_agent_are_flagged() -> None:
    rows = [lesion("L01", day, 30.0) for day in (DAY, DAY + timedelta(days=8))] + [lesion("L01", LATER, 50.0)]
    phases = (
        treatment("one", DAY + timedelta(days=1), TreatmentKind.LOCOREGIONAL),
        treatment(
            "one", DAY + timedelta(days=1), TreatmentKind.RADIOTHERAPY, end_date=DAY + timedelta(days=3)
        ),
    )
    studies = [
        StudyRecord(patient_id="P", study_date=m.study_date, lesions_assessable=True, agent=agent)
        for m, agent in zip(rows, (Agent.EXTRACELLULAR, Agent.EXTRACELLULAR, Agent.GADOXETATE), strict=True)
    ]
    result = run(rows, studies=studies, treatments=phases)
    assert row(result, DAY + timedelta(days=8), phase="one").flags == ("early_after_locoregional",)
    later = row(result, LATER, phase="one")
    assert later.overall is Response.PD
    assert set(later.flags) == {"early_after_radiotherapy", "technique_changed"}


def test_a_phase_named_course_among_others_is_refused() -> None:
    phases = (treatment("course", DAY), treatment("two", LATER))
    with pytest.raises(DataError, match="kept for the whole course"):
        run([lesion("L01", DAY, 30.0)], treatments=phases)
    alone = run(
        [lesion("L01", DAY, 30.0), lesion("L01", LATER, 20.0)], treatments=(treatment("course", DAY),)
    )
    assert len(alone.assessments) == 4


def test_a_study_without_lesions_of_a_patient_without_disease_gives_ned() -> None:
    studies = [
        StudyRecord(patient_id="P", study_date=day, lesions_assessable=True, model="net")
        for day in (DAY, LATER)
    ]
    patient = Patient(
        patient_id="P", studies=tuple(Study(patient_id="P", study_date=day) for day in (DAY, LATER))
    )
    result = respond(patient, studies, [], RespondSettings())
    assert row(result, LATER).overall is Response.NED
    assert {s.best_overall_response for s in result.summaries} == {Response.NED}


def test_death_and_new_therapy_enter_the_summaries() -> None:
    rows = [lesion("L01", day, 30.0) for day in (DAY, LATER)]
    death = LATER + timedelta(days=30)
    summaries = {s.basis: s for s in run(rows, death_date=death).summaries if s.criterion == "mRECIST"}
    overall = summaries["overall"]
    assert (overall.progression_free_days, overall.time_to_progression_days) == (90, 60)
    assert overall.event.startswith("death; time to progression censored")
    assert overall.progression_date is None


def test_findings_stand_beside_the_lesions_in_what_each_gives_to_an_assessment() -> None:
    def finding(day: date, status: FindingStatus, site: str = "ilium", **more: Any) -> Finding:
        kind = more.pop("kind", FindingKind.EXTRAHEPATIC_LESION)
        return Finding(patient_id="P", date=day, kind=kind, status=status, site=site, **more)

    thrombus = {"kind": FindingKind.VEIN_THROMBUS, "site": "left portal vein"}
    patient = Patient(
        patient_id="P",
        findings=(
            finding(DAY, FindingStatus.PRESENT, **thrombus),
            finding(LATER, FindingStatus.NEW),
            finding(LAST, FindingStatus.GONE, "Ilium"),
            finding(LAST, FindingStatus.PROGRESSING, **thrombus),
        ),
    )
    rows = [lesion("L01", day, 40.0) for day in (DAY, LATER, LAST)]
    studies = [StudyRecord(patient_id="P", study_date=day) for day in (DAY, LATER, LAST)]
    settings = RespondSettings(criteria=("RECIST 1.1",))
    result = respond(patient, studies, rows, settings)
    found = [
        (
            row.study_date,
            row.lesion_id,
            row.role.value,
            row.state.value if row.state else "",
            row.new_lesion_status,
        )
        for row in contributions(patient, studies, rows, result, settings)
        if row.quantity == "finding"
    ]
    vein, bone = "vein thrombus left portal vein", "extrahepatic lesion ilium"
    assert found == [
        (DAY, vein, "non_target", "measured", ""),
        (LATER, bone, "new", "measured", "definite"),
        (LATER, vein, "non_target", "not_assessed", ""),
        (LAST, vein, "non_target", "measured", ""),
    ]


def test_findings_have_rows_where_no_lesion_was_measured() -> None:
    findings = tuple(
        Finding(patient_id="P", date=day, kind=FindingKind.EXTRAHEPATIC_LESION, status=status, site="ilium")
        for day, status in ((DAY, FindingStatus.PRESENT), (LATER, FindingStatus.PROGRESSING))
    )
    patient = Patient(patient_id="P", findings=findings)
    studies = [
        StudyRecord(patient_id="P", study_date=day, lesions_assessable=True, model="network")
        for day in (DAY, LATER)
    ]
    settings = RespondSettings(criteria=("RECIST 1.1",))
    result = respond(patient, studies, [], settings)
    found = [
        (row.reader, row.study_date, row.role.value)
        for row in contributions(patient, studies, [], result, settings)
    ]
    assert found == [("network", DAY, "non_target"), ("network", LATER, "non_target")]
