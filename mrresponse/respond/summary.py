"""Rows of ``phases.csv``: a treatment phase on the liver's and on the overall response."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from mrresponse.domain import Assessment, MarkerSummary, PhaseSummary, Response, TreatmentPhase
from mrresponse.respond.assess import Basis, BasisVisit, PhaseAssessment
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.endpoints import (
    NE,
    STABLE,
    Dated,
    Survival,
    best_overall_response,
    confirmed_best_overall_response,
    days_between,
    duration_of_response,
    has_clinical_benefit,
    immune_best_overall_response,
    immune_progression_date,
    overall_survival,
    progression_free,
    response_date,
    time_to_progression,
    until_progression,
)
from mrresponse.respond.growth import Growth, early_shrinkage, is_hyperprogression
from mrresponse.respond.immune import EARLY_SCAN
from mrresponse.respond.markers import discordance
from mrresponse.respond.rows import Context
from mrresponse.respond.settings import AFP, PIVKA_II, RespondSettings
from mrresponse.respond.timeline import follow_up

BASES = ("liver", "overall")
WORDS = {str(word): word for word in Response}
STABLE_WORDS = frozenset({*STABLE, "iSD", "NON-iCR/NON-iUPD"})
MARKER_COLUMNS = {AFP.name: ("afp", "ng_ml"), PIVKA_II.name: ("pivka_ii", "mau_ml")}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMarkers:
    """The markers of a phase, and the names of those that contradicted the images at a study, by basis."""

    summaries: tuple[MarkerSummary, ...] = ()
    discordant: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())


NO_MARKERS = PhaseMarkers()


def summarise_phase(
    context: Context,
    phase: TreatmentPhase,
    criterion: Criterion,
    rows: Sequence[Assessment],
    assessed: PhaseAssessment | None,
) -> tuple[PhaseSummary, ...]:
    """Return the two rows of a phase, the liver's and the overall; without a baseline they say so."""
    if assessed is None:
        return tuple(_without_baseline(context, phase, criterion, rows, index) for index in range(len(BASES)))
    liver = _columns(context, phase, criterion, assessed, assessed.liver)
    overall = liver
    if assessed.overall is not assessed.liver:
        overall = _columns(context, phase, criterion, assessed, assessed.overall)
    markers = _markers(context, phase, rows)
    return (
        PhaseSummary(basis=BASES[0], **liver, **_marker_columns(markers, 0)),
        PhaseSummary(basis=BASES[1], **overall, **_marker_columns(markers, 1)),
    )


def _without_baseline(
    context: Context, phase: TreatmentPhase, criterion: Criterion, rows: Sequence[Assessment], index: int
) -> PhaseSummary:
    return PhaseSummary(
        patient_id=context.patient.patient_id,
        treatment_phase=phase.name,
        criterion=criterion.name,
        basis=BASES[index],
        reader=context.reader,
        start_date=phase.start_date,
        end_date=phase.end_date,
        # without a treatment table the first study is the baseline, though nothing could be judged at it
        baseline_date=next((row.study_date for row in rows if row.is_baseline), None),
        best_overall_response=Response.NE if rows else None,
        confirmed_best_overall_response=Response.NE if rows else None,
        settings_id=context.settings_id,
        **_until_death(context, phase),
        **_survival(context, phase.start_date),
        **_marker_columns(_markers(context, phase, rows), index),
    )


def _until_death(context: Context, phase: TreatmentPhase) -> dict[str, Any]:
    """Return what ended a phase without a baseline: a death, which needs none, or nothing that is known.

    Every scan is not evaluable there, so that after too many of them a progression may have been missed before the
    death: it ends nothing then (response-criteria section 8).
    """
    start, death, settings = phase.start_date, context.patient.death_date, context.settings
    if start is not None and death is not None:
        scans = [(one.study_date, NE) for one in follow_up(phase, None, context.visits) if one.is_imaged]
        free = progression_free(scans, start, phase_end=phase.end_date, death=death, settings=settings)
        if free.is_event:
            return {
                "progression_free_days": days_between(start, free.end, settings.day_count),
                "progression_free_event": True,
                "event": f"{free.event}; time to progression unknown: no baseline, {phase.baseline_reason}",
            }
    return {"event": f"no baseline: {phase.baseline_reason}"}


def _columns(
    context: Context, phase: TreatmentPhase, criterion: Criterion, assessed: PhaseAssessment, basis: Basis
) -> dict[str, Any]:
    """Return the columns of one basis, its name and the markers left open."""
    settings = context.settings
    called = _called(assessed, basis)
    start = phase.start_date or phase.baseline_date or date.min
    if criterion.progression_call is ProgressionCall.CONFIRMED:
        visits, best, confirmed = _immune(called, start, context)
    else:
        visits = _dated_visits(called)
        best = confirmed = best_overall_response(visits, start, settings).response
        if response_date(visits) is not None:
            is_measurable = bool(basis.target_ids)
            confirmed = confirmed_best_overall_response(
                visits, start, settings, is_measurable=is_measurable
            ).response
    death = context.patient.death_date
    to_progression = time_to_progression(visits, start, phase_end=phase.end_date, death=death)
    free = progression_free(visits, start, phase_end=phase.end_date, death=death, settings=settings)
    return {
        "patient_id": context.patient.patient_id,
        "treatment_phase": phase.name,
        "criterion": criterion.name,
        "reader": context.reader,
        "start_date": start,
        "end_date": phase.end_date,
        "baseline_date": phase.baseline_date,
        "best_overall_response": WORDS[best] if best else None,
        "confirmed_best_overall_response": WORDS[confirmed] if confirmed else None,
        "time_to_progression_days": days_between(start, to_progression.end, settings.day_count),
        "progression_date": to_progression.end if to_progression.is_event else None,
        "progression_free_days": days_between(start, free.end, settings.day_count),
        "progression_free_event": free.is_event,
        "event": _event(to_progression, free),
        "clinical_benefit": has_clinical_benefit(best, to_progression, start, settings),
        "settings_id": context.settings_id,
        **_durations(context, visits, best, start, to_progression),
        **_survival(context, start),
        **_sizes(phase, (assessed, visits), basis, settings),
    }


def _durations(
    context: Context, visits: Sequence[Dated], best: str | None, start: date, to_progression: Survival
) -> dict[str, Any]:
    settings = context.settings
    answered = response_date(visits)
    columns: dict[str, Any] = {"response_date": answered}
    if answered is not None:
        end = duration_of_response(to_progression, death=context.patient.death_date, settings=settings)
        columns["duration_of_response_days"] = days_between(answered, end.end, settings.day_count)
        columns["duration_of_response_event"] = end.is_event
    if best in STABLE_WORDS:
        columns["stable_disease_days"] = days_between(start, to_progression.end, settings.day_count)
    return columns


def _survival(context: Context, start: date | None) -> dict[str, Any]:
    patient = context.patient
    if start is None:
        return {}
    found = overall_survival(start, death=patient.death_date, last_known_alive=context.last_known_alive)
    if found is None:
        return {}
    return {
        "overall_survival_days": days_between(start, found.end, context.settings.day_count),
        "overall_survival_event": found.is_event,
    }


def _sizes(
    phase: TreatmentPhase,
    seen: tuple[PhaseAssessment, Sequence[Dated]],
    basis: Basis,
    settings: RespondSettings,
) -> dict[str, Any]:
    assessed, visits = seen
    if not basis.baseline_burden:
        return {}
    changes = _changes(assessed, basis, basis.baseline_burden)
    last = visits[-1][0] if visits else date.max
    early, is_early = early_shrinkage(changes, phase.start_date or assessed.baseline_date, settings)
    growth = basis.growth
    first = _first_evaluable(visits)
    return {
        "depth_of_response": min([c for day, c in changes if c is not None and day <= last], default=None),
        "early_change": early,
        "early_shrinkage": is_early,
        "growth_rate_before_percent_per_month": growth.before,
        "growth_rate_percent_per_month": growth.on_treatment,
        "doubling_time_days": growth.doubling_time_days,
        "hyperprogression": None if first is None else _hyperprogression(*first, growth, settings),
    }


def _first_evaluable(visits: Sequence[Dated]) -> Dated | None:
    return next((visit for visit in visits if visit[1] != NE), None)


def _hyperprogression(day: date, word: str, growth: Growth, settings: RespondSettings) -> bool | None:
    # where a target was not measured at the first evaluation, its growth up to then is not known
    on_treatment = growth.on_treatment if growth.until == day else None
    return is_hyperprogression(word, growth.before, on_treatment, settings)


def _changes(assessed: PhaseAssessment, basis: Basis, start: float) -> list[tuple[date, float | None]]:
    """Return the changes from baseline by date; a scan that iRECIST passes over as too early has none that counts."""
    burdens = [
        None if seen.target is None or EARLY_SCAN in seen.flags else seen.target.burden
        for seen in basis.visits
    ]
    return [
        (visit.study_date, None if burden is None else (burden - start) / start)
        for visit, burden in zip(assessed.follow_ups, burdens, strict=True)
    ]


def _called(assessed: PhaseAssessment, basis: Basis) -> tuple[tuple[date, BasisVisit], ...]:
    """Return the visits that times and best response go by.

    A date with findings alone that decide nothing is no scan, and so none that was missed or not evaluable.
    """
    return tuple(
        (visit.study_date, one)
        for visit, one in zip(assessed.follow_ups, basis.visits, strict=True)
        if visit.is_imaged or one.response is not NE
    )


def _dated_visits(called: Sequence[tuple[date, BasisVisit]]) -> tuple[Dated, ...]:
    """Return the visits up to the first progression, dated at a lesion's first appearance where that is earlier.

    A lesion that is established only after the first progression still dates it, where it was seen before.
    """
    visits = until_progression([(day, visit.response) for day, visit in called])
    earlier = [visit.dated_from for _, visit in called if visit.dated_from is not None]
    if not earlier:
        return visits
    first = min(*earlier, visits[-1][0])
    return (*(visit for visit in visits if visit[0] < first), (first, Response.PD))


def _immune(
    called: Sequence[tuple[date, BasisVisit]], start: date, context: Context
) -> tuple[tuple[Dated, ...], str | None, str | None]:
    """Return the visits with the iRECIST progression as PD on its date, and the best response."""
    visits = [(day, visit.response) for day, visit in called if EARLY_SCAN not in visit.flags]
    progression = immune_progression_date(visits)
    if progression is None:
        best = immune_best_overall_response(visits, start, context.settings).response
        return tuple(visits), best, best
    # as under RECIST 1.1, a new lesion that was doubtful at first dates the progression, unless a response voided that
    dated = [visit.dated_from for day, visit in called if day >= progression]
    called_on, progression = progression, min([progression, *(day for day in dated if day is not None)])
    # what was said while the lesion was in doubt is no response before the progression
    known = [
        (day, Response.IUPD if progression <= day < called_on and word is not NE else word)
        for day, word in visits
    ]
    best = immune_best_overall_response(known, start, context.settings).response
    return (*(visit for visit in visits if visit[0] < progression), (progression, Response.PD)), best, best


def _event(to_progression: Survival, free: Survival) -> str:
    if to_progression.is_event or free.event == to_progression.event:
        return free.event
    return f"{free.event}; time to progression {to_progression.event}"


def _markers(context: Context, phase: TreatmentPhase, rows: Sequence[Assessment]) -> PhaseMarkers:
    summaries = tuple([row for row in context.marker_summaries if row.treatment_phase == phase.name])
    if not summaries:
        return NO_MARKERS
    found: tuple[set[str], set[str]] = (set(), set())
    for row in rows:
        for names, response in zip(found, (row.liver_response, row.overall), strict=True):
            flags = discordance(context.markers, phase, row.study_date, response, context.settings)
            names.update(name for name, _ in flags)
    return PhaseMarkers(summaries=summaries, discordant=(frozenset(found[0]), frozenset(found[1])))


def _marker_columns(markers: PhaseMarkers, index: int) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for row in markers.summaries:
        if row.marker in MARKER_COLUMNS:
            stem, unit = MARKER_COLUMNS[row.marker]
            columns |= {
                f"{stem}_baseline_{unit}": row.baseline_value,
                f"{stem}_nadir_{unit}": row.nadir_value,
                f"{stem}_change": row.change_to_nadir,
                f"{stem}_days_above_limit": row.days_above_limit,
                f"{stem}_response": row.response,
                f"{stem}_discordant": row.marker in markers.discordant[index],
            }
    return columns
