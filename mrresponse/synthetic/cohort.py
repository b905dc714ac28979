"""A random cohort for batch use: lesions that grow, shrink, lose their viable part, vanish or appear."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from mrresponse.domain import Agent, Treatment, TreatmentKind
from mrresponse.synthetic.anatomy import Lobe
from mrresponse.synthetic.pathology import LesionSubtype
from mrresponse.synthetic.plans import (
    EXTRACELLULAR_PHASES,
    GADOXETATE_PHASES,
    LesionPlan,
    LesionSize,
    PatientPlan,
    Scenario,
    StudyPlan,
)
from mrresponse.synthetic.tissues import Tissue

_FIRST_DAY = date(2022, 1, 3)
_LARGEST_MM = 60.0
_SMALLEST_MM = 8.0


@dataclass(frozen=True, slots=True)
class _Course:
    """Change per study of the whole and of the viable diameter, as factors."""

    whole: tuple[float, float]
    viable: tuple[float, float]
    probability: float


_COURSES = (
    _Course(whole=(0.75, 0.95), viable=(0.35, 0.75), probability=0.40),
    _Course(whole=(0.95, 1.05), viable=(0.92, 1.05), probability=0.25),
    _Course(whole=(1.10, 1.35), viable=(1.10, 1.35), probability=0.25),
    _Course(whole=(0.90, 1.00), viable=(0.00, 0.00), probability=0.10),
)


def random_cohort(count: int, *, seed: int) -> Scenario:
    """Draw ``count`` patients with two to four studies each; the same seed gives the same cohort.

    Half a year of follow-up each; sizes are log-normal with median 22 mm, counts 1 to 4. No responses are expected:
    the truth of a cohort are its sizes.
    """
    patients = tuple(
        _draw_patient(number, np.random.default_rng([seed, number, 53])) for number in range(count)
    )
    return Scenario(name=f"cohort-{count}", summary=f"{count} random patients", patients=patients)


def _draw_patient(number: int, rng: np.random.Generator) -> PatientPlan:
    patient_id = f"C{number + 1:03d}"
    agent = Agent.GADOXETATE if rng.random() < 0.5 else Agent.EXTRACELLULAR
    phases = GADOXETATE_PHASES if agent is Agent.GADOXETATE else EXTRACELLULAR_PHASES
    first = _FIRST_DAY + timedelta(days=int(rng.integers(0, 400)))
    gaps = np.cumsum([0, *rng.integers(56, 112, int(rng.integers(1, 4)))])
    days = [first + timedelta(days=int(gap)) for gap in gaps]
    count = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))
    lesions = [_draw_lesion(index, len(days), rng) for index in range(count)]
    if rng.random() < 0.2:
        lesions.append(_draw_new_lesion(len(lesions), len(days), rng))
    name, kind = (
        ("TACE", TreatmentKind.LOCOREGIONAL) if rng.random() < 0.5 else ("lenvatinib", TreatmentKind.SYSTEMIC)
    )
    return PatientPlan(
        patient_id=patient_id,
        studies=tuple(StudyPlan(study_date=day, agent=agent, contrast_phases=phases) for day in days),
        lesions=tuple(lesions),
        cirrhotic=bool(rng.random() < 0.5),
        snapped=False,
        treatments=(
            Treatment(
                patient_id=patient_id,
                treatment_phase="phase 1",
                name=name,
                kind=kind,
                start_date=first + timedelta(days=7),
            ),
        ),
        last_contact_date=days[-1],
    )


def _draw_lesion(index: int, studies: int, rng: np.random.Generator) -> LesionPlan:
    whole = float(np.clip(np.exp(rng.normal(np.log(22.0), 0.5)), 10, 45))
    viable = whole
    course = _COURSES[int(rng.choice(len(_COURSES), p=[course.probability for course in _COURSES]))]
    sizes: list[LesionSize | None] = [LesionSize(whole_mm=round(whole, 1), viable_mm=round(viable, 1))]
    for _ in range(studies - 1):
        whole = min(whole * float(rng.uniform(*course.whole)), _LARGEST_MM)
        viable = min(viable * float(rng.uniform(*course.viable)), whole)
        alive = viable if viable >= _SMALLEST_MM else 0.0
        gone = whole < _SMALLEST_MM
        sizes.append(None if gone else LesionSize(whole_mm=round(whole, 1), viable_mm=round(alive, 1)))
    return _plan(index, tuple(sizes), rng)


def _draw_new_lesion(index: int, studies: int, rng: np.random.Generator) -> LesionPlan:
    size = float(rng.uniform(11, 18))
    sizes: list[LesionSize | None] = [None] * (studies - 1)
    sizes.append(LesionSize(whole_mm=round(size, 1), viable_mm=round(size, 1)))
    return _plan(index, tuple(sizes), rng)


def _plan(index: int, sizes: tuple[LesionSize | None, ...], rng: np.random.Generator) -> LesionPlan:
    return LesionPlan(
        identity=chr(ord("A") + index),
        lobe=Lobe.RIGHT if rng.random() < 0.7 else Lobe.LEFT,
        sizes=sizes,
        subtype=LesionSubtype.HCC if rng.random() < 0.85 else LesionSubtype.HCC_WEAK,
        aspect=(round(float(rng.uniform(0.75, 1.0)), 2), round(float(rng.uniform(0.75, 1.0)), 2)),
        remnant=Tissue.HAEMORRHAGE if rng.random() < 0.25 else Tissue.NECROSIS,
    )
