"""The strips of a patient page: each lesion at each visit, its picture and numbers, or why there are none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from markupsafe import Markup

from mrresponse.domain import (
    MISSING_STATES,
    Measurement,
    MeasurementState,
    NewLesionStatus,
    PatientResult,
    Snapshot,
)
from mrresponse.report.lesion_growth import growth_words, new_lesion_words
from mrresponse.report.page_parts import phase_names
from mrresponse.report.picture import lesion_pictures, shown_first, with_own_calipers
from mrresponse.report.timeline import numbered_phases
from mrresponse.report.wording import ROLE_WORDS, STATE_WORDS, first_reader_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of a lesion as shown below its picture; ``style`` names the line that draws it."""

    style: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitPart:
    """One lesion at one visit.

    ``steps`` gives for every step of the strip the number of its slice; ``planes`` how far each slice lies from the
    anatomical place, and its number in the reference series.
    """

    day: date
    badge: str
    pictures: tuple[Markup, ...]
    placeholder: str
    sizes: tuple[Size, ...]
    notes: tuple[str, ...]
    steps: Mapping[str, int] = field(default_factory=dict)
    planes: tuple[tuple[float, int], ...] = ()
    whole: int | None = None
    viable: int | None = None
    shown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionPart:
    """One lesion through time; ``reach`` is the largest step of its strip, 0 where there is none."""

    lesion_id: str
    where: str
    roles: tuple[str, ...]
    role_reasons: tuple[str, ...]
    history: str
    visits: tuple[VisitPart, ...]
    reach: int
    step_mm: float | None
    has_viable: bool
    has_reference: bool


def lesion_parts(result: PatientResult) -> tuple[LesionPart, ...]:
    """Give every lesion's strip, in order of their names."""
    ids = {row.lesion_id for row in result.measurements} | {track.lesion_id for track in result.tracks}
    return tuple(_lesion_part(result, lesion_id, number) for number, lesion_id in enumerate(sorted(ids), 1))


def _lesion_part(result: PatientResult, lesion_id: str, number: int) -> LesionPart:
    measured: dict[date, list[Measurement]] = {}
    for row in result.measurements:
        if row.lesion_id == lesion_id:
            measured.setdefault(row.study_date, []).append(row)
    first = min(measured, default=None)
    mains = {day: first_reader_first(rows)[0] for day, rows in measured.items()}
    snapshots = {
        one.study_date: with_own_calipers(one, mains.get(one.study_date))
        for one in result.snapshots
        if one.lesion_id == lesion_id
    }
    own = [row for row in mains.values() if row.reader == mains[min(mains)].reader]
    growth = growth_words(own)
    track = next((one for one in result.tracks if one.lesion_id == lesion_id), None)
    visits = [
        replace(
            _visit_part(
                first_reader_first(measured.get(day, [])),
                snapshots.get(day),
                day,
                f"{number}-{place}",
                growth.get(day, ""),
            ),
            badge=_badge(measured[day][0]) if day == first else "",
        )
        for place, day in enumerate(sorted({*measured, *snapshots}))
    ]
    anyone = next((rows[0] for rows in measured.values()), None)
    organ = _organ_words(anyone) if anyone else ""
    steps = [one for snapshot in snapshots.values() for one in snapshot.slices if one.step is not None]
    return LesionPart(
        lesion_id=lesion_id,
        where=", ".join(part for part in (organ, f"first seen {first}" if first else "") if part),
        roles=_roles(result, lesion_id),
        role_reasons=_role_reasons(result, lesion_id),
        history=new_lesion_words(own, track),
        visits=tuple(visits),
        reach=max((abs(one.step or 0) for one in steps), default=0),
        step_mm=_step_mm(snapshots.values()),
        has_viable=any(one.viable_caliper for one in snapshots.values()),
        has_reference=any(one.reference_outlines for one in steps),
    )


def _organ_words(row: Measurement) -> str:
    words = row.organ.replace("_", " ")
    return f"{words}, lymph node" if row.is_node and "node" not in words else words


def _badge(row: Measurement) -> str:
    status = row.new_lesion_status
    if status is None:
        return ""
    return "new" if status is NewLesionStatus.DEFINITE else f"new: {status.value}"


def _step_mm(snapshots: Iterable[Snapshot]) -> float | None:
    """Give the distance from one step of a strip to the next, as far as the slices allow."""
    for snapshot in snapshots:
        stepped = [one for one in snapshot.slices if one.step is not None]
        if len(stepped) > 1:
            low, high = stepped[0], stepped[-1]
            return (high.offset_mm - low.offset_mm) / ((high.step or 0) - (low.step or 0))
    return None


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


def _visit_part(
    measured: Sequence[Measurement], snapshot: Snapshot | None, day: date, key: str, growth: str
) -> VisitPart:
    main = measured[0] if measured else None
    sizes = _sizes(main) if main else ()
    word = _state_words(main) if main else "before it was seen"
    has_numbers = main is not None and main.state in _WITH_NUMBERS
    part = VisitPart(
        day=day,
        badge="",
        pictures=(),
        placeholder="" if has_numbers else word,
        sizes=sizes,
        notes=(*_notes(measured), *([growth] if growth else [])),
    )
    if snapshot is None:
        return replace(part, placeholder="no picture stored" if has_numbers else word)
    numbers = ", ".join(size.text for size in sizes) or word
    spoken = f"Lesion {snapshot.lesion_id} on {day}: {numbers}"
    return replace(
        part,
        pictures=lesion_pictures(snapshot, _lengths(main), key=key, spoken=spoken),
        steps={str(one.step): n for n, one in enumerate(snapshot.slices) if one.step is not None},
        planes=tuple((one.offset_mm, one.slice_index + 1) for one in snapshot.slices),
        whole=snapshot.caliper.slice_number if snapshot.caliper else None,
        viable=snapshot.viable_caliper.slice_number if snapshot.viable_caliper else None,
        shown=shown_first(snapshot),
    )


_WITH_NUMBERS = (MeasurementState.MEASURED, MeasurementState.MERGED, MeasurementState.SPLIT)


def _lengths(row: Measurement | None) -> tuple[tuple[str, float], ...]:
    """Give the lengths of the calipers, each with the name of its line."""
    if row is None:
        return ()
    given = (("whole", row.longest_diameter_mm), ("viable", row.viable_longest_diameter_mm))
    return tuple((name, value) for name, value in given if value)


def _state_words(row: Measurement) -> str:
    word = STATE_WORDS[row.state]
    return f"{word}: {row.reason}" if row.reason else word


def _sizes(row: Measurement) -> tuple[Size, ...]:
    if row.state in MISSING_STATES:
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
    seen = (("arterial hyperenhancement", main.aphe), ("washout", main.washout))
    features = [words for words, present in seen if present]
    if main.pattern or features:
        notes.append(", ".join(([f"pattern {main.pattern}"] if main.pattern else []) + features))
    for other in measured[1:]:
        numbers = ", ".join(size.text for size in _sizes(other)) or _state_words(other)
        notes.append(f"{other.reader}: {numbers}")
    return tuple(notes)
