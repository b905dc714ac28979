"""Readers' identities and numbers worked into tracks and measurements, with an audit row for every change.

Corrected masks enter where masks are found (`mrresponse.segment`), roles where they are chosen
(`mrresponse.respond.roles`), and restated assessments beside those of the readers (`mrresponse.respond.restate`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from mrresponse.domain import (
    MISSING_STATES,
    SIZES_CONTRADICT,
    VIABLE_SIZES,
    WHOLE_SIZES,
    AuditRow,
    ExaminedStudy,
    Flag,
    LabelMap,
    LesionEdit,
    LesionTrack,
    MaskEdit,
    Measurement,
    MeasurementEdit,
    MeasurementSource,
    MeasurementState,
    Observation,
    Patient,
    PatientEdits,
    PatientResult,
    TrackEvent,
)
from mrresponse.edits import LESIONS, MASKS, MEASUREMENTS
from mrresponse.errors import DataError
from mrresponse.ingest.numbers import SIZE_BOUNDS
from mrresponse.measure import MeasureSettings
from mrresponse.measure.new_lesion import merger_dates, with_new_lesion_status
from mrresponse.typed import is_merged_away

_WITHOUT_NUMBERS = MISSING_STATES | {MeasurementState.ABSENT, MeasurementState.TOO_SMALL}
# lesion, study, reader
_RowKey = tuple[str, date, str]
# Of two parts of one lesion that were last seen in one study the one that is surely not gone is kept.
_WEIGHT = {
    TrackEvent.ABSENT: 0,
    TrackEvent.MERGED: 1,
    TrackEvent.OUTSIDE: 2,
    TrackEvent.NOT_FOUND: 3,
}


def state_identities(
    tracks: Sequence[LesionTrack], edits: PatientEdits
) -> tuple[tuple[LesionTrack, ...], tuple[AuditRow, ...]]:
    """Mark the tracks that a reader says are another lesion; `joined_tracks` then puts them together.

    Raises
    ------
    DataError
        ``bad_edit``: a lesion that is not there, or one that is itself said to be another.
    """
    known = {track.lesion_id for track in tracks}
    said = {row.lesion_id: row for row in edits.lesions if row.same_as}
    for row in said.values():
        problem = ""
        if row.lesion_id not in known:
            problem = f"found lesion {row.lesion_id}, expected one of {', '.join(sorted(known)) or 'none'}"
        elif row.same_as not in known:
            problem = (
                f"found same_as {row.same_as}, expected one of {', '.join(sorted(known - {row.lesion_id}))}"
            )
        elif row.same_as in said:
            problem = f"found same_as {row.same_as}, expected a lesion that is not said to be another itself"
        if problem:
            raise _refused(row, problem)
    audit = tuple(
        AuditRow(
            patient_id=row.patient_id,
            lesion_id=row.lesion_id,
            edit=LESIONS,
            what="same_as",
            before=row.lesion_id,
            after=row.same_as,
            reader=row.reader,
            reason=row.reason,
            when=row.when,
        )
        for row in said.values()
    )
    marked = [
        replace(track, same_as=said[track.lesion_id].same_as) if track.lesion_id in said else track
        for track in tracks
    ]
    return tuple(marked), audit


def joined_tracks(tracks: Sequence[LesionTrack]) -> tuple[LesionTrack, ...]:
    """Return the lesions to be measured: those a reader says are one are one."""
    parts: dict[str, list[LesionTrack]] = {}
    for track in tracks:
        parts.setdefault(track.same_as or track.lesion_id, []).append(track)
    ids = {track.lesion_id: track.same_as or track.lesion_id for track in tracks}
    joined = []
    for track in tracks:
        if track.same_as is not None:
            continue
        mine = parts[track.lesion_id]
        target = None if track.merged_into is None else ids.get(track.merged_into, track.merged_into)
        merged_into = None if target == track.lesion_id else target
        joined.append(
            track
            if len(mine) == 1 and merged_into == track.merged_into
            else _joined(track, mine, merged_into)
        )
    return tuple(joined)


def is_of_images(row: AuditRow) -> bool:
    """Tell whether an edit was worked in where images are seen: masks and identities; the others are redone."""
    return row.edit.startswith(f"{MASKS}/") or row.what == "same_as"


def check_masks(patient: Patient) -> None:
    """Refuse a corrected mask of a study that is not there.

    Raises
    ------
    DataError
        ``bad_edit``, with the dates that there are.
    """
    dates = [study.study_date for study in patient.studies]
    for row in patient.edits.masks:
        if row.study_date not in dates:
            known = ", ".join(day.isoformat() for day in dates)
            raise DataError(
                f"edits/{MASKS}: found a mask '{row.mask}' of a date without a study, expected one of {known}",
                code="bad_edit",
                patient_id=row.patient_id,
                study_date=row.study_date,
            )


def check_images_are_edited(result: PatientResult) -> None:
    """Refuse corrected masks and identities other than those that the measurements rest on: they need the images.

    Raises
    ------
    DataError
        ``bad_edit``, with the mask or lesion.
    """
    for problem in _not_worked_in(result):
        raise DataError(
            f"edits/{problem}; masks and identities need the images, run 'mrresponse run' again",
            code="bad_edit",
            patient_id=result.patient.patient_id,
        )


def _not_worked_in(result: PatientResult) -> Iterator[str]:
    edits = result.patient.edits
    stated = {(row.study_date, row.mask): row.sha256 for row in edits.masks}
    used = {
        (row.study_date, row.edit.removeprefix(f"{MASKS}/")): row.sha256
        for row in result.audit
        if row.study_date is not None and row.edit.startswith(f"{MASKS}/")
    }
    for study_date, mask in sorted(stated.keys() - used.keys()):
        yield f"{MASKS}: found a mask '{mask}' of {study_date} that was not used yet"
    for study_date, mask in sorted(used.keys() - stated.keys()):
        yield f"{MASKS}: found no mask '{mask}' of {study_date}, which was used"
    for study_date, mask in sorted(stated.keys() & used.keys()):
        if stated[study_date, mask] != used[study_date, mask]:
            yield f"{MASKS}: found a mask '{mask}' of {study_date} that was changed since it was used"
    said = {row.lesion_id: row.same_as for row in edits.lesions if row.same_as}
    measured = {track.lesion_id: track.same_as for track in result.tracks if track.same_as}
    for lesion_id in sorted(said.keys() | measured.keys()):
        word, then = said.get(lesion_id), measured.get(lesion_id)
        if word != then:
            found = f"same_as {word}" if word else "no same_as"
            yield f"{LESIONS}: found {found} of {lesion_id}, measured {f'as {then}' if then else 'apart'}"


def mask_audit(
    before: ExaminedStudy, after: ExaminedStudy, masks: Sequence[MaskEdit], viable_before: LabelMap | None
) -> list[AuditRow]:
    """Say what corrected masks of one study changed: the volumes of the mask before and after."""
    return [
        AuditRow(
            patient_id=row.patient_id,
            study_date=row.study_date,
            edit=f"{MASKS}/{row.mask}",
            what=f"{row.mask} mask",
            before=_described(before, row.mask, viable_before),
            after=_described(after, row.mask, after.lesion_map.viable),
            reader=row.reader,
            reason=row.reason,
            when=row.when,
            sha256=row.sha256,
        )
        for row in masks
    ]


def _described(study: ExaminedStudy, mask: str, viable: LabelMap | None) -> str:
    prepared, lesion_map = study.prepared, study.lesion_map
    if mask == "viable" and viable is None:
        return "not assessed"
    if mask == "lesions" and lesion_map.not_assessable is not None:
        return "not assessed"
    found = {"liver": prepared.liver, "lesions": lesion_map.labels, "viable": viable}[mask]
    assert found is not None
    volume = float(np.count_nonzero(found.voxels)) * prepared.grid.voxel_volume_ml
    count = f"{len(lesion_map.lesions)} lesions, " if mask == "lesions" else ""
    return f"{count}{volume:.3f} mL"


def correct_measurements(
    measurements: Sequence[Measurement],
    edits: PatientEdits,
    tracks: Sequence[LesionTrack] = (),
    settings: MeasureSettings | None = None,
) -> tuple[tuple[Measurement, ...], tuple[AuditRow, ...]]:
    """Put readers' numbers and decisions about new lesions in place of what was measured.

    Parameters
    ----------
    tracks
        The lesions through time, as they were measured: how sure a new lesion is rests on its sizes, and is said anew
        where a reader typed one. What a reader decided about it stands.
    settings
        Thresholds for that; by default those of `MeasureSettings`.

    Raises
    ------
    DataError
        ``bad_edit``: a lesion or a study without a measurement, several readers of whom none is named, two rows for
        the numbers of one reader, or an identity that needs the images.
    """
    _check_known(measurements, edits)
    numbers = _by_reader(edits.measurements, measurements)
    status = {row.lesion_id: row for row in edits.lesions if row.new_lesion_status is not None}
    audit: list[AuditRow] = []
    typed = []
    for row in measurements:
        edit = numbers.get((row.lesion_id, row.study_date, row.reader))
        if edit is not None:
            row, changes = _with_numbers(row, edit)
            audit += changes
        typed.append(row)
    restated, changes = _with_status_of_sizes(
        measurements, typed, numbers, tracks, settings or MeasureSettings()
    )
    audit += changes
    corrected = []
    for row in restated:
        decision = status.get(row.lesion_id)
        if decision is not None and row.state not in MISSING_STATES:
            row, changes = _with_status(row, decision)
            audit += changes
        corrected.append(row)
    return tuple(corrected), tuple(audit)


def contradicting_sizes(measurements: Sequence[Measurement], edits: PatientEdits) -> tuple[Flag, ...]:
    """Flag the lesions of which an edit left a part larger than its whole: what was not typed stays as it was.

    A criterion that reads the viable part would else count more than the whole lesion without a sign.

    Parameters
    ----------
    measurements
        As `correct_measurements` gave them; only rows that an edit names are judged.
    """
    numbers = _by_reader(edits.measurements, measurements)
    flags = []
    for row in measurements:
        edit = numbers.get((row.lesion_id, row.study_date, row.reader))
        if edit is None:
            continue
        found = []
        for larger, smaller in SIZE_BOUNDS:
            most, size = getattr(row, larger), getattr(row, smaller)
            if most is not None and size is not None and size > most:
                found.append(f"{smaller} {size:g} above {larger} {most:g}")
        if found:
            flags.append(
                Flag(
                    patient_id=row.patient_id,
                    study_date=row.study_date,
                    lesion_id=row.lesion_id,
                    code=SIZES_CONTRADICT,
                    message=f"after an edit by {edit.reader} of {row.reader}: {', '.join(found)}; expected at most "
                    "that: type these sizes too",
                    step="response",
                )
            )
    return tuple(flags)


def _with_status_of_sizes(
    measured: Sequence[Measurement],
    typed: Sequence[Measurement],
    edits: Mapping[_RowKey, MeasurementEdit],
    tracks: Sequence[LesionTrack],
    settings: MeasureSettings,
) -> tuple[Sequence[Measurement], list[AuditRow]]:
    """Say anew how sure the new lesions are of which a reader typed a size.

    A size says nothing of what was at the place before, so a lesion of a network is believed no sooner.
    """
    joined = joined_tracks(tracks)
    by_id = {track.lesion_id: track for track in joined}
    rows = {(row.lesion_id, row.reader, row.study_date): row for row in typed}
    audit = []
    for (lesion_id, reader), edit in {(name, who): edit for (name, _, who), edit in edits.items()}.items():
        track = by_id.get(lesion_id)
        before = [row for row in measured if (row.lesion_id, row.reader) == (lesion_id, reader)]
        if track is None or not any(row.new_lesion_status for row in before):
            continue
        own = sorted(before, key=lambda row: row.study_date)
        now = [rows[row.lesion_id, reader, row.study_date] for row in own]
        unsaid = [
            replace(row, source=first.source, new_lesion_status=None, new_lesion_reason="")
            for row, first in zip(now, own, strict=True)
        ]
        stated = with_new_lesion_status(track, unsaid, settings, merger_dates(lesion_id, joined))
        for row, said in zip(now, stated, strict=True):
            if said.new_lesion_status is not row.new_lesion_status:
                audit.append(_audit(row, MEASUREMENTS, "new_lesion_status", said.new_lesion_status, edit))
            rows[row.lesion_id, reader, row.study_date] = replace(
                row, new_lesion_status=said.new_lesion_status, new_lesion_reason=said.new_lesion_reason
            )
    return [rows[row.lesion_id, row.reader, row.study_date] for row in typed], audit


def _joined(track: LesionTrack, parts: Sequence[LesionTrack], merged_into: str | None) -> LesionTrack:
    own = {part.lesion_id for part in parts}
    by_date: dict[date, list[tuple[Observation, date]]] = {}
    for part in parts:
        last = date.min
        for seen in part.observations:
            last = seen.study_date if seen.labels else last
            # a part that became one with another of this lesion is counted there
            if seen.labels or seen.event is not TrackEvent.MERGED or part.merged_into not in own:
                by_date.setdefault(seen.study_date, []).append((seen, last))
    observations: list[Observation] = []
    for day in sorted(by_date):
        observations.append(_one_of(by_date[day], observations))
    return replace(track, observations=tuple(observations), merged_into=merged_into)


def _one_of(parts: Sequence[tuple[Observation, date]], before: Sequence[Observation]) -> Observation:
    """Return what one study shows of a lesion whose parts were followed apart; with each, when it was last seen.

    Where none is found, the place where the lesion was last seen says what became of it.
    """
    seen = [one for one, _ in parts]
    found = [one for one in seen if one.labels]
    if not found:
        return max(parts, key=lambda part: (part[1], _WEIGHT.get(part[0].event, 0)))[0]
    labels = tuple(dict.fromkeys(label for one in found for label in one.labels))
    largest = max(found, key=lambda one: one.radius_mm or 0.0)
    event = largest.event
    if not before:
        event = min(found, key=lambda one: one.event is TrackEvent.NEW).event
    elif len(labels) > 1:
        event = TrackEvent.SPLIT
    elif event in (TrackEvent.NEW, TrackEvent.FIRST):
        was_gone = before[-1].event in (TrackEvent.ABSENT, TrackEvent.NOT_FOUND)
        event = TrackEvent.REAPPEARED if was_gone else TrackEvent.MATCHED
    evidence = "one lesion, by a reader; " + "; ".join(one.evidence for one in seen if one.evidence)
    return replace(largest, labels=labels, event=event, evidence=evidence.removesuffix("; "))


def _with_numbers(row: Measurement, edit: MeasurementEdit) -> tuple[Measurement, list[AuditRow]]:
    said = f"{edit.reader}: {edit.reason}"
    state = edit.state or _state_by_viable_part(row, edit.viable_state)
    changed: dict[str, object] = {}
    if state is not None:
        changed |= _part(state, row.state, WHOLE_SIZES, edit)
        changed["state"] = state
    viable_state = edit.viable_state or _viable_state_by_whole(row, edit.state)
    if viable_state is not None:
        changed |= _part(viable_state, row.viable_state, VIABLE_SIZES, edit)
        changed |= {"viable_state": viable_state, "viable_reason": said}
    for name in ("well_delineated", "previously_treated"):
        if getattr(edit, name) is not None:
            changed[name] = getattr(edit, name)
    audit = [
        _audit(row, MEASUREMENTS, name, value, edit)
        for name, value in changed.items()
        if not name.endswith(("_reason", "caliper", "_sd")) and getattr(row, name) != value
    ]
    # where nothing is said of the whole lesion, what was known of it stays: with which one it merged, why it is missing
    reason = said if "state" in changed or not row.reason else f"{said}; {row.reason}"
    return (
        replace(row, **changed, source=MeasurementSource.READER, reason=reason),  # type: ignore[arg-type]
        audit,
    )


def _state_by_viable_part(row: Measurement, viable: MeasurementState | None) -> MeasurementState | None:
    """Return what a typed viable part says of the whole lesion, if anything.

    Where one was judged, the lesion was there to be judged, and apart from any that it had merged with.
    """
    if viable is None or viable is MeasurementState.NOT_ASSESSED:
        return None
    if row.state in MISSING_STATES or is_merged_away(row):
        return MeasurementState.MEASURED
    if row.state is MeasurementState.ABSENT and viable is not MeasurementState.ABSENT:
        return MeasurementState.MEASURED
    if row.state is MeasurementState.TOO_SMALL and viable is MeasurementState.MEASURED:
        return MeasurementState.MEASURED
    return None


def _viable_state_by_whole(row: Measurement, whole: MeasurementState | None) -> MeasurementState | None:
    """Return what is said of the viable part, if anything, where only the whole lesion was typed.

    What is gone, too small, or could not be judged as a whole, has no viable part that was measured. Of what is there
    after all it is not known.
    """
    if whole in (MeasurementState.ABSENT, MeasurementState.NOT_ASSESSED):
        return whole
    was_absent = row.state is MeasurementState.ABSENT
    if whole is MeasurementState.TOO_SMALL:
        is_other = was_absent or row.viable_state is MeasurementState.MEASURED
        return whole if is_other else None
    return MeasurementState.NOT_ASSESSED if whole is not None and was_absent else None


def _part(
    state: MeasurementState, before: MeasurementState | None, names: Sequence[str], edit: MeasurementEdit
) -> dict[str, object]:
    """Return the columns of the whole lesion or of its viable part that an edit changes.

    A typed number is not the caliper's any more: the caliper of that length and its standard deviation go, and so does
    the weighted volume where a volume was typed. What was absent before had the number 0 in every column; of what is
    there after all, those that were not typed are not known.
    """
    changed: dict[str, object] = {}
    for name in names:
        value = getattr(edit, name)
        if state in _WITHOUT_NUMBERS:
            value = 0.0 if state is MeasurementState.ABSENT else None
        elif value is None and before is not MeasurementState.ABSENT:
            continue
        changed |= {name: value, f"{name}_sd": None}
        if name in _CALIPERS:
            changed[_CALIPERS[name]] = None
        else:
            changed[_WEIGHTED[name]] = 0.0 if state is MeasurementState.ABSENT else None
    return changed


_CALIPERS: Mapping[str, str] = {
    "longest_diameter_mm": "caliper",
    "perpendicular_diameter_mm": "perpendicular_caliper",
    "viable_longest_diameter_mm": "viable_caliper",
    "viable_perpendicular_diameter_mm": "viable_perpendicular_caliper",
}


_WEIGHTED: Mapping[str, str] = {
    "volume_ml": "weighted_volume_ml",
    "viable_volume_ml": "viable_weighted_volume_ml",
}


def _with_status(row: Measurement, edit: LesionEdit) -> tuple[Measurement, list[AuditRow]]:
    if row.new_lesion_status is edit.new_lesion_status:
        return row, []
    audit = _audit(row, LESIONS, "new_lesion_status", edit.new_lesion_status, edit)
    reason = f"{edit.reader}: {edit.reason}"
    return replace(row, new_lesion_status=edit.new_lesion_status, new_lesion_reason=reason), [audit]


def _check_known(measurements: Sequence[Measurement], edits: PatientEdits) -> None:
    lesions = {row.lesion_id for row in measurements}
    studies = {(row.lesion_id, row.study_date) for row in measurements}
    for edit in edits.measurements:
        if (edit.lesion_id, edit.study_date) not in studies:
            expected = sorted(f"{name} {day.isoformat()}" for name, day in studies) or ["none"]
            raise _refused(edit, f"found lesion {edit.lesion_id}, expected one of {', '.join(expected)}")
    joined = {row.lesion_id for row in edits.lesions if row.same_as}
    for row in edits.lesions:
        if row.same_as and row.lesion_id in lesions:
            raise _refused(
                row, f"found same_as {row.same_as}; identities need the images, run 'mrresponse run' again"
            )
        if not row.same_as and row.lesion_id not in lesions:
            expected = sorted(lesions - joined) or ["none"]
            raise _refused(row, f"found lesion {row.lesion_id}, expected one of {', '.join(expected)}")


def _by_reader(
    edits: Sequence[MeasurementEdit], measurements: Sequence[Measurement]
) -> dict[_RowKey, MeasurementEdit]:
    """Return the edits by the row that each changes; a second one of the same row would hide the first."""
    found: dict[_RowKey, MeasurementEdit] = {}
    for edit in edits:
        reader = _whose(edit, measurements)
        if (edit.lesion_id, edit.study_date, reader) in found:
            raise _refused(edit, f"found two rows for {reader} at {edit.study_date}, expected one")
        found[edit.lesion_id, edit.study_date, reader] = edit
    return found


def _whose(edit: MeasurementEdit, measurements: Sequence[Measurement]) -> str:
    """Return the reader whose numbers an edit replaces: those of one reader are no correction of another's."""
    readers = sorted(
        {
            row.reader
            for row in measurements
            if (row.lesion_id, row.study_date) == (edit.lesion_id, edit.study_date)
        }
    )
    if edit.assessed_by in readers:
        return edit.assessed_by
    if edit.assessed_by or len(readers) > 1:
        found = repr(edit.assessed_by) if edit.assessed_by else "nothing"
        raise _refused(edit, f"column assessed_by: found {found}, expected one of {', '.join(readers)}")
    return readers[0]


def _audit(
    row: Measurement, file: str, name: str, value: object, edit: MeasurementEdit | LesionEdit
) -> AuditRow:
    return AuditRow(
        patient_id=row.patient_id,
        study_date=row.study_date,
        lesion_id=row.lesion_id,
        edit=file,
        what=f"{name} of {row.reader}",
        before=_text(getattr(row, name)),
        after=_text(value),
        reader=edit.reader,
        reason=edit.reason,
        when=edit.when,
    )


def _text(value: object) -> str:
    """Return a value as the tables write it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refused(row: MeasurementEdit | LesionEdit, problem: str) -> DataError:
    file = MEASUREMENTS if isinstance(row, MeasurementEdit) else LESIONS
    return DataError(
        f"edits/{file}, {row.lesion_id}, reader {row.reader}: {problem}",
        code="bad_edit",
        patient_id=row.patient_id,
        study_date=row.study_date if isinstance(row, MeasurementEdit) else None,
    )
