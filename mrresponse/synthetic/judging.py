"""The synthetic sets on which networks are judged: fixed before a training, never eased after it.

Every case is one study of the ``standard`` size, rendered by the phantom (:mod:`mrresponse.synthetic.render`), whose
lesions, noise and motion are drawn by other code than that of the training examples. Seeds lie far from those of
training.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from functools import partial
from typing import TypeVar

import numpy as np

from mrresponse.domain import Agent
from mrresponse.synthetic.anatomy import Lobe
from mrresponse.synthetic.catalogue import SCENARIOS
from mrresponse.synthetic.pathology import LesionSubtype
from mrresponse.synthetic.placement import PlacedPatient, place_patient
from mrresponse.synthetic.plans import (
    EXTRACELLULAR_PHASES,
    GADOXETATE_PHASES,
    LesionPlan,
    LesionSize,
    PatientPlan,
    StudyPlan,
)
from mrresponse.synthetic.render import RenderedStudy, render_study
from mrresponse.synthetic.study_geometry import SIZES
from mrresponse.synthetic.tissues import Tissue

_Choice = TypeVar("_Choice")

FIRST_SEED = 910_000_000
SIZE = "standard"
TRAINING_FROM = 1_000
"""First case of the set ``IRON`` that may be trained on; nobody judges so many."""
IRON_T2_STAR_MS = (1.2, 2.0)
"""Lowest and highest T2* of a liver with iron overload at 3 T: R2* of 500 to 830 /s. R2* grows with the field; half of
it, at 1.5 T, is 6 to 11 mg of iron per gram of dry liver (doi 10.1148/radiol.213256; normal below 2). With the
phantom's TE of 1.3 to 1.9 ms a liver keeps 0.22 to 0.55 of its signal. At 4 ms, where it keeps 0.7, the lesion network
0.2.0 was hardly weaker than in livers without iron, at 1.5 ms it found nothing."""
_DRAWS = 20
_DAY = date(2024, 1, 15)
# counts and sizes: section "Pathology" of the generator's specification; larger masses find no room beside others
COUNTS = ((0, 0.20), (1, 0.40), (2, 0.14), (3, 0.14), (4, 0.06), (6, 0.06))
_MEDIAN_MM, _SIGMA, SMALLEST_MM, _LARGEST_MM = 22.0, 0.65, 6.0, 70.0
_SUBTYPES = (
    (LesionSubtype.HCC, 0.66),
    (LesionSubtype.HCC_WEAK, 0.16),
    (LesionSubtype.HCC_UPTAKE, 0.08),
    (LesionSubtype.METASTASIS, 0.10),
)


class JudgingSet(StrEnum):
    """Which question a set answers."""

    UNSEEN = "unseen"
    """Lesions of all sizes in plain and cirrhotic livers: how much is found, how well is it outlined."""
    BENIGN = "benign"
    """N1-N4: livers without a malignant lesion. Whatever is found is a false alarm, save a cyst or haemangioma."""
    STRESS = "stress"
    """Q1-Q6 and M1-M4, follow-up study: damaged images and missing phases. Are bad results flagged?"""
    TUNING = "tuning"
    """As ``UNSEEN``, from seeds of its own: what thresholds may be chosen on."""
    IRON = "iron"
    """As ``UNSEEN``, but every liver is overloaded with iron, which no training example shows: what a network that has
    not met a style makes of it. Cases from ``TRAINING_FROM`` on are for training."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgingCase:
    """One study with its truth; ``name`` tells the kind and the number within the set."""

    name: str
    study: RenderedStudy


def judging_cases(which: JudgingSet, *, count: int) -> Iterator[JudgingCase]:
    """Render the first ``count`` cases of a set; case ``n`` is the same whatever ``count`` is."""
    for number in range(count):
        yield judging_case(which, number)


def judging_case(which: JudgingSet, number: int) -> JudgingCase:
    """Render one case of a set, counted from 0; no case depends on another."""
    seed = FIRST_SEED + list(JudgingSet).index(which) * 1_000_000 + number
    patient, visit = _patient(which, number, seed)
    study = render_study(patient, visit, size=SIZES[SIZE], seed=seed)
    return JudgingCase(name=f"{patient.plan.patient_id}-{number}", study=study)


def _patient(which: JudgingSet, number: int, seed: int) -> tuple[PlacedPatient, int]:
    """Return the patient of a case and the number of the study that is judged."""
    if which in {JudgingSet.UNSEEN, JudgingSet.TUNING, JudgingSet.IRON}:
        patient = place_with_room(partial(_unseen_patient, np.random.default_rng([seed, 83])), seed=seed)
        return (_with_iron(patient, seed) if which is JudgingSet.IRON else patient), 0
    prefixes = "N" if which is JudgingSet.BENIGN else "QM"
    names = [name for name in SCENARIOS if name[0] in prefixes and name[1:].isdigit()]
    plan = SCENARIOS[names[number % len(names)]].patients[0]
    return place_patient(plan, seed=seed), len(plan.studies) - 1


def _with_iron(patient: PlacedPatient, seed: int) -> PlacedPatient:
    """Overload the liver of a patient with iron."""
    t2_star_ms = round(float(np.random.default_rng([seed, 89]).uniform(*IRON_T2_STAR_MS)), 2)
    studies = tuple(replace(study, liver_t2_star_ms=t2_star_ms) for study in patient.plan.studies)
    return replace(patient, plan=replace(patient.plan, patient_id="iron", studies=studies))


def place_with_room(draw: Callable[[], PatientPlan], *, seed: int) -> PlacedPatient:
    """Draw plans until a torso has room for the lesions; the largest ones seldom find it beside others.

    Raises
    ------
    ValueError
        None of the draws had room.
    """
    for _ in range(_DRAWS):
        plan = draw()
        try:
            return place_patient(plan, seed=seed)
        except ValueError:
            continue
    raise ValueError(f"seed {seed}: no torso has room for any of {_DRAWS} draws of lesions")


def _unseen_patient(rng: np.random.Generator) -> PatientPlan:
    agent = Agent.GADOXETATE if rng.random() < 0.5 else Agent.EXTRACELLULAR
    phases = GADOXETATE_PHASES if agent is Agent.GADOXETATE else EXTRACELLULAR_PHASES
    count = int(drawn(COUNTS, rng))
    limit = largest_mm(count)
    return PatientPlan(
        patient_id="unseen",
        studies=(StudyPlan(study_date=_DAY, agent=agent, contrast_phases=phases),),
        lesions=tuple(draw_lesion(index, limit, rng) for index in range(count)),
        cirrhotic=bool(rng.random() < 0.5),
        snapped=False,
    )


def largest_mm(count: int) -> float:
    """Return the largest diameter among ``count`` lesions: a crowd of large masses has no room in a liver."""
    return _LARGEST_MM if count < 3 else _LARGEST_MM / 2


def draw_lesion(index: int, limit_mm: float, rng: np.random.Generator) -> LesionPlan:
    """Draw one lesion as it is at the first study, at most ``limit_mm`` long."""
    whole = float(np.clip(np.exp(rng.normal(np.log(_MEDIAN_MM), _SIGMA)), SMALLEST_MM, limit_mm))
    alive = 1.0
    if rng.random() < 0.4:
        alive = 0.0 if rng.random() < 0.375 else float(rng.uniform(0.4, 0.9))
    return LesionPlan(
        identity=str(index),
        lobe=Lobe.RIGHT if rng.random() < 0.7 else Lobe.LEFT,
        sizes=(LesionSize(whole_mm=round(whole, 1), viable_mm=round(whole * alive, 1)),),
        subtype=drawn(_SUBTYPES, rng),
        aspect=(round(float(rng.uniform(0.75, 1.0)), 2), round(float(rng.uniform(0.75, 1.0)), 2)),
        remnant=Tissue.HAEMORRHAGE if rng.random() < 0.25 else Tissue.NECROSIS,
    )


def drawn(shares: tuple[tuple[_Choice, float], ...], rng: np.random.Generator) -> _Choice:
    """Draw one of several choices by its share."""
    return shares[int(rng.choice(len(shares), p=[share for _, share in shares]))][0]
