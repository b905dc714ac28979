"""Rows of ``assessments.csv``: what was decided at each visit and the sentence to redo it by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from mrresponse.domain import (
    Agent,
    Assessment,
    MarkerSummary,
    Measurement,
    MeasurementSource,
    Patient,
    Response,
    TreatmentPhase,
)
from mrresponse.respond.assess import BasisVisit, PhaseAssessment
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.markers import MarkerSeries, discordance
from mrresponse.respond.rules import CR, PD, PR, SD, is_below, number
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.timeline import Baseline, Visit, early_flags, unvalued

PROGRESSED = frozenset({Response.PD, Response.ICPD})
COMPLETE = frozenset({Response.CR, Response.ICR})
PLAIN_CATEGORIES = {
    Response.CR: Response.CR,
    Response.PR: Response.PR,
    Response.SD: Response.SD,
    Response.PD: Response.PD,
    Response.ICR: Response.CR,
    Response.IPR: Response.PR,
    Response.ISD: Response.SD,
    Response.IUPD: Response.PD,
    Response.ICPD: Response.PD,
}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What all rows of one patient and reader share."""

    patient: Patient
    reader: str
    settings: RespondSettings
    settings_id: str
    visits: tuple[Visit, ...]
    source: MeasurementSource
    markers: tuple[MarkerSeries, ...] = ()
    marker_summaries: tuple[MarkerSummary, ...] = ()

    @cached_property
    def first_measured(self) -> Mapping[str, Measurement]:
        """The first measurement of each lesion."""
        found: dict[str, Measurement] = {}
        for visit in self.visits:
            for lesion_id, measurement in visit.measurements.items():
                found.setdefault(lesion_id, measurement)
        return found

    @cached_property
    def last_known_alive(self) -> date | None:
        """The last contact or visit."""
        days = [visit.study_date for visit in self.visits]
        if self.patient.last_contact_date is not None:
            days.append(self.patient.last_contact_date)
        return max(days, default=None)


def assessment_rows(
    context: Context,
    phase: TreatmentPhase,
    criterion: Criterion,
    baseline: Baseline,
    assessed: PhaseAssessment,
) -> tuple[Assessment, ...]:
    """Return the baseline's row and one row per follow-up visit, by date."""
    agent = _agent_at(context, baseline)
    rows = [_baseline_row(context, phase, criterion, baseline, assessed)]
    has_progressed = False
    start, unit = assessed.overall.baseline_burden, criterion.unit
    probabilities = assessed.probabilities or (None,) * len(assessed.follow_ups)
    for visit, overall, liver, chances, said in zip(
        assessed.follow_ups,
        assessed.overall.visits,
        assessed.liver.visits,
        probabilities,
        assessed.findings,
        strict=True,
    ):
        target = overall.target
        nadir, current = (target.nadir, target.burden) if target else (None, None)
        rows.append(
            Assessment(
                patient_id=context.patient.patient_id,
                treatment_phase=phase.name,
                criterion=criterion.name,
                study_date=visit.study_date,
                reader=context.reader,
                baseline_burden=start,
                nadir_burden=nadir,
                current_burden=current,
                burden_unit=unit,
                change_from_baseline=_fraction(current, start),
                change_from_nadir=_fraction(current, nadir),
                target=overall.target_response,
                non_target=overall.non_target,
                new_lesions=overall.new_lesions,
                liver_response=liver.response,
                overall=overall.response,
                reason=_reason(overall, liver),
                p_cr=round(chances[CR], 4) if chances else None,
                p_pr=round(chances[PR], 4) if chances else None,
                p_sd=round(chances[SD], 4) if chances else None,
                p_pd=round(chances[PD], 4) if chances else None,
                dated_from=overall.dated_from,
                after_progression=has_progressed,
                flags=(
                    *_flags(overall, liver),
                    *(_near_threshold(overall.response, chances, context.settings) if chances else ()),
                    *said.flags,
                    *(_technique(agent, visit) if agent else ()),
                    *(_marker_flags(context, phase, visit, overall) if context.markers else ()),
                    *(_early_flags(context, visit, liver) if context.patient.treatments else ()),
                ),
                settings_id=context.settings_id,
            )
        )
        has_progressed = has_progressed or overall.response in PROGRESSED
    return tuple(rows)


def _early_flags(context: Context, visit: Visit, liver: BasisVisit) -> tuple[str, ...]:
    return early_flags(
        context.patient,
        visit.study_date,
        is_cr_or_pd=liver.response in PROGRESSED or liver.response in COMPLETE,
        settings=context.settings,
    )


def no_baseline_rows(
    context: Context, phase: TreatmentPhase, criterion: Criterion, baseline: Baseline, visits: Sequence[Visit]
) -> tuple[Assessment, ...]:
    """Return rows of a phase without a baseline: not evaluable, and why.

    Without a treatment table the first study is the baseline even so: its row says what could not be judged.
    """
    rows = []
    for index, visit in enumerate(visits):
        is_baseline = index == 0 and phase.start_date is None
        word = None if is_baseline else Response.NE
        why = [
            f"no baseline, {baseline.reason}",
            visit.unread or unvalued(visit, criterion, context.settings),
        ]
        rows.append(
            Assessment(
                patient_id=context.patient.patient_id,
                treatment_phase=phase.name,
                criterion=criterion.name,
                study_date=visit.study_date,
                reader=context.reader,
                is_baseline=is_baseline,
                burden_unit=criterion.unit,
                target=word,
                non_target=word,
                new_lesions=None if is_baseline else "not assessed",
                liver_response=word,
                overall=word,
                reason="; ".join(["NE: " * (not is_baseline) + why[0], *filter(None, why[1:])]),
                flags=("no_baseline",),
                settings_id=context.settings_id,
            )
        )
    return tuple(rows)


def _baseline_row(
    context: Context,
    phase: TreatmentPhase,
    criterion: Criterion,
    baseline: Baseline,
    assessed: PhaseAssessment,
) -> Assessment:
    overall = assessed.overall
    burden = overall.baseline_burden
    parts = [f"baseline: {baseline.reason}"]
    if burden is None:
        parts.append("no target")
    else:
        parts.append(f"{criterion.sum_name} {number(burden)} {criterion.unit}: {overall.baseline_lesions}")
    non_targets = [*overall.non_target_ids, *assessed.baseline_findings]
    if non_targets:
        parts.append(f"non-targets: {', '.join(non_targets)}")
    if burden is None and not non_targets:
        parts.append("no disease")
    benign = ("benign_pattern",) if any(r.reason.startswith("benign pattern") for r in assessed.roles) else ()
    study_date = assessed.baseline_date
    return Assessment(
        patient_id=context.patient.patient_id,
        treatment_phase=phase.name,
        criterion=criterion.name,
        study_date=study_date,
        reader=context.reader,
        is_baseline=True,
        baseline_burden=burden,
        current_burden=burden,
        burden_unit=criterion.unit,
        reason="; ".join(parts),
        flags=(*([baseline.flag] if baseline.flag else []), *benign),
        settings_id=context.settings_id,
    )


def _reason(overall: BasisVisit, liver: BasisVisit) -> str:
    parts = []
    if overall.target is not None:
        decision = overall.target.decision
        head = "" if overall.target_response is overall.response else f"target {overall.target_response}, "
        parts.append(f"{head}{decision.sentence} [{overall.target.lesions}]")
    elif overall.non_target is None:
        parts.append("no disease at baseline")
    else:
        parts.append("no target at baseline")
    if overall.non_target is not None:
        parts.append(f"non-target {overall.non_target}, {overall.non_target_reason}")
    new = f", {overall.new_reason}" if overall.new_reason else ""
    parts.append(f"new lesions {overall.new_lesions}{new}")
    if overall.note:
        parts.append(overall.note)
    if overall.dated_from is not None:
        parts.append(f"progression is dated {overall.dated_from.isoformat()}, when the lesion was first seen")
    if liver.response is not overall.response:
        parts.append(_liver_part(overall, liver))
    return f"{overall.response}: " + "; ".join(parts)


def _liver_part(overall: BasisVisit, liver: BasisVisit) -> str:
    """Name the components of the liver's own response where it differs from the overall one."""
    components = [f"target {liver.target_response or 'none'}"]
    if (
        liver.target is not None
        and liver.target is not overall.target
        and liver.target.lesions != (overall.target.lesions if overall.target else "")
    ):
        components[0] += f" ({liver.target.decision.sentence})"
    components.append(f"non-target {liver.non_target or 'none'}")
    components.append(f"new lesions {liver.new_lesions}")
    return f"the liver alone is {liver.response}: " + ", ".join(components)


def _flags(overall: BasisVisit, liver: BasisVisit) -> tuple[str, ...]:
    own = overall.target.flags if overall.target else ()
    if liver is overall:
        return own + overall.flags
    alone = liver.target.flags if liver.target else ()
    return tuple(dict.fromkeys((*own, *alone, *overall.flags, *liver.flags)))


def _agent_at(context: Context, baseline: Baseline) -> Agent | None:
    for visit in context.visits:
        if visit.study_date == baseline.study_date and visit.study is not None:
            return visit.study.agent
    return None


def _technique(agent: Agent, visit: Visit) -> tuple[str, ...]:
    if visit.study is None or visit.study.agent is None:
        return ()
    return ("technique_changed",) if visit.study.agent is not agent else ()


def _marker_flags(
    context: Context, phase: TreatmentPhase, visit: Visit, overall: BasisVisit
) -> tuple[str, ...]:
    found = discordance(context.markers, phase, visit.study_date, overall.response, context.settings)
    return tuple(dict.fromkeys(flag for _, flag in found))


def _near_threshold(
    response: Response, chances: Mapping[Response, float], settings: RespondSettings
) -> tuple[str, ...]:
    stated = PLAIN_CATEGORIES.get(response)
    if stated is None:
        return ()
    return ("near_threshold",) if is_below(chances[stated], settings.near_threshold_probability) else ()


def _fraction(value: float | None, reference: float | None) -> float | None:
    return (value - reference) / reference if value is not None and reference else None
