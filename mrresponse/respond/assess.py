"""One treatment phase under one criterion for one reader: roles, components and responses at every visit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from mrresponse.domain import LesionEdit, LesionRole, Measurement, Response
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.findings import FindingsAtVisit, finding_name, findings_through, known_at_baseline
from mrresponse.respond.immune import ImmuneCall, ImmuneEvidence, ImmuneState, step
from mrresponse.respond.newlesions import NewLesion, new_lesion_word, new_lesions_through
from mrresponse.respond.nontargets import NonTargetVisit, assess_non_targets, with_entries
from mrresponse.respond.roles import Role, select_roles
from mrresponse.respond.rules import decide_non_target, overall_response
from mrresponse.respond.settings import ProbabilityMethod, RespondSettings
from mrresponse.respond.targets import Judged, TargetVisit, accept, begin, judge
from mrresponse.respond.timeline import Visit
from mrresponse.respond.uncertainty import (
    Estimate,
    Probabilities,
    TargetErrors,
    estimate,
    immune_probabilities,
    response_probabilities,
    target_probabilities,
)
from mrresponse.respond.values import LesionValue, is_liver


class BasisVisit(NamedTuple):
    """The components of one visit on one basis, the liver alone or everything.

    ``dated_from`` is the first appearance of a new lesion that this visit establishes and that an
    earlier visit held for equivocal; ``note`` is what a confirmed progression adds to the reason.
    """

    target: TargetVisit | None
    target_response: Response | None
    non_target: Response | None
    non_target_reason: str
    new_lesions: str
    new_reason: str
    response: Response
    note: str = ""
    dated_from: date | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """A treatment phase on one basis; ``baseline_burden`` is ``None`` without measurable disease.

    ``probabilities`` has one entry per visit where they were asked for: those of the response, by CR, PR, SD and PD
    (iUPD and iCPD); ``None`` where nothing was measured.
    """

    target_ids: tuple[str, ...]
    non_target_ids: tuple[str, ...]
    baseline_burden: float | None
    baseline_lesions: str
    visits: tuple[BasisVisit, ...]
    probabilities: tuple[Mapping[Response, float] | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseAssessment:
    """A treatment phase from its baseline on, by visit: all disease, and the liver alone."""

    baseline_date: date
    roles: tuple[Role, ...]
    roles_by_rule: tuple[Role, ...]
    baseline_findings: tuple[str, ...]
    follow_ups: tuple[Visit, ...]
    overall: Basis
    liver: Basis
    new: tuple[tuple[NewLesion, ...], ...]
    findings: tuple[FindingsAtVisit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disease:
    """Lesions by role on one basis."""

    targets: tuple[str, ...]
    non_targets: tuple[str, ...]
    liver_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What is the same for both bases of a phase."""

    baseline: Visit
    follow_ups: tuple[Visit, ...]
    findings: tuple[FindingsAtVisit, ...]
    new: tuple[tuple[NewLesion, ...], ...]
    criterion: Criterion
    settings: RespondSettings


def assess_phase(
    up_to_baseline: Sequence[Visit],
    follow_ups: Sequence[Visit],
    criterion: Criterion,
    settings: RespondSettings,
    stated: Mapping[str, LesionEdit] | None = None,
) -> PhaseAssessment:
    """Assess every follow-up visit against the last of the visits up to the baseline.

    ``stated`` are the roles that a reader set, by lesion.
    """
    baseline = up_to_baseline[-1]
    histories = _histories(up_to_baseline)
    by_rule = select_roles(histories, baseline, criterion, settings)
    roles = select_roles(histories, baseline, criterion, settings, stated) if stated else by_rule
    known_findings = known_at_baseline(up_to_baseline, criterion, settings)
    known = {role.lesion_id for role in roles if not role.may_be_new}
    seen = _Seen(
        baseline=baseline,
        follow_ups=tuple(follow_ups),
        findings=findings_through(known_findings, follow_ups, criterion, settings),
        new=new_lesions_through(known, follow_ups, criterion, settings),
        criterion=criterion,
        settings=settings,
    )
    overall = _basis(_disease(roles, histories, liver_only=False), seen)
    is_same = not known_findings and _is_liver_alone(roles, histories, seen)
    return PhaseAssessment(
        baseline_date=baseline.study_date,
        roles=roles,
        roles_by_rule=by_rule,
        baseline_findings=tuple(finding_name(finding) for finding in known_findings.values()),
        follow_ups=seen.follow_ups,
        overall=overall,
        liver=overall if is_same else _basis(_disease(roles, histories, liver_only=True), seen),
        new=seen.new,
        findings=seen.findings,
    )


def _histories(visits: Sequence[Visit]) -> dict[str, list[Measurement]]:
    histories: dict[str, list[Measurement]] = {}
    for visit in visits:
        for lesion_id, measurement in visit.measurements.items():
            histories.setdefault(lesion_id, []).append(measurement)
    return histories


def _is_liver_alone(
    roles: Sequence[Role], histories: Mapping[str, Sequence[Measurement]], seen: _Seen
) -> bool:
    """Tell whether no lesion and no finding lies outside the liver, so that both bases are the same."""
    return (
        all(role.role is None or is_liver(histories[role.lesion_id][-1]) for role in roles)
        and all(lesion.is_liver for lesions in seen.new for lesion in lesions)
        and not any(said.entries for said in seen.findings)
    )


def _disease(
    roles: Sequence[Role], histories: Mapping[str, Sequence[Measurement]], *, liver_only: bool
) -> _Disease:
    by_role: dict[LesionRole | None, list[str]] = {LesionRole.TARGET: [], LesionRole.NON_TARGET: [], None: []}
    for role in roles:
        if not liver_only or is_liver(histories[role.lesion_id][-1]):
            by_role[role.role].append(role.lesion_id)
    return _Disease(
        targets=tuple(by_role[LesionRole.TARGET]),
        non_targets=tuple(by_role[LesionRole.NON_TARGET]),
        liver_only=liver_only,
    )


def _basis(disease: _Disease, seen: _Seen) -> Basis:
    criterion, settings = seen.criterion, seen.settings
    state = begin(disease.targets, seen.baseline, criterion, settings) if disease.targets else None
    non_targets = assess_non_targets(disease.non_targets, seen.baseline, seen.follow_ups, criterion, settings)
    immune = ImmuneState() if criterion.progression_call is ProgressionCall.CONFIRMED else None
    doubtful: set[str] = set()
    visits: list[BasisVisit] = []
    errors: list[TargetErrors] = []
    has_probabilities = state and settings.probability is ProbabilityMethod.MEASUREMENT_ERROR
    for index, visit in enumerate(seen.follow_ups):
        judged = judge(state, disease.targets, visit, criterion, settings) if state else None
        target = judged.visit if judged else None
        components = _components(target, non_targets[index], seen, index, disease)
        components = _dated(components, _mine(seen, index, disease), doubtful)
        call = None
        if immune is not None:
            evidence = _immune_evidence(components, non_targets[index], seen, index, disease)
            call = step(immune, evidence, settings)
            components = _with_call(components, call)
        is_accepted = not (call and call.is_void)
        if state and judged and is_accepted:
            accept(state, judged)
        if judged and has_probabilities and not disease.liver_only:
            errors.append(_errors(judged, visit, is_accepted=is_accepted, rules=(criterion, settings)))
        visits.append(components)
    found: tuple[Probabilities | None, ...] = ()
    if state and errors:
        start = _estimates(state.start, seen.baseline, criterion, settings)
        found = target_probabilities(start, errors, criterion)
    return Basis(
        target_ids=disease.targets,
        non_target_ids=disease.non_targets,
        baseline_burden=state.baseline if state else None,
        baseline_lesions=state.lesions if state else "",
        visits=tuple(visits),
        probabilities=tuple(
            _response_probabilities(visit, target, criterion)
            for visit, target in zip(visits, found, strict=False)
        ),
    )


def _errors(
    judged: Judged, visit: Visit, *, is_accepted: bool, rules: tuple[Criterion, RespondSettings]
) -> TargetErrors:
    return TargetErrors(
        estimates={} if visit.unread else _estimates(judged.values, visit, *rules),
        evidence=judged.evidence,
        response=judged.visit.decision.response,
        enters_nadir=is_accepted and not judged.evidence.missing,
    )


def _estimates(
    values: Mapping[str, LesionValue], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> dict[str, Estimate]:
    found = {
        lesion_id: estimate(visit.measurements.get(lesion_id), value, criterion, settings)
        for lesion_id, value in values.items()
    }
    return {lesion_id: one for lesion_id, one in found.items() if one is not None}


def _response_probabilities(
    components: BasisVisit, target: Probabilities | None, criterion: Criterion
) -> Mapping[Response, float] | None:
    if target is None:
        return None
    if criterion.progression_call is ProgressionCall.CONFIRMED:
        return immune_probabilities(
            target, components.response, components.target_response, components.non_target
        )
    return response_probabilities(target, components.non_target, components.new_lesions)


def _mine(seen: _Seen, index: int, disease: _Disease) -> tuple[NewLesion, ...]:
    if not disease.liver_only:
        return seen.new[index]
    return tuple(lesion for lesion in seen.new[index] if lesion.is_liver)


def _components(
    target: TargetVisit | None, lesions: NonTargetVisit, seen: _Seen, index: int, disease: _Disease
) -> BasisVisit:
    said, visit = seen.findings[index], seen.follow_ups[index]
    mine = _mine(seen, index, disease) if seen.new[index] else ()
    non_target, reason, flags = _non_target(target, lesions, said, disease)
    word, shown = _new(mine, said, visit, disease)
    if word in ("equivocal", "candidate"):
        flags.append(f"new_lesion_{word}")
    response = target.decision.response if target else None
    return BasisVisit(
        target=target,
        target_response=response,
        non_target=non_target,
        non_target_reason=reason,
        new_lesions=word,
        new_reason=shown,
        response=overall_response(response, non_target, word),
        flags=tuple(flags),
    )


def _new(
    mine: Sequence[NewLesion], said: FindingsAtVisit, visit: Visit, disease: _Disease
) -> tuple[str, str]:
    """Return the word of a visit's new lesions, measured or reported, and those that give it."""
    if not mine and not said.entries:
        return new_lesion_word((), is_read=not visit.unread), ""
    stated = {
        "definite": said.texts("new", liver_only=disease.liver_only),
        "equivocal": said.texts("equivocal", liver_only=disease.liver_only),
    }
    statuses = [lesion.status for lesion in mine] + [word for word, texts in stated.items() if texts]
    word = new_lesion_word(statuses, is_read=not visit.unread)
    shown = [lesion.text for lesion in mine if lesion.status == word and word != "none"]
    return word, "; ".join((*shown, *stated.get(word, ())))


def _dated(components: BasisVisit, mine: Sequence[NewLesion], doubtful: set[str]) -> BasisVisit:
    """Date a new lesion that is definite now and was doubtful before at its first appearance."""
    if not mine:
        return components
    dates = [x.first_seen for x in mine if x.status == "definite" and x.lesion_id in doubtful]
    doubtful |= {x.lesion_id for x in mine if x.status in ("equivocal", "candidate")}
    doubtful -= {x.lesion_id for x in mine if x.status == "definite"}
    if not dates:
        return components
    flags = (*components.flags, "progression_dated_earlier")
    return components._replace(dated_from=min(dates), flags=flags)


def _non_target(
    target: TargetVisit | None, lesions: NonTargetVisit, said: FindingsAtVisit, disease: _Disease
) -> tuple[Response | None, str, list[str]]:
    if not said.entries and not lesions.growth:
        return *decide_non_target(lesions.evidence), []
    entries = {
        component: said.texts(component, liver_only=disease.liver_only)
        for component in ("progressing", "missing", "present", "gone")
    }
    flags = []
    if lesions.growth and target is None:
        entries["progressing"] = (*entries["progressing"], lesions.growth)
    elif lesions.growth:
        flags.append("non_target_growth")
    response, reason = decide_non_target(with_entries(lesions.evidence, entries))
    return response, reason, flags


def _immune_evidence(
    components: BasisVisit, lesions: NonTargetVisit, seen: _Seen, index: int, disease: _Disease
) -> ImmuneEvidence:
    said, visit = seen.findings[index], seen.follow_ups[index]
    return ImmuneEvidence(
        study_date=visit.study_date,
        target=components.target_response,
        burden=components.target.burden if components.target else None,
        non_target=components.non_target,
        non_target_burden=lesions.burden,
        non_target_stated=bool(said.texts("progressing", liver_only=disease.liver_only)),
        new=_mine(seen, index, disease),
        new_stated=said.names("new", liver_only=disease.liver_only),
        is_read=not visit.unread,
    )


def _with_call(components: BasisVisit, call: ImmuneCall) -> BasisVisit:
    return components._replace(
        target_response=call.target,
        non_target=call.non_target,
        response=call.response,
        note=call.note,
        flags=(*components.flags, *call.flags),
    )
