"""The synthetic courses on which whole responses are judged: fixed before they were measured, never eased after it.

Patients with at least one lesion and three to six studies, from seeds beside the other judging sets
(:mod:`mrresponse.synthetic.judging`), whose lesions at the first study they share. Under every treatment most lesions
of a patient take the same turn; a fifth takes one of its own.
"""

from dataclasses import replace
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from mrresponse.domain import Agent, Treatment, TreatmentKind
from mrresponse.synthetic.judging import (
    COUNTS,
    FIRST_SEED,
    SMALLEST_MM,
    draw_lesion,
    drawn,
    largest_mm,
    place_with_room,
)
from mrresponse.synthetic.placement import PlacedPatient
from mrresponse.synthetic.plans import (
    EXTRACELLULAR_PHASES,
    GADOXETATE_PHASES,
    LesionPlan,
    LesionSize,
    PatientPlan,
    StudyPlan,
)

FIRST_COURSE_SEED = FIRST_SEED + 10_000_000
"""The judging sets before it use a million seeds each."""
_FIRST_DAY = date(2023, 1, 9)
# Whoever has no lesion at the first study has no course to judge.
_SHARE_WITH_LESIONS = sum(share for count, share in COUNTS if count > 0)
_COUNTS = tuple((count, share / _SHARE_WITH_LESIONS) for count, share in COUNTS if count > 0)
_VISITS = (3, 4, 5, 6)
_DAYS_BETWEEN = (56, 112)
_DAYS_TO_TREATMENT = 7
_PHASE_SHARES = ((1, 0.5), (2, 0.35), (3, 0.15))
_NEW_LESION_SHARE = 0.2
_NEW_LESION_MM = (10.0, 20.0)
# Below this nothing viable is drawn: it could not be measured.
_LEAST_VIABLE_MM = 5.0
_LARGEST_MM = largest_mm(1)
_OWN_TURN_SHARE = 0.2
# Volume doubling time in months: 35 % below 3, 38 % above 9 (section "Pathology" of the generator's specification).
# Those two quantiles of a normal distribution lie at -0.385 and +0.305.
_DOUBLING_SIGMA = float(np.log(9.0 / 3.0)) / (0.305 + 0.385)
_DOUBLING_MEDIAN_MONTHS = 3.0 * float(np.exp(0.385 * _DOUBLING_SIGMA))
_DOUBLING_MONTHS = (1.0, 36.0)
_DAYS_PER_MONTH = 30.44


class Turn(StrEnum):
    """What becomes of a lesion under one treatment."""

    GROWS = "grows"
    STABLE = "stable"
    SHRINKS = "shrinks"
    DIES = "dies"


_TURNS = ((Turn.SHRINKS, 0.40), (Turn.GROWS, 0.25), (Turn.STABLE, 0.20), (Turn.DIES, 0.15))


class _Sizes(NamedTuple):
    whole_mm: float
    viable_mm: float


class _Calendar(NamedTuple):
    """Days of the studies from the first on, and the study that is the baseline of each treatment phase."""

    days: tuple[int, ...]
    baselines: tuple[int, ...]

    def phase_at(self, study: int) -> int:
        """Return the number of the phase under which a follow-up study was made."""
        return sum(baseline < study for baseline in self.baselines) - 1


def course_plan(number: int) -> PatientPlan:
    """Return the plan of one patient; the same number gives the same plan.

    Raises
    ------
    ValueError
        No torso has room for the lesions of any draw.
    """
    return place_course(number).plan


def place_course(number: int) -> PlacedPatient:
    """Return the patient of a number, placed in a torso; render it with `course_seed`.

    Raises
    ------
    ValueError
        No torso has room for the lesions of any draw.
    """
    seed = course_seed(number)
    rng = np.random.default_rng([seed, 89])
    return place_with_room(partial(_draw_patient, f"V{number:03d}", rng), seed=seed)


def course_seed(number: int) -> int:
    """Return the seed of a patient."""
    return FIRST_COURSE_SEED + number


def _draw_patient(patient_id: str, rng: np.random.Generator) -> PatientPlan:
    agent = Agent.GADOXETATE if rng.random() < 0.5 else Agent.EXTRACELLULAR
    phases = GADOXETATE_PHASES if agent is Agent.GADOXETATE else EXTRACELLULAR_PHASES
    calendar = _draw_calendar(rng)
    count = int(drawn(_COUNTS, rng))
    limit = largest_mm(count)
    turns = [drawn(_TURNS, rng) for _ in calendar.baselines]
    lesions = [_follow(draw_lesion(index, limit, rng), 0, turns, calendar, rng) for index in range(count)]
    if rng.random() < _NEW_LESION_SHARE:
        lesions += _new_lesions(count, turns, calendar, limit, rng)
    first = _FIRST_DAY + timedelta(days=int(rng.integers(0, 365)))
    days = [first + timedelta(days=day) for day in calendar.days]
    return PatientPlan(
        patient_id=patient_id,
        studies=tuple(StudyPlan(study_date=day, agent=agent, contrast_phases=phases) for day in days),
        lesions=tuple(lesions),
        cirrhotic=bool(rng.random() < 0.5),
        snapped=False,
        treatments=tuple(
            _treatment(patient_id, index, days[baseline], rng)
            for index, baseline in enumerate(calendar.baselines, start=1)
        ),
        last_contact_date=days[-1],
    )


def _draw_calendar(rng: np.random.Generator) -> _Calendar:
    """Draw when studies are made and which of them are baselines; every phase has a follow-up of its own."""
    visits = int(rng.choice(_VISITS))
    days = np.cumsum([0, *rng.integers(*_DAYS_BETWEEN, visits - 1)])
    later = min(drawn(_PHASE_SHARES, rng) - 1, visits - 2)
    starts = sorted(rng.choice(np.arange(1, visits - 1), size=later, replace=False))
    return _Calendar(days=tuple(int(day) for day in days), baselines=(0, *(int(start) for start in starts)))


def _new_lesions(
    known: int, turns: list[Turn], calendar: _Calendar, limit_mm: float, rng: np.random.Generator
) -> list[LesionPlan]:
    """Draw one or two lesions that appear wholly viable at a follow-up study."""
    first = int(rng.integers(1, len(calendar.days)))
    lesions = []
    for index in range(known, known + (1 if rng.random() < 0.7 else 2)):
        size = round(float(rng.uniform(*_NEW_LESION_MM)), 1)
        plan = replace(draw_lesion(index, limit_mm, rng), sizes=(LesionSize(whole_mm=size, viable_mm=size),))
        lesions.append(_follow(plan, first, turns, calendar, rng))
    return lesions


def _follow(
    plan: LesionPlan,
    first: int,
    turns: list[Turn],
    calendar: _Calendar,
    rng: np.random.Generator,
) -> LesionPlan:
    """Give a lesion its sizes at every study, from the one at which it is first there."""
    (start,) = plan.sizes
    assert start is not None
    now: _Sizes | None = _Sizes(start.whole_mm, start.viable_mm)
    months_to_double = float(
        np.clip(_DOUBLING_MEDIAN_MONTHS * np.exp(_DOUBLING_SIGMA * rng.normal()), *_DOUBLING_MONTHS)
    )
    own = [drawn(_TURNS, rng) if rng.random() < _OWN_TURN_SHARE else turn for turn in turns]
    sizes: list[LesionSize | None] = [None] * first + [start]
    for study in range(first + 1, len(calendar.days)):
        months = (calendar.days[study] - calendar.days[study - 1]) / _DAYS_PER_MONTH
        if now is not None:
            growth = 2.0 ** (months / (3.0 * months_to_double))
            now = _next(now, own[calendar.phase_at(study)], growth, rng)
        sizes.append(
            None
            if now is None
            else LesionSize(whole_mm=round(now.whole_mm, 1), viable_mm=round(now.viable_mm, 1))
        )
    return replace(plan, sizes=tuple(sizes))


def _next(now: _Sizes, turn: Turn, growth: float, rng: np.random.Generator) -> _Sizes | None:
    """Return the sizes at the next study; ``None`` for a lesion that is gone. What is dead does not grow."""
    if turn is Turn.GROWS and now.viable_mm > 0.0:
        whole, viable = min(now.whole_mm * growth, _LARGEST_MM), now.viable_mm * growth
    elif turn is Turn.SHRINKS:
        whole, viable = now.whole_mm * rng.uniform(0.75, 1.0), now.viable_mm * rng.uniform(0.35, 0.75)
    elif turn is Turn.DIES:
        whole, viable = now.whole_mm * rng.uniform(0.85, 1.0), 0.0
    else:
        whole, viable = (
            min(now.whole_mm * rng.uniform(0.95, 1.05), _LARGEST_MM),
            now.viable_mm * rng.uniform(0.93, 1.05),
        )
    if whole < SMALLEST_MM:
        return None
    viable = min(viable, whole)
    return _Sizes(float(whole), float(viable) if viable >= _LEAST_VIABLE_MM else 0.0)


def _treatment(patient_id: str, index: int, baseline: date, rng: np.random.Generator) -> Treatment:
    is_local = rng.random() < 0.5
    return Treatment(
        patient_id=patient_id,
        treatment_phase=f"phase {index}",
        name="TACE" if is_local else "lenvatinib",
        kind=TreatmentKind.LOCOREGIONAL if is_local else TreatmentKind.SYSTEMIC,
        start_date=baseline + timedelta(days=_DAYS_TO_TREATMENT),
    )
