"""Non-target disease from measurements to the words and sentences of a row; sums and changes worked by hand."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    StudyRecord,
)
from mrresponse.respond import RespondSettings, respond
from tests.readings import reading, respond_to

START = date(2024, 1, 1)
INFILTRATIVE = {"pattern": "infiltrative"}
Cell = float | str | None


def measured(name: str, number: int, cell: Cell, more: dict[str, Any]) -> Measurement:
    """Return one measurement: a diameter, a word for its state, or ``seen`` for a lesion without a number."""
    states = {
        "absent": MeasurementState.ABSENT,
        "motion": MeasurementState.NOT_ASSESSED,
        "lost": MeasurementState.NOT_FOUND,
        "merged": MeasurementState.MERGED,
    }
    state = states.get(str(cell), MeasurementState.MEASURED)
    size = cell if isinstance(cell, float) else None
    reasons = {"motion": "motion", "merged": "merged into L02 and counted there"}
    return Measurement(
        patient_id="P",
        lesion_id=name,
        study_date=START + timedelta(days=60 * number),
        reader="A",
        state=state,
        reason=reasons.get(str(cell), ""),
        longest_diameter_mm=size,
        viable_longest_diameter_mm=size,
        source=MeasurementSource.READER,
        **more,
    )


def rows(
    lesions: dict[str, tuple[dict[str, Any], tuple[Cell, ...]]],
    findings: tuple[Finding, ...] = (),
    criterion: str = "RECIST 1.1",
) -> list[Assessment]:
    """Return the follow-up rows of lesions measured every 60 days."""
    found = [
        measured(name, number, cell, more)
        for name, (more, cells) in lesions.items()
        for number, cell in enumerate(cells)
        if cell is not None
    ]
    count = max(len(cells) for _, cells in lesions.values())
    studies = [
        StudyRecord(patient_id="P", study_date=START + timedelta(days=60 * number)) for number in range(count)
    ]
    result = respond(
        Patient(patient_id="P", findings=findings), studies, found, RespondSettings(criteria=(criterion,))
    )
    return [row for row in result.assessments if not row.is_baseline]


def test_growth_of_all_non_targets_together_is_progression_where_there_is_no_target() -> None:
    # sums 17.0, 14.9 (nadir), 18.0 (+20.8 % but only +3.1 mm), 20.0 (+34.2 %, +5.1 mm), 21.0
    found = rows(
        {"L01": ({}, (9.0, 8.0, 9.5, 9.0, 9.0)), "L02": ({}, (8.0, 6.9, 8.5, 11.0, 12.0))},
    )
    assert [row.overall for row in found] == ["NON-CR/NON-PD", "NON-CR/NON-PD", "PD", "PD"]
    assert [row.reason for row in found[1:3]] == [
        "NON-CR/NON-PD: no target at baseline; non-target NON-CR/NON-PD, persists: L01 9.5 mm; L02 8.5 mm; "
        "new lesions none",
        "PD: no target at baseline; non-target PD, unequivocal progression: non-target diameters 20.0 mm are +34.2 % "
        "from their nadir 14.9 mm; new lesions none",
    ]


def test_the_guide_for_non_targets_needs_a_fifth_and_five_millimetres() -> None:
    # 99.9 -> 109.9 is +10.0 % and +10 mm: no; 119.8 is +19.92 %: no; 119.9 is +20.02 %: yes
    lesions = {
        "L01": (INFILTRATIVE, (49.9, 54.9, 59.8, 59.9)),
        "L02": (INFILTRATIVE, (50.0, 55.0, 60.0, 60.0)),
    }
    found = rows(lesions)
    assert [row.overall for row in found] == ["NON-CR/NON-PD", "NON-CR/NON-PD", "PD"]
    assert "non-target diameters 119.9 mm are +20.02 % from their nadir 99.9 mm" in found[-1].reason


def test_five_millimetres_exactly_reach_the_guide() -> None:
    found = rows({"L01": ({}, (9.0, 13.9, 14.0))})
    assert [row.overall for row in found] == ["NON-CR/NON-PD", "PD"]
    assert "non-target diameters 14.0 mm are +55.6 % from their nadir 9.0 mm" in found[-1].reason


def test_beside_targets_growth_of_non_targets_is_flagged_and_decides_nothing() -> None:
    found = rows(
        {"L01": ({}, (30.0, 30.0, 30.0)), "L02": (INFILTRATIVE, (20.0, 30.0, 20.0))},
    )
    assert [row.overall for row in found] == ["SD", "SD"]
    assert [row.flags for row in found] == [("non_target_growth",), ()]
    assert found[0].non_target == "NON-CR/NON-PD"


def test_a_sum_without_all_its_lesions_is_neither_a_nadir_nor_growth() -> None:
    # 8.0 alone is no nadir for 18.0, and 30.0 alone is no growth
    found = rows(
        {
            "L01": (INFILTRATIVE, (9.0, 8.0, 9.5, "motion")),
            "L02": (INFILTRATIVE, (8.0, "motion", 8.5, 30.0)),
        },
    )
    assert [row.overall for row in found] == ["NE", "NON-CR/NON-PD", "NE"]
    assert [row.reason for row in found] == [
        "NE: no target at baseline; non-target NE, not assessed: L02 not assessed: motion; new lesions none",
        "NON-CR/NON-PD: no target at baseline; non-target NON-CR/NON-PD, persists: L01 9.5 mm; L02 8.5 mm; "
        "new lesions none",
        "NE: no target at baseline; non-target NE, not assessed: L01 not assessed: motion; new lesions none",
    ]


def test_the_first_complete_sum_is_the_nadir_where_the_baseline_has_none() -> None:
    found = rows(
        {"L01": (INFILTRATIVE, (9.0, 9.0, 20.0)), "L02": (INFILTRATIVE, ("motion", 9.0, 9.0))},
    )
    assert [row.overall for row in found] == ["NON-CR/NON-PD", "PD"]
    assert "non-target diameters 29.0 mm are +61.1 % from their nadir 18.0 mm" in found[1].reason


def test_a_lesion_recorded_as_seen_persists_without_a_number_and_gives_no_sum() -> None:
    found = rows({"L01": (INFILTRATIVE, (9.0, "seen", 30.0)), "L02": (INFILTRATIVE, (9.0, 40.0, "seen"))})
    assert [row.overall for row in found] == ["NON-CR/NON-PD", "NON-CR/NON-PD"]
    assert "non-target NON-CR/NON-PD, persists: L01; L02 40.0 mm" in found[0].reason


def test_what_is_gone_is_named_with_the_reason_for_it() -> None:
    found = rows({"L01": ({}, (9.0, 0.0)), "L02": ({}, (8.0, "absent"))})
    assert [(row.non_target, row.overall) for row in found] == [("CR", "CR")]
    assert "non-target CR, gone: L01; L02 absent; new lesions none" in found[0].reason


def test_a_node_of_normal_size_is_named_with_its_size_not_as_gone_alone() -> None:
    days = (START, START + timedelta(days=60))
    nodes = [
        Measurement(
            patient_id="P", lesion_id="L01", study_date=day, reader="A", state=MeasurementState.MEASURED,
            organ="lymph_node", is_node=True, longest_diameter_mm=20.0, perpendicular_diameter_mm=short_axis,
            source=MeasurementSource.READER,
        )
        for day, short_axis in zip(days, (12.0, 8.0), strict=True)
    ]  # fmt: skip
    studies = [StudyRecord(patient_id="P", study_date=day) for day in days]
    settings = RespondSettings(criteria=("RECIST 1.1",))
    found = respond(Patient(patient_id="P"), studies, nodes, settings).assessments
    assert [row.non_target for row in found if not row.is_baseline] == ["CR"]
    assert "non-target CR, gone: L01 8.0 mm (normal node, short axis); new lesions none" in found[1].reason


def test_a_merged_non_target_counts_with_the_lesion_that_it_merged_into() -> None:
    found = rows({"L01": (INFILTRATIVE, (20.0, "merged")), "L02": (INFILTRATIVE, (20.0, 41.0))})
    assert [row.overall for row in found] == ["NON-CR/NON-PD"]
    assert "persists: L02 41.0 mm; new lesions none" in found[0].reason
    assert "L01" not in found[0].reason


def test_findings_stand_behind_the_lesions_in_the_sentence_of_their_component() -> None:
    def vein(number: int, status: FindingStatus, site: str) -> Finding:
        day = START + timedelta(days=60 * number)
        return Finding(patient_id="P", date=day, kind=FindingKind.VEIN_THROMBUS, status=status, site=site)

    findings = (
        vein(0, FindingStatus.PRESENT, "left"),
        vein(0, FindingStatus.PRESENT, "right"),
        vein(1, FindingStatus.STABLE, "left"),
        vein(1, FindingStatus.STABLE, "right"),
        vein(2, FindingStatus.GONE, "left"),
        vein(2, FindingStatus.GONE, "right"),
        vein(3, FindingStatus.PROGRESSING, "left"),
    )
    lesions = {"L01": (INFILTRATIVE, (20.0, 20.0, "absent", 30.0))}
    reasons = [row.reason.split("; new lesions")[0].split(", ", 1)[1] for row in rows(lesions, findings)]
    assert reasons == [
        "persists: L01 20.0 mm; vein thrombus left stable (2024-03-01); vein thrombus right stable (2024-03-01)",
        "gone: L01 absent; vein thrombus left gone (2024-04-30); vein thrombus right gone (2024-04-30)",
        "unequivocal progression: vein thrombus left progressing (2024-06-29)",
    ]


MERGED_AWAY: list[tuple[Cell, str, str, str, str]] = [
    # the size of the target L02 into which the only non-target L01 merged; the criterion, the non-target response, its
    # sentence, the response
    (45.0, "RECIST 1.1", "NON-CR/NON-PD", "persists: L01 merged into L02", "PD"),
    ("absent", "mRECIST", "CR", "gone: L01 merged into L02, absent", "CR"),
    ("motion", "RECIST 1.1", "NE", "not assessed: L01 merged into L02, not assessed: motion", "NE"),
    # a number is not needed to see that there is tumour
    ("seen", "RECIST 1.1", "NON-CR/NON-PD", "persists: L01 merged into L02", "NE"),
]


@pytest.mark.parametrize(("size", "criterion", "response", "reason", "overall"), MERGED_AWAY)
def test_a_non_target_that_merged_into_a_target_fares_as_that_one(
    size: Cell, criterion: str, response: str, reason: str, overall: str
) -> None:
    (row,) = rows({"L01": (INFILTRATIVE, (20.0, "merged")), "L02": ({}, (30.0, size))}, criterion=criterion)
    assert (row.non_target, row.overall) == (response, overall)
    assert f"non-target {response}, {reason};" in row.reason


def test_disease_that_merged_into_a_possible_new_lesion_is_not_no_disease() -> None:
    new = {"new_lesion_status": NewLesionStatus.CANDIDATE}
    (row,) = rows({"L01": (INFILTRATIVE, (20.0, "merged")), "L02": (new, (None, 45.0))})
    assert (row.target, row.non_target, row.new_lesions, row.overall) == (
        None, "NON-CR/NON-PD", "candidate", "NON-CR/NON-PD",
    )  # fmt: skip


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "iRECIST"])
@pytest.mark.parametrize(
    ("target", "non_target", "flagged"),
    [
        # sizes from the baseline on, and whether disease after a complete response is flagged at each visit
        ((30.0, 0.0, 0.0), (20.0, 0.0, 12.0), [False, True]),
        ((30.0, 0.0, 0.0, 0.0), (20.0, 0.0, "motion", 12.0), [False, False, True]),
        ((30.0, 20.0, 0.0), (20.0, 0.0, 12.0), [False, False]),
        # that it is not known whether it is back is no disease
        ((30.0, 0.0, 0.0), (20.0, 0.0, "motion"), [False, False]),
        (None, (20.0, 0.0, 12.0), [False, True]),
        (None, (20.0, 0.0, 12.0, 12.0), [False, True, False]),
    ],
)
def test_a_non_target_that_is_back_after_complete_response_is_flagged(
    criterion: str, target: tuple[Cell, ...] | None, non_target: tuple[Cell, ...], flagged: list[bool]
) -> None:
    lesions: dict[str, tuple[dict[str, Any], tuple[Cell, ...]]] = {"L02": (INFILTRATIVE, non_target)}
    if target is not None:
        lesions["L01"] = ({}, target)
    found = rows(lesions, criterion=criterion)
    assert ["pr_after_cr" in row.flags for row in found] == flagged


@pytest.mark.parametrize(
    ("target", "other", "flags"),
    [
        ((30.0, 30.0), (8.0, "lost"), ("not_found",)),
        ((30.0, "lost"), (8.0, "lost"), ("not_found",)),
        ((30.0, 30.0), (8.0, "motion"), ()),
        ((30.0, 30.0), (8.0, "absent"), ()),
    ],
)
def test_non_target_disease_that_is_not_found_asks_for_a_look_as_targets_do(
    target: tuple[Cell, ...], other: tuple[Cell, ...], flags: tuple[str, ...]
) -> None:
    # contracts, section 4: not found, and its absence not shown, is NE with a flag for review
    (row,) = rows({"L01": ({}, target), "L02": ({}, other)})
    assert tuple(flag for flag in row.flags if flag == "not_found") == flags


@pytest.mark.parametrize(("viable", "is_flagged"), [(0.0, True), (8.0, False), (12.0, False)])
def test_where_nothing_enhances_at_the_baseline_a_complete_response_is_flagged(
    viable: float, is_flagged: bool
) -> None:
    more = {"viable_longest_diameter_mm": viable}
    measured = [reading(day, "L01", 40.0, **more) for day in (0, 60)]
    settings = RespondSettings(criteria=("mRECIST", "RECIST 1.1"))
    first, then, *others = respond_to(measured, settings).assessments
    assert (then.overall == "CR") == is_flagged
    assert ("nothing_viable_at_baseline" in first.flags) == is_flagged
    assert all("nothing_viable_at_baseline" not in row.flags for row in (then, *others))


MERGED_ON: list[tuple[Cell, str, str, str]] = [
    # the size of the target L03, into what L02 merged, the role by its pattern; the non-target response
    (0.0, "L03", "", "CR"),
    (45.0, "L03", "", "NON-CR/NON-PD"),
    (45.0, "L01", "infiltrative", "NON-CR/NON-PD"),
]


@pytest.mark.parametrize(("size", "into", "pattern", "response"), MERGED_ON)
def test_a_non_target_fares_as_the_lesion_that_holds_it_at_last(
    size: float, into: str, pattern: str, response: str
) -> None:
    """L01 merged into L02, and that into the target L03, or back into L01: then nothing says that they are gone."""
    found = [measured(name, 0, 20.0, {"pattern": kind or None}) for name, kind in
             (("L01", "infiltrative"), ("L02", pattern), ("L03", ""))]  # fmt: skip
    found += [measured("L01", 1, "merged", INFILTRATIVE), measured("L03", 1, size, {})]
    found.append(replace(measured("L02", 1, "merged", {}), reason=f"merged into {into} and counted there"))
    studies = [StudyRecord(patient_id="P", study_date=START + timedelta(days=60 * n)) for n in range(2)]
    settings = RespondSettings(criteria=("mRECIST",))
    row = respond(Patient(patient_id="P"), studies, found, settings).assessments[1]
    assert row.non_target == response
