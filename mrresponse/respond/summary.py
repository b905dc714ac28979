"""Rows of ``phases.csv``: a treatment phase on the liver's and on the overall response."""

from collections.abc import Sequence
from datetime import date

from mrresponse.domain import Assessment, PhaseSummary, Response, TreatmentPhase
from mrresponse.respond.assess import Basis, PhaseAssessment
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.endpoints import (
    Dated,
    Survival,
    best_overall_response,
    confirmed_best_overall_response,
    days_between,
    immune_best_overall_response,
    immune_progression_date,
    progression_free,
    response_date,
    time_to_progression,
    until_progression,
)
from mrresponse.respond.immune import EARLY_SCAN
from mrresponse.respond.rows import Context

BASES = ("liver", "overall")


def summarise_phase(
    context: Context,
    phase: TreatmentPhase,
    criterion: Criterion,
    rows: Sequence[Assessment],
    assessed: PhaseAssessment | None,
) -> tuple[PhaseSummary, ...]:
    """Return the two rows of a phase; without a baseline they say so and nothing else."""
    if assessed is None:
        return tuple(
            PhaseSummary(
                patient_id=context.patient.patient_id,
                treatment_phase=phase.name,
                criterion=criterion.name,
                basis=basis,
                reader=context.reader,
                start_date=phase.start_date,
                end_date=phase.end_date,
                best_overall_response=Response.NE if rows else None,
                confirmed_best_overall_response=Response.NE if rows else None,
                event=f"no baseline: {phase.baseline_reason}",
            )
            for basis in BASES
        )
    dates = [visit.study_date for visit in assessed.follow_ups]
    return (
        _summary(context, phase, criterion, dates, ("liver", assessed.liver)),
        _summary(context, phase, criterion, dates, ("overall", assessed.overall)),
    )


def _summary(
    context: Context,
    phase: TreatmentPhase,
    criterion: Criterion,
    dates: Sequence[date],
    named_basis: tuple[str, Basis],
) -> PhaseSummary:
    name, basis = named_basis
    settings = context.settings
    start = phase.start_date or phase.baseline_date or date.min
    if criterion.progression_call is ProgressionCall.CONFIRMED:
        visits, best, confirmed = _immune(dates, basis, start, context)
    else:
        visits = _dated_visits(dates, basis)
        best = best_overall_response(visits, start, settings).response
        confirmed = confirmed_best_overall_response(visits, start, settings).response
    answered = response_date(visits)
    death = context.patient.death_date
    to_progression = time_to_progression(visits, start, phase_end=phase.end_date, death=death)
    free = progression_free(visits, start, phase_end=phase.end_date, death=death, settings=settings)
    return PhaseSummary(
        patient_id=context.patient.patient_id,
        treatment_phase=phase.name,
        criterion=criterion.name,
        basis=name,
        reader=context.reader,
        start_date=start,
        end_date=phase.end_date,
        baseline_date=phase.baseline_date,
        best_overall_response=Response(best) if best else None,
        confirmed_best_overall_response=Response(confirmed) if confirmed else None,
        response_date=answered,
        progression_date=to_progression.end if to_progression.is_event else None,
        duration_of_response_days=(
            days_between(answered, to_progression.end, settings.day_count) if answered else None
        ),
        time_to_progression_days=days_between(start, to_progression.end, settings.day_count),
        progression_free_days=days_between(start, free.end, settings.day_count),
        event=_event(to_progression, free),
        depth_of_response=_depth(dates, basis, visits),
    )


def _dated_visits(dates: Sequence[date], basis: Basis) -> tuple[Dated, ...]:
    """Return the visits up to the first progression, dated at a lesion's first appearance where that is earlier."""
    visits = until_progression(
        [(day, visit.response) for day, visit in zip(dates, basis.visits, strict=True)]
    )
    earlier = [visit.dated_from for visit in basis.visits[: len(visits)] if visit.dated_from is not None]
    if not earlier or not visits or visits[-1][1] != Response.PD:
        return visits
    first = min(earlier)
    return (*(visit for visit in visits if visit[0] < first), (first, Response.PD))


def _immune(
    dates: Sequence[date], basis: Basis, start: date, context: Context
) -> tuple[tuple[Dated, ...], str | None, str | None]:
    """Return the visits with the iRECIST progression as PD on its date, and the best response."""
    visits = [
        (day, visit.response)
        for day, visit in zip(dates, basis.visits, strict=True)
        if EARLY_SCAN not in visit.flags
    ]
    best = immune_best_overall_response(visits, start, context.settings).response
    progression = immune_progression_date(visits)
    if progression is None:
        return tuple(visits), best, best
    return (*(visit for visit in visits if visit[0] < progression), (progression, Response.PD)), best, best


def _event(to_progression: Survival, free: Survival) -> str:
    if to_progression.is_event or free.event == to_progression.event:
        return free.event
    return f"{free.event}; time to progression {to_progression.event}"


def _depth(dates: Sequence[date], basis: Basis, visits: Sequence[Dated]) -> float | None:
    start = basis.baseline_burden
    if not start:
        return None
    last = visits[-1][0] if visits else date.max
    burdens = [
        visit.target.burden
        for day, visit in zip(dates, basis.visits, strict=True)
        if day <= last and visit.target is not None and visit.target.burden is not None
    ]
    return min(((burden - start) / start for burden in burdens), default=None)
