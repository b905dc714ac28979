"""The target lesions of one treatment phase: sums, nadir and target response at each visit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from mrresponse.domain import Measurement, Response
from mrresponse.respond.criteria import Criterion, ProgressionScope
from mrresponse.respond.rules import CR, PD, PR, TargetEvidence, deciding_rule, number
from mrresponse.respond.settings import PartialResponse, RespondSettings
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import (
    LesionValue,
    describe_value,
    is_viable_part,
)
from mrresponse.typed import counted_with, is_merged_away

ANY_LESION, SUSTAINED = ProgressionScope.ANY_LESION, PartialResponse.SUSTAINED


@dataclass(slots=True)
class TargetSum:
    """What the targets give at one visit, whatever came before; ``current`` is the sum of those measured.

    ``sizes`` are those of the targets that have a value; those that ``merged`` into another one have 0.
    ``missing`` names the targets without a value and why, ``lesions`` says what each contributes.
    """

    sizes: Mapping[str, float]
    current: float
    missing: tuple[str, ...]
    lesions: str
    is_gone: bool
    flags: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()


@dataclass(slots=True)
class TargetVisit:
    """Target disease at one visit, judged by ``evidence``; ``burden`` is ``None`` where a target is missing."""

    response: Response
    sentence: str
    burden: float | None
    flags: tuple[str, ...]
    evidence: TargetEvidence
    found: TargetSum


@dataclass(slots=True)
class TargetState:
    """What the baseline and the evaluable visits so far have established."""

    baseline: float
    nadir: float
    lesion_nadirs: dict[str, float]
    was_gone: bool = False
    previous: Response | None = None
    had_response: bool = False


def begin(start: TargetSum) -> TargetState:
    """Return the state at baseline."""
    return TargetState(
        baseline=start.current,
        nadir=start.current,
        lesion_nadirs=dict(start.sizes),
    )


def judge(
    state: TargetState, found: TargetSum, visit: Visit, criterion: Criterion, settings: RespondSettings
) -> TargetVisit:
    """Return the target response of a visit from its sum and the visits before it, whose state stays as it is."""
    evidence = _evidence(found, visit, state, criterion, settings)
    response, rule = deciding_rule(evidence, criterion)
    flags: tuple[str, ...] = ()
    if found.flags or rule.flag or response is PD or evidence.previous is CR:
        flags = _flags(found, evidence, (response, rule.flag), criterion, settings)
    burden = None if found.missing else found.current
    return TargetVisit(response, rule.sentence(evidence, criterion), burden, flags, evidence, found)


def judge_through(
    state: TargetState,
    sums: Sequence[TargetSum],
    visits: Sequence[Visit],
    criterion: Criterion,
    settings: RespondSettings,
) -> list[TargetVisit]:
    """Judge one visit after the other and carry each into the state."""
    course = []
    for found, visit in zip(sums, visits, strict=True):
        judged = judge(state, found, visit, criterion, settings)
        accept(state, judged)
        course.append(judged)
    return course


def accept(state: TargetState, judged: TargetVisit) -> None:
    """Carry a judged visit into the state: its nadir, complete response and category."""
    response, evidence = judged.response, judged.evidence
    if evidence.lesion_growth is not None:
        for lesion_id, size in judged.found.sizes.items():
            if lesion_id not in judged.found.merged:
                state.lesion_nadirs[lesion_id] = min(size, state.lesion_nadirs.get(lesion_id, size))
    if response is PD:
        state.had_response = False
    elif response is PR or response is CR:
        state.had_response = True
    if evidence.missing or evidence.current is None:
        return
    state.nadir = min(state.nadir, evidence.current)
    state.was_gone = state.was_gone or evidence.is_gone
    state.previous = response


def target_values(
    targets: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> dict[str, LesionValue]:
    """Return what each target contributes to the sum of a visit; merged ones count with their parent."""
    if visit.unread:
        unread = LesionValue(None, visit.unread)
        return dict.fromkeys(targets, unread)
    known = visit.values(criterion, settings)
    values = {}
    for lesion_id in targets:
        value = known.of(lesion_id)
        if value.is_merged:
            value = _merged_value(value, lesion_id, visit.measurements, targets)
        values[lesion_id] = value
    return values


def _merged_value(
    value: LesionValue, lesion_id: str, measurements: Mapping[str, Measurement], targets: Sequence[str]
) -> LesionValue:
    """Count a merged target with its parent, which must itself be a target, and apart, to hold the burden."""
    parent = counted_with(measurements[lesion_id], measurements)
    merged = {name for name, m in measurements.items() if is_merged_away(m)}
    holding = [name for name in targets if name not in merged]
    if holding and (parent is None or parent in holding):
        return value
    why = "which is merged too" if parent in merged else "which is not a target"
    return LesionValue(None, f"merged into {parent or 'a lesion'}, {why}")


def sum_targets(
    targets: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> TargetSum:
    """Add up the targets of a visit."""
    if visit.unread:
        return _sum_with_notes(targets, visit, criterion, settings)
    plain, unit = visit.values(criterion, settings).sizes, criterion.unit
    try:
        sizes = {lesion_id: plain[lesion_id] for lesion_id in targets}
    except KeyError:
        return _sum_with_notes(targets, visit, criterion, settings)
    described = [f"{lesion_id} {number(size)} {unit}" for lesion_id, size in sizes.items()]
    return TargetSum(sizes, round(math.fsum(sizes.values()), 6), (), ", ".join(described), not targets)


def _sum_with_notes(
    targets: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> TargetSum:
    """Add up targets of which some have no value, or one with a note."""
    values = target_values(targets, visit, criterion, settings)
    missing = [describe_value(name, value, "") for name, value in values.items() if value.value is None]
    merged = tuple([name for name, value in values.items() if value.is_merged])
    flags = ["merged"] if merged else []
    if visit.unread:
        missing = [visit.unread]
    elif missing and any(value.note.startswith("not found") for value in values.values()):
        flags.append("not_found")
    sizes = {name: value.value for name, value in values.items() if value.value is not None}
    return TargetSum(
        sizes=sizes,
        current=round(math.fsum(sizes.values()), 6),
        missing=tuple(missing),
        lesions=", ".join([describe_value(name, value, criterion.unit) for name, value in values.items()]),
        is_gone=not missing and all(value.is_gone for value in values.values()),
        flags=tuple(flags),
        merged=merged,
    )


def _evidence(
    found: TargetSum, visit: Visit, state: TargetState, criterion: Criterion, settings: RespondSettings
) -> TargetEvidence:
    baseline, nadir, current, missing, is_gone = (
        state.baseline, state.nadir, found.current, found.missing, found.is_gone
    )  # fmt: skip
    was_gone, reappeared, reappeared_sum, reappeared_whole = state.was_gone, 0.0, 0.0, 0.0
    if was_gone:
        reappeared_whole, viable = _reappeared(found, visit, criterion)
        reappeared, reappeared_sum = max(viable, default=0.0), math.fsum(viable)
    growth = _largest_growth(found.sizes, state) if criterion.progression_scope is ANY_LESION else None
    is_sustained = state.had_response and settings.partial_response is SUSTAINED
    return TargetEvidence(
        baseline, nadir, current, missing, is_gone, was_gone,
        reappeared, reappeared_sum, reappeared_whole, growth, state.previous, is_sustained,
    )  # fmt: skip


def _reappeared(found: TargetSum, visit: Visit, criterion: Criterion) -> tuple[float, list[float]]:
    """Return the largest target that is measured whole, and those of which only viable tumour is; without nodes."""
    whole, viable = 0.0, []
    for lesion_id, size in found.sizes.items():
        m = visit.measurements.get(lesion_id)
        if not size or m is None or m.is_node:
            continue
        if is_viable_part(m, criterion):
            viable.append(size)
        else:
            whole = max(whole, size)
    return whole, viable


def _largest_growth(sizes: Mapping[str, float], state: TargetState) -> float:
    growths = [
        (size - nadir) / nadir
        for lesion_id, size in sizes.items()
        if (nadir := state.lesion_nadirs.get(lesion_id))
    ]
    return max(growths, default=0.0)


def _flags(
    found: TargetSum,
    evidence: TargetEvidence,
    decision: tuple[Response, str],
    criterion: Criterion,
    settings: RespondSettings,
) -> tuple[str, ...]:
    response, flag = decision
    flags = [flag] if flag else []
    if flag == "reappeared" and 0.0 < evidence.reappeared_whole < _review_bound(criterion, settings):
        flags.append("reappeared_small")
    flags += found.flags
    if evidence.previous is CR and response is PR:
        flags.append("pr_after_cr")
    if response is PD and _differs_with_floor(evidence, criterion, settings):
        flags.append("differs_with_5_mm_floor")
    return tuple(flags)


def _review_bound(criterion: Criterion, settings: RespondSettings) -> float:
    return settings.reappearance_review_mm if criterion.is_length else criterion.too_small


def _differs_with_floor(evidence: TargetEvidence, criterion: Criterion, settings: RespondSettings) -> bool:
    """Tell whether a progression by viable diameters is none when it also needs a least growth."""
    floor = settings.mrecist_variant_pd_abs_mm
    if not (criterion.is_viable and criterion.is_length) or criterion.progression_floor >= floor:
        return False
    response, _ = deciding_rule(evidence, _with_floor(criterion, floor))
    return response is not PD


@cache
def _with_floor(criterion: Criterion, floor: float) -> Criterion:
    return replace(criterion, progression_floor=floor)
