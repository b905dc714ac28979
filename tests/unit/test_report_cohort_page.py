"""What the cohort's page counts, sorts by, and hands to its script."""

import json
import math
from dataclasses import replace
from datetime import date
from importlib import resources

import pytest

from mrresponse.cohort import CohortFigure, Group, SpiderLine, WaterfallBar
from mrresponse.domain import Assessment, Flag, PhaseSummary, Response
from mrresponse.report import PatientSummary, summarise
from mrresponse.report.cohort_page import doubt_counts, figure_data, group_name, sort_rank
from mrresponse.respond import cohort_figures, spider
from tests.reference_course import reference_course

GROUP = Group(treatment_phase="TACE", criterion="mRECIST", basis="overall", reader="A")


def line(patient_id: str, **doubts: str) -> PatientSummary:
    return PatientSummary(patient_id=patient_id, studies=2, first_study=None, last_study=None, doubts=doubts)


def assessed(patient_id: str, day: date, change: float | None, *, phase: str = "TACE") -> Assessment:
    return Assessment(
        patient_id=patient_id,
        treatment_phase=phase,
        criterion="mRECIST",
        study_date=day,
        reader="A",
        change_from_baseline=change,
    )


def phase(patient_id: str, *, basis: str = "overall", name: str = "TACE") -> PhaseSummary:
    return PhaseSummary(
        patient_id=patient_id,
        treatment_phase=name,
        criterion="mRECIST",
        basis=basis,
        reader="A",
        start_date=date(2024, 1, 11),
        baseline_date=date(2024, 1, 1),
    )


def test_doubts_are_counted_by_patient_the_most_frequent_first() -> None:
    found = doubt_counts([line("P1", cut="liver cut"), line("P2", cut="cut too", blur="moved"), line("P3")])
    assert [(one.code, one.patients, one.example) for one in found] == [
        ("cut", 2, "liver cut"),
        ("blur", 1, "moved"),
    ]


def test_responses_sort_from_the_best_to_the_worst_and_the_unknown_last() -> None:
    order = [Response.CR, Response.PR, Response.SD, Response.NON_CR_NON_PD, Response.PD, Response.NE, None]
    assert [sort_rank(one) for one in order] == [0, 1, 2, 3, 5, 6, 7]
    assert sort_rank(Response.ICPD) == sort_rank(Response.IUPD) == sort_rank(Response.PD)
    assert sort_rank(Response.NON_ICR_NON_IUPD) == sort_rank(Response.NON_CR_NON_PD)


def test_numbers_of_the_figures_name_patients_by_their_place_and_carry_no_markup() -> None:
    figure = CohortFigure(
        group=replace(GROUP, reader="</script><b>"),
        n=2,
        bars=(WaterfallBar(patient_id="P2", change=-0.30004, best_overall_response=Response.PR),),
        lines=(SpiderLine(patient_id="P1", days=(-10, 50), changes=(0.0, -0.5)),),
    )
    text = str(figure_data([figure], [line("P1"), line("P2")]))
    assert "<" not in text
    drawn = json.loads(text)
    assert drawn["patients"] == [["P1", "P1.html"], ["P2", "P2.html"]]
    assert drawn["figures"][0]["bars"] == [[1, -0.3, "PR", "−30.004 %"]]
    assert drawn["figures"][0]["lines"] == [[0, [-10, 50], [0.0, -0.5], "−50.0 %"]]
    assert drawn["figures"][0]["name"] == "TACE · mRECIST · overall · read by </script><b> (n = 2)"


@pytest.mark.parametrize(
    ("change", "words"),
    # 70.1 of 100.1 mm and 48.03 of 68.6 mm are no partial response, 84.1 of 70.1 mm is no progression
    [(70.1 / 100.1 - 1.0, "−29.97 %"), (48.03 / 68.6 - 1.0, "−29.99 %"), (84.1 / 70.1 - 1.0, "+19.97 %")],
)
def test_a_change_beside_a_threshold_is_not_written_as_the_threshold(change: float, words: str) -> None:
    figure = CohortFigure(
        group=GROUP,
        n=1,
        bars=(WaterfallBar(patient_id="P1", change=change, best_overall_response=Response.SD),),
        lines=(SpiderLine(patient_id="P1", days=(-10, 50), changes=(0.0, change)),),
    )
    drawn = json.loads(str(figure_data([figure], [line("P1")])))["figures"][0]
    assert drawn["bars"][0][3] == drawn["lines"][0][3] == words


def test_intervals_say_the_level_that_was_set() -> None:
    def summary(name: str, days: int) -> PhaseSummary:
        return PhaseSummary(
            patient_id=name, treatment_phase="TACE", criterion="mRECIST", basis="overall", reader="A",
            progression_free_days=days, progression_free_event=True,
        )  # fmt: skip

    (figure,) = cohort_figures([summary("P1", 50), summary("P2", 90)], [], most=1, level=0.8)
    assert (figure.level, figure.curves[0].level) == (0.8, 0.8)
    # Clopper-Pearson of 0 of 2: 1 - (tail) ** (1 / 2), tail 0.1
    assert math.isclose(figure.rates[0].interval_high or 0.0, 1.0 - math.sqrt(0.1), rel_tol=1e-9)
    assert json.loads(str(figure_data([figure], [line("P1"), line("P2")])))["figures"][0]["level"] == 0.8
    script = (resources.files("mrresponse.report") / "templates" / "cohort.js").read_text(encoding="utf-8")
    assert "95 %" not in script


def test_course_is_named_in_words() -> None:
    figure = CohortFigure(group=replace(GROUP, treatment_phase="course"), n=3)
    assert group_name(figure).startswith("whole course · mRECIST")


def test_spider_begins_at_the_baseline_and_leaves_out_what_could_not_be_determined() -> None:
    rows = [
        assessed("P1", date(2024, 5, 1), -0.4),
        assessed("P1", date(2024, 3, 1), -0.2),
        assessed("P1", date(2024, 4, 1), None),
        assessed("P2", date(2024, 3, 1), None),
    ]
    (found,) = spider([phase("P1"), phase("P2")], rows)
    assert found == SpiderLine(patient_id="P1", days=(-10, 50, 111), changes=(0.0, -0.2, -0.4))


def test_largest_groups_come_first_and_treatment_phases_before_the_course() -> None:
    summaries = [
        phase("P1", name="course"),
        phase("P2", name="course"),
        phase("P1"),
        phase("P2"),
        phase("P1", name="SIRT"),
    ]
    figures = cohort_figures(summaries, (), most=2)
    assert [(one.group.treatment_phase, one.n) for one in figures] == [("TACE", 2), ("course", 2)]
    assert (figures[0].response_change, figures[0].progression_change) == (-0.3, 0.2)


def test_a_patient_whose_sizes_contradict_is_looked_at_before_others() -> None:
    course = reference_course()
    calm = replace(course, studies=tuple(replace(study, review_level="ok") for study in course.studies))
    flag = Flag(
        patient_id=course.patient.patient_id,
        study_date=course.studies[0].study_date,
        lesion_id="L01",
        code="sizes_contradict",
        message="…",
        step="response",
    )
    asking = replace(calm, response=replace(calm.response, flags=(*calm.response.flags, flag)))
    assert summarise(asking).urgency >= 1000 > summarise(calm).urgency


def test_who_has_a_lesion_that_grows_uncounted_is_reviewed_before_those_with_other_doubts() -> None:
    one = PatientSummary(patient_id="P1", studies=2, first_study=None, last_study=None, flags=1)
    assert replace(one, doubts={"new_lesion_equivocal": "…"}).urgency == 1
    assert replace(one, doubts={"new_lesion_grows": "…"}).urgency == 1001
