"""The non-target lesions of one treatment phase at each visit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mrresponse.domain import Response
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.newlesions import DOUBTFUL, NewLesion
from mrresponse.respond.rules import (
    NO_NON_TARGET,
    NonTargetEvidence,
    decide_non_target,
    has_grown,
    number,
    percent,
)
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.targets import TargetSum
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import NOT_FOUND, is_stated
from mrresponse.typed import counted_with


@dataclass(slots=True)
class NonTargetVisit:
    """Non-target lesions at one visit: the evidence and the response that follows from it alone, with its sentence.

    ``growth`` says how the whole of them grew where that is beyond the guide; ``nadir`` is the least sum of diameters
    before this visit; ``is_lost`` says that one was not found and its absence is not shown.
    """

    evidence: NonTargetEvidence
    response: Response | None = None
    reason: str = NO_NON_TARGET
    growth: str = ""
    burden: float | None = None
    nadir: float | None = None
    is_lost: bool = False


NOTHING = NonTargetVisit(evidence=NonTargetEvidence())


def assess_non_targets(
    lesion_ids: Sequence[str],
    baseline: Visit,
    follow_ups: Sequence[Visit],
    criterion: Criterion,
    settings: RespondSettings,
) -> tuple[NonTargetVisit, ...]:
    """Return which non-target lesions persist, are gone or cannot be judged at each visit.

    Under a viable criterion a lesion of the liver without arterial enhancement counts as gone. Growth beyond the
    guide of response-criteria section 2.5 (+20 % and 5 mm of the sum of diameters from its nadir) is reported.
    """
    if not lesion_ids:
        return (NOTHING,) * len(follow_ups)
    by_diameter = criterion.by_diameter
    _, nadir = _judge(lesion_ids, baseline, by_diameter, settings)
    visits = []
    for visit in follow_ups:
        evidence, burden = _judge(lesion_ids, visit, by_diameter, settings)
        growth = _growth(burden, nadir, settings)
        response, reason = decide_non_target(evidence)
        visits.append(
            NonTargetVisit(
                evidence, response, reason, growth, burden, nadir, _is_lost(lesion_ids, visit, evidence)
            )
        )
        if burden is not None:
            nadir = burden if nadir is None else min(nadir, burden)
    return tuple(visits)


def _is_lost(lesion_ids: Sequence[str], visit: Visit, evidence: NonTargetEvidence) -> bool:
    if not evidence.missing or visit.unread:
        return False
    read = [visit.measurements[lesion_id] for lesion_id in lesion_ids if lesion_id in visit.measurements]
    return any(m.state is NOT_FOUND for m in read)


def _judge(
    lesion_ids: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> tuple[NonTargetEvidence, float | None]:
    """Return the evidence of one visit, and the sum of diameters where every lesion has one."""
    if visit.unread:
        return NonTargetEvidence(missing=(visit.unread,)), None
    plain = visit.values(criterion, settings).sizes
    try:
        sizes = {lesion_id: plain[lesion_id] for lesion_id in lesion_ids}
    except KeyError:
        return _judge_with_notes(lesion_ids, visit, criterion, settings)
    seen = tuple([f"{lesion_id} {number(size)} mm" for lesion_id, size in sizes.items()])
    return NonTargetEvidence((), (), seen), round(math.fsum(sizes.values()), 6)


def _judge_with_notes(
    lesion_ids: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> tuple[NonTargetEvidence, float | None]:
    """Judge a visit at which some lesions have no value, or one with a note."""
    found: dict[str, list[str]] = {"missing": [], "present": [], "gone": []}
    values: list[float] = []
    known = visit.values(criterion, settings)
    holding = [lesion_id for lesion_id in lesion_ids if not known.of(lesion_id).is_merged]
    for lesion_id in lesion_ids:
        m = visit.measurements.get(lesion_id)
        value = known.of(lesion_id)
        if value.is_merged and m is not None:
            parent = counted_with(m, visit.measurements)
            if parent not in holding and (parent is not None or not holding):
                component, text = _fate_of_merged(lesion_id, parent, visit, criterion, settings)
                found[component].append(text)
        elif value.value is None and m is not None and is_stated(m, criterion):
            found["present"].append(lesion_id)
        elif value.value is None:
            found["missing"].append(f"{lesion_id} {value.note}")
        elif value.is_gone and value.value:
            size = f"{number(value.value)} mm"
            found["gone"].append(f"{lesion_id} {size} (normal node, {value.note})")
        elif value.is_gone:
            found["gone"].append(f"{lesion_id} {value.note}".rstrip())
        else:
            found["present"].append(f"{lesion_id} {number(value.value)} mm")
            values.append(value.value)
    missing, present, gone = map(tuple, found.values())
    complete = not missing and len(values) == len(present)
    return NonTargetEvidence((), missing, present, gone), round(math.fsum(values), 6) if complete else None


def _fate_of_merged(
    lesion_id: str, parent: str | None, visit: Visit, criterion: Criterion, settings: RespondSettings
) -> tuple[str, str]:
    """Return what became of a lesion that is part of another one now, which is no non-target: it fares as that one."""
    name = f"{lesion_id} merged into {parent or 'a lesion that is not named'}"
    m, value = visit.measurements.get(parent or ""), visit.values(criterion, settings).of(parent or "")
    if value.value is None:
        is_there = m is not None and is_stated(m, criterion)
        return ("present", name) if is_there else ("missing", f"{name}, {value.note}")
    is_there = value.is_merged or not value.is_gone
    return ("present", name) if is_there else ("gone", f"{name}, {value.note}".rstrip(", "))


def _growth(
    burden: float | None, nadir: float | None, settings: RespondSettings, whose: str = "non-target diameters"
) -> str:
    if burden is None or not nadir:
        return ""
    increase, floor_mm = settings.non_target_guide_increase, settings.non_target_guide_floor_mm
    if not has_grown(nadir, burden, by_share=increase, by_mm=floor_mm):
        return ""
    change = percent(burden, nadir, 100.0 * increase)
    return f"{whose} {number(burden)} mm are {change} from their nadir {number(nadir)} mm"


class Burden(NamedTuple):
    """Sum of the diameters of all lesions known at baseline, now and at its nadir; ``None`` where it is not known."""

    now: float | None
    nadir: float | None


def whole_burdens(targets: Sequence[TargetSum], non_targets: Sequence[NonTargetVisit]) -> tuple[Burden, ...]:
    """Return what targets and non-targets amount to at each follow-up visit.

    Parameters
    ----------
    targets
        By diameter, the baseline first; empty where there are none.
    non_targets
        At each follow-up visit.
    """
    sums = [None if found.missing else found.current for found in targets] or [0.0] * (len(non_targets) + 1)
    first = non_targets[0].nadir if non_targets and non_targets[0] is not NOTHING else 0.0
    nadir = _added(sums[0], first)
    burdens = []
    for target, visit in zip(sums[1:], non_targets, strict=True):
        now = _added(target, 0.0 if visit is NOTHING else visit.burden)
        burdens.append(Burden(now, nadir))
        if now is not None:
            nadir = now if nadir is None else min(nadir, now)
    return tuple(burdens)


def _added(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one + other, 6)


def growth_with_doubtful(
    burden: Burden, new: Sequence[NewLesion], settings: RespondSettings, *, has_target: bool
) -> tuple[str, Mapping[str, float]]:
    """Say how the disease grew together with lesions of which it is doubtful whether they are new, and their sizes.

    One that has grown by what makes a new nodule definite (response-criteria section 4.4) is either new or was
    overlooked at baseline. It is progression in both cases where all lesions, every doubtful one among them, grew by
    what is asked of non-targets alone (section 2.5): then the overall burden has risen as it must rise for measurable
    disease, whatever the targets did (Eisenhauer 2009, 4.3.4). Empty where they did not, or where one of them has no
    diameter; a doubtful one that did not grow and is not seen now can only add to them.
    """
    doubtful = [lesion for lesion in new if lesion.status in DOUBTFUL]
    is_known = not any(lesion.grown and lesion.counted[1] is None for lesion in doubtful)
    then = {lesion.lesion_id: size for lesion in doubtful if (size := lesion.counted[0]) is not None}
    if burden.now is None or burden.nadir is None or len(then) < len(doubtful) or not is_known:
        return "", {}
    now = {lesion.lesion_id: size for lesion in doubtful if (size := lesion.counted[1]) is not None}
    known = "target and non-target" if has_target else "non-target"
    growth = _growth(
        round(math.fsum((burden.now, *now.values())), 6),
        round(math.fsum((burden.nadir, *then.values())), 6),
        settings,
        whose=f"{known} diameters with {', '.join(then)}, new or overlooked at baseline,",
    )
    return growth, now if growth else {}


def standing_doubtful(new: Sequence[NewLesion]) -> tuple[str, ...]:
    """Name the lesions of which it is doubtful whether they are new and that have grown, with their sizes.

    New such a lesion is progression, overlooked at baseline a non-target that is still there: a complete response is
    neither.
    """
    return tuple(
        f"{lesion.lesion_id} {number(size)} mm, new or overlooked at baseline"
        for lesion in new
        if lesion.grown and (size := lesion.counted[1])
    )


def with_entries(evidence: NonTargetEvidence, entries: Mapping[str, Sequence[str]]) -> NonTargetEvidence:
    """Return the evidence with further entries of each kind, from findings or from the growth guide."""
    return NonTargetEvidence(
        progressing=(*evidence.progressing, *entries["progressing"]),
        missing=(*evidence.missing, *entries["missing"]),
        present=(*evidence.present, *entries["present"]),
        gone=(*evidence.gone, *entries["gone"]),
    )
