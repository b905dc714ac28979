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
from mrresponse.frozen import rows_of
from mrresponse.respond.assess import BasisVisit, PhaseAssessment
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.endpoints import immune_progression_date
from mrresponse.respond.immune import EARLY_SCAN
from mrresponse.respond.markers import MarkerSeries, discordance
from mrresponse.respond.rules import CR, PD, PR, SD, is_below, number
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.timeline import Baseline, Visit, early_flags, unvalued

PROGRESSED = frozenset({Response.PD, Response.ICPD})
PROGRESSIVE = PROGRESSED | {Response.IUPD}
COMPLETE = frozenset({Response.CR, Response.ICR})
PERSISTS = frozenset({Response.NON_CR_NON_PD, Response.NON_ICR_NON_IUPD})
PARTIAL = PERSISTS | {Response.PR, Response.IPR}
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
        """The last contact or visit, or whatever else shows that the patient was alive then."""
        patient = self.patient
        days = [visit.study_date for visit in self.visits]
        days += [treatment.start_date for treatment in patient.treatments]
        days += [finding.date for finding in patient.findings]
        days += [marker.date for marker in patient.markers]
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
    first = _baseline_row(context, phase, criterion, baseline, assessed)
    overall, liver, start = assessed.overall.visits, assessed.liver.visits, assessed.overall.baseline_burden
    responses = [one.response for one in overall]
    nadirs = [one.target.evidence.nadir if one.target else None for one in overall]
    current = [one.target.burden if one.target else None for one in overall]
    in_liver = [one.target.burden if one.target else None for one in liver]
    rows = rows_of(
        Assessment,
        {
            "patient_id": context.patient.patient_id,
            "treatment_phase": phase.name,
            "criterion": criterion.name,
            "reader": context.reader,
            "baseline_burden": start,
            "burden_unit": criterion.unit,
            "settings_id": context.settings_id,
        },
        study_date=[visit.study_date for visit in assessed.follow_ups],
        nadir_burden=nadirs,
        current_burden=current,
        change_from_baseline=_changes(current, [start] * len(current)),
        change_from_nadir=_changes(current, nadirs),
        liver_change_from_baseline=_changes(in_liver, [assessed.liver.baseline_burden] * len(in_liver)),
        target=[one.target_response for one in overall],
        non_target=[one.non_target for one in overall],
        new_lesions=[one.new_lesions for one in overall],
        liver_response=[one.response for one in liver],
        overall=responses,
        reason=list(map(_reason, overall, liver)),
        dated_from=[one.dated_from for one in overall],
        after_progression=_after_progression(assessed, criterion),
        flags=_visit_flags(context, phase, baseline, assessed),
        **_probabilities(assessed.probabilities),
    )
    return (first, *rows)


def _after_progression(assessed: PhaseAssessment, criterion: Criterion) -> list[bool]:
    """Tell of each visit whether it is past the progression, so that it enters no best response.

    That are those after the visit that called the progression (under iRECIST: confirmed it), and where a lesion dates
    it back those from that date on: what was said there was said while the lesion was in doubt.
    """
    visits = assessed.overall.visits
    dated = list(zip([visit.study_date for visit in assessed.follow_ups], visits, strict=True))
    last = next((day for day, one in dated if one.response in PROGRESSED), None)
    called, first = last, date.min
    if criterion.progression_call is ProgressionCall.CONFIRMED:
        called = immune_progression_date(
            [(day, one.response) for day, one in dated if EARLY_SCAN not in one.flags]
        )
        first = called or first
    if called is None:
        return [False] * len(dated)
    back = [one.dated_from for day, one in dated if one.dated_from is not None and day >= first]
    since = min([called, *back])
    return [since <= day < called or (last is not None and day > last) for day, _ in dated]


def _probabilities(chances: Sequence[Mapping[Response, float] | None]) -> dict[str, list[float | None]]:
    """Return the columns of the probabilities; none where they were not asked for."""
    if not chances:
        return {}
    return {
        column: [round(one[word], 4) if one else None for one in chances]
        for column, word in (("p_cr", CR), ("p_pr", PR), ("p_sd", SD), ("p_pd", PD))
    }


def _visit_flags(
    context: Context, phase: TreatmentPhase, baseline: Baseline, assessed: PhaseAssessment
) -> list[tuple[str, ...]]:
    """Return the flags of each follow-up visit."""
    overall, liver, visits = assessed.overall.visits, assessed.liver.visits, assessed.follow_ups
    parts = [list(map(_flags, overall, liver, _is_back(overall), _is_back(liver)))]
    if assessed.probabilities:
        responses = [one.response for one in overall]
        near = [
            _near_threshold(response, chances, context.settings) if chances else ()
            for response, chances in zip(responses, assessed.probabilities, strict=True)
        ]
        parts.append(near)
    reported = [said.flags for said in assessed.findings]
    if any(reported):
        parts.append(reported)
    agent = _agent_at(context, baseline)
    if agent:
        parts.append([_technique(agent, visit) for visit in visits])
    if context.markers:
        shown = zip(visits, overall, strict=True)
        parts.append([_marker_flags(context, phase, visit, one) for visit, one in shown])
    if context.patient.treatments:
        read = zip(visits, liver, strict=True)
        parts.append([_early_flags(context, visit, one) for visit, one in read])
    return parts[0] if len(parts) == 1 else [sum(flags, ()) for flags in zip(*parts, strict=True)]


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
    flags = [baseline.flag] if baseline.flag else []
    if any(role.is_benign for role in assessed.roles):
        flags.append("benign_pattern")
    if burden is None and non_targets and _nothing_enhances(context, criterion, assessed):
        flags.append("nothing_viable_at_baseline")
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
        flags=tuple(flags),
        settings_id=context.settings_id,
    )


def _nothing_enhances(context: Context, criterion: Criterion, assessed: PhaseAssessment) -> bool:
    """Tell whether all disease at a baseline counts as gone already, which then is a complete response ever after."""
    if not criterion.is_viable or assessed.baseline_findings:
        return False
    visit = next(visit for visit in context.visits if visit.study_date == assessed.baseline_date)
    values = visit.values(criterion, context.settings)
    return all(values.of(lesion_id).is_gone for lesion_id in assessed.overall.non_target_ids)


def _reason(overall: BasisVisit, liver: BasisVisit) -> str:
    response, target, non_target = overall.response, overall.target, overall.non_target
    if target is not None:
        head = "" if overall.target_response is response else f"target {overall.target_response}, "
        reason = f"{response}: {head}{target.sentence} [{target.found.lesions}]"
    elif non_target is None:
        reason = f"{response}: no disease at baseline"
    else:
        reason = f"{response}: no target at baseline"
    if non_target is not None:
        reason += f"; non-target {non_target}, {overall.non_target_reason}"
    reason += f"; new lesions {overall.new_lesions}"
    if overall.new_reason:
        reason += f", {overall.new_reason}"
    if overall.note:
        reason += f"; {overall.note}"
    if overall.dated_from is not None:
        reason += f"; progression is dated {overall.dated_from.isoformat()}, when the lesion was first seen"
    if liver.response is not response:
        reason += f"; {_liver_part(overall, liver)}"
    return reason


def _liver_part(overall: BasisVisit, liver: BasisVisit) -> str:
    """Name the components of the liver's own response where it differs from the overall one."""
    components = [f"target {liver.target_response or 'none'}"]
    if (
        liver.target is not None
        and liver.target is not overall.target
        and liver.target.found.lesions != (overall.target.found.lesions if overall.target else "")
    ):
        components[0] += f" ({liver.target.sentence})"
    # what grows in a liver without a target progresses there alone; all else is in the sentence of the patient
    is_own = liver.non_target in PROGRESSIVE and liver.non_target is not overall.non_target
    why = f" ({liver.non_target_reason})" if is_own else ""
    components.append(f"non-target {liver.non_target or 'none'}{why}")
    components.append(f"new lesions {liver.new_lesions}")
    if liver.note and liver.note != overall.note:
        components.append(liver.note)
    return f"the liver alone is {liver.response}: " + ", ".join(components)


def _flags(overall: BasisVisit, liver: BasisVisit, is_back: bool, is_back_in_liver: bool) -> tuple[str, ...]:
    own = overall.target.flags if overall.target else ()
    back = ("pr_after_cr",) if is_back or is_back_in_liver else ()
    if liver is overall and not back:
        return tuple(dict.fromkeys((*own, *overall.flags))) if overall.flags else own
    alone = liver.target.flags if liver.target else ()
    return tuple(dict.fromkeys((*own, *alone, *back, *overall.flags, *liver.flags)))


def _is_back(visits: Sequence[BasisVisit]) -> list[bool]:
    """Tell of each visit whether non-target disease is there after a complete response and is called no progression."""
    found: list[bool] = []
    previous: Response | None = None
    for visit in visits:
        is_called = visit.response in PARTIAL and visit.non_target in PERSISTS
        found.append(is_called and previous in COMPLETE)
        if Response.NE not in (visit.response, visit.non_target):
            previous = visit.response
    return found


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


def _changes(values: Sequence[float | None], references: Sequence[float | None]) -> list[float | None]:
    """Return each change as a fraction of its reference; none where one is missing or the reference is 0."""
    return [
        (value - reference) / reference if value is not None and reference else None
        for value, reference in zip(values, references, strict=True)
    ]
