"""AFP, PIVKA-II and other markers over a treatment phase."""

from datetime import date, timedelta

import pytest

from mrresponse.domain import (
    Marker,
    MarkerOutcome,
    MarkerSummary,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    ResponseResult,
    StudyRecord,
    Treatment,
    TreatmentKind,
    TreatmentPhase,
)
from mrresponse.respond import RespondSettings, respond, settings_id
from mrresponse.respond.markers import marker_series, summarise_marker
from mrresponse.respond.settings import MarkerRule

START = date(2024, 1, 1)
SETTINGS = RespondSettings(criteria=("mRECIST",))


def value(day: int, amount: float, name: str = "AFP", unit: str = "ng/mL", qualifier: str = "") -> Marker:
    when = START + timedelta(days=day)
    return Marker(patient_id="P", date=when, name=name, value=amount, unit=unit, qualifier=qualifier)


def run(
    *markers: Marker, sizes: tuple[float, ...] = (30.0, 30.0), phases: tuple[int, ...] = (0,)
) -> ResponseResult:
    days = [START + timedelta(days=60 * number) for number in range(len(sizes))]
    rows = [
        Measurement(
            patient_id="P", lesion_id="L01", study_date=day, reader="A", state=MeasurementState.MEASURED,
            longest_diameter_mm=size, viable_longest_diameter_mm=size, source=MeasurementSource.MASK,
        )
        for day, size in zip(days, sizes, strict=True)
    ]  # fmt: skip
    treatments = tuple(
        Treatment(patient_id="P", treatment_phase=f"phase {start}", name="x", kind=TreatmentKind.SYSTEMIC,
                  start_date=START + timedelta(days=start))
        for start in phases
    )  # fmt: skip
    studies = [StudyRecord(patient_id="P", study_date=day, lesions_assessable=True) for day in days]
    patient = Patient(patient_id="P", markers=markers, treatments=treatments)
    return respond(patient, studies, rows, SETTINGS)


def first(result: ResponseResult) -> MarkerSummary:
    return next(row for row in result.markers if row.treatment_phase == "phase 0")


def test_a_phase_has_its_baseline_nadir_fall_and_days_above_the_limit() -> None:
    found = first(
        run(value(-40, 900), value(-10, 400), value(30, 150), value(60, 15), value(100, 30), value(130, 10))
    )
    assert (found.baseline_value, found.nadir_value, found.last_value) == (400.0, 10.0, 10.0)
    assert found.change_to_nadir == pytest.approx(-0.975)
    # above 20 from -10 to 60 (400, then 150), 15 not, 30 from 100 to 130
    assert found.days_above_limit == 70 + 30
    assert found.response is MarkerOutcome.RESPONSE
    assert found.reason == "fell 10.0 from 400.0 ng/mL: > 50 % of a baseline >= 200.0 ng/mL"


@pytest.mark.parametrize(
    ("baseline", "later", "expected"),
    [
        (200.0, 99.9, MarkerOutcome.RESPONSE),
        (200.0, 100.0, MarkerOutcome.NO_RESPONSE),  # exactly 50 % is not more than 50 %
        (199.9, 10.0, MarkerOutcome.NOT_EVALUABLE),
    ],
)
def test_an_afp_response_is_a_fall_of_more_than_half_from_200(
    baseline: float, later: float, expected: MarkerOutcome
) -> None:
    assert first(run(value(0, baseline), value(30, later))).response is expected


@pytest.mark.parametrize(
    ("baseline", "later", "expected"),
    [
        (("", 1000.0), ("<", 300.0), MarkerOutcome.RESPONSE),
        (("", 400.0), ("<", 300.0), MarkerOutcome.NOT_EVALUABLE),
        ((">", 1210.0), ("", 310.0), MarkerOutcome.RESPONSE),
        ((">", 1210.0), ("", 700.0), MarkerOutcome.NOT_EVALUABLE),
        (("", 1210.0), (">", 1210.0), MarkerOutcome.NO_RESPONSE),
        ((">", 1210.0), (">", 1210.0), MarkerOutcome.NOT_EVALUABLE),
    ],
)
def test_a_bound_decides_only_where_every_value_it_allows_decides_the_same(
    baseline: tuple[str, float], later: tuple[str, float], expected: MarkerOutcome
) -> None:
    found = first(run(value(0, baseline[1], qualifier=baseline[0]), value(30, later[1], qualifier=later[0])))
    assert found.response is expected
    assert found.is_bounded


def test_names_and_units_are_brought_together() -> None:
    found = run(value(0, 1000, "Alpha-Fetoprotein", "IU/mL"), value(30, 400, "afp", "µg/L"),
                value(0, 2, "DCP", "AU/mL"), value(30, 900, "PIVKA-II", "mAU/mL"))  # fmt: skip
    rows = {row.marker: row for row in found.markers if row.treatment_phase == "phase 0"}
    assert (rows["AFP"].baseline_value, rows["AFP"].nadir_value) == (pytest.approx(1210.0), 400.0)
    pivka = rows["PIVKA-II"]
    assert (pivka.baseline_value, pivka.nadir_value, pivka.response) == (
        2000.0,
        900.0,
        MarkerOutcome.RESPONSE,
    )


def test_a_unit_that_does_not_convert_is_left_out_and_flagged() -> None:
    found = run(value(0, 1000), value(30, 1, unit="mol/L"))
    assert first(found).nadir_value is None
    (flag,) = [flag for flag in found.flags if flag.code == "marker_unit_unknown"]
    assert flag.message == "AFP: found unit mol/L, expected ng/mL or one that converts into it"


def test_a_marker_without_a_rule_has_values_and_no_response() -> None:
    found = first(run(value(0, 10, "CA 19-9", "U/mL"), value(30, 5, "CA 19-9", "U/mL")))
    assert (found.marker, found.change_to_nadir, found.response) == ("CA 19-9", -0.5, None)
    assert found.days_above_limit is None


def test_a_value_after_the_next_therapy_does_not_count_for_the_phase_before() -> None:
    found = run(value(-5, 400), value(50, 300), value(80, 10), sizes=(30.0, 30.0, 30.0), phases=(0, 70))
    rows = {row.treatment_phase: row for row in found.markers}
    assert (rows["phase 0"].nadir_value, rows["phase 0"].response) == (300.0, MarkerOutcome.NO_RESPONSE)
    assert (rows["phase 70"].baseline_value, rows["phase 70"].nadir_value) == (300.0, 10.0)
    assert rows["course"].nadir_value == 10.0


def test_a_baseline_older_than_the_window_is_none() -> None:
    found = first(run(value(-29, 400), value(30, 100)))
    assert (found.baseline_value, found.response) == (None, MarkerOutcome.NOT_EVALUABLE)
    assert first(run(value(-28, 400), value(30, 100))).response is MarkerOutcome.RESPONSE


@pytest.mark.parametrize(
    ("sizes", "later", "flag"),
    [
        ((30.0, 15.0), 700.0, "marker_rises_images_respond"),
        ((30.0, 15.0), 500.0, ""),
        ((30.0, 40.0), 100.0, "marker_falls_images_progress"),
        ((30.0, 40.0), 700.0, ""),
        ((30.0, 30.0), 700.0, ""),
    ],
)
def test_a_marker_that_contradicts_the_images_is_flagged(
    sizes: tuple[float, ...], later: float, flag: str
) -> None:
    result = run(value(0, 400), value(65, later), sizes=sizes)
    (row,) = [r for r in result.assessments if r.treatment_phase == "phase 0" and not r.is_baseline]
    assert [code for code in row.flags if code.startswith("marker")] == ([flag] if flag else [])
    (summary,) = [s for s in result.summaries if s.treatment_phase == "phase 0" and s.basis == "overall"]
    assert summary.afp_discordant is bool(flag)


def test_the_phase_row_carries_afp_and_pivka() -> None:
    result = run(value(0, 400), value(30, 100), value(0, 80, "DCP", "mAU/mL"), value(30, 20, "DCP", "mAU/mL"))
    (row,) = [s for s in result.summaries if s.treatment_phase == "phase 0" and s.basis == "liver"]
    assert (row.afp_baseline_ng_ml, row.afp_nadir_ng_ml, row.afp_change) == (400.0, 100.0, -0.75)
    assert (row.afp_response, row.afp_days_above_limit) == (MarkerOutcome.RESPONSE, 30)
    assert (row.pivka_ii_baseline_mau_ml, row.pivka_ii_nadir_mau_ml, row.pivka_ii_change) == (
        80.0,
        20.0,
        -0.75,
    )
    assert (row.pivka_ii_response, row.pivka_ii_days_above_limit) == (MarkerOutcome.RESPONSE, 30)


def test_every_column_of_a_marker_over_a_phase() -> None:
    found = first(run(value(-5, 1000.0), value(30, 300.0, qualifier="<"), value(60, 400.0)))
    assert found == MarkerSummary(
        patient_id="P",
        treatment_phase="phase 0",
        marker="AFP",
        unit="ng/mL",
        baseline_date=START - timedelta(days=5),
        baseline_value=1000.0,
        nadir_date=START + timedelta(days=30),
        nadir_value=300.0,
        last_date=START + timedelta(days=60),
        last_value=400.0,
        change_to_nadir=-0.7,
        is_bounded=True,
        # 35 days from the baseline; below 300 may be below 20; the last value has no day after it
        days_above_limit=35,
        response=MarkerOutcome.RESPONSE,
        reason="fell <300.0 from 1000.0 ng/mL: > 50 % of a baseline >= 200.0 ng/mL",
        settings_id=settings_id(SETTINGS),
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((value(30, 100.0),), "no baseline value"),
        ((value(0, 400.0),), "no value after the baseline"),
        ((value(0, 100.0), value(30, 10.0)), "baseline 100.0 is not known to reach 200.0 ng/mL"),
        ((value(0, 300.0, qualifier="<"), value(30, 10.0)), "baseline <300.0 is not known to reach 200.0 ng/mL"),
        ((value(0, 400.0), value(30, 200.0)), "200.0 from 400.0 ng/mL: no fall > 50 % of a baseline >= 200.0 ng/mL"),
        ((value(0, 400.0), value(30, 300.0, qualifier="<")), "<300.0 from 400.0 ng/mL: the bounds leave it open"),
        (
            (value(0, 1210.0, qualifier=">"), value(30, 1210.0, qualifier=">")),
            ">1210.0 from >1210.0 ng/mL: the bounds leave it open",
        ),
    ],
)  # fmt: skip
def test_the_reason_of_a_marker_redoes_its_response(values: tuple[Marker, ...], reason: str) -> None:
    found = first(run(*values))
    assert found.reason == reason
    assert found.response is (
        MarkerOutcome.NO_RESPONSE if "no fall" in reason else MarkerOutcome.NOT_EVALUABLE
    )


def test_a_value_below_a_bound_may_be_nothing_at_all() -> None:
    # below 3 may be 0: from 1.5 a fall of any size, or a rise
    rule = MarkerRule(name="X", unit="ng/mL", upper_limit=1.0, least_baseline=1.0)
    settings = RespondSettings(criteria=("mRECIST",), markers=(rule,))
    phase = TreatmentPhase(patient_id="P", name="one", start_date=START)
    (series,) = marker_series([value(0, 1.5, "X"), value(30, 3.0, "X", qualifier="<")], settings)
    found = summarise_marker(series, phase, "P", settings)
    assert found is not None
    assert found.response is MarkerOutcome.NOT_EVALUABLE
    assert found.reason == "<3.0 from 1.5 ng/mL: the bounds leave it open"


@pytest.mark.parametrize(
    "name", ["pivka_ii", "PIVKA II", " PIVKA", "PivkaII", "DCP", "des-gamma-carboxyprothrombin"]
)
def test_pivka_is_recognised_however_it_is_written(name: str) -> None:
    found = run(value(0, 80.0, name, "mAU/mL"), value(30, 20.0, "PIVKA-II", "AU/L"))
    rows = [row for row in found.markers if row.treatment_phase == "phase 0"]
    assert [(row.marker, row.baseline_value, row.nadir_value) for row in rows] == [("PIVKA-II", 80.0, 20.0)]


def test_a_patient_whose_values_cannot_be_converted_has_flags_and_no_marker() -> None:
    studies = [StudyRecord(patient_id="P", study_date=START)]
    patient = Patient(patient_id="P", markers=(value(0, 1000.0, unit="mol/L"),))
    result = respond(patient, studies, [], SETTINGS)
    assert result.markers == ()
    assert [flag.code for flag in result.flags if flag.study_date is None] == ["marker_unit_unknown"]


@pytest.mark.parametrize(
    ("day", "amount", "flags"),
    [
        (88, 700.0, ("marker_rises_images_respond",)),
        (89, 700.0, ()),
        (32, 700.0, ("marker_rises_images_respond",)),
        (31, 700.0, ()),
        # +50 % exactly is no rise
        (60, 600.0, ()),
        (60, 600.1, ("marker_rises_images_respond",)),
    ],
)
def test_a_marker_is_compared_with_images_of_four_weeks(
    day: int, amount: float, flags: tuple[str, ...]
) -> None:
    result = run(value(0, 400.0), value(day, amount), sizes=(30.0, 15.0))
    (row,) = [r for r in result.assessments if r.treatment_phase == "phase 0" and not r.is_baseline]
    assert tuple(flag for flag in row.flags if flag.startswith("marker")) == flags


def test_a_rise_is_from_the_lowest_value_so_far_and_above_normal() -> None:
    def flags(*values: Marker) -> list[str]:
        result = run(*values, sizes=(30.0, 15.0))
        (row,) = [r for r in result.assessments if r.treatment_phase == "phase 0" and not r.is_baseline]
        return [flag for flag in row.flags if flag.startswith("marker")]

    # 30 from the lowest, 12, is a rise above the limit of 20; 19 is not above it
    assert flags(value(0, 400.0), value(30, 12.0), value(60, 30.0)) == ["marker_rises_images_respond"]
    assert flags(value(0, 400.0), value(30, 12.0), value(60, 19.0)) == []
    # what may have been as high before is no rise
    assert flags(value(0, 400.0), value(30, 50.0, qualifier="<"), value(60, 60.0)) == []
    assert flags(value(0, 400.0), value(30, 50.0, qualifier="<"), value(60, 76.0)) == [
        "marker_rises_images_respond"
    ]
    # of two values equally near the earlier one counts
    assert flags(value(0, 400.0), value(50, 700.0), value(70, 300.0)) == ["marker_rises_images_respond"]


def test_the_whole_course_has_the_baseline_of_its_first_treatment() -> None:
    found = run(value(-100, 900.0), value(-5, 400.0), value(30, 100.0))
    (course,) = [row for row in found.markers if row.treatment_phase == "course"]
    assert (course.baseline_value, course.nadir_value) == (400.0, 100.0)
    assert [row.treatment_phase for row in found.markers] == ["phase 0", "course"]


def test_a_single_phase_named_course_has_its_markers_once() -> None:
    course = Treatment(
        patient_id="P", treatment_phase="course", name="x", kind=TreatmentKind.SYSTEMIC, start_date=START
    )
    patient = Patient(patient_id="P", treatments=(course,), markers=(value(-5, 400.0), value(30, 100.0)))
    result = respond(patient, [StudyRecord(patient_id="P", study_date=START)], [], SETTINGS)
    assert [row.treatment_phase for row in result.markers] == ["course"]


def test_a_marker_without_a_rule_keeps_the_unit_of_its_first_value() -> None:
    found = run(
        value(0, 0.5, "Ca 19-9", "U/mL"),
        value(30, 0.25, "Ca 19-9", "U/mL"),
        value(40, 9.0, "Ca 19-9", "kU/L"),
    )
    row = first(found)
    assert (row.unit, row.baseline_value, row.nadir_value, row.change_to_nadir) == ("U/mL", 0.5, 0.25, -0.5)
    assert (row.reason, row.response, row.last_date) == (
        "no rule for this marker", None, START + timedelta(days=30),
    )  # fmt: skip
    assert [flag.message for flag in found.flags if flag.study_date is None] == [
        "Ca 19-9: found unit kU/L, expected U/mL or one that converts into it"
    ]
    single = first(run(value(0, 0.0, "Ca 19-9", "U/mL")))
    assert (single.unit, single.baseline_value, single.nadir_value, single.change_to_nadir) == (
        "U/mL",
        0.0,
        None,
        None,
    )
    from_nothing = first(run(value(0, 0.0, "Ca 19-9", "U/mL"), value(30, 5.0, "Ca 19-9", "U/mL")))
    assert from_nothing.change_to_nadir is None


def test_a_marker_without_a_rule_hides_no_other_that_contradicts_the_images() -> None:
    result = run(value(0, 5.0, "AA", "U/mL"), value(0, 400.0), value(60, 700.0), sizes=(30.0, 15.0))
    (row,) = [r for r in result.assessments if r.treatment_phase == "phase 0" and not r.is_baseline]
    assert row.flags == ("marker_rises_images_respond",)


def test_a_value_of_the_day_the_next_therapy_starts_belongs_to_both_phases() -> None:
    found = run(value(0, 400.0), value(70, 100.0), value(100, 40.0), sizes=(30.0, 30.0, 30.0), phases=(0, 70))
    rows = {row.treatment_phase: row for row in found.markers}
    assert (rows["phase 0"].nadir_value, rows["phase 0"].last_date) == (100.0, START + timedelta(days=70))
    assert (rows["phase 70"].baseline_value, rows["phase 70"].nadir_value) == (100.0, 40.0)
