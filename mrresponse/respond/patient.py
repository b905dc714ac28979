"""The numbers half of one patient: phases, roles, assessments and summaries."""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain, pairwise

from mrresponse.domain import (
    ADJUDICATED,
    COURSE,
    UNNAMED_READER,
    Assessment,
    AuditRow,
    Flag,
    LesionEdit,
    LesionRole,
    MarkerSummary,
    Measurement,
    Override,
    Patient,
    PhaseSummary,
    ResponseResult,
    RoleRecord,
    StudyRecord,
    TreatmentPhase,
    viewed_phase,
)
from mrresponse.frozen import rows_of
from mrresponse.respond.assess import PhaseAssessment, assess_phase
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.evidence import PhaseEvidence
from mrresponse.respond.markers import UNKNOWN_UNIT, MarkerSeries, marker_series, summarise_marker
from mrresponse.respond.restate import (
    Group,
    check_used,
    overrides_by_group,
    restate,
    restated_rows,
)
from mrresponse.respond.roles import check_roles_used, stated_roles
from mrresponse.respond.rows import Context, assessment_rows, no_baseline_rows
from mrresponse.respond.rules import FLAG_MESSAGES
from mrresponse.respond.settings import RespondSettings, criteria_of, settings_id
from mrresponse.respond.summary import summarise_phase
from mrresponse.respond.timeline import (
    Baseline,
    course_phase,
    follow_up,
    is_evaluable,
    reader_visits,
    select_baseline,
    session_views,
    source_of,
    treatment_phases,
)
from mrresponse.respond.values import quantity_name

NO_TIME = "phase_without_time"
EXCLUDED = LesionRole.EXCLUDED
ROLE_COLUMNS = ("treatment_phase", "criterion", "reader", "lesion_id", "role", "reason", "quantity")
_RoleRow = tuple[str, str, str, str, LesionRole, str, str]


@dataclass(slots=True, kw_only=True)
class _PhaseResult:
    roles: Sequence[_RoleRow]
    assessments: tuple[Assessment, ...]
    summaries: tuple[PhaseSummary, ...]
    group: Group | None = None
    audit: tuple[AuditRow, ...] = ()
    known: frozenset[str] = frozenset()
    """Lesions known at the baseline: those that a reader can give a role."""


def respond(
    patient: Patient,
    studies: Sequence[StudyRecord],
    measurements: Sequence[Measurement],
    settings: RespondSettings,
) -> ResponseResult:
    """Classify the response at every study, in every treatment phase, under every chosen criterion.

    Parameters
    ----------
    patient
        Treatments (none: one phase ``course`` from the first study), findings, dates of death or last contact, and
        the assessments that a reader restated: they add the rows of the reader ``adjudicated``.
    studies
        One record per imaging visit; one whose lesions were not assessable is not evaluable, with its reason.
    measurements
        One per lesion, study and reader, in any order. Every reader is assessed by itself.
    settings
        Criteria and every default of the rules; their hash stands in each row.

    Returns
    -------
    ResponseResult
        Treatment phases, lesion roles with reasons, one assessment per study, criterion, treatment phase and reader
        (the baseline has a row of its own), summaries per basis (liver, overall), and flags.

    Raises
    ------
    DataError
        Where one of several treatment phases is named ``course``, a reader measured a lesion twice in one study, an
        override restates an assessment that is not there, or a role is of a phase or a lesion that has none.
    """
    with _no_search_for_cycles():
        return _respond(patient, studies, measurements, settings)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Put off the search for reference cycles: a patient's rows form none, and the search takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _respond(
    patient: Patient,
    studies: Sequence[StudyRecord],
    measurements: Sequence[Measurement],
    settings: RespondSettings,
) -> ResponseResult:
    phases = treatment_phases(patient)
    views = session_views(patient, phases) if settings.session_baseline else ()
    run_id = settings_id(settings)
    readers = sorted({m.reader for m in measurements}) or [_reader_of(studies)]
    overrides = overrides_by_group(patient.edits.overrides, readers)
    series = marker_series(patient.markers, settings)
    markers = _marker_summaries(patient, phases, series, settings, run_id)
    results: list[_PhaseResult] = []
    for reader in readers:
        visits = reader_visits(patient, studies, measurements, reader, settings)
        context = Context(
            patient=patient,
            reader=reader,
            settings=settings,
            settings_id=run_id,
            visits=visits,
            source=source_of(measurements, reader),
            markers=series,
            marker_summaries=markers,
        )
        results += _reader_results(context, phases, views, overrides)
    check_used(overrides, {result.group for result in results if result.group is not None})
    if patient.edits.lesions:
        known = {name: set[str]() for name in (*(phase.name for phase in (*phases, *views)), COURSE)}
        for result in results:
            if result.group is not None:
                known[result.group[0]] |= result.known
        check_roles_used(patient.edits.lesions, known, {m.lesion_id for m in measurements})
    assessments = tuple(chain.from_iterable([result.assessments for result in results]))
    return ResponseResult(
        phases=_with_baselines((*phases, *views), patient, assessments),
        roles=_role_records(patient.patient_id, results),
        assessments=assessments,
        summaries=tuple(chain.from_iterable([result.summaries for result in results])),
        markers=markers,
        audit=tuple(chain.from_iterable([result.audit for result in results])),
        flags=_same_start_flags(phases)
        + _marker_unit_flags(patient.patient_id, series)
        + _flags(patient.patient_id, assessments),
    )


def _marker_summaries(
    patient: Patient,
    phases: Sequence[TreatmentPhase],
    series: Sequence[MarkerSeries],
    settings: RespondSettings,
    run_id: str,
) -> tuple[MarkerSummary, ...]:
    if not series:
        return ()
    course = [] if any(phase.name == COURSE for phase in phases) else [course_phase(patient, phases)]
    found = (
        summarise_marker(one, phase, patient.patient_id, settings)
        for phase in (*phases, *course)
        for one in series
    )
    return tuple(replace(row, settings_id=run_id) for row in found if row is not None)


def _same_start_flags(phases: Sequence[TreatmentPhase]) -> tuple[Flag, ...]:
    """Return a flag for each treatment phase that ends on the day it starts: every study counts for the next one."""
    return tuple(
        Flag(
            patient_id=phase.patient_id,
            study_date=None,
            code=NO_TIME,
            message=f"treatment phases {phase.name} and {after.name} both start on {phase.start_date}: every study "
            f"counts for {after.name} alone; what is given together has one treatment_phase",
        )
        for phase, after in pairwise(phases)
        if phase.start_date == after.start_date
    )


def _marker_unit_flags(patient_id: str, series: Sequence[MarkerSeries]) -> tuple[Flag, ...]:
    return tuple(
        Flag(
            patient_id=patient_id,
            study_date=None,
            code=UNKNOWN_UNIT,
            message=f"{one.name}: found unit {unit}, expected {one.unit} or one that converts into it",
        )
        for one in series
        for unit in sorted({marker.unit for marker in one.unusable})
    )


def _reader_of(studies: Sequence[StudyRecord]) -> str:
    return next((study.model for study in studies if study.model), UNNAMED_READER)


def _reader_results(
    context: Context,
    phases: Sequence[TreatmentPhase],
    views: Sequence[TreatmentPhase],
    overrides: Mapping[Group, tuple[Override, ...]],
) -> list[_PhaseResult]:
    results: list[_PhaseResult] = []
    for phase in (*phases, *views):
        criteria = criteria_of(context.settings, viewed_phase(phase.name), source=context.source)
        baselines = [_baseline(context, phase, criterion) for criterion in criteria]
        results += _phase_results(context, phase, zip(criteria, baselines, strict=True), overrides)
    if any(phase.name == COURSE for phase in phases):
        return results
    course = course_phase(context.patient, phases)
    criteria = criteria_of(context.settings, COURSE, source=context.source)
    baselines = [_course_baseline(context, phases or [course], criterion) for criterion in criteria]
    return results + _phase_results(context, course, zip(criteria, baselines, strict=True), overrides)


def _course_baseline(context: Context, phases: Sequence[TreatmentPhase], criterion: Criterion) -> Baseline:
    """Return the first baseline of a treatment phase, or why there is none."""
    found = [_baseline(context, phase, criterion) for phase in phases]
    return next((baseline for baseline in found if baseline.study_date is not None), found[0])


def _baseline(context: Context, phase: TreatmentPhase, criterion: Criterion) -> Baseline:
    dates = (v.study_date for v in context.visits if is_evaluable(v, criterion, context.settings))
    return select_baseline(phase, dates, context.settings)


def _phase_results(
    context: Context,
    phase: TreatmentPhase,
    chosen: Iterable[tuple[Criterion, Baseline]],
    overrides: Mapping[Group, tuple[Override, ...]],
) -> list[_PhaseResult]:
    """Return a phase under each criterion as its reader sees it, and as it was restated where it was.

    Criteria with the same baseline share the evidence.
    """
    stated = stated_roles(context.patient.edits.lesions, phase.name)
    pairs = list(chosen)
    assessed: dict[str, PhaseAssessment] = {}
    for day in dict.fromkeys(baseline.study_date for _, baseline in pairs if baseline.study_date is not None):
        criteria = [criterion for criterion, baseline in pairs if baseline.study_date == day]
        found = assess_phase(_evidence(context, phase, day, stated), criteria)
        assessed |= {criterion.name: one for criterion, one in zip(criteria, found, strict=True)}
    results: list[_PhaseResult] = []
    begun = phase
    for criterion, baseline in pairs:
        if (begun.baseline_date, begun.baseline_reason) != (baseline.study_date, baseline.reason):
            begun = replace(phase, baseline_date=baseline.study_date, baseline_reason=baseline.reason)
        if criterion.name in assessed:
            one = assessed[criterion.name]
            results += _with_baseline(context, begun, (criterion, baseline), one, stated, overrides)
        else:
            results.append(_without_baseline(context, begun, criterion, baseline))
    return results


def _without_baseline(
    context: Context, phase: TreatmentPhase, criterion: Criterion, baseline: Baseline
) -> _PhaseResult:
    rows = no_baseline_rows(context, phase, criterion, baseline, follow_up(phase, None, context.visits))
    summaries = summarise_phase(context, phase, criterion, rows, None)
    return _PhaseResult(roles=(), assessments=rows, summaries=summaries)


def _evidence(
    context: Context, phase: TreatmentPhase, baseline: date, stated: Mapping[str, LesionEdit]
) -> PhaseEvidence:
    before = max(baseline, phase.start_date or baseline)
    return PhaseEvidence(
        up_to_baseline=tuple([visit for visit in context.visits if visit.study_date <= baseline]),
        up_to_start=tuple([visit for visit in context.visits if visit.study_date <= before]),
        follow_ups=follow_up(phase, baseline, context.visits),
        stated=stated,
        settings=context.settings,
    )


def _with_baseline(
    context: Context,
    phase: TreatmentPhase,
    chosen: tuple[Criterion, Baseline],
    assessed: PhaseAssessment,
    stated: Mapping[str, LesionEdit],
    overrides: Mapping[Group, tuple[Override, ...]],
) -> list[_PhaseResult]:
    criterion, baseline = chosen
    group = (phase.name, criterion.name, context.reader)
    first = _assessed_result(context, phase, criterion, baseline, assessed)
    if stated:
        first = replace(first, audit=_role_audit(group, assessed, stated))
    if group not in overrides:
        return [first]
    restated = restate(assessed, overrides[group], criterion)
    adjudicated = _assessed_result(replace(context, reader=ADJUDICATED), phase, criterion, baseline, restated)
    rows, audit = restated_rows(adjudicated.assessments, first.assessments, overrides[group])
    return [first, replace(adjudicated, assessments=rows, audit=audit, group=None)]


def _assessed_result(
    context: Context,
    phase: TreatmentPhase,
    criterion: Criterion,
    baseline: Baseline,
    assessed: PhaseAssessment,
) -> _PhaseResult:
    rows = assessment_rows(context, phase, criterion, baseline, assessed)
    return _PhaseResult(
        roles=_roles(context, phase, criterion, assessed),
        assessments=rows,
        summaries=summarise_phase(context, phase, criterion, rows, assessed),
        group=(phase.name, criterion.name, context.reader),
        known=frozenset(role.lesion_id for role in assessed.roles),
    )


def _role_audit(
    group: Group, assessed: PhaseAssessment, stated: Mapping[str, LesionEdit]
) -> tuple[AuditRow, ...]:
    """Return a row for every role that a reader set, with the role that the rules gave."""
    phase, criterion, reader = group
    by_rule = {role.lesion_id: role for role in assessed.roles_by_rule}
    return tuple(
        AuditRow(
            patient_id=edit.patient_id,
            study_date=assessed.baseline_date,
            lesion_id=lesion_id,
            edit="lesions.csv",
            what=f"role for {reader}, {criterion}, {phase}",
            before=by_rule[lesion_id].role or LesionRole.EXCLUDED,
            after=edit.role or "",
            reader=edit.reader,
            reason=edit.reason,
            when=edit.when,
        )
        for lesion_id, edit in stated.items()
        if lesion_id in by_rule
    )


def _role_records(patient_id: str, results: Iterable[_PhaseResult]) -> tuple[RoleRecord, ...]:
    found = list(chain.from_iterable([result.roles for result in results]))
    if not found:
        return ()
    columns = dict(zip(ROLE_COLUMNS, zip(*found, strict=True), strict=True))
    return tuple(rows_of(RoleRecord, {"patient_id": patient_id}, **columns))


def _roles(
    context: Context, phase: TreatmentPhase, criterion: Criterion, assessed: PhaseAssessment
) -> list[_RoleRow]:
    """Return the roles under one criterion, by lesion."""
    said = {
        role.lesion_id: (role.role or EXCLUDED, role.reason) for role in assessed.roles if not role.may_be_new
    }
    later = list(chain.from_iterable(assessed.new))
    benign = {role.lesion_id: role.reason for role in assessed.roles if role.is_benign}
    for lesion in later:
        if lesion.status != "none":
            before = "no disease" if lesion.lesion_id in benign else "not there"
            said.setdefault(
                lesion.lesion_id,
                (LesionRole.NEW, f"first seen {lesion.first_seen.isoformat()}, {before} at baseline"),
            )
    # what was never new disease: a change of perfusion, a normal node, a benign or a rejected finding
    for lesion_id, reason in benign.items():
        said.setdefault(lesion_id, (EXCLUDED, reason))
    for lesion in later:
        said.setdefault(lesion.lesion_id, (EXCLUDED, lesion.why))
    group = (phase.name, criterion.name, context.reader)
    first = context.first_measured
    return [(*group, name, *said[name], quantity_name(first.get(name), criterion)) for name in sorted(said)]


def _with_baselines(
    phases: Sequence[TreatmentPhase], patient: Patient, assessments: Sequence[Assessment]
) -> tuple[TreatmentPhase, ...]:
    """Return the treatment phases, the course last, with the baseline of the first criterion and reader."""
    named = [
        *phases,
        *([] if any(phase.name == COURSE for phase in phases) else [course_phase(patient, phases)]),
    ]
    found: dict[str, Assessment] = {}
    for row in assessments:
        if row.is_baseline:
            found.setdefault(row.treatment_phase, row)
    return tuple(
        replace(phase, baseline_date=found[phase.name].study_date, baseline_reason=found[phase.name].reason)
        if phase.name in found
        else replace(phase, baseline_reason="no evaluable baseline")
        for phase in named
    )


def _flags(patient_id: str, assessments: Sequence[Assessment]) -> tuple[Flag, ...]:
    seen = dict.fromkeys((row.study_date, code) for row in assessments for code in row.flags)
    return tuple(
        Flag(patient_id=patient_id, study_date=day, code=code, message=FLAG_MESSAGES[code])
        for day, code in sorted(seen)
    )
