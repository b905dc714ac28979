"""Visits, baselines and what a phase without a baseline says: dates counted by hand, sentences word for word."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Finding,
    FindingKind,
    FindingStatus,
    Marker,
    Measurement,
    MeasurementSource,
    MeasurementState,
    PhaseSummary,
    Response,
    ResponseResult,
    StudyRecord,
    TreatmentKind,
    TreatmentPhase,
)
from mrresponse.errors import DataError
from mrresponse.respond import RespondSettings, settings_id
from mrresponse.respond.settings import DayCount
from tests.readings import on, reading, respond_to, treatment, treatments_from

RECIST = RespondSettings(criteria=("RECIST 1.1",))


def lesion(number: int, size: float = 30.0, name: str = "L01", **more: Any) -> Measurement:
    return reading(number, name, size, **more)


def run(measurements: list[Measurement], settings: RespondSettings = RECIST, **more: Any) -> ResponseResult:
    return respond_to(measurements, settings, **more)


def phase_rows(result: ResponseResult, phase: str = "course") -> list[Assessment]:
    return [row for row in result.assessments if row.treatment_phase == phase]


@pytest.mark.parametrize(
    ("days", "baseline", "reason", "flag"),
    [
        ((-29, -28, 60), -28, "last evaluable study, 28 days before treatment", None),
        ((-28, -3, 0, 60), 0, "last evaluable study, 0 days before treatment", None),
        (
            (-43, -42, -29, 60), -29, "29 days before treatment, outside the window of 28 days",
            "baseline_fallback",
        ),
        ((-42, 60), -42, "42 days before treatment, outside the window of 28 days", "baseline_fallback"),
        ((-43, 1, 7, 60), 1, "1 days after treatment began", "baseline_fallback"),
        ((-43, 7, 60), 7, "7 days after treatment began", "baseline_fallback"),
    ],
)  # fmt: skip
def test_the_baseline_row_says_how_its_study_was_chosen(
    days: tuple[int, ...], baseline: int, reason: str, flag: str | None
) -> None:
    result = run([lesion(day) for day in days], treatments=(treatment("one", 0),))
    first = phase_rows(result, "one")[0]
    assert (first.study_date, first.is_baseline) == (on(baseline), True)
    assert first.reason == f"baseline: {reason}; sum of diameters 30.0 mm: L01 30.0 mm"
    assert first.flags == ((flag,) if flag else ())


def test_a_late_study_of_the_next_phase_is_no_baseline_of_this_one() -> None:
    phases = (treatment("one", 0), treatment("two", 3))
    later = phase_rows(run([lesion(-60), lesion(4), lesion(60)], treatments=phases), "one")
    assert [row.study_date for row in later] == []
    shared = phase_rows(run([lesion(-60), lesion(3), lesion(60)], treatments=phases), "one")
    assert [(row.study_date, row.is_baseline) for row in shared] == [(on(3), True)]


def test_a_study_on_the_day_the_next_therapy_starts_belongs_to_both_phases() -> None:
    phases = (treatment("later", 100), treatment("earlier", 0))
    result = run([lesion(0), lesion(100), lesion(160)], treatments=phases)
    assert [(row.study_date, row.is_baseline) for row in phase_rows(result, "earlier")] == [
        (on(0), True),
        (on(100), False),
    ]
    assert [(row.study_date, row.is_baseline) for row in phase_rows(result, "later")] == [
        (on(100), True),
        (on(160), False),
    ]
    assert [(phase.name, phase.start_date, phase.end_date) for phase in result.phases] == [
        ("earlier", on(0), on(100)),
        ("later", on(100), None),
        ("course", on(0), None),
    ]


def test_treatment_phases_stand_by_their_first_day_and_then_by_name() -> None:
    treatments = (
        treatment("b", 100),
        treatment("c", 0),
        treatment("a", 100),
        treatment("b", 50),
        treatment("b", 200),
    )
    result = run([lesion(0)], treatments=treatments)
    assert [(phase.name, phase.start_date, phase.end_date) for phase in result.phases] == [
        ("c", on(0), on(50)),
        ("b", on(50), on(100)),
        ("a", on(100), None),
        ("course", on(0), None),
    ]
    same = run(
        [lesion(0)], treatments=(treatment("d", 0), treatment("b", 0), treatment("c", 0), treatment("a", 0))
    )
    assert [phase.name for phase in same.phases] == ["a", "b", "c", "d", "course"]
    assert result.flags == ()
    # a patient without a study of a phase counts as one that did not respond to it
    assert [(flag.code, flag.study_date) for flag in same.flags] == [("phase_without_time", None)] * 3
    assert same.flags[0].message == (
        "treatment phases a and b both start on 2024-01-01: every study counts for b alone; what is given together has "
        "one treatment_phase"
    )


def test_a_finding_soon_after_the_first_study_belongs_to_it() -> None:
    known = replace(bone(5, "ilium"), status=FindingStatus.PRESENT)
    first, second = phase_rows(run([lesion(0), lesion(60)], findings=(known,)))
    assert first.reason.endswith("non-targets: extrahepatic lesion ilium")
    assert second.non_target == "NE"


def test_a_phase_without_a_baseline_is_not_evaluable_and_its_rows_say_why() -> None:
    gap = {"viable_state": MeasurementState.NOT_ASSESSED, "viable_reason": "no arterial phase"}
    lost = lesion(60, name="L02", state=MeasurementState.NOT_FOUND, longest_diameter_mm=None)
    settings = RespondSettings(criteria=("mRECIST",))
    marker = {
        "patient_id": "P", "date": on(8), "name": "AFP", "value": 500.0, "unit": "ng/mL",
    }  # fmt: skip
    result = run(
        [lesion(-60, **gap), lesion(60, **gap), lost, lesion(90, 20.0)],
        settings,
        treatments=(treatment("one", 10), treatment("two", 100)),
        markers=(Marker(**marker), Marker(**{**marker, "date": on(61), "value": 100.0})),
        studies=[
            *(StudyRecord(patient_id="P", study_date=on(day)) for day in (-60, 60, 90)),
            StudyRecord(patient_id="P", study_date=on(75), lesions_assessable=False, reason="motion"),
        ],
        last_contact_date=on(110),
    )
    common = {
        "patient_id": "P", "treatment_phase": "one", "criterion": "mRECIST", "reader": "A", "burden_unit": "mm",
        "target": Response.NE, "non_target": Response.NE, "new_lesions": "not assessed",
        "liver_response": Response.NE, "overall": Response.NE, "flags": ("no_baseline",),
        "settings_id": settings_id(settings),
    }  # fmt: skip
    why = "NE: no baseline, no evaluable study from 2023-11-30 to 2024-01-18"
    assert phase_rows(result, "one") == [
        Assessment(
            study_date=on(60),
            reason=f"{why}; L01 viability not assessed: no arterial phase, L02 not found",
            **common,
        ),
        Assessment(study_date=on(75), reason=f"{why}; lesions not assessable: motion", **common),
        Assessment(study_date=on(90), reason=f"{why}; L01 no viable diameter given", **common),
    ]
    liver, overall = (row for row in result.summaries if row.treatment_phase == "one")
    expected = PhaseSummary(
        patient_id="P",
        treatment_phase="one",
        criterion="mRECIST",
        basis="liver",
        reader="A",
        start_date=on(10),
        end_date=on(100),
        best_overall_response=Response.NE,
        confirmed_best_overall_response=Response.NE,
        event="no baseline: no evaluable study from 2023-11-30 to 2024-01-18",
        # from day 10 to the last contact on day 110
        overall_survival_days=100,
        overall_survival_event=False,
        afp_baseline_ng_ml=500.0,
        afp_nadir_ng_ml=100.0,
        afp_change=-0.8,
        afp_days_above_limit=53,
        afp_response=liver.afp_response,
        afp_discordant=False,
        settings_id=settings_id(settings),
    )
    assert liver.afp_response == "response"
    assert liver == expected
    assert overall == replace(expected, basis="overall")


def test_a_phase_with_neither_baseline_nor_visit_has_no_best_response() -> None:
    result = run([lesion(-60)], treatments=(treatment("one", 0),), death_date=on(50))
    found = [row for row in result.summaries if row.treatment_phase == "one"]
    assert [(row.basis, row.best_overall_response, row.confirmed_best_overall_response) for row in found] == [
        ("liver", None, None),
        ("overall", None, None),
    ]
    assert {(row.overall_survival_days, row.overall_survival_event) for row in found} == {(50, True)}
    phases = {phase.name: phase for phase in result.phases}
    assert phases["one"] == TreatmentPhase(
        patient_id="P", name="one", start_date=on(0), baseline_reason="no evaluable baseline"
    )


def test_without_treatments_and_without_a_readable_study_the_first_row_is_the_baseline() -> None:
    studies = [
        StudyRecord(patient_id="P", study_date=on(day), lesions_assessable=False, reason=reason, model="net")
        for day, reason in ((0, "motion"), (60, ""))
    ]
    result = run([], studies=studies)
    first, second = phase_rows(result)
    assert first == Assessment(
        patient_id="P",
        treatment_phase="course",
        criterion="RECIST 1.1",
        study_date=on(0),
        reader="net",
        is_baseline=True,
        reason="no baseline, no evaluable study; lesions not assessable: motion",
        flags=("no_baseline",),
        settings_id=settings_id(RECIST),
    )
    assert second.reason == "NE: no baseline, no evaluable study; lesions not assessable"
    assert (second.new_lesions, second.overall, second.is_baseline) == ("not assessed", Response.NE, False)
    assert {row.event for row in result.summaries} == {"no baseline: no evaluable study"}
    assert {row.baseline_date for row in (*result.summaries, *result.phases)} == {on(0)}


def test_no_disease_and_no_target_have_their_own_sentences() -> None:
    studies = [StudyRecord(patient_id="P", study_date=on(day), model="net", lesions_assessable=True)
               for day in (0, 60)]  # fmt: skip
    none = phase_rows(run([], studies=studies))
    assert [row.reason for row in none] == [
        "baseline: first evaluable study; no treatment table; no target; no disease",
        "NED: no disease at baseline; new lesions none",
    ]
    small = phase_rows(run([lesion(0, 9.0), lesion(60, 9.0)]))
    assert [row.reason for row in small] == [
        "baseline: first evaluable study; no treatment table; no target; non-targets: L01",
        "NON-CR/NON-PD: no target at baseline; non-target NON-CR/NON-PD, persists: L01 9.0 mm; new lesions none",
    ]
    assert [row.burden_unit for row in phase_rows(run([lesion(0, 9.0)], RespondSettings(criteria=("WHO",))))] == [
        "mm2"
    ]  # fmt: skip


def test_the_liver_without_disease_has_no_components() -> None:
    lung = {"organ": "lung"}
    rows = phase_rows(run([lesion(0, **lung), lesion(60, 20.0, **lung)]))
    assert rows[1].reason == (
        "PR: sum of diameters 20.0 mm is -33.3 % from baseline 30.0 mm (<= -30 %) [L01 20.0 mm]; new lesions none; "
        "the liver alone is NED: target none, non-target none, new lesions none"
    )
    small = phase_rows(run([lesion(0), lesion(0, 9.0, "L02", **lung), lesion(60, 20.0), lesion(60, 16.0, "L02", **lung),
                            lesion(60, 20.0, "L03", **lung)]))  # fmt: skip
    assert small[1].reason.endswith("the liver alone is PR: target PR, non-target none, new lesions none")
    outside = phase_rows(run([lesion(0, 9.0, "L02", **lung), lesion(60, 9.0, "L02", **lung)]))
    assert outside[1].reason.endswith(
        "the liver alone is NED: target none, non-target none, new lesions none"
    )


def bone(number: int, site: str = "", status: FindingStatus = FindingStatus.NEW) -> Finding:
    return Finding(
        patient_id="P", date=on(number), kind=FindingKind.EXTRAHEPATIC_LESION, status=status, site=site
    )


@pytest.mark.parametrize(
    ("number", "visits", "place"),
    [
        (32, (0, 60), 60),
        (88, (0, 60), 60),
        (89, (0, 60), 89),
        (90, (0, 60, 100, 110), 100),
        (80, (0, 60, 100), 60),
        (81, (0, 60, 100), 100),
        (59, (0, 30, 60), 60),
        (31, (0, 60), 31),
    ],
)
def test_a_finding_goes_to_the_nearest_study_within_four_weeks(
    number: int, visits: tuple[int, ...], place: int
) -> None:
    result = run([lesion(day) for day in visits], findings=(bone(number),))
    rows = [row for row in phase_rows(result) if not row.is_baseline]
    progressed = [row.study_date for row in rows if row.overall is Response.PD]
    assert progressed[0] == on(place)
    assert [row.study_date for row in rows] == sorted({on(place), *(on(day) for day in visits[1:])})


def test_a_visit_of_findings_alone_says_that_nothing_was_imaged() -> None:
    result = run([lesion(0), lesion(60)], findings=(bone(29, "ilium"), bone(30, "rib")))
    alone = phase_rows(result)[1]
    assert alone.study_date == on(29)
    assert alone.reason == (
        "PD: target NE, not evaluable: no liver imaging on this date [L01 no liver imaging on this date]; new lesions "
        "definite, extrahepatic lesion ilium new (2024-01-30); the liver alone is NE: target NE, non-target none, "
        "new lesions not assessed"
    )
    assert alone.flags == ("target_missing",)
    # such a date is no baseline either, though it is the first
    first = phase_rows(run([lesion(60), lesion(120)], findings=(bone(0, "ilium"),)))[0]
    assert (first.study_date, first.is_baseline) == (on(60), True)


@pytest.mark.parametrize(
    ("kind", "end", "day", "size", "flags"),
    [
        (TreatmentKind.LOCOREGIONAL, None, 37, 30.0, ("early_after_locoregional",)),
        (TreatmentKind.LOCOREGIONAL, None, 38, 30.0, ()),
        (TreatmentKind.LOCOREGIONAL, 20, 47, 30.0, ("early_after_locoregional",)),
        (TreatmentKind.LOCOREGIONAL, 20, 48, 30.0, ()),
        (TreatmentKind.LOCOREGIONAL, 60, 37, 30.0, ("early_after_locoregional",)),
        (TreatmentKind.LOCOREGIONAL, 60, 60, 30.0, ("early_after_locoregional",)),
        (TreatmentKind.RADIOTHERAPY, None, 99, 40.0, ("early_after_radiotherapy",)),
        (TreatmentKind.RADIOTHERAPY, None, 100, 40.0, ()),
        (TreatmentKind.RADIOTHERAPY, None, 99, 30.0, ()),
        (TreatmentKind.RADIOTHERAPY, None, 99, 0.0, ("early_after_radiotherapy",)),
        (TreatmentKind.SYSTEMIC, None, 30, 40.0, ()),
    ],
)
def test_a_read_is_early_up_to_the_day_before_the_interval_is_over(
    kind: TreatmentKind, end: int | None, day: int, size: float, flags: tuple[str, ...]
) -> None:
    result = run([lesion(0), lesion(day, size)], treatments=(treatment("one", 10, kind, end),))
    assert phase_rows(result, "one")[1].flags == flags


def test_a_treatment_on_the_day_of_the_study_is_given_after_it() -> None:
    phases = (treatment("one", 1), treatment("one", 60, TreatmentKind.LOCOREGIONAL))
    assert phase_rows(run([lesion(0), lesion(60)], treatments=phases), "one")[1].flags == ()


def test_what_cannot_be_assessed_is_refused_with_its_code() -> None:
    with pytest.raises(DataError) as caught:
        run([lesion(0)], treatments=(treatment("course", 0), treatment("two", 9)))
    assert caught.value.message == (
        "treatments: found a treatment phase named 'course' among 2, expected another name: it is kept for the whole "
        "course"
    )
    assert (caught.value.code, caught.value.patient_id) == ("reserved_name", "P")
    with pytest.raises(DataError) as caught:
        run([lesion(0), lesion(60), lesion(60, 20.0)])
    assert caught.value.message == "measurements: found two of lesion L01 by A, expected one"
    assert (caught.value.code, caught.value.patient_id, caught.value.study_date) == (
        "duplicate_measurement",
        "P",
        on(60),
    )


@pytest.mark.parametrize(
    ("source", "record", "reason"),
    [
        # a reader who measured nothing in a study has not read it, unless the record is the reader's own
        (MeasurementSource.READER, {"lesions_assessable": True, "model": "net"}, "no measurement by A"),
        (MeasurementSource.READER, {"lesions_assessable": True, "model": "A"}, "no measurement"),
        (MeasurementSource.READER, {"lesions_assessable": True, "model": ""}, "no measurement"),
        (MeasurementSource.READER, {"lesions_assessable": None}, "no measurement by A"),
        (MeasurementSource.READER, {"lesions_assessable": False}, "lesions not assessable"),
        (MeasurementSource.NETWORK, {"lesions_assessable": True, "model": "net"}, "no measurement"),
        (MeasurementSource.MASK, {"lesions_assessable": None}, "no measurement"),
        (MeasurementSource.MASK, {"lesions_assessable": False, "reason": "late"}, "lesions not assessable: late"),
    ],
)  # fmt: skip
def test_a_study_without_measurements_is_read_by_what_looks_everywhere(
    source: MeasurementSource, record: dict[str, Any], reason: str
) -> None:
    studies = [
        StudyRecord(patient_id="P", study_date=on(0)),
        StudyRecord(patient_id="P", study_date=on(60), **record),
    ]
    row = phase_rows(run([lesion(0, source=source)], studies=studies))[1]
    assert f"[L01 {reason}]" in row.reason
    word = "none" if reason == "no measurement" else "not assessed"
    assert (row.overall, row.new_lesions) == (Response.NE, word)


@pytest.mark.parametrize(
    ("source", "word"),
    [(MeasurementSource.READER, "PR"), (MeasurementSource.MASK, "NE"), (MeasurementSource.NETWORK, "NE")],
)
def test_a_reader_may_read_what_the_networks_could_not(source: MeasurementSource, word: str) -> None:
    studies = [
        StudyRecord(patient_id="P", study_date=on(0)),
        StudyRecord(
            patient_id="P", study_date=on(60), lesions_assessable=False, reason="late arterial phase"
        ),
    ]
    found = phase_rows(run([lesion(0, source=source), lesion(60, 20.0, source=source)], studies=studies))[1]
    assert found.overall == word


def test_a_study_is_a_baseline_where_one_lesion_can_be_judged_or_all_are_gone() -> None:
    def lost(name: str) -> Measurement:
        return lesion(0, name=name, state=MeasurementState.NOT_ASSESSED, longest_diameter_mm=None)

    def gone(name: str) -> Measurement:
        return lesion(0, 0.0, name, state=MeasurementState.ABSENT)

    def baseline(*measurements: Measurement) -> date:
        return phase_rows(run([*measurements, lesion(30), lesion(60)]))[0].study_date

    assert baseline(lost("L02")) == on(30)
    assert baseline(lost("L02"), lesion(0, name="L03")) == on(0)
    assert baseline(gone("L02"), gone("L03")) == on(0)
    assert baseline(gone("L02"), lost("L03")) == on(30)
    # seen and recorded without a number
    assert baseline(lost("L02"), lesion(0, name="L03", longest_diameter_mm=None)) == on(0)


def test_intervals_may_count_the_first_day() -> None:
    treatments = (treatment("one", 0), treatment("two", 130))
    inclusive = replace(RECIST, day_count=DayCount.INCLUSIVE)
    for settings, more in ((RECIST, 0), (inclusive, 1)):
        result = run(
            [lesion(0), lesion(60, 20.0), lesion(120, 21.0)],
            settings,
            treatments=treatments,
            last_contact_date=on(150),
        )
        row = next(row for row in result.summaries if (row.treatment_phase, row.basis) == ("one", "overall"))
        assert (row.time_to_progression_days, row.progression_free_days) == (120 + more, 120 + more)
        assert (row.duration_of_response_days, row.overall_survival_days) == (60 + more, 150 + more)
        assert row.event == "censored at last evaluable scan: new therapy"
        stable = run([lesion(0), lesion(60)], settings, treatments=treatments[:1]).summaries[0]
        assert stable.stable_disease_days == 60 + more


@pytest.mark.parametrize(
    ("death", "progression_free", "event"),
    [
        (125, (125, True), "death; time to progression censored at last evaluable scan: death"),
        (131, (120, False), "censored at last evaluable scan: new therapy"),
    ],
)
def test_a_death_after_the_next_therapy_belongs_to_that_therapy(
    death: int, progression_free: tuple[int, bool], event: str
) -> None:
    treatments = (treatment("one", 0), treatment("two", 130))
    result = run([lesion(0), lesion(60), lesion(120)], treatments=treatments, death_date=on(death))
    row = next(row for row in result.summaries if (row.treatment_phase, row.basis) == ("one", "overall"))
    assert (row.progression_free_days, row.progression_free_event) == progression_free
    assert (row.time_to_progression_days, row.progression_date, row.event) == (120, None, event)


def test_probabilities_are_written_with_four_decimals_and_near_the_threshold_flagged() -> None:
    # -29.7 % and -60 %: beside the threshold of a response, and far beyond it
    near, far = phase_rows(run([lesion(0, 40.0), lesion(60, 28.1), lesion(120, 16.0)]))[1:]
    for row in (near, far):
        chances = (row.p_cr, row.p_pr, row.p_sd, row.p_pd)
        assert all(chance == round(chance, 4) for chance in chances)
        assert sum(chances) == pytest.approx(1.0, abs=3e-4)
    assert (near.overall, near.flags, far.overall, far.flags) == ("SD", ("near_threshold",), "PR", ())
    assert 0.4 < near.p_sd < 0.6
    assert 0.4 < near.p_pr < 0.6
    assert near.p_pd < 0.001
    assert far.p_pr > 0.99


def test_each_probability_has_four_decimals_where_it_is_in_doubt() -> None:
    node = {"organ": "axilla", "is_node": True}
    # 48.1 from 40 mm is beside +20 %, 10.2 mm beside the normal size of a node, 28.1 from 40 mm beside -30 %
    growing = phase_rows(run([lesion(0, 40.0), lesion(60, 48.1)]))[1]
    gone = phase_rows(
        run([lesion(day, perpendicular_diameter_mm=axis, **node) for day, axis in ((0, 20.0), (60, 10.2))])
    )[1]
    shrinking = phase_rows(run([lesion(0, 40.0), lesion(60, 28.1)]))[1]
    doubtful = (growing.p_pd, growing.p_sd, gone.p_cr, gone.p_pr, shrinking.p_pr, shrinking.p_sd)
    assert all(0.3 < chance < 0.7 for chance in doubtful)
    assert all(chance == round(chance, 4) for chance in doubtful)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 0),  # the only study was before the treatment
        ({"treatments": treatments_from(10, 150)}, 140),
        ({"findings": (bone(15),)}, 5),
        (
            {"markers": (Marker(patient_id="P", date=on(300), name="AFP", value=3.0, unit="ng/mL"),)},
            290,
        ),
    ],
)
def test_who_was_treated_or_seen_was_alive_then(more: dict[str, Any], expected: int) -> None:
    result = run([lesion(0)], **{"treatments": treatments_from(10), **more})
    first = result.summaries[0]
    assert first.treatment_phase == "from 10"
    assert first.overall_survival_days == expected
