"""Readers' numbers, decisions and identities replace what was measured, each with its audit row."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mrresponse.corrections import contradicting_sizes, correct_measurements, joined_tracks, state_identities
from mrresponse.domain import (
    VIABLE_SIZES,
    WHOLE_SIZES,
    Caliper,
    LesionEdit,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Observation,
    PatientEdits,
    TrackEvent,
)
from mrresponse.edits import read_edits
from mrresponse.errors import DataError
from mrresponse.measure import MeasureSettings
from mrresponse.measure.new_lesion import with_new_lesion_status
from mrresponse.typed import merged_into

ONE, TWO, THREE = date(2024, 1, 10), date(2024, 4, 10), date(2024, 7, 10)
ROW = Measurement(
    patient_id="P1",
    lesion_id="L01",
    study_date=TWO,
    reader="network",
    state=MeasurementState.MEASURED,
    longest_diameter_mm=30.0,
    longest_diameter_mm_sd=1.5,
    perpendicular_diameter_mm=20.0,
    volume_ml=6.0,
    weighted_volume_ml=5.8,
    viable_state=MeasurementState.MEASURED,
    viable_longest_diameter_mm=18.0,
    viable_volume_ml=2.0,
)


def typed(tmp_path: Path, columns: str, *rows: str) -> PatientEdits:
    (tmp_path / "edits").mkdir(exist_ok=True)
    lines = [f"patient_id,lesion_id,study_date,reader,reason,{columns}", *rows]
    (tmp_path / "edits" / "measurements.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    edits = read_edits(tmp_path)
    assert edits.failures == ()
    return edits.of("P1")


def said(**decision: object) -> PatientEdits:
    row = LesionEdit(patient_id="P1", lesion_id="L01", reader="Dr C", reason="seen again")
    return PatientEdits(lesions=(replace(row, **decision),))  # type: ignore[arg-type]


def test_a_typed_number_replaces_that_number_and_no_other(tmp_path: Path) -> None:
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L01,2024-04-10,Dr C,border,33.5")
    (row,), (audit,) = correct_measurements([ROW], edits)
    assert (row.longest_diameter_mm, row.perpendicular_diameter_mm, row.volume_ml) == (33.5, 20.0, 6.0)
    assert (row.viable_longest_diameter_mm, row.weighted_volume_ml) == (18.0, 5.8)
    assert row.longest_diameter_mm_sd is None
    assert (row.source, row.reason) == (MeasurementSource.READER, "Dr C: border")
    assert (audit.what, audit.before, audit.after) == ("longest_diameter_mm of network", "30.0", "33.5")
    assert (audit.reader, audit.reason, audit.edit) == ("Dr C", "border", "measurements.csv")
    assert audit.when is not None


def test_an_edit_replaces_the_numbers_of_one_reader(tmp_path: Path) -> None:
    rows = [replace(ROW, reader="A"), replace(ROW, reader="B", longest_diameter_mm=28.0)]
    columns = "assessed_by,longest_diameter_mm"
    edits = typed(tmp_path, columns, "P1,L01,2024-04-10,Dr C,border,B,33.5")
    corrected, (audit,) = correct_measurements(rows, edits)
    assert [row.longest_diameter_mm for row in corrected] == [30.0, 33.5]
    assert audit.what == "longest_diameter_mm of B"
    both = typed(
        tmp_path, columns, "P1,L01,2024-04-10,Dr C,border,B,33.5", "P1,L01,2024-04-10,Dr C,border,A,31"
    )
    corrected, _ = correct_measurements(rows, both)
    assert [row.longest_diameter_mm for row in corrected] == [31.0, 33.5]
    for name in ("", "Dr D"):
        unnamed = typed(tmp_path, columns, f"P1,L01,2024-04-10,Dr C,border,{name},33.5")
        with pytest.raises(DataError, match=r"assessed_by: found .*, expected one of A, B"):
            correct_measurements(rows, unnamed)
    alone = typed(tmp_path, columns, "P1,L01,2024-04-10,Dr C,border,network,33.5")
    assert correct_measurements([ROW], alone)[0][0].longest_diameter_mm == 33.5


def test_two_edits_of_one_readers_numbers_are_refused_though_only_one_names_the_reader(
    tmp_path: Path,
) -> None:
    columns = "assessed_by,longest_diameter_mm"
    first = "P1,L01,2024-04-10,Dr C,border,,33.5"
    edits = typed(tmp_path, columns, first, "P1,L01,2024-04-10,Dr D,rim,network,28")
    with pytest.raises(DataError, match=r"found two rows for network at 2024-04-10, expected one") as caught:
        correct_measurements([ROW], edits)
    assert (caught.value.code, caught.value.study_date) == ("bad_edit", TWO)


def test_an_edit_that_leaves_a_part_larger_than_its_whole_is_flagged(tmp_path: Path) -> None:
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L01,2024-04-10,Dr C,border,10")
    elsewhere = replace(ROW, study_date=THREE, longest_diameter_mm=10.0)
    corrected, _ = correct_measurements([ROW, elsewhere], edits)
    # what the images gave, here at the third study, is no edit
    (flag,) = contradicting_sizes(corrected, edits)
    assert (flag.code, flag.patient_id, flag.study_date, flag.lesion_id, flag.step) == (
        "sizes_contradict",
        "P1",
        TWO,
        "L01",
        "response",
    )
    assert flag.message == (
        "after an edit by Dr C of network: perpendicular_diameter_mm 20 above longest_diameter_mm 10, "
        "viable_longest_diameter_mm 18 above longest_diameter_mm 10; expected at most that: type these sizes too"
    )


@pytest.mark.parametrize(
    ("column", "cell", "larger"),
    [
        ("volume_ml", "1.5", "viable_volume_ml 2 above volume_ml 1.5"),
        ("viable_longest_diameter_mm", "31", "viable_longest_diameter_mm 31 above longest_diameter_mm 30"),
        ("longest_diameter_mm", "20", ""),
        ("longest_diameter_mm", "absent", ""),
        ("longest_diameter_mm", "too small", ""),
        ("well_delineated", "false", ""),
    ],
)
def test_only_sizes_that_contradict_are_flagged(tmp_path: Path, column: str, cell: str, larger: str) -> None:
    edits = typed(tmp_path, column, f"P1,L01,2024-04-10,Dr C,border,{cell}")
    corrected, _ = correct_measurements([ROW], edits)
    assert [larger in flag.message for flag in contradicting_sizes(corrected, edits)] == [True] * bool(larger)


def test_a_lesion_typed_as_absent_is_gone_with_all_its_numbers(tmp_path: Path) -> None:
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L01,2024-04-10,Dr C,resolved,absent")
    missed = replace(ROW, state=MeasurementState.NOT_FOUND, longest_diameter_mm=None, viable_state=None)
    (row,), audit = correct_measurements([missed], edits)
    assert (row.state, row.viable_state) == (MeasurementState.ABSENT, MeasurementState.ABSENT)
    assert (row.longest_diameter_mm, row.viable_longest_diameter_mm, row.volume_ml) == (0.0, 0.0, 0.0)
    assert (row.weighted_volume_ml, row.viable_weighted_volume_ml) == (0.0, 0.0)
    assert ("state of network", "not_found", "absent") in {(one.what, one.before, one.after) for one in audit}


def test_a_lesion_typed_as_not_assessable_has_no_number_left(tmp_path: Path) -> None:
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L01,2024-04-10,Dr C,motion,not assessable")
    (row,), _ = correct_measurements([ROW], edits)
    assert row.state is MeasurementState.NOT_ASSESSED
    assert [row.longest_diameter_mm, row.volume_ml, row.viable_longest_diameter_mm] == [None, None, None]


@pytest.mark.parametrize(
    ("viable", "expected"),
    [
        (MeasurementState.MEASURED, MeasurementState.TOO_SMALL),
        (MeasurementState.ABSENT, MeasurementState.ABSENT),
        (MeasurementState.NOT_ASSESSED, MeasurementState.NOT_ASSESSED),
    ],
)
def test_a_lesion_typed_as_too_small_has_no_viable_part_of_a_size(
    tmp_path: Path, viable: MeasurementState, expected: MeasurementState
) -> None:
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L01,2024-04-10,Dr C,tiny,too small")
    size = {MeasurementState.MEASURED: 18.0, MeasurementState.ABSENT: 0.0}.get(viable)
    (row,), audit = correct_measurements(
        [replace(ROW, viable_state=viable, viable_longest_diameter_mm=size)], edits
    )
    assert (row.state, row.longest_diameter_mm, row.volume_ml) == (MeasurementState.TOO_SMALL, None, None)
    assert row.viable_state is expected
    assert row.viable_longest_diameter_mm == (0.0 if expected is MeasurementState.ABSENT else None)
    changed = ("viable_state of network", "measured", "too_small")
    assert (changed in {(one.what, one.before, one.after) for one in audit}) == (viable is not expected)


def test_a_viable_part_typed_as_absent_leaves_the_whole_lesion(tmp_path: Path) -> None:
    edits = typed(tmp_path, "viable_longest_diameter_mm", "P1,L01,2024-04-10,Dr C,rim only,absent")
    (row,), _ = correct_measurements([ROW], edits)
    assert (row.state, row.longest_diameter_mm) == (MeasurementState.MEASURED, 30.0)
    assert (row.viable_state, row.viable_longest_diameter_mm) == (MeasurementState.ABSENT, 0.0)
    assert row.viable_reason == "Dr C: rim only"


GONE = replace(
    ROW,
    state=MeasurementState.ABSENT,
    reason="the network found nothing",
    longest_diameter_mm=0.0,
    perpendicular_diameter_mm=0.0,
    volume_ml=0.0,
    weighted_volume_ml=0.0,
    viable_state=MeasurementState.ABSENT,
    viable_reason="lesion shown to be gone",
    viable_longest_diameter_mm=0.0,
    viable_perpendicular_diameter_mm=0.0,
    viable_volume_ml=0.0,
    viable_weighted_volume_ml=0.0,
)
SIZES = (*WHOLE_SIZES, *VIABLE_SIZES)
NO_SIZES: dict[str, Any] = dict.fromkeys(SIZES)
NOTHING_VIABLE: dict[str, Any] = dict.fromkeys((*VIABLE_SIZES, "viable_weighted_volume_ml"), 0.0)


def sizes(row: Measurement) -> dict[str, float]:
    """Return the numbers that a measurement has."""
    return {name: getattr(row, name) for name in SIZES if getattr(row, name) is not None}


@pytest.mark.parametrize(
    ("columns", "cells", "expected", "viable_state"),
    [
        ("longest_diameter_mm", "15", {"longest_diameter_mm": 15.0}, "not_assessed"),
        ("volume_ml", "1.8", {"volume_ml": 1.8}, "not_assessed"),
        ("longest_diameter_mm", "too small", {}, "too_small"),
        (
            "longest_diameter_mm,viable_longest_diameter_mm",
            "15,12",
            {"longest_diameter_mm": 15.0, "viable_longest_diameter_mm": 12.0},
            "measured",
        ),
        ("viable_longest_diameter_mm", "12", {"viable_longest_diameter_mm": 12.0}, "measured"),
        ("viable_longest_diameter_mm", "too small", {}, "too_small"),
    ],
)
def test_a_lesion_that_is_there_after_all_has_only_the_numbers_that_were_typed(
    tmp_path: Path, columns: str, cells: str, expected: dict[str, float], viable_state: str
) -> None:
    edits = typed(tmp_path, columns, f"P1,L01,2024-04-10,Dr C,still there,{cells}")
    (row,), _ = correct_measurements([GONE], edits)
    assert row.state is (MeasurementState.MEASURED if expected else row.state)
    assert row.state is not MeasurementState.ABSENT
    assert sizes(row) == expected
    assert (row.weighted_volume_ml, row.viable_weighted_volume_ml) == (None, None)
    assert row.viable_state == viable_state
    assert "gone" not in row.viable_reason


@pytest.mark.parametrize("word", ["absent", "0", "not assessable"])
def test_a_lesion_that_is_gone_stays_so_without_a_viable_part(tmp_path: Path, word: str) -> None:
    edits = typed(tmp_path, "viable_longest_diameter_mm", f"P1,L01,2024-04-10,Dr C,nothing left,{word}")
    (row,), _ = correct_measurements([GONE], edits)
    assert (row.state, row.longest_diameter_mm) == (MeasurementState.ABSENT, 0.0)


def test_a_viable_part_that_was_not_there_has_only_the_numbers_that_were_typed(tmp_path: Path) -> None:
    dead = replace(ROW, viable_state=MeasurementState.ABSENT, **NOTHING_VIABLE)
    edits = typed(tmp_path, "viable_longest_diameter_mm", "P1,L01,2024-04-10,Dr C,nodule,12")
    (row,), _ = correct_measurements([dead], edits)
    assert (row.state, row.longest_diameter_mm, row.volume_ml) == (MeasurementState.MEASURED, 30.0, 6.0)
    assert (row.viable_state, row.viable_longest_diameter_mm) == (MeasurementState.MEASURED, 12.0)
    found = row.viable_perpendicular_diameter_mm, row.viable_volume_ml, row.viable_weighted_volume_ml
    assert found == (None, None, None)


@pytest.mark.parametrize(
    ("state", "word", "expected"),
    [
        ("too_small", "too small", "too_small"),
        ("too_small", "absent", "too_small"),
        ("not_found", "not assessable", "not_found"),
        ("not_found", "8", "measured"),
        ("merged", "8", "measured"),
        ("merged", "not done", "merged"),
    ],
)
def test_what_is_typed_of_a_viable_part_says_no_more_of_the_lesion_than_it_has_to(
    tmp_path: Path, state: str, word: str, expected: str
) -> None:
    row = replace(
        ROW,
        state=MeasurementState(state),
        viable_state=None,
        weighted_volume_ml=None,
        **NO_SIZES,
    )
    edits = typed(tmp_path, "viable_longest_diameter_mm", f"P1,L01,2024-04-10,Dr C,seen again,{word}")
    (found,), _ = correct_measurements([row], edits)
    assert found.state == expected


def test_a_remark_on_a_lesion_keeps_what_was_known_of_it(tmp_path: Path) -> None:
    row = replace(
        ROW,
        state=MeasurementState.MERGED,
        reason="merged into L02 and counted there",
        **NO_SIZES,
    )
    edits = typed(tmp_path, "previously_treated", "P1,L01,2024-04-10,Dr C,ablated,true")
    (found,), _ = correct_measurements([row], edits)
    assert (found.state, merged_into(found)) == (MeasurementState.MERGED, "L02")
    assert found.reason.startswith("Dr C: ablated")


def test_a_row_without_an_edit_stays_the_same_object(tmp_path: Path) -> None:
    other = replace(ROW, lesion_id="L02")
    edits = typed(tmp_path, "volume_ml", "P1,L01,2024-04-10,Dr C,outline,7")
    rows, _ = correct_measurements([ROW, other], edits)
    assert rows[1] is other


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("12mm", "found '12mm', expected a bare number"),
        ("<5", "found '<5'"),
        ("", "found no number and no word"),
    ],
)
def test_a_cell_that_is_no_bare_number_fails_the_patient(tmp_path: Path, cell: str, problem: str) -> None:
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits" / "measurements.csv").write_text(
        f"patient_id,lesion_id,study_date,reader,reason,longest_diameter_mm\nP1,L01,2024-04-10,Dr C,x,{cell}\n",
        encoding="utf-8",
    )
    (failure,) = read_edits(tmp_path).failures
    assert failure.patient_id == "P1"
    assert problem in failure.message


def test_a_number_for_a_lesion_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    edits = typed(tmp_path, "volume_ml", "P1,L07,2024-04-10,Dr C,outline,7")
    with pytest.raises(DataError, match="found lesion L07, expected one of L01 2024-04-10"):
        correct_measurements([ROW], edits)


def test_a_decision_about_a_new_lesion_holds_at_every_study_that_shows_it() -> None:
    first = replace(ROW, study_date=ONE, new_lesion_status=NewLesionStatus.EQUIVOCAL)
    missed = replace(first, study_date=THREE, state=MeasurementState.NOT_FOUND)
    edits = said(new_lesion_status=NewLesionStatus.DEFINITE)
    rows, audit = correct_measurements([first, replace(first, study_date=TWO), missed], edits)
    assert [row.new_lesion_status for row in rows[:2]] == [NewLesionStatus.DEFINITE] * 2
    assert [row.new_lesion_reason for row in rows[:2]] == [
        f"{edits.lesions[0].reader}: {edits.lesions[0].reason}"
    ] * 2
    assert rows[2] is missed
    assert [(one.study_date, one.before, one.after) for one in audit] == [
        (ONE, "equivocal", "definite"),
        (TWO, "equivocal", "definite"),
    ]


def seen(day: date, event: TrackEvent, *labels: int) -> Observation:
    return Observation(study_date=day, event=event, labels=labels, radius_mm=5.0)


def track(name: str, *observations: Observation) -> LesionTrack:
    return LesionTrack(patient_id="P1", lesion_id=name, observations=observations)


LOST = track(
    "L01", seen(ONE, TrackEvent.FIRST, 1), seen(TWO, TrackEvent.ABSENT), seen(THREE, TrackEvent.ABSENT)
)
FOUND = track("L02", seen(THREE, TrackEvent.NEW, 4))


def test_two_tracks_that_a_reader_calls_one_lesion_are_one_that_came_back() -> None:
    edits = PatientEdits(
        lesions=(LesionEdit(patient_id="P1", lesion_id="L02", same_as="L01", reader="Dr C", reason="moved"),)
    )
    marked, (audit,) = state_identities([LOST, FOUND], edits)
    assert (audit.what, audit.before, audit.after, audit.lesion_id) == ("same_as", "L02", "L01", "L02")
    assert marked[1].same_as == "L01"
    (joined,) = joined_tracks(marked)
    assert joined.lesion_id == "L01"
    assert [one.event for one in joined.observations] == [
        TrackEvent.FIRST,
        TrackEvent.ABSENT,
        TrackEvent.REAPPEARED,
    ]
    assert joined.observations[2].labels == (4,)


def test_two_parts_seen_in_one_study_are_fragments() -> None:
    beside = track("L02", seen(ONE, TrackEvent.FIRST, 3), seen(TWO, TrackEvent.NOT_FOUND))
    main = track("L01", seen(ONE, TrackEvent.FIRST, 1), seen(TWO, TrackEvent.MATCHED, 1))
    (joined,) = joined_tracks([main, replace(beside, same_as="L01")])
    assert joined.observations[0].labels == (1, 3)
    assert joined.observations[1].labels == (1,)


@pytest.mark.parametrize(
    ("main", "other", "said"),
    [
        # the place where it was last seen says what became of it, not that where it was before
        ("absent", "not_found", "not_found"),
        ("absent", "outside", "outside"),
        ("not_found", "absent", "absent"),
        ("outside", "absent", "absent"),
    ],
)
def test_one_lesion_of_two_tracks_is_looked_for_where_it_was_last_seen(
    main: str, other: str, said: str
) -> None:
    """A lesion that the network does not find where it was last seen is not gone because an older place is empty."""
    before = track(
        "L01", seen(ONE, TrackEvent.FIRST, 1), seen(TWO, TrackEvent.ABSENT), seen(THREE, TrackEvent(main))
    )
    later = track("L02", seen(TWO, TrackEvent.NEW, 1), seen(THREE, TrackEvent(other)))
    (joined,) = joined_tracks([before, replace(later, same_as="L01")])
    assert [one.event.value for one in joined.observations] == ["first", "matched", said]


@pytest.mark.parametrize("end", ["not_found", "outside", "absent"])
def test_parts_seen_last_in_one_study_are_gone_only_where_both_are(end: str) -> None:
    one = track("L01", seen(ONE, TrackEvent.FIRST, 1), seen(TWO, TrackEvent.ABSENT))
    other = track("L02", seen(ONE, TrackEvent.FIRST, 2), seen(TWO, TrackEvent(end)))
    for main, part in ((one, replace(other, same_as="L01")), (other, replace(one, same_as="L02"))):
        (joined,) = joined_tracks([main, part])
        assert joined.observations[1].event.value == end


@pytest.mark.parametrize("end", ["not_found", "outside", "absent"])
def test_a_part_that_merged_into_its_own_lesion_is_counted_nowhere_else(end: str) -> None:
    """What becomes of the lesion says its own track: called merged it would count as gone, and be measured nowhere."""
    main = track(
        "L01", seen(ONE, TrackEvent.FIRST, 1), seen(TWO, TrackEvent.MATCHED, 1), seen(THREE, TrackEvent(end))
    )
    part = replace(
        track(
            "L02",
            seen(ONE, TrackEvent.FIRST, 2),
            seen(TWO, TrackEvent.MERGED),
            seen(THREE, TrackEvent.MERGED),
        ),
        merged_into="L01",
        same_as="L01",
    )
    (joined,) = joined_tracks([main, part])
    assert joined.merged_into is None
    assert [one.event.value for one in joined.observations] == ["first", "matched", end]


@pytest.mark.parametrize(("lesion_id", "same_as"), [("L09", "L01"), ("L02", "L09")])
def test_an_identity_with_a_lesion_that_is_not_there_is_refused(lesion_id: str, same_as: str) -> None:
    row = LesionEdit(patient_id="P1", lesion_id=lesion_id, same_as=same_as, reader="Dr C", reason="moved")
    with pytest.raises(DataError, match=r"found .*L09, expected one of"):
        state_identities([LOST, FOUND], PatientEdits(lesions=(row,)))


def new_lesion(
    *sizes_mm: float, was_liver_before: bool | None = True
) -> tuple[list[Measurement], LesionTrack]:
    """Give a lesion of a network that is new at ``TWO`` and has the HCC pattern, with its sizes from there on."""
    days = (TWO, THREE)[: len(sizes_mm)]
    events = (TrackEvent.NEW, TrackEvent.MATCHED)
    track = LesionTrack(
        patient_id="P1",
        lesion_id="L02",
        observations=tuple(
            Observation(
                study_date=day,
                event=event,
                labels=(1,),
                was_liver_before=was_liver_before if event is TrackEvent.NEW else None,
            )
            for day, event in zip(days, events, strict=False)
        ),
    )
    rows = [
        Measurement(
            patient_id="P1",
            lesion_id="L02",
            study_date=day,
            reader="network",
            source=MeasurementSource.NETWORK,
            state=MeasurementState.MEASURED,
            longest_diameter_mm=size,
            caliper=Caliper(slice_index=3, start_mm=(0.0, 0.0, 0.0), end_mm=(size, 0.0, 0.0)),
            aphe=True,
            washout=True,
        )
        for day, size in zip(days, sizes_mm, strict=True)
    ]
    return with_new_lesion_status(track, rows, MeasureSettings()), track


def test_an_edit_of_one_reader_says_nothing_of_another_readers_new_lesion(tmp_path: Path) -> None:
    (row,), track = new_lesion(11.0)
    # reader A said otherwise in a table of readers
    other = replace(row, reader="A", source=MeasurementSource.READER)
    other = replace(other, new_lesion_status=NewLesionStatus.REJECTED, new_lesion_reason="a shunt")
    edits = typed(tmp_path, "assessed_by,longest_diameter_mm", "P1,L02,2024-04-10,Dr C,border,network,8")
    (kept, edited), audit = correct_measurements([other, row], edits, [track])
    assert kept == other
    assert edited.new_lesion_status is NewLesionStatus.EQUIVOCAL
    assert {one.what.rpartition(" ")[2] for one in audit} == {"network"}


def test_a_new_lesion_that_a_reader_makes_smaller_than_10_mm_is_not_definite(tmp_path: Path) -> None:
    rows, track = new_lesion(11.0)
    assert [row.new_lesion_status for row in rows] == [NewLesionStatus.DEFINITE]
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L02,2024-04-10,Dr C,border,8")
    (row,), audit = correct_measurements(rows, edits, [track])
    assert row.new_lesion_status is NewLesionStatus.EQUIVOCAL
    assert row.new_lesion_reason.startswith("8.0 mm")
    said = [(one.what, one.before, one.after) for one in audit if "new_lesion" in one.what]
    assert said == [("new_lesion_status of network", "definite", "equivocal")]


def test_a_new_lesion_is_definite_from_the_study_at_which_its_typed_size_is_10_mm(tmp_path: Path) -> None:
    rows, track = new_lesion(8.0, 9.0)
    assert {row.new_lesion_status for row in rows} == {NewLesionStatus.EQUIVOCAL}
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L02,2024-07-10,Dr C,border,14")
    found, _ = correct_measurements(rows, edits, [track])
    status = [row.new_lesion_status for row in found]
    assert status == [NewLesionStatus.EQUIVOCAL, NewLesionStatus.DEFINITE]


def test_a_typed_size_says_nothing_of_what_was_at_the_place_before(tmp_path: Path) -> None:
    rows, track = new_lesion(11.0, was_liver_before=None)
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L02,2024-04-10,Dr C,border,14")
    (row,), _ = correct_measurements(rows, edits, [track])
    assert row.new_lesion_status is NewLesionStatus.EQUIVOCAL


def test_what_a_reader_decided_of_a_new_lesion_stands_beside_a_typed_size(tmp_path: Path) -> None:
    rows, track = new_lesion(11.0)
    numbers = typed(tmp_path, "longest_diameter_mm", "P1,L02,2024-04-10,Dr C,border,8")
    decided = replace(said(new_lesion_status=NewLesionStatus.DEFINITE).lesions[0], lesion_id="L02")
    (row,), _ = correct_measurements(rows, replace(numbers, lesions=(decided,)), [track])
    assert row.new_lesion_status is NewLesionStatus.DEFINITE
    assert row.new_lesion_reason == "Dr C: seen again"


def test_a_new_lesion_that_a_reader_calls_gone_is_no_new_one(tmp_path: Path) -> None:
    rows, track = new_lesion(11.0, 12.0)
    edits = typed(tmp_path, "longest_diameter_mm", "P1,L02,2024-04-10,Dr C,not there,absent")
    (gone, later), _ = correct_measurements(rows, edits, [track])
    assert (gone.state, gone.new_lesion_status) == (MeasurementState.ABSENT, None)
    assert later.new_lesion_status is NewLesionStatus.DEFINITE
