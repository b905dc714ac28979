"""Treatment phases, visits of one reader, and the study that is the baseline of a phase."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import takewhile
from operator import attrgetter

from mrresponse.domain import (
    COURSE,
    SESSION_BASELINE,
    Finding,
    FindingStatus,
    Measurement,
    MeasurementSource,
    NewLesionStatus,
    Patient,
    PatientEdits,
    StudyRecord,
    Treatment,
    TreatmentKind,
    TreatmentPhase,
    viewed_phase,
)
from mrresponse.errors import DataError
from mrresponse.respond.criteria import Criterion, Quantity
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.values import (
    VisitValues,
    are_plain,
    is_stated,
    lesion_is_gone,
    visit_values,
)

NOT_IMAGED = "no liver imaging on this date"
# What a finding that is merely there, or stable, does not say: that it was otherwise before.
CHANGED = frozenset({FindingStatus.NEW, FindingStatus.PROGRESSING, FindingStatus.GONE})
# What segments every study it is given: a study without a row of its lesions was looked at.
AUTOMATIC = frozenset({MeasurementSource.NETWORK, MeasurementSource.MASK})


@dataclass(slots=True, kw_only=True)
class Visit:
    """What one reader knows on one date.

    ``study`` is ``None`` for a visit made of findings alone; ``unread`` says why the images could not be used.
    ``rejected`` are the lesions of which the last word up to this date is that they are none; ``judged`` those of which
    a reader says at this visit how sure it is that they are new, where the rules would say so else.
    """

    study_date: date
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    study: StudyRecord | None = None
    findings: tuple[Finding, ...] = ()
    unread: str = ""
    rejected: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    _values: dict[tuple[Quantity, float, float], VisitValues] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _are_plain: dict[bool, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def is_imaged(self) -> bool:
        """Whether there are images of the liver of this date, and not findings alone."""
        return self.unread != NOT_IMAGED

    def values(self, criterion: Criterion, settings: RespondSettings) -> VisitValues:
        """Return what every measured lesion contributes; worked out once for all criteria that read the same."""
        normal = settings.node_normal_mm
        key = (criterion.quantity, criterion.too_small, normal)
        found = self._values.get(key)
        if found is None:
            is_viable = criterion.is_viable
            is_plain = self._are_plain.get(is_viable)
            if is_plain is None:
                is_plain = are_plain(self.measurements.values(), is_viable=is_viable)
                self._are_plain[is_viable] = is_plain
            found = visit_values(self.measurements, criterion, is_plain=is_plain, node_normal_mm=normal)
            self._values[key] = found
        return found


@dataclass(slots=True, kw_only=True)
class Baseline:
    """The baseline study of a phase: its date, how it was chosen or why there is none; a fallback has a flag."""

    study_date: date | None
    reason: str
    flag: str = ""


def treatment_phases(patient: Patient) -> tuple[TreatmentPhase, ...]:
    """Return the treatment phases of the treatment table by start; each ends where the next starts.

    Raises
    ------
    DataError
        Where one of several phases has the name that is kept for the whole course, or one has that of a secondary view.
    """
    starts: dict[str, date] = {}
    for row in patient.treatments:
        starts[row.treatment_phase] = min(row.start_date, starts.get(row.treatment_phase, row.start_date))
    if COURSE in starts and len(starts) > 1:
        raise DataError(
            f"treatments: found a treatment phase named {COURSE!r} among {len(starts)}, expected another name: "
            "it is kept for the whole course",
            code="reserved_name",
            patient_id=patient.patient_id,
        )
    for name in starts:
        if viewed_phase(name) != name:
            raise DataError(
                f"treatments: found a treatment phase named {name!r}, expected another name: it is kept for the view "
                f"of a session of {viewed_phase(name)!r}",
                code="reserved_name",
                patient_id=patient.patient_id,
            )
    ordered = sorted(starts, key=lambda name: (starts[name], name))
    ends: tuple[date | None, ...] = (*(starts[name] for name in ordered[1:]), None)
    return tuple(
        TreatmentPhase(patient_id=patient.patient_id, name=name, start_date=starts[name], end_date=end)
        for name, end in zip(ordered, ends, strict=False)
    )


def session_views(patient: Patient, phases: Sequence[TreatmentPhase]) -> tuple[TreatmentPhase, ...]:
    """Return the secondary view of phases with repeated locoregional sessions (response-criteria section 9).

    From the second session on, the studies after each, up to the next, are seen against the last study before it, as
    if the session began a phase of its own: ``TACE session_baseline 2`` after the second session of ``TACE``.
    """
    views: list[TreatmentPhase] = []
    for phase in phases:
        sessions = sorted(
            {
                row.start_date
                for row in patient.treatments
                if row.treatment_phase == phase.name and row.kind is TreatmentKind.LOCOREGIONAL
            }
        )
        ends = (*sessions[2:], phase.end_date)
        views += [
            replace(phase, name=f"{phase.name} {SESSION_BASELINE} {number}", start_date=day, end_date=end)
            for number, (day, end) in enumerate(zip(sessions[1:], ends, strict=False), start=2)
        ]
    return tuple(views)


def source_of(measurements: Sequence[Measurement], reader: str) -> MeasurementSource:
    """Return where a reader's numbers come from, the least certain source first where they are mixed."""
    sources = {m.source for m in measurements if m.reader == reader}
    return next((kind for kind in MeasurementSource if kind in sources), MeasurementSource.NETWORK)


def reader_visits(
    patient: Patient,
    studies: Sequence[StudyRecord],
    measurements: Sequence[Measurement],
    reader: str,
    settings: RespondSettings,
) -> tuple[Visit, ...]:
    """Return every visit as one reader knows it, by date, findings placed at their study or on their own.

    Raises
    ------
    DataError
        Where a reader measured a lesion twice in one study.
    """
    records = {record.study_date: record for record in studies}
    rows: dict[date, dict[str, Measurement]] = {}
    sources = set()
    for m in sorted(measurements, key=attrgetter("lesion_id")):
        if m.reader == reader:
            of_day = rows.setdefault(m.study_date, {})
            if m.lesion_id in of_day:
                raise DataError(
                    f"measurements: found two of lesion {m.lesion_id} by {reader}, expected one",
                    code="duplicate_measurement",
                    patient_id=patient.patient_id,
                    study_date=m.study_date,
                )
            of_day[m.lesion_id] = m
            sources.add(m.source)
    looks_everywhere = not sources.isdisjoint(AUTOMATIC)
    dates = sorted({*records, *rows, *(study.study_date for study in patient.studies)})
    baselines = {
        phase.start_date: select_baseline(phase, dates, settings).study_date
        for phase in treatment_phases(patient)
        if phase.start_date is not None
    }
    placed = place_findings(patient.findings, dates, baselines, settings)
    rejected = _rejected_by_date(sorted({*dates, *placed}), rows)
    judged = _judged_by_date(rows, patient.edits, is_typed=sources == {MeasurementSource.READER})
    visits = [
        Visit(
            study_date=day,
            measurements=rows.get(day, {}),
            study=records.get(day),
            findings=tuple(placed.pop(day, ())),
            unread=_unread(records.get(day), rows.get(day), looks_everywhere=looks_everywhere, reader=reader),
            rejected=rejected[day],
            judged=judged.get(day, frozenset()),
        )
        for day in dates
    ]
    visits += [
        Visit(study_date=day, findings=tuple(found), unread=NOT_IMAGED, rejected=rejected[day])
        for day, found in placed.items()
    ]
    return tuple(sorted(visits, key=attrgetter("study_date")))


def _rejected_by_date(
    dates: Iterable[date], rows: Mapping[date, Mapping[str, Measurement]]
) -> dict[date, frozenset[str]]:
    """Return the lesions that count as rejected at each date; rows without a word leave the word before."""
    rejected: frozenset[str] = frozenset()
    found = {}
    for day in dates:
        said = {m.lesion_id: m.new_lesion_status for m in rows.get(day, {}).values() if m.new_lesion_status}
        if said:
            no = {lesion_id for lesion_id, word in said.items() if word is NewLesionStatus.REJECTED}
            rejected = (rejected - said.keys()) | no
        found[day] = rejected
    return found


def _judged_by_date(
    rows: Mapping[date, Mapping[str, Measurement]], edits: PatientEdits, *, is_typed: bool
) -> dict[date, frozenset[str]]:
    """Return the lesions of which a reader says how sure it is that they are new, by date.

    That is a word of ``lesions.csv``, or one of a table that a person typed as a whole. Where a person typed only the
    size of a lesion in the rows of a network or a mask, the word beside it is the program's.
    """
    said = {(edit.lesion_id, edit.new_lesion_status) for edit in edits.lesions}
    sizes = {(edit.lesion_id, edit.study_date) for edit in edits.measurements}
    return {
        day: frozenset(
            [
                name
                for name, m in of_day.items()
                if m.new_lesion_status is not None
                and ((name, m.new_lesion_status) in said or (is_typed and (name, day) not in sizes))
            ]
        )
        for day, of_day in rows.items()
    }


def place_findings(
    findings: Sequence[Finding],
    dates: Sequence[date],
    baselines: Mapping[date, date | None],
    settings: RespondSettings,
) -> dict[date, list[Finding]]:
    """Return findings by the date of the study they belong to: the nearest within the window, else their own.

    Of two studies equally near, the finding belongs to the earlier one. ``baselines`` are those of the treatment phases
    by the day on which each starts: what was reported before a treatment is no news of a study after it, and what
    changed under it was not so at the study before it.
    """
    placed: dict[date, list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: (f.date, f.kind, f.site, f.status)):
        index = bisect_left(dates, finding.date)
        near = [
            day
            for day in dates[max(0, index - 1) : index + 1]
            if abs((day - finding.date).days) <= settings.findings_window_days
            and not any(_is_parted(finding, day, start, baselines[start], settings) for start in baselines)
        ]
        day = min(near, key=lambda day: (abs((day - finding.date).days), day), default=finding.date)
        placed.setdefault(day, []).append(finding)
    return placed


def _is_parted(
    finding: Finding, day: date, start: date, baseline: date | None, settings: RespondSettings
) -> bool:
    """Tell whether a treatment that began between a finding and a study keeps them apart.

    A study of the first days of a treatment may be its baseline, and a change in these days still belongs to it.
    """
    if finding.date <= start:
        return start < day != baseline
    late = start + timedelta(days=settings.baseline_fallback_after_days)
    return day <= start and finding.date > late and finding.status in CHANGED


def _unread(
    record: StudyRecord | None, rows: Mapping[str, Measurement] | None, *, looks_everywhere: bool, reader: str
) -> str:
    """Return why a reader's images of a study count as not read, or nothing."""
    if rows and not looks_everywhere:
        return ""
    if record is not None and record.lesions_assessable is False:
        return f"lesions not assessable: {record.reason}" if record.reason else "lesions not assessable"
    if rows or looks_everywhere:
        return ""
    if record is not None and record.lesions_assessable and record.model in ("", reader):
        return ""
    return f"no measurement by {reader}"


def is_evaluable(visit: Visit, criterion: Criterion, settings: RespondSettings) -> bool:
    """Tell whether a visit can be a baseline: read, and not every lesion beyond judgement under the criterion.

    A lesion that a reader rejected is no disease, and so does not count either way.
    """
    if visit.unread:
        return False
    values = visit.values(criterion, settings)
    has_lesion = False
    for lesion_id, m in visit.measurements.items():
        if lesion_id in visit.rejected or lesion_is_gone(m):
            continue
        if values.size_of(lesion_id) is not None or is_stated(m, criterion):
            return True
        has_lesion = True
    return not has_lesion


def unvalued(visit: Visit, criterion: Criterion, settings: RespondSettings) -> str:
    """Return which lesions have no value under a criterion, and why."""
    values = visit.values(criterion, settings)
    return ", ".join(
        f"{lesion_id} {value.note}" for lesion_id, value in values.others.items() if value.value is None
    )


def select_baseline(phase: TreatmentPhase, dates: Iterable[date], settings: RespondSettings) -> Baseline:
    """Choose the baseline of a treatment phase among the evaluable study dates (response-criteria section 9).

    ``dates`` are taken in order and no further than the choice needs.
    """
    start = phase.start_date
    if start is None:
        first = next(iter(dates), None)
        if first is None:
            return Baseline(study_date=None, reason="no evaluable study")
        return Baseline(study_date=first, reason="first evaluable study; no treatment table")
    window = start - timedelta(days=settings.baseline_window_days)
    before = start - timedelta(days=settings.baseline_fallback_before_days)
    after = start + timedelta(days=settings.baseline_fallback_after_days)
    evaluable = list(takewhile(lambda day: day <= after, dates))
    regular = [day for day in evaluable if window <= day <= start]
    if regular:
        days = (start - regular[-1]).days
        return Baseline(study_date=regular[-1], reason=f"last evaluable study, {days} days before treatment")
    early = [day for day in evaluable if before <= day < window]
    if early:
        days = (start - early[-1]).days
        return Baseline(
            study_date=early[-1],
            reason=f"{days} days before treatment, outside the window of {settings.baseline_window_days} days",
            flag="baseline_fallback",
        )
    late = [
        day for day in evaluable if start < day <= after and (phase.end_date is None or day <= phase.end_date)
    ]
    if late:
        days = (late[0] - start).days
        return Baseline(
            study_date=late[0], reason=f"{days} days after treatment began", flag="baseline_fallback"
        )
    reason = f"no evaluable study from {before.isoformat()} to {after.isoformat()}"
    return Baseline(study_date=None, reason=reason)


def follow_up(phase: TreatmentPhase, baseline: date | None, visits: Sequence[Visit]) -> tuple[Visit, ...]:
    """Return the visits assessed in a phase: after its baseline and start, up to the start of the next.

    A study on the day the next treatment starts, and any before it, still belongs to this phase, although it may be
    the baseline of the next.
    """
    after = max((day for day in (phase.start_date, baseline) if day is not None), default=None)
    return tuple(
        visit
        for visit in visits
        if (after is None or visit.study_date > after)
        and (phase.end_date is None or visit.study_date <= phase.end_date)
    )


def early_flags(
    patient: Patient, day: date, *, is_cr_or_pd: bool, settings: RespondSettings
) -> tuple[str, ...]:
    """Return the flags of a read that comes early after local therapy (response-criteria section 9)."""
    flags: list[str] = []
    for kind, days, applies, flag in (
        (TreatmentKind.LOCOREGIONAL, settings.locoregional_early_days, True, "early_after_locoregional"),
        (
            TreatmentKind.RADIOTHERAPY,
            settings.radiotherapy_early_days,
            is_cr_or_pd,
            "early_after_radiotherapy",
        ),
    ):
        last = max(
            (_last_given(row, day) for row in patient.treatments if row.kind is kind), default=date.min
        )
        if applies and (day - last).days < days:
            flags.append(flag)
    return tuple(flags)


def _last_given(row: Treatment, day: date) -> date:
    if row.start_date >= day:
        return date.min
    return row.end_date if row.end_date is not None and row.end_date <= day else row.start_date


def course_phase(patient: Patient, phases: Sequence[TreatmentPhase]) -> TreatmentPhase:
    """Return the phase that spans everything: from the first treatment, ended by nothing."""
    start = phases[0].start_date if phases else None
    return TreatmentPhase(patient_id=patient.patient_id, name=COURSE, start_date=start)
