"""One treatment phase under one criterion for one reader: roles, components and responses at every visit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from mrresponse.domain import Finding, Response
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.evidence import PhaseEvidence, Roles, TargetSeries
from mrresponse.respond.findings import FindingsAtVisit, Key, finding_name
from mrresponse.respond.growth import Growth
from mrresponse.respond.immune import ImmuneCall, ImmuneEvidence, ImmuneState, step
from mrresponse.respond.newlesions import DOUBTFUL, GROWS, NewLesion, new_lesion_word
from mrresponse.respond.nontargets import (
    NonTargetVisit,
    growth_with_doubtful,
    standing_doubtful,
    with_entries,
)
from mrresponse.respond.roles import Role
from mrresponse.respond.rules import decide_non_target, exceeds, overall_response
from mrresponse.respond.targets import TargetVisit, accept, begin, judge_through
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

DATED_EARLIER = "progression_dated_earlier"


@dataclass(slots=True)
class BasisVisit:
    """The components of one visit on one basis, the liver alone or everything.

    ``dated_from`` is the first appearance of a new lesion that this visit establishes and that an
    earlier visit held for equivocal; ``note`` is what a confirmed progression adds to the reason. ``doubtful`` are the
    sizes of the lesions, new or overlooked at baseline, with which the non-targets progressed.
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
    doubtful: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Basis:
    """A treatment phase on one basis; ``baseline_burden`` is ``None`` without measurable disease.

    ``errors`` has one entry per visit where probabilities were asked for and there are targets.
    """

    target_ids: tuple[str, ...]
    non_target_ids: tuple[str, ...]
    baseline_burden: float | None
    baseline_lesions: str
    visits: tuple[BasisVisit, ...]
    growth: Growth
    errors: tuple[TargetErrors, ...] = ()


@dataclass(slots=True, kw_only=True)
class PhaseAssessment:
    """A treatment phase from its baseline on, by visit: all disease, and the liver alone.

    ``probabilities`` has one entry per visit where they were asked for: those of the response, by CR, PR, SD and PD
    (iUPD and iCPD); ``None`` where nothing was measured.
    """

    baseline_date: date
    roles: tuple[Role, ...]
    roles_by_rule: tuple[Role, ...]
    baseline_findings: tuple[str, ...]
    follow_ups: tuple[Visit, ...]
    overall: Basis
    liver: Basis
    new: tuple[tuple[NewLesion, ...], ...]
    findings: tuple[FindingsAtVisit, ...]
    probabilities: tuple[Mapping[Response, float] | None, ...] = ()


@dataclass(slots=True)
class _Disease:
    """Lesions by role on one basis."""

    targets: tuple[str, ...]
    non_targets: tuple[str, ...]
    liver_only: bool


@dataclass(slots=True)
class _Seen:
    """What is the same for both bases of a phase."""

    evidence: PhaseEvidence
    criterion: Criterion
    roles: Roles
    known_findings: Mapping[Key, Finding]
    findings: tuple[FindingsAtVisit, ...]
    new: tuple[tuple[NewLesion, ...], ...]


Chances = tuple[Mapping[Response, float] | None, ...]


def assess_phase(evidence: PhaseEvidence, criteria: Sequence[Criterion]) -> tuple[PhaseAssessment, ...]:
    """Assess every follow-up visit against the baseline, under each criterion."""
    seen = [_seen(evidence, criterion) for criterion in criteria]
    overall = [_basis(_Disease(one.roles.targets, one.roles.non_targets, False), one) for one in seen]
    chances = _chances(seen, overall)
    return tuple(map(_assessed, seen, overall, chances))


def _seen(evidence: PhaseEvidence, criterion: Criterion) -> _Seen:
    known_findings, findings = evidence.findings(criterion)
    roles, new = evidence.roles(criterion), evidence.new_lesions(criterion)
    return _Seen(evidence, criterion, roles, known_findings, findings, new)


def _chances(seen: Sequence[_Seen], overall: Sequence[Basis]) -> list[Chances]:
    """Return the probabilities at every visit under each criterion; nothing where none were asked for."""
    courses = []
    for one, basis in zip(seen, overall, strict=True):
        if basis.errors:
            series = one.evidence.targets(basis.target_ids, one.criterion)
            courses.append(TargetCourse(series.estimates[0], series.true_sums, basis.errors, one.criterion))
    found = iter(target_probabilities(courses))
    return [
        tuple(
            [
                _response_probabilities(visit, target, one.criterion)
                for visit, target in zip(basis.visits, next(found), strict=True)
            ]
        )
        if basis.errors
        else ()
        for one, basis in zip(seen, overall, strict=True)
    ]


def _assessed(seen: _Seen, overall: Basis, probabilities: Chances) -> PhaseAssessment:
    evidence = seen.evidence
    liver = overall if _is_liver_alone(seen) else _basis(_liver_disease(seen), seen)
    return PhaseAssessment(
        baseline_date=evidence.baseline.study_date,
        roles=seen.roles.roles,
        roles_by_rule=seen.roles.by_rule,
        baseline_findings=tuple([finding_name(finding) for finding in seen.known_findings.values()]),
        follow_ups=evidence.follow_ups,
        overall=overall,
        liver=liver,
        new=seen.new,
        findings=seen.findings,
        probabilities=probabilities,
    )


def _is_liver_alone(seen: _Seen) -> bool:
    """Tell whether no lesion and no finding lies outside the liver, so that both bases are the same."""
    if seen.known_findings or not seen.roles.is_liver:
        return False
    if seen.evidence.has_findings and any(said.entries for said in seen.findings):
        return False
    return all(lesion.is_liver for lesions in seen.new for lesion in lesions)


def _liver_disease(seen: _Seen) -> _Disease:
    roles, liver = seen.roles, seen.evidence.liver_lesions
    return _Disease(
        targets=tuple([lesion_id for lesion_id in roles.targets if lesion_id in liver]),
        non_targets=tuple([lesion_id for lesion_id in roles.non_targets if lesion_id in liver]),
        liver_only=True,
    )


def _basis(disease: _Disease, seen: _Seen) -> Basis:
    criterion, evidence = seen.criterion, seen.evidence
    non_targets = evidence.non_targets(disease.non_targets, criterion)
    series = evidence.targets(disease.targets, criterion) if disease.targets else None
    course = list(evidence.judged(disease.targets, criterion)) if series else []
    immune = ImmuneState() if criterion.progression_call is ProgressionCall.CONFIRMED else None
    has_probabilities = evidence.settings.has_probabilities and not disease.liver_only
    doubtful: set[str] = set()
    void: set[int] = set()
    visits: list[BasisVisit] = []
    errors: list[TargetErrors] = []
    for index, lesions in enumerate(non_targets):
        judged = course[index] if course else None
        components = _components(judged, lesions, seen, index, disease)
        if seen.new[index]:
            day = evidence.follow_ups[index].study_date
            components = _dated(components, _mine(seen, index, disease), day, doubtful)
        if immune is not None:
            shown = _immune_evidence(components, lesions, seen, index, disease)
            call = step(immune, shown, evidence.settings)
            components = _with_call(components, call)
            if components.dated_from is not None:
                before = zip(evidence.follow_ups, visits, strict=False)
                since = [one for visit, one in before if visit.study_date >= components.dated_from]
                components = _undated_by_response(components, since)
            if call.is_void:
                void.add(index)
        if series and judged:
            if index in void:
                course[index + 1 :] = _judged_after_void(series, course[: index + 1], void, seen)
            if has_probabilities:
                errors.append(_errors(judged, series.estimates[index + 1], is_void=index in void))
        visits.append(components)
    return Basis(
        target_ids=disease.targets,
        non_target_ids=disease.non_targets,
        baseline_burden=series.baseline.current if series else None,
        baseline_lesions=series.baseline.lesions if series else "",
        visits=tuple(visits),
        growth=evidence.growth(disease.targets, criterion),
        errors=tuple(errors),
    )


def _undated_by_response(components: BasisVisit, since: Sequence[BasisVisit]) -> BasisVisit:
    """Leave a progression at its own date where the disease responded since the lesion was first seen.

    ``since`` are the visits from that one on. Had the lesion been called new there, the response had voided that
    progression (response-criteria section 3, reset).
    """
    first, *later = since
    if not any(_has_responded(first, one) for one in later):
        return components
    return replace(
        components,
        dated_from=None,
        flags=tuple([flag for flag in components.flags if flag != DATED_EARLIER]),
    )


def _has_responded(first: BasisVisit, one: BasisVisit) -> bool:
    if one.response not in (Response.ICR, Response.IPR):
        return False
    before, now = (visit.target.burden if visit.target else None for visit in (first, one))
    has_shrunk = before is not None and now is not None and exceeds(before, now)
    return has_shrunk or one.response is not first.response


def _judged_after_void(
    series: TargetSeries, before: Sequence[TargetVisit], void: Collection[int], seen: _Seen
) -> list[TargetVisit]:
    """Judge what follows a void visit again: such a visit changes nothing for those after it."""
    state = begin(series.baseline)
    for index, judged in enumerate(before):
        if index not in void:
            accept(state, judged)
    count, evidence = len(before), seen.evidence
    return judge_through(
        state, series.visits[count:], evidence.follow_ups[count:], seen.criterion, evidence.settings
    )


def _errors(judged: TargetVisit, estimates: Mapping[str, Estimate], *, is_void: bool) -> TargetErrors:
    enters_nadir = not is_void and not judged.evidence.missing
    return TargetErrors(estimates, judged.evidence, judged.response, enters_nadir)


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
    flags: tuple[str, ...] = ("not_found",) if lesions.is_lost else ()
    non_target, reason = lesions.response, lesions.reason
    mine = _mine(seen, index, disease)
    growth = lesions.growth
    progressing = (growth,) if growth and target is None else ()
    doubtful: Mapping[str, float] = {}
    # what was reported has no diameter that could be summed
    has_reported = any(
        said.texts(one, liver_only=disease.liver_only) for one in ("missing", "present", "gone")
    )
    if not progressing and not has_reported and any(lesion.grown for lesion in mine):
        burden = seen.evidence.burdens(disease.targets, disease.non_targets, seen.criterion)[index]
        whole, doubtful = growth_with_doubtful(
            burden, mine, seen.evidence.settings, has_target=target is not None
        )
        progressing = (whole,) if whole else ()
    standing = () if doubtful else standing_doubtful(mine)
    flags += ("non_target_growth",) if growth and target is not None else ()
    if said.entries or progressing or standing:
        more = {"progressing": progressing, "present": standing}
        non_target, reason = _non_target(lesions, said, disease, more)
    new_lesions, new_reason = "not assessed" if visit.unread else "none", ""
    if seen.new[index] or said.entries:
        new_lesions, new_reason = _new(mine, said, visit, disease)
        if new_lesions in DOUBTFUL:
            flags = (*flags, f"new_lesion_{new_lesions}")
            flags += (GROWS,) if any(lesion.grown for lesion in mine) else ()
    target_response = target.response if target else None
    response = overall_response(target_response, non_target, new_lesions)
    return BasisVisit(
        target,
        target_response,
        non_target,
        reason,
        new_lesions,
        new_reason,
        response,
        "",
        None,
        flags,
        doubtful,
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


def _dated(components: BasisVisit, mine: Sequence[NewLesion], day: date, doubtful: set[str]) -> BasisVisit:
    """Date a new lesion that is definite now and was doubtful before at its first appearance."""
    established = [x for x in mine if x.status == "definite" and x.lesion_id in doubtful]
    dates = [x.first_seen for x in established if x.first_seen < day]
    doubtful |= {x.lesion_id for x in mine if x.status in DOUBTFUL}
    doubtful -= {x.lesion_id for x in mine if x.status == "definite"}
    if not dates:
        return components
    flags = (*components.flags, DATED_EARLIER)
    return replace(components, dated_from=min(dates), flags=flags)


def _non_target(
    lesions: NonTargetVisit, said: FindingsAtVisit, disease: _Disease, more: Mapping[str, Sequence[str]]
) -> tuple[Response | None, str]:
    """Return the non-target response and its sentence, with what was reported and what the new lesions add."""
    entries = {
        component: (*said.texts(component, liver_only=disease.liver_only), *more.get(component, ()))
        for component in ("progressing", "missing", "present", "gone")
    }
    return decide_non_target(with_entries(lesions.evidence, entries))


def _immune_evidence(
    components: BasisVisit, lesions: NonTargetVisit, seen: _Seen, index: int, disease: _Disease
) -> ImmuneEvidence:
    said, visit = seen.findings[index], seen.evidence.follow_ups[index]
    return ImmuneEvidence(
        study_date=visit.study_date,
        target=components.target_response,
        burden=components.target.burden if components.target else None,
        least_burden=components.target.evidence.current if components.target else None,
        non_target=components.non_target,
        non_target_burden=lesions.burden,
        progressing=said.sizes("progressing", liver_only=disease.liver_only),
        standing=said.sizes("present", liver_only=disease.liver_only),
        new=_mine(seen, index, disease),
        doubtful=components.doubtful,
        new_stated=said.names("new", liver_only=disease.liver_only),
        is_read=not visit.unread,
        is_for_symptoms=visit.study is not None and visit.study.for_symptoms is True,
    )


def _with_call(components: BasisVisit, call: ImmuneCall) -> BasisVisit:
    """Return the components with the words of iRECIST."""
    c = components
    return BasisVisit(
        c.target, call.target, call.non_target, c.non_target_reason, c.new_lesions, c.new_reason,
        call.response, call.note, c.dated_from, (*c.flags, *call.flags), c.doubtful,
    )  # fmt: skip
