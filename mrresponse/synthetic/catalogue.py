"""The catalogue of synthetic patients: what each scenario shows and which responses follow from it.

Expected responses are worked by hand from the sizes: RECIST 1.1 (Eisenhauer 2009) sums the longest diameters, mRECIST
(Lencioni 2010) the longest viable ones; PR from -30 % of baseline, PD from +20 % of the nadir, RECIST 1.1 in addition
at least 5 mm. The absolute limit is not part of mRECIST, so R7 (15 to 19 mm, +27 %) is PD there.
"""

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

from mrresponse.domain import Agent, ContrastPhase, Response
from mrresponse.errors import ConfigError
from mrresponse.synthetic.anatomy import Lobe
from mrresponse.synthetic.cohort import random_cohort
from mrresponse.synthetic.course import HCC_COURSE
from mrresponse.synthetic.pathology import LesionSubtype
from mrresponse.synthetic.plans import (
    EXTRACELLULAR_PHASES,
    GADOXETATE_PHASES,
    Background,
    Defect,
    ExpectedResponse,
    LesionPlan,
    LesionSize,
    PatientPlan,
    Scenario,
    StudyPlan,
)
from mrresponse.synthetic.tissues import Tissue

RECIST = "RECIST 1.1"
MRECIST = "mRECIST"
_DATES = (date(2024, 1, 15), date(2024, 4, 15), date(2024, 7, 15))
_COHORT = re.compile(r"cohort-([1-9]\d{0,3})")

Pair = tuple[float, float]


def _lesion(
    identity: str,
    lobe: Lobe,
    *pairs: Pair | None,
    aspect: Pair = (1.0, 1.0),
    subtype: LesionSubtype = LesionSubtype.HCC,
    remnant: Tissue = Tissue.NECROSIS,
) -> LesionPlan:
    sizes = tuple(None if pair is None else LesionSize(whole_mm=pair[0], viable_mm=pair[1]) for pair in pairs)
    return LesionPlan(
        identity=identity, lobe=lobe, sizes=sizes, subtype=subtype, aspect=aspect, remnant=remnant
    )


def _studies(count: int, agent: Agent) -> tuple[StudyPlan, ...]:
    phases = GADOXETATE_PHASES if agent is Agent.GADOXETATE else EXTRACELLULAR_PHASES
    return tuple(StudyPlan(study_date=day, agent=agent, contrast_phases=phases) for day in _DATES[:count])


def _expected(patient_id: str, responses: Mapping[str, tuple[str, ...]]) -> tuple[ExpectedResponse, ...]:
    """Return the rows of the phase ``course`` of a patient without treatments and findings."""
    rows = []
    for criterion, values in responses.items():
        rows.append(
            ExpectedResponse(
                patient_id=patient_id,
                treatment_phase="course",
                criterion=criterion,
                study_date=_DATES[0],
                is_baseline=True,
            )
        )
        rows += [
            ExpectedResponse(
                patient_id=patient_id,
                treatment_phase="course",
                criterion=criterion,
                study_date=day,
                liver_response=Response(value),
                overall=Response(value),
            )
            for day, value in zip(_DATES[1:], values, strict=False)
        ]
    return tuple(rows)


def _response_scenario(
    name: str,
    summary: str,
    lesions: tuple[LesionPlan, ...],
    expected: Mapping[str, tuple[str, ...]],
    *,
    agent: Agent = Agent.EXTRACELLULAR,
    cirrhotic: bool = False,
) -> Scenario:
    patient = PatientPlan(
        patient_id=name,
        studies=_studies(len(lesions[0].sizes), agent),
        lesions=lesions,
        cirrhotic=cirrhotic,
        expected=_expected(name, expected),
        expected_targets=sum(lesion.sizes[0] is not None for lesion in lesions),
    )
    return Scenario(name=name, summary=summary, patients=(patient,))


def _pair(recist: str, mrecist: str) -> dict[str, tuple[str, ...]]:
    return {RECIST: tuple(recist.split()), MRECIST: tuple(mrecist.split())}


_RESPONSES = (
    _response_scenario(
        "R1",
        "32 mm viable -> 30 mm without viable tumour",
        (_lesion("A", Lobe.RIGHT, (32, 32), (30, 0)),),
        _pair("SD", "CR"),
        cirrhotic=True,
    ),
    _response_scenario(
        "R2",
        "40 + 25 mm -> whole 38 + 24, viable 24 + 14 mm",
        (_lesion("A", Lobe.RIGHT, (40, 40), (38, 24)), _lesion("B", Lobe.LEFT, (25, 25), (24, 14))),
        _pair("SD", "PR"),
        agent=Agent.GADOXETATE,
    ),
    _response_scenario(
        "R3",
        "30 -> 33 mm viable",
        (_lesion("A", Lobe.RIGHT, (30, 30), (33, 33), aspect=(0.85, 0.9)),),
        _pair("SD", "SD"),
        cirrhotic=True,
    ),
    _response_scenario(
        "R4",
        "20 -> 27 mm viable",
        (_lesion("A", Lobe.LEFT, (20, 20), (27, 27)),),
        _pair("PD", "PD"),
        agent=Agent.GADOXETATE,
    ),
    _response_scenario(
        "R5",
        "30 -> 30 mm and a new lesion of 12 mm with arterial hyperenhancement and washout",
        (_lesion("A", Lobe.RIGHT, (30, 30), (30, 30)), _lesion("B", Lobe.LEFT, None, (12, 12))),
        _pair("PD", "PD"),
        cirrhotic=True,
    ),
    _response_scenario(
        "R6a",
        "sum 90 -> 64.8 mm (-28 %)",
        (_lesion("A", Lobe.RIGHT, (56, 56), (40.8, 40.8)), _lesion("B", Lobe.LEFT, (34, 34), (24, 24))),
        _pair("SD", "SD"),
    ),
    _response_scenario(
        "R6b",
        "sum 90 -> 61.2 mm (-32 %)",
        (_lesion("A", Lobe.RIGHT, (56, 56), (38, 38)), _lesion("B", Lobe.LEFT, (34, 34), (23.2, 23.2))),
        _pair("PR", "PR"),
    ),
    _response_scenario(
        "R6c",
        "sum 70 -> 82.6 mm (+18 %)",
        (_lesion("A", Lobe.RIGHT, (44, 44), (51.5, 51.5)), _lesion("B", Lobe.LEFT, (26, 26), (31.1, 31.1))),
        _pair("SD", "SD"),
        agent=Agent.GADOXETATE,
    ),
    _response_scenario(
        "R6d",
        "sum 70 -> 85.4 mm (+22 %)",
        (_lesion("A", Lobe.RIGHT, (44, 44), (53, 53)), _lesion("B", Lobe.LEFT, (26, 26), (32.4, 32.4))),
        _pair("PD", "PD"),
        agent=Agent.GADOXETATE,
    ),
    _response_scenario(
        "R7",
        "15 -> 19 mm (+27 %, +4 mm)",
        (_lesion("A", Lobe.RIGHT, (15, 15), (19, 19)),),
        _pair("SD", "PD"),
        cirrhotic=True,
    ),
    _response_scenario(
        "R8",
        "whole 30 -> 38 mm, viable 30 -> 18 mm",
        (_lesion("A", Lobe.RIGHT, (30, 30), (38, 18)),),
        _pair("PD", "PR"),
        agent=Agent.GADOXETATE,
    ),
    _response_scenario(
        "R9",
        "40 -> 24 -> 31 mm: partial response, then +29 % from the nadir",
        (_lesion("A", Lobe.RIGHT, (40, 40), (24, 24), (31, 31)),),
        _pair("PR PD", "PR PD"),
    ),
    _response_scenario(
        "R10",
        "25 mm -> no longer visible",
        (_lesion("A", Lobe.RIGHT, (25, 25), None),),
        _pair("CR", "CR"),
        cirrhotic=True,
    ),
    _response_scenario(
        "H1",
        "28 mm viable -> 30 mm T1-bright haemorrhagic complete necrosis",
        (_lesion("A", Lobe.RIGHT, (28, 28), (30, 0), remnant=Tissue.HAEMORRHAGE),),
        _pair("SD", "CR"),
        cirrhotic=True,
    ),
)


def _benign_scenario(
    name: str,
    summary: str,
    *,
    lesions: tuple[LesionPlan, ...] = (),
    background: Background = Background.PLAIN,
    agent: Agent = Agent.EXTRACELLULAR,
    cirrhotic: bool = False,
) -> Scenario:
    patient = PatientPlan(
        patient_id=name,
        studies=_studies(1, agent),
        lesions=lesions,
        background=background,
        cirrhotic=cirrhotic,
        expected=_expected(name, _pair("", "")),
        expected_targets=0,
    )
    return Scenario(name=name, summary=summary, patients=(patient,))


_BENIGN = (
    _benign_scenario("N1", "normal liver", agent=Agent.GADOXETATE),
    _benign_scenario(
        "N2",
        "cirrhosis with regenerative and siderotic nodules",
        background=Background.NODULES,
        cirrhotic=True,
    ),
    _benign_scenario(
        "N3",
        "two cysts and a haemangioma",
        lesions=(
            _lesion("A", Lobe.RIGHT, (22, 0), subtype=LesionSubtype.CYST, aspect=(0.9, 0.9)),
            _lesion("B", Lobe.LEFT, (14, 0), subtype=LesionSubtype.CYST),
            _lesion("C", Lobe.RIGHT, (26, 0), subtype=LesionSubtype.HAEMANGIOMA, aspect=(0.85, 0.95)),
        ),
        agent=Agent.GADOXETATE,
    ),
    _benign_scenario(
        "N4", "wedge-shaped arterial perfusion anomalies", background=Background.PERFUSION_WEDGES
    ),
)


def _follow_up_scenario(
    name: str, summary: str, studies: tuple[StudyPlan, ...], expected: Mapping[str, tuple[str, ...]]
) -> Scenario:
    """Return a scenario of one lesion, whole 30 -> 32 mm (+7 %) and viable 30 -> 18 mm (-40 %)."""
    patient = PatientPlan(
        patient_id=name,
        studies=studies,
        lesions=(_lesion("A", Lobe.RIGHT, (30, 30), (32, 18)),),
        expected=_expected(name, expected),
    )
    return Scenario(name=name, summary=summary, patients=(patient,))


def _defect_scenario(name: str, defect: Defect) -> Scenario:
    studies = (StudyPlan(study_date=_DATES[0]), StudyPlan(study_date=_DATES[1], defect=defect))
    return _follow_up_scenario(name, f"follow-up with {defect.value}", studies, _pair("SD", "PR"))


def _reduced_scenario(
    name: str, summary: str, phases: tuple[ContrastPhase, ...], agent: Agent, *, mrecist: str
) -> Scenario:
    studies = tuple(StudyPlan(study_date=day, agent=agent, contrast_phases=phases) for day in _DATES[:2])
    return _follow_up_scenario(name, summary, studies, _pair("SD", mrecist))


_DEFECTS = tuple(_defect_scenario(f"Q{number}", defect) for number, defect in enumerate(Defect, start=1))

# Without an arterial phase the viable part is not assessed: NE, never 0.
_REDUCED = (
    _reduced_scenario(
        "M1", "portal-venous phase only", (ContrastPhase.PORTAL_VENOUS,), Agent.EXTRACELLULAR, mrecist="NE"
    ),
    _reduced_scenario(
        "M2",
        "arterial and precontrast phases only",
        (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL),
        Agent.EXTRACELLULAR,
        mrecist="PR",
    ),
    _reduced_scenario(
        "M3", "no precontrast phase", EXTRACELLULAR_PHASES[1:], Agent.EXTRACELLULAR, mrecist="PR"
    ),
    _reduced_scenario(
        "M4", "hepatobiliary phase only", (ContrastPhase.HEPATOBILIARY,), Agent.GADOXETATE, mrecist="NE"
    ),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {scenario.name: scenario for scenario in (HCC_COURSE, *_RESPONSES, *_BENIGN, *_DEFECTS, *_REDUCED)}
)
"""Every fixed scenario by name; ``cohort-N`` exists besides."""


def find_scenario(name: str, *, seed: int) -> Scenario:
    """Return a scenario by its name, upper or lower case; ``cohort-N`` is drawn from ``seed``.

    Raises
    ------
    ConfigError
        There is no such scenario.
    """
    by_lower_name = {known.lower(): scenario for known, scenario in SCENARIOS.items()}
    found = by_lower_name.get(name.lower())
    if found is not None:
        return found
    cohort = _COHORT.fullmatch(name.lower())
    if cohort is None:
        raise ConfigError(f"--scenario: found {name!r}, expected one of {', '.join(SCENARIOS)}, cohort-N")
    return random_cohort(int(cohort[1]), seed=seed)
