"""One treatment phase under one criterion for one reader: roles, components and responses at every visit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from mrresponse.domain import LesionRole, Response
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.evidence import PhaseEvidence
from mrresponse.respond.findings import FindingsAtVisit, finding_name
from mrresponse.respond.immune import ImmuneCall, ImmuneEvidence, ImmuneState, step
from mrresponse.respond.newlesions import NewLesion, new_lesion_word
from mrresponse.respond.nontargets import NonTargetVisit, with_entries
from mrresponse.respond.roles import Role
from mrresponse.respond.rules import decide_non_target, overall_response
from mrresponse.respond.targets import Judged, TargetVisit, accept, begin, judge
from mrresponse.respond.timeline import Visit
from mrresponse.respond.uncertainty import (
    Estimate,
    Probabilities,
    TargetCourse,
    TargetErrors,
    immune_probabilities,
    response_probabilities,
    target_probabilities,
)

TARGET, NON_TARGET = LesionRole.TARGET, LesionRole.NON_TARGET


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

    ``errors`` has one entry per visit where probabilities were asked for and there are targets.
    """

    target_ids: tuple[str, ...]
    non_target_ids: tuple[str, ...]
    baseline_burden: float | None
    baseline_lesions: str
    visits: tuple[BasisVisit, ...]
    errors: tuple[TargetErrors, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseAssessment:
    """A treatment phase from its baseline on, by visit: all disease, and the liver alone.

    ``probabilities`` has one entry per visit where they were asked for: those of the response, by CR, PR, SD and PD
    (iUPD and iCPD); ``None`` where nothing was measured.
    """

    baseline_date: date
    up_to_baseline: tuple[Visit, ...]
    roles: tuple[Role, ...]
    roles_by_rule: tuple[Role, ...]
    baseline_findings: tuple[str, ...]
    follow_ups: tuple[Visit, ...]
    overall: Basis
    liver: Basis
    new: tuple[tuple[NewLesion, ...], ...]
    findings: tuple[FindingsAtVisit, ...]
    probabilities: tuple[Mapping[Response, float] | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disease:
    """Lesions by role on one basis."""

    targets: tuple[str, ...]
    non_targets: tuple[str, ...]
    liver_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What is the same for both bases of a phase."""

    evidence: PhaseEvidence
    findings: tuple[FindingsAtVisit, ...]
    new: tuple[tuple[NewLesion, ...], ...]
    criterion: Criterion


def assess_phase(evidence: PhaseEvidence, criteria: Sequence[Criterion]) -> tuple[PhaseAssessment, ...]:
    """Assess every follow-up visit against the baseline, under each criterion."""
    assessed = [_assess(evidence, criterion) for criterion in criteria]
    if not evidence.settings.has_probabilities:
        return tuple(assessed)
    courses = [
        TargetCourse(
            evidence.targets(one.overall.target_ids, criterion).estimates[0], one.overall.errors, criterion
        )
        for one, criterion in zip(assessed, criteria, strict=True)
        if one.overall.errors
    ]
    found = iter(target_probabilities(courses))
    return tuple(
        replace(one, probabilities=_probabilities(one, next(found), criterion)) if one.overall.errors else one
        for one, criterion in zip(assessed, criteria, strict=True)
    )


def _probabilities(
    assessed: PhaseAssessment, found: Sequence[Probabilities | None], criterion: Criterion
) -> tuple[Mapping[Response, float] | None, ...]:
    visits = zip(assessed.overall.visits, found, strict=True)
    return tuple([_response_probabilities(visit, target, criterion) for visit, target in visits])


def _assess(evidence: PhaseEvidence, criterion: Criterion) -> PhaseAssessment:
    found = evidence.roles(criterion)
    known_findings, findings = evidence.findings(criterion)
    new = evidence.new_lesions(criterion)
    seen = _Seen(evidence=evidence, findings=findings, new=new, criterion=criterion)
    overall = _basis(_disease(found.roles, evidence, liver_only=False), seen)
    is_same = not known_findings and _is_liver_alone(found.roles, seen)
    return PhaseAssessment(
        baseline_date=evidence.baseline.study_date,
        up_to_baseline=evidence.up_to_baseline,
        roles=found.roles,
        roles_by_rule=found.by_rule,
        baseline_findings=tuple(finding_name(finding) for finding in known_findings.values()),
        follow_ups=evidence.follow_ups,
        overall=overall,
        liver=overall if is_same else _basis(_disease(found.roles, evidence, liver_only=True), seen),
        new=seen.new,
        findings=seen.findings,
    )


def _is_liver_alone(roles: Sequence[Role], seen: _Seen) -> bool:
    """Tell whether no lesion and no finding lies outside the liver, so that both bases are the same."""
    evidence = seen.evidence
    if evidence.has_findings and any(said.entries for said in seen.findings):
        return False
    if not all(role.role is None or role.lesion_id in evidence.liver_lesions for role in roles):
        return False
    return all(lesion.is_liver for lesions in seen.new for lesion in lesions)


def _disease(roles: Sequence[Role], evidence: PhaseEvidence, *, liver_only: bool) -> _Disease:
    mine = [role for role in roles if not liver_only or role.lesion_id in evidence.liver_lesions]
    return _Disease(
        targets=tuple([role.lesion_id for role in mine if role.role is TARGET]),
        non_targets=tuple([role.lesion_id for role in mine if role.role is NON_TARGET]),
        liver_only=liver_only,
    )


def _basis(disease: _Disease, seen: _Seen) -> Basis:
    criterion, evidence = seen.criterion, seen.evidence
    settings = evidence.settings
    non_targets = evidence.non_targets(disease.non_targets, criterion)
    series = evidence.targets(disease.targets, criterion) if disease.targets else None
    state = begin(series.baseline) if series else None
    immune = ImmuneState() if criterion.progression_call is ProgressionCall.CONFIRMED else None
    doubtful: set[str] = set()
    visits: list[BasisVisit] = []
    errors: list[TargetErrors] = []
    has_probabilities = settings.has_probabilities and not disease.liver_only
    for index, visit in enumerate(evidence.follow_ups):
        judged = judge(state, series.visits[index], visit, criterion, settings) if series and state else None
        components = _components(judged.visit if judged else None, non_targets[index], seen, index, disease)
        if seen.new[index]:
            components = _dated(components, _mine(seen, index, disease), doubtful)
        is_void = False
        if immune is not None:
            call = step(
                immune, _immune_evidence(components, non_targets[index], seen, index, disease), settings
            )
            components = _with_call(components, call)
            is_void = call.is_void
        if series and state and judged:
            if not is_void:
                accept(state, judged)
            if has_probabilities:
                errors.append(_errors(judged, series.estimates[index + 1], is_void=is_void))
        visits.append(components)
    return Basis(
        target_ids=disease.targets,
        non_target_ids=disease.non_targets,
        baseline_burden=state.baseline if state else None,
        baseline_lesions=state.lesions if state else "",
        visits=tuple(visits),
        errors=tuple(errors),
    )


def _errors(judged: Judged, estimates: Mapping[str, Estimate], *, is_void: bool) -> TargetErrors:
    return TargetErrors(
        estimates=estimates,
        evidence=judged.evidence,
        response=judged.visit.decision.response,
        enters_nadir=not is_void and not judged.evidence.missing,
    )


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
    said, visit = seen.findings[index], seen.evidence.follow_ups[index]
    non_target, reason, flags = _non_target(target, lesions, said, disease)
    word, shown = "not assessed" if visit.unread else "none", ""
    if seen.new[index] or said.entries:
        word, shown = _new(_mine(seen, index, disease), said, visit, disease)
        if word in ("equivocal", "candidate"):
            flags = (*flags, f"new_lesion_{word}")
    response = target.decision.response if target else None
    return BasisVisit(
        target=target,
        target_response=response,
        non_target=non_target,
        non_target_reason=reason,
        new_lesions=word,
        new_reason=shown,
        response=overall_response(response, non_target, word),
        flags=flags,
    )


def _new(
    mine: Sequence[NewLesion], said: FindingsAtVisit, visit: Visit, disease: _Disease
) -> tuple[str, str]:
    """Return the word of a visit's new lesions, measured or reported, and those that give it."""
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
    dates = [x.first_seen for x in mine if x.status == "definite" and x.lesion_id in doubtful]
    doubtful |= {x.lesion_id for x in mine if x.status in ("equivocal", "candidate")}
    doubtful -= {x.lesion_id for x in mine if x.status == "definite"}
    if not dates:
        return components
    flags = (*components.flags, "progression_dated_earlier")
    return components._replace(dated_from=min(dates), flags=flags)


def _non_target(
    target: TargetVisit | None, lesions: NonTargetVisit, said: FindingsAtVisit, disease: _Disease
) -> tuple[Response | None, str, tuple[str, ...]]:
    """Return the non-target response, its sentence and flags; growth counts where there is no target."""
    flags = ("non_target_growth",) if lesions.growth and target is not None else ()
    is_progression = bool(lesions.growth) and target is None
    if not said.entries and not is_progression:
        return lesions.response, lesions.reason, flags
    entries = {
        component: said.texts(component, liver_only=disease.liver_only)
        for component in ("progressing", "missing", "present", "gone")
    }
    if is_progression:
        entries["progressing"] = (*entries["progressing"], lesions.growth)
    return *decide_non_target(with_entries(lesions.evidence, entries)), flags


def _immune_evidence(
    components: BasisVisit, lesions: NonTargetVisit, seen: _Seen, index: int, disease: _Disease
) -> ImmuneEvidence:
    said, visit = seen.findings[index], seen.evidence.follow_ups[index]
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
        is_for_symptoms=visit.study is not None and visit.study.for_symptoms is True,
    )


def _with_call(components: BasisVisit, call: ImmuneCall) -> BasisVisit:
    return components._replace(
        target_response=call.target,
        non_target=call.non_target,
        response=call.response,
        note=call.note,
        flags=(*components.flags, *call.flags),
    )
