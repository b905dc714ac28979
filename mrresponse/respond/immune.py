"""iRECIST: progression that a later scan must confirm (Seymour 2017; response-criteria section 3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from mrresponse.domain import Response
from mrresponse.respond.newlesions import NewLesion
from mrresponse.respond.rules import exceeds, has_grown, overall_response, reaches
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.values import organ_of, short_axis_mm

# names of their own: members of an enumeration are slow to look up
NE, PD, IUPD, ICPD = Response.NE, Response.PD, Response.IUPD, Response.ICPD
EARLY_SCAN = "early_scan_ignored"
IMMUNE_WORDS = {
    Response.CR: Response.ICR,
    Response.PR: Response.IPR,
    Response.SD: Response.ISD,
    Response.PD: Response.IUPD,
    Response.NON_CR_NON_PD: Response.NON_ICR_NON_IUPD,
    Response.NE: Response.NE,
    Response.NED: Response.NED,
}
PLAIN_WORDS = {immune: plain for plain, immune in IMMUNE_WORDS.items()}


@dataclass(slots=True)
class ImmuneEvidence:
    """What RECIST 1.1 says of one visit, and the sizes that a confirmation compares.

    ``burden`` is ``None`` where a target is missing, ``least_burden`` the sum of those measured. ``progressing`` and
    ``standing`` are the reported non-targets that progress and those that are merely there, with their sizes;
    ``doubtful`` are the sizes of lesions, new or overlooked at baseline, with which the non-targets progress.
    """

    study_date: date
    target: Response | None
    burden: float | None
    least_burden: float | None
    non_target: Response | None
    non_target_burden: float | None
    progressing: Mapping[str, float | None]
    standing: Mapping[str, float | None]
    new: tuple[NewLesion, ...]
    doubtful: Mapping[str, float]
    new_stated: tuple[str, ...]
    is_read: bool
    is_for_symptoms: bool = False


@dataclass(slots=True)
class ImmuneCall:
    """iRECIST words of one visit; a call that ``is_void`` changed no state and enters no nadir."""

    target: Response | None
    non_target: Response | None
    response: Response
    note: str
    flags: tuple[str, ...] = ()
    is_void: bool = False


@lru_cache(maxsize=2048)
def immune_overall(
    target: Response | None,
    non_target: Response | None,
    *,
    is_new: bool,
    has_prior: bool,
    is_further: bool,
    is_read: bool = True,
) -> Response:
    """Combine iRECIST components (Seymour 2017, table 2).

    ``is_new`` means new disease at this visit, ``has_prior`` a pending iUPD, ``is_further`` that any category
    progressed further. Where nothing was read, nobody knows that there is no disease.
    """
    if Response.ICPD in (target, non_target):
        return Response.ICPD
    if Response.IUPD in (target, non_target) or is_new:
        return Response.ICPD if has_prior and is_further else Response.IUPD
    plain_target = PLAIN_WORDS.get(target, Response.NE) if target is not None else None
    plain_non_target = PLAIN_WORDS.get(non_target, Response.NE) if non_target is not None else None
    new_lesions = "none" if is_read else "not assessed"
    return IMMUNE_WORDS[overall_response(plain_target, plain_non_target, new_lesions)]


@dataclass(slots=True)
class _Pending:
    """The first unconfirmed progression of a run: what progressed, and sizes then."""

    since: date
    last: date
    by_target: bool
    by_non_target: bool
    burden: float | None
    non_target_burden: float | None
    progressing: Mapping[str, float | None]
    new_sizes: dict[str, float | None]
    has_new: bool
    doubtful: Mapping[str, float]

    def complete(self, evidence: ImmuneEvidence, sizes: Mapping[str, float | None]) -> None:
        """Take what was not measured at the first unconfirmed progression from a later one."""
        if self.burden is None:
            self.burden = evidence.burden
        if self.non_target_burden is None:
            self.non_target_burden = evidence.non_target_burden
        for lesion, size in self.new_sizes.items():
            self.new_sizes[lesion] = sizes.get(lesion) if size is None else size


@dataclass(slots=True)
class ImmuneState:
    """What the scans so far have established."""

    pending: _Pending | None = None
    confirmed_on: date | None = None
    new_nadirs: dict[str, float | None] = field(default_factory=dict)
    new_targets: dict[str, str] = field(default_factory=dict)
    stated: set[str] = field(default_factory=set)


def step(state: ImmuneState, evidence: ImmuneEvidence, settings: RespondSettings) -> ImmuneCall:
    """Judge one visit and carry the state forward."""
    sizes = _new_sizes(state, evidence, settings)
    if state.confirmed_on is not None:
        response = ICPD if evidence.is_read else NE
        return _call(evidence, response, f"progression was confirmed on {state.confirmed_on.isoformat()}")
    if state.pending is None:
        return _first_call(state, evidence, sizes, settings)
    days = (evidence.study_date - state.pending.since).days
    if days < settings.irecist_confirm_min_days - settings.irecist_confirm_tolerance_days:
        another = _another_new(state, state.pending, evidence, sizes) if evidence.is_for_symptoms else ""
        if another:
            # the one early scan that counts (working group's questions and clarifications)
            state.confirmed_on = evidence.study_date
            note = f"confirms the iUPD of {state.pending.since.isoformat()} on a scan for new symptoms: {another}"
            return _call(evidence, ICPD, note)
        note = f"{days} days after the iUPD of {state.pending.since.isoformat()}: changes nothing"
        return _call(evidence, IUPD, note, flags=(EARLY_SCAN,), is_void=True)
    return _pending_call(state, state.pending, evidence, sizes, settings)


def _first_call(
    state: ImmuneState, evidence: ImmuneEvidence, sizes: dict[str, float | None], settings: RespondSettings
) -> ImmuneCall:
    unknown = [lesion for lesion in sizes if lesion not in state.new_nadirs]
    stated = set(evidence.new_stated) - state.stated
    grown = [
        lesion for lesion, size in sizes.items() if _has_regrown(state.new_nadirs.get(lesion), size, settings)
    ]
    is_new = bool(unknown or stated or grown)
    response = immune_overall(
        _word(evidence.target),
        _word(evidence.non_target),
        is_new=is_new,
        has_prior=False,
        is_further=False,
        is_read=evidence.is_read,
    )
    if response is IUPD:
        state.pending = _Pending(
            since=evidence.study_date,
            last=evidence.study_date,
            by_target=evidence.target is PD,
            by_non_target=evidence.non_target is PD,
            burden=evidence.burden,
            non_target_burden=evidence.non_target_burden,
            progressing=evidence.progressing,
            new_sizes=dict(sizes),
            has_new=bool(sizes or evidence.new_stated),
            doubtful=evidence.doubtful,
        )
        _record(state, evidence, sizes)
        return _call(evidence, response, "first progression: to be confirmed after 4 to 8 weeks")
    _record(state, evidence, sizes)
    return _settled_call(evidence, response, sizes)


def _pending_call(
    state: ImmuneState,
    pending: _Pending,
    evidence: ImmuneEvidence,
    sizes: dict[str, float | None],
    settings: RespondSettings,
) -> ImmuneCall:
    late = (evidence.study_date - pending.last).days > settings.irecist_confirm_max_days
    flags = ("late_confirmation",) if late else ()
    further = _further(state, pending, evidence, sizes, settings)
    if further:
        state.confirmed_on = evidence.study_date
        return _call(
            evidence,
            ICPD,
            f"confirms the iUPD of {pending.since.isoformat()}: {further}",
            flags=flags,
        )
    unmeasured = [lesion for lesion, organ in state.new_targets.items() if sizes.get(lesion, 0.0) is None]
    unmeasured += [lesion for lesion, size in _doubtful_now(pending, evidence).items() if size is None]
    is_evaluable = evidence.target is not NE and evidence.is_read
    is_unassessed = pending.by_non_target and evidence.non_target is NE
    if unmeasured or is_unassessed or not is_evaluable:
        what = "non-targets, which progressed, not assessed" if is_evaluable else "not evaluable"
        if unmeasured:
            what = f"new lesion {', '.join(unmeasured)} not measured"
        response = IUPD if evidence.non_target is PD else NE
        return _call(evidence, response, what, is_void=True)
    if _is_reset(pending, evidence, sizes):
        state.pending = None
        _record(state, evidence, sizes)
        response = immune_overall(
            _word(evidence.target),
            _word(evidence.non_target),
            is_new=False,
            has_prior=False,
            is_further=False,
        )
        return _settled_call(evidence, response, sizes)
    pending.last = evidence.study_date
    _record(state, evidence, sizes)
    note = f"no further change since the iUPD of {pending.since.isoformat()}"
    if pending.by_target and evidence.target is PD and None in (pending.burden, evidence.burden):
        note = (
            f"whether it grew further since the iUPD of {pending.since.isoformat()} is not known: "
            "targets not all measured"
        )
    pending.complete(evidence, sizes)
    call = _call(evidence, IUPD, note, flags=flags)
    if _unchanged(pending, evidence):
        call.non_target = IUPD
    return call


def _further(
    state: ImmuneState,
    pending: _Pending,
    evidence: ImmuneEvidence,
    sizes: dict[str, float | None],
    settings: RespondSettings,
) -> str:
    """Return what progressed further since the pending iUPD, or nothing."""
    least = settings.irecist_confirm_growth_mm
    if evidence.target is PD and not pending.by_target:
        return "targets progress too"
    if evidence.non_target is PD and not pending.by_non_target:
        return "non-targets progress too"
    if pending.by_target and _grew(pending.burden, evidence.burden, least):
        return f"target sum {evidence.burden} mm, at least {least} mm above {pending.burden} mm"
    if pending.by_target and _grew(pending.burden, evidence.least_burden, least):
        # those that are missing can only add to it
        return f"targets measured alone {evidence.least_burden} mm, at least {least} mm above {pending.burden} mm"
    if pending.by_non_target and evidence.progressing:
        return "non-targets increased further"
    before, now = _non_target_sums(pending, evidence)
    if pending.by_non_target and _grew(before, now, 0.0):
        return f"non-target sum {now} mm above {before} mm"
    return _another_new(state, pending, evidence, sizes) or _new_growth(state, pending, sizes, least)


def _another_new(
    state: ImmuneState, pending: _Pending, evidence: ImmuneEvidence, sizes: dict[str, float | None]
) -> str:
    another = [
        lesion
        for lesion in sizes
        if lesion not in pending.new_sizes
        and lesion not in state.new_nadirs
        and lesion not in pending.doubtful
    ]
    another += sorted(set(evidence.new_stated) - state.stated)
    return f"another new lesion: {', '.join(another)}" if another else ""


def _doubtful_now(pending: _Pending, evidence: ImmuneEvidence) -> dict[str, float | None]:
    """Return the sizes now of the doubtful lesions that the pending iUPD rests on; 0 of one that is no disease now."""
    now = {lesion.lesion_id: 0.0 if lesion.status == "none" else lesion.counted[1] for lesion in evidence.new}
    return {name: now.get(name) for name in pending.doubtful}


def _non_target_sums(pending: _Pending, evidence: ImmuneEvidence) -> tuple[float | None, float | None]:
    """Return the sums of the non-targets at the pending iUPD and now, of the same lesions."""
    before, now = pending.non_target_burden, evidence.non_target_burden
    if not pending.doubtful:
        return before, now
    # without a sum the patient had no other non-target then
    if before is None:
        before = now = 0.0
    sizes = [size for size in _doubtful_now(pending, evidence).values() if size is not None]
    if now is None or len(sizes) < len(pending.doubtful):
        return None, None
    return round(math.fsum((before, *pending.doubtful.values())), 6), round(math.fsum((now, *sizes)), 6)


def _new_growth(state: ImmuneState, pending: _Pending, sizes: dict[str, float | None], least: float) -> str:
    then = [pending.new_sizes.get(lesion) for lesion in state.new_targets if lesion in pending.new_sizes]
    now = [sizes.get(lesion, 0.0) for lesion in state.new_targets if lesion in pending.new_sizes]
    if None not in then and None not in now:
        before, after = math.fsum(s or 0.0 for s in then), math.fsum(s or 0.0 for s in now)
        if _grew(before, after, least):
            return f"new target sum {after:.10g} mm, at least {least} mm above {before:.10g} mm"
    for lesion, size in sizes.items():
        if lesion not in state.new_targets and _grew(pending.new_sizes.get(lesion), size, 0.0):
            return f"new non-target {lesion} increased to {size} mm"
    return ""


def _grew(before: float | None, after: float | None, least: float) -> bool:
    if before is None or after is None:
        return False
    return reaches(after - before, least) if least > 0.0 else exceeds(after, before)


def _is_reset(pending: _Pending, evidence: ImmuneEvidence, sizes: dict[str, float | None]) -> bool:
    """Tell whether targets and non-targets meet a response again by shrinkage since the pending iUPD."""
    if PD in (evidence.target, evidence.non_target) or _unchanged(pending, evidence):
        return False
    before, now = _non_target_sums(pending, evidence)
    if pending.doubtful and before is not None and now is not None and not exceeds(before, now):
        return False
    new_gone = pending.has_new and not sizes and not evidence.new_stated
    shrank = (
        pending.burden is not None
        and evidence.burden is not None
        and exceeds(pending.burden, evidence.burden)
    )
    return pending.by_target or pending.by_non_target or shrank or new_gone


def _unchanged(pending: _Pending, evidence: ImmuneEvidence) -> bool:
    """Tell whether a reported non-target that progressed is still there, and not shown to have shrunk since."""
    for name, before in pending.progressing.items():
        now = evidence.standing.get(name)
        is_smaller = before is not None and now is not None and exceeds(before, now)
        if name in evidence.standing and not is_smaller:
            return True
    return False


def _has_regrown(nadir: float | None, size: float | None, settings: RespondSettings) -> bool:
    if nadir is None or size is None or nadir == 0.0:
        return False
    increase, least_mm = settings.non_target_guide_increase, settings.irecist_confirm_growth_mm
    return has_grown(nadir, size, by_share=increase, by_mm=least_mm)


def _new_sizes(
    state: ImmuneState, evidence: ImmuneEvidence, settings: RespondSettings
) -> dict[str, float | None]:
    """Return the sizes of the definite new lesions now; the first of them become new targets, within the limits."""
    sizes: dict[str, float | None] = {}
    for lesion in evidence.new:
        m = lesion.measurement
        if lesion.status != "definite":
            continue
        size = None if m is None else short_axis_mm(m) if m.is_node else m.longest_diameter_mm
        sizes[lesion.lesion_id] = size
        if m is None or size is None or lesion.lesion_id in state.new_targets:
            continue
        organ = organ_of(m)
        least = settings.irecist_new_target_mm * (1.5 if m.is_node else 1.0)
        has_room = (
            len(state.new_targets) < settings.irecist_new_targets
            and list(state.new_targets.values()).count(organ) < settings.irecist_new_targets_per_organ
        )
        if lesion.lesion_id not in state.new_nadirs and reaches(size, least) and has_room:
            state.new_targets[lesion.lesion_id] = organ
    return sizes


def _record(state: ImmuneState, evidence: ImmuneEvidence, sizes: dict[str, float | None]) -> None:
    for lesion, size in sizes.items():
        known = state.new_nadirs.get(lesion)
        state.new_nadirs[lesion] = size if known is None else known if size is None else min(known, size)
    state.stated |= set(evidence.new_stated)


def _settled_call(evidence: ImmuneEvidence, response: Response, sizes: dict[str, float | None]) -> ImmuneCall:
    if response is Response.ICR and (sizes or evidence.new_stated):
        return _call(
            evidence, Response.IPR, "complete response is blocked by a new lesion that is still there"
        )
    return _call(evidence, response, "")


def _word(response: Response | None) -> Response | None:
    return None if response is None else IMMUNE_WORDS[response]


def _call(
    evidence: ImmuneEvidence,
    response: Response,
    note: str,
    *,
    flags: tuple[str, ...] = (),
    is_void: bool = False,
) -> ImmuneCall:
    return ImmuneCall(_word(evidence.target), _word(evidence.non_target), response, note, flags, is_void)
