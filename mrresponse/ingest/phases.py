"""Which contrast phase a volume is: evidence that adds up, with the reasons and a confidence.

What speaks for or against a contrast phase is a number of points, the logarithm of how many times more likely it makes
that phase: words of the series description, the delay between injection and acquisition, the contrast attribute, the
place in time among the series, and, where they were looked at, the images. The points of a volume add up; with the five
phases equally likely at first, its confidence in the best one is ``exp(best) / sum(exp(all))``. Below the limit nothing
is guessed: the patient fails with the number of the series, and the message asks for a line in the manifest. The same
where one clear reason speaks for another phase than all of them together.

What the manifest says is not weighed, and what is no T1-weighted dynamic image (localiser, subtraction, projection,
diffusion, in- and opposed-phase, fat, T2, maps) is left out with the reason.

The points are judgements, not estimates from data: one clear word or one clear delay alone is enough (0.93 or more),
two that contradict each other are not, and the absence of a contrast attribute never decides alone.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.ingest.inputs import IngestSettings
from mrresponse.ingest.patterns import (
    ART,
    ART_FROM_S,
    DEL,
    HBP,
    PRE,
    PVP,
    SeriesFacts,
    left_out_reason,
    normalised,
    phase_of_delay,
    phases_in_text,
    study_agent,
    timing_reason,
)

DYNAMIC = (PRE, ART, PVP, DEL, HBP)
# Points. exp(5) is 148 times, exp(4) 55 times, exp(2) 7 times as likely.
_OWN_PATTERN, _WORD, _ONE_OF_SEVERAL_WORDS = 8.0, 5.0, 2.0
_DELAY, _UNSURE_DELAY, _ORDER, _UNSURE_ORDER = 4.0, 2.5, 4.0, 2.5
_NO_AGENT_YET, _NO_AGENT_STATED, _AGENT_GIVEN, _OUT_OF_ORDER = 2.0, -1.0, -3.0, -4.0
# Delays this close to a border between two phases speak for both.
_BORDER_S = 3.0
# A breath-hold before the injection and the agent's way to the liver.
_LEAST_TO_ARTERIAL_S = 20.0
# Series acquired within this time of each other say nothing about their order.
_SAME_TIME_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One reason and the points that it gives to contrast phases; those it does not name get none."""

    points: Mapping[ContrastPhase, float]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDecision:
    """The contrast phase of a volume and why, or the reason for leaving it out, or neither: unknown."""

    contrast_phase: ContrastPhase | None = None
    reason: str = ""
    left_out: bool = False
    confidence: float | None = None


def decide(
    volumes: Sequence[SeriesFacts],
    stated: Sequence[ContrastPhase | None],
    settings: IngestSettings,
    *,
    seen: Mapping[int, Evidence] | None = None,
) -> tuple[PhaseDecision, ...]:
    """Decide for all volumes of one study.

    Two volumes may come out with the same contrast phase; choosing between them needs their geometry too.

    Parameters
    ----------
    stated
        What the manifest says of each volume.
    seen
        What the images of some volumes say, by their index in `volumes`.
    """
    agent = study_agent(volumes)
    decisions: dict[int, PhaseDecision] = {}
    for index, (facts, said) in enumerate(zip(volumes, stated, strict=True)):
        if said is not None:
            decisions[index] = PhaseDecision(contrast_phase=said, reason="stated in the manifest")
        elif (reason := left_out_reason(facts, settings)) is not None:
            decisions[index] = PhaseDecision(reason=reason, left_out=True)
    open_ = [index for index in range(len(volumes)) if index not in decisions]
    spoken = {index: _spoken(volumes[index], agent, settings) for index in open_}
    for index in open_:
        reason = None if spoken[index] else timing_reason(volumes[index])
        if reason is not None:
            decisions[index] = PhaseDecision(reason=reason, left_out=True)
    weighed = {index: spoken[index] for index in open_ if index not in decisions}
    for index, evidence in _of_the_study({index: volumes[index] for index in weighed}, weighed, agent):
        weighed[index] = [*weighed[index], evidence]
    for index, found in weighed.items():
        extra = [seen[index]] if seen and index in seen else []
        decisions[index] = weigh([*found, *extra], settings.least_phase_confidence)
    return tuple(decisions[index] for index in range(len(volumes)))


def weigh(evidence: Sequence[Evidence], least_confidence: float) -> PhaseDecision:
    """Add up what was found; below the least confidence the contrast phase stays unknown."""
    total = {phase: sum(item.points.get(phase, 0.0) for item in evidence) for phase in DYNAMIC}
    likelihood = {phase: math.exp(points) for phase, points in total.items()}
    best = max(DYNAMIC, key=lambda phase: likelihood[phase])
    confidence = likelihood[best] / sum(likelihood.values())
    reasons = "; ".join(item.reason for item in evidence)
    if not evidence:
        return PhaseDecision(reason="series description and times do not say it")
    clear = max((item.points.get(best, 0.0) for item in evidence), default=0.0)
    contradicted = any(
        points >= _DELAY and phase is not best and clear < _OWN_PATTERN
        for item in evidence
        for phase, points in item.points.items()
    )
    if confidence < least_confidence or contradicted:
        found = f"{best.value} with confidence {confidence:.2f}, expected {least_confidence:g}"
        if confidence >= least_confidence:
            found = f"{best.value} is contradicted"
        return PhaseDecision(reason=f"{reasons}: {found}", confidence=confidence)
    return PhaseDecision(
        contrast_phase=best, reason=f"{reasons} (confidence {confidence:.2f})", confidence=confidence
    )


def _spoken(facts: SeriesFacts, agent: Agent | None, settings: IngestSettings) -> list[Evidence]:
    """Return what the description of a volume says."""
    text = normalised(facts.description)
    for pattern, phase in settings.phase_patterns:
        match = re.search(pattern, text)
        if match:
            reason = f"series description has '{match.group()}', a pattern of the settings"
            return [Evidence(points={phase: _OWN_PATTERN}, reason=reason)]
    spoken = phases_in_text(facts.description, agent, settings)
    if len(spoken) > 1:
        words = ", ".join(phase.value for phase in spoken)
        points = dict.fromkeys(spoken, _ONE_OF_SEVERAL_WORDS)
        return [Evidence(points=points, reason=f"series description speaks for {words}")]
    return [
        Evidence(points={phase: _WORD}, reason=f"series description has '{words}'")
        for phase, words in spoken.items()
    ]


def _of_the_study(
    volumes: Mapping[int, SeriesFacts], spoken: Mapping[int, Sequence[Evidence]], agent: Agent | None
) -> list[tuple[int, Evidence]]:
    """Return what times and contrast attributes say, each volume seen among the others."""
    found = [
        (index, item) for index, facts in volumes.items() if (item := _by_injection(facts, agent)) is not None
    ]
    found += _by_attribute(volumes)
    found += _by_sequence(volumes, spoken)
    silent = {index: facts for index, facts in volumes.items() if not spoken[index]}
    has_pre = any(len(items) == 1 and set(items[0].points) == {PRE} for items in spoken.values())
    return found + _by_order(silent, agent, has_pre=has_pre)


def _by_injection(facts: SeriesFacts, agent: Agent | None) -> Evidence | None:
    if facts.injected_at is None or facts.acquired_at is None:
        return None
    delay = (facts.acquired_at - facts.injected_at).total_seconds()
    if delay < 0:
        return Evidence(points={PRE: _DELAY}, reason="acquired before the injection")
    near = [phase_of_delay(delay + shift, agent) for shift in (-_BORDER_S, 0.0, _BORDER_S)]
    phases = {phase for phase in near if phase is not None}
    after = f"acquired {delay:.0f} s after the injection"
    if len(phases) == 1 and None not in near:
        return Evidence(points={phases.pop(): _DELAY}, reason=after)
    if phases:
        unsure = dict.fromkeys(phases, _UNSURE_DELAY)
    else:
        unsure = dict.fromkeys((DEL, HBP), _UNSURE_DELAY) if delay > ART_FROM_S else {}
    return Evidence(points={PRE: _AGENT_GIVEN, **unsure}, reason=after)


def _by_attribute(volumes: Mapping[int, SeriesFacts]) -> list[tuple[int, Evidence]]:
    """Read the contrast attribute where the volumes differ in it; some scanners state it for all or for none.

    Several volumes of one description without it are a dynamic in which nobody filled it in.
    """
    if len({facts.has_agent for facts in volumes.values()}) < 2:
        return []
    after = dict.fromkeys((ART, PVP, DEL, HBP), _NO_AGENT_STATED)
    given = Evidence(points={PRE: _AGENT_GIVEN}, reason="contrast agent stated")
    absent = Evidence(
        points={PRE: _NO_AGENT_YET, **after}, reason="no contrast agent stated, unlike in other series"
    )
    stems = Counter(_stem(facts.description) for facts in volumes.values() if not facts.has_agent)
    return [
        (index, given if facts.has_agent else absent)
        for index, facts in volumes.items()
        if facts.has_agent or stems[_stem(facts.description)] == 1
    ]


def _by_sequence(
    volumes: Mapping[int, SeriesFacts], spoken: Mapping[int, Sequence[Evidence]]
) -> list[tuple[int, Evidence]]:
    """Find descriptions that contradict each other's times: an arterial series after a portal venous one."""
    said = {
        index: (DYNAMIC.index(max(items[0].points, key=lambda phase: items[0].points[phase])), time)
        for index, items in spoken.items()
        if items and len(items[0].points) == 1 and (time := volumes[index].acquired_at) is not None
    }
    found = []
    while conflicts := {
        index: others
        for index in said
        if (others := [other for other in said if _contradict(said[index], said[other])])
    }:
        # One series that contradicts several is to blame rather than each of these; of two, both are in doubt.
        most = max(len(others) for others in conflicts.values())
        for index in [index for index, others in conflicts.items() if len(others) == most]:
            place, time = said[index]
            other = said[conflicts[index][0]]
            when = "after" if time > other[1] else "before"
            reason = f"acquired {when} the series described as {DYNAMIC[other[0]].value}"
            found.append((index, Evidence(points={DYNAMIC[place]: _OUT_OF_ORDER}, reason=reason)))
        said = {index: one for index, one in said.items() if len(conflicts.get(index, ())) < most}
    return found


def _contradict(one: tuple[int, datetime], other: tuple[int, datetime]) -> bool:
    """Tell whether two described phases were acquired in the wrong order."""
    (early, early_time), (late, late_time) = sorted((one, other))
    return early < late and (early_time - late_time).total_seconds() > _SAME_TIME_S


def _by_order(
    volumes: Mapping[int, SeriesFacts], agent: Agent | None, *, has_pre: bool
) -> list[tuple[int, Evidence]]:
    """Read the order in time of volumes of one description that does not say their contrast phase.

    Where another series is described as precontrast, they may as well begin with the arterial phase.
    """
    groups: dict[str, list[int]] = {}
    for index, facts in volumes.items():
        if facts.acquired_at is not None:
            groups.setdefault(_stem(facts.description), []).append(index)
    found = []
    for members in groups.values():
        ordered = sorted(members, key=lambda index: volumes[index].acquired_at or datetime.min)
        phases = _dynamic_phases([volumes[index] for index in ordered], agent)
        sure = not has_pre or (not volumes[ordered[0]].has_agent and volumes[ordered[-1]].has_agent)
        points = _ORDER if sure else _UNSURE_ORDER
        for position, (index, phase) in enumerate(zip(ordered, phases, strict=False), start=1):
            reason = f"{position} of {len(ordered)} in the order of acquisition"
            reason += "" if sure else ", beside a precontrast series of its own"
            found.append((index, Evidence(points={phase: points}, reason=reason)))
    return found


def _stem(description: str) -> str:
    """Return a description without the numbers that count repetitions."""
    return re.sub(r"\b(dyn|ph|phase|measurement|meas)? ?\d+$", "", normalised(description)).strip()


def _dynamic_phases(volumes: Sequence[SeriesFacts], agent: Agent | None) -> tuple[ContrastPhase, ...]:
    """Return the contrast phases of a dynamic series in order, empty where it does not fit one.

    Expected: precontrast; arterial at least 20 s later, which tells it from a second arterial; portal venous 20-80 s
    later; delayed later still; with gadoxetate the last may be hepatobiliary, from 10 min after the arterial. The
    contrast attribute, where the volumes differ in it, must appear between the first and the second.
    """
    given = [facts.has_agent for facts in volumes]
    if len(volumes) not in (3, 4, 5) or (len(set(given)) == 2 and (given[0] or not all(given[1:]))):
        return ()
    times = [facts.acquired_at for facts in volumes if facts.acquired_at is not None]
    if len(times) != len(volumes):
        return ()
    if (times[1] - times[0]).total_seconds() < _LEAST_TO_ARTERIAL_S:
        return ()
    after_arterial = [(time - times[1]).total_seconds() for time in times[2:]]
    if not 20.0 <= after_arterial[0] <= 80.0 or any(later < 80.0 for later in after_arterial[1:]):
        return ()
    phases = [PRE, ART, PVP]
    for delay in after_arterial[1:]:
        phase = phase_of_delay(delay + ART_FROM_S, agent)
        if phase is None or phase in phases:
            return ()
        phases.append(phase)
    return tuple(phases)
