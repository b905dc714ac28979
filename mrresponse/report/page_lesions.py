"""The strips of a patient page: each lesion at each visit, its picture and numbers, or why there are none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from mrresponse.domain import Measurement, MeasurementState, PatientResult, Snapshot
from mrresponse.report.figures import lesion_picture
from mrresponse.report.page_parts import phase_names
from mrresponse.report.timeline import numbered_phases
from mrresponse.report.wording import CONTRAST_WORDS, ROLE_WORDS, STATE_WORDS, first_reader_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of a lesion as shown below its picture; ``style`` names the line that draws it."""

    style: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePart:
    """One lesion at one visit."""

    day: date
    contrast: str
    picture: Markup | None
    placeholder: str
    sizes: tuple[Size, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionPart:
    """One lesion through time."""

    lesion_id: str
    where: str
    roles: tuple[str, ...]
    role_reasons: tuple[str, ...]
    pictures: tuple[PicturePart, ...]


def lesion_parts(result: PatientResult) -> tuple[LesionPart, ...]:
    """Give every lesion's strip, targets of the latest phase first."""
    ids = {row.lesion_id for row in result.measurements} | {track.lesion_id for track in result.tracks}
    return tuple(_lesion_part(result, lesion_id) for lesion_id in sorted(ids))


def _lesion_part(result: PatientResult, lesion_id: str) -> LesionPart:
    measured: dict[date, list[Measurement]] = {}
    for row in result.measurements:
        if row.lesion_id == lesion_id:
            measured.setdefault(row.study_date, []).append(row)
    pictures: dict[date, list[Snapshot]] = {}
    for snapshot in result.snapshots:
        if snapshot.lesion_id == lesion_id:
            pictures.setdefault(snapshot.study_date, []).append(snapshot)
    parts = [
        part
        for day in sorted({*measured, *pictures})
        for part in _picture_parts(first_reader_first(measured.get(day, [])), pictures.get(day, []), day)
    ]
    first = min({*measured, *pictures}, default=None)
    anyone = next((rows[0] for rows in measured.values()), None)
    organ = f"{anyone.organ}{', lymph node' if anyone.is_node else ''}" if anyone else ""
    return LesionPart(
        lesion_id=lesion_id,
        where=", ".join(part for part in (organ, f"first seen {first}" if first else "") if part),
        roles=_roles(result, lesion_id),
        role_reasons=_role_reasons(result, lesion_id),
        pictures=tuple(parts),
    )


def _roles(result: PatientResult, lesion_id: str) -> tuple[str, ...]:
    """Gather a lesion's roles: one entry per phase and role, with the criteria that agree on it."""
    numbers = {phase.name: n for n, phase in enumerate(numbered_phases(result), 1)}
    gathered: dict[tuple[int, str], list[str]] = {}
    for role in result.response.roles:
        if role.lesion_id == lesion_id and role.treatment_phase in numbers:
            key = (numbers[role.treatment_phase], ROLE_WORDS[role.role])
            if role.criterion not in gathered.setdefault(key, []):
                gathered[key].append(role.criterion)
    return tuple(
        f"phase {number}: {role} ({', '.join(names)})" for (number, role), names in sorted(gathered.items())
    )


def _role_reasons(result: PatientResult, lesion_id: str) -> tuple[str, ...]:
    names = phase_names(result)
    return tuple(
        f"{names.get(role.treatment_phase, role.treatment_phase)}, {role.criterion}, {role.reader}: "
        f"{ROLE_WORDS[role.role]}, {role.reason or 'no reason stored'}"
        for role in result.response.roles
        if role.lesion_id == lesion_id
    )


def _picture_parts(
    measured: Sequence[Measurement], snapshots: Sequence[Snapshot], day: date
) -> Iterable[PicturePart]:
    main = measured[0] if measured else None
    sizes = _sizes(main) if main else ()
    notes = _notes(measured)
    word = _state_words(main) if main else "no measurement stored"
    if not snapshots:
        missing = word if main is None or main.state not in _WITH_NUMBERS else "no picture stored"
        yield PicturePart(day=day, contrast="", picture=None, placeholder=missing, sizes=sizes, notes=notes)
    for snapshot in sorted(snapshots, key=lambda s: list(CONTRAST_WORDS).index(s.contrast_phase)):
        contrast = CONTRAST_WORDS[snapshot.contrast_phase]
        numbers = ", ".join(size.text for size in sizes) or word
        yield PicturePart(
            day=day,
            contrast=contrast,
            picture=lesion_picture(
                snapshot,
                _caliper_numbers(main, snapshot),
                spoken=f"Lesion {snapshot.lesion_id} on {day}, {contrast} phase: {numbers}",
            ),
            placeholder="" if main is None or main.state in _WITH_NUMBERS else word,
            sizes=_beside(sizes, snapshot),
            notes=notes,
        )


_WITH_NUMBERS = (MeasurementState.MEASURED, MeasurementState.MERGED, MeasurementState.SPLIT)


def _caliper_numbers(row: Measurement | None, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Give the lengths of the calipers drawn on a picture, each with the name of its line."""
    if row is None:
        return ()
    whole = row.longest_diameter_mm if snapshot.caliper else None
    viable = row.viable_longest_diameter_mm if snapshot.viable_caliper else None
    return tuple(
        (name, f"{name} {value:.1f} mm") for name, value in (("whole", whole), ("viable", viable)) if value
    )


def _beside(sizes: Sequence[Size], snapshot: Snapshot) -> tuple[Size, ...]:
    """Say of each size whose caliper the picture does not show that it lies on another slice."""
    drawn = {"whole": snapshot.caliper, "viable": snapshot.viable_caliper, "none": True}
    return tuple(
        size if drawn[size.style] else Size(style=size.style, text=f"{size.text} (caliper not on this slice)")
        for size in sizes
    )


def _state_words(row: Measurement) -> str:
    word = STATE_WORDS[row.state]
    return f"{word}: {row.reason}" if row.reason else word


def _sizes(row: Measurement) -> tuple[Size, ...]:
    if row.state in (MeasurementState.NOT_FOUND, MeasurementState.NOT_ASSESSED):
        return ()
    if row.state is MeasurementState.ABSENT:
        return (Size(style="none", text="absent: 0 mm"),)
    sizes = []
    if row.longest_diameter_mm is not None:
        across = "" if row.perpendicular_diameter_mm is None else f" × {row.perpendicular_diameter_mm:.1f}"
        sizes.append(Size(style="whole", text=f"whole {row.longest_diameter_mm:.1f}{across} mm"))
    if row.viable_state is MeasurementState.ABSENT:
        sizes.append(Size(style="none", text="viable 0 mm: no arterial enhancement"))
    elif row.viable_longest_diameter_mm is not None:
        sizes.append(Size(style="viable", text=f"viable {row.viable_longest_diameter_mm:.1f} mm"))
    elif row.viable_state is not None:
        why = f": {row.viable_reason}" if row.viable_reason else ""
        sizes.append(Size(style="none", text=f"viable {STATE_WORDS[row.viable_state]}{why}"))
    if row.volume_ml is not None:
        viable = "" if row.viable_volume_ml is None else f", viable {_volume(row.viable_volume_ml)}"
        sizes.append(Size(style="none", text=f"volume {_volume(row.volume_ml)}{viable}"))
    return tuple(sizes)


def _volume(value: float) -> str:
    """Write a volume with three digits that count, at most those stored."""
    return f"{value:.{0 if value == 0 or value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f} mL"


def _notes(measured: Sequence[Measurement]) -> tuple[str, ...]:
    if not measured:
        return ()
    main = measured[0]
    notes = [_state_words(main)] if main.state is not MeasurementState.MEASURED else []
    if main.state is MeasurementState.MEASURED and main.reason:
        notes.append(main.reason)
    if main.new_lesion_status:
        notes.append(f"new lesion: {main.new_lesion_status.value}")
    seen = (("arterial hyperenhancement", main.aphe), ("washout", main.washout))
    features = [words for words, present in seen if present]
    if main.pattern or features:
        notes.append(", ".join(([f"pattern {main.pattern}"] if main.pattern else []) + features))
    for other in measured[1:]:
        numbers = ", ".join(size.text for size in _sizes(other)) or _state_words(other)
        notes.append(f"{other.reader}: {numbers}")
    return tuple(notes)
