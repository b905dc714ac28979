"""What a synthetic patient is to look like, as plain values: studies, lesion sizes, tables and expected responses.

Sizes are the longest axial diameter of exact ellipsoids in millimetres. Expected responses are written down by hand
from the sizes and the published criteria; no code of the response engine takes part.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from mrresponse.domain import Agent, ContrastPhase, Finding, Marker, Response, Treatment
from mrresponse.synthetic.anatomy import Lobe
from mrresponse.synthetic.pathology import LesionSubtype
from mrresponse.synthetic.tissues import Tissue

EXTRACELLULAR_PHASES = (
    ContrastPhase.PRECONTRAST,
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
)
GADOXETATE_PHASES = (*EXTRACELLULAR_PHASES, ContrastPhase.HEPATOBILIARY)
REFERENCE_ORDER = (
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
    ContrastPhase.PRECONTRAST,
    ContrastPhase.OTHER,
)
BENIGN = frozenset({LesionSubtype.CYST, LesionSubtype.HAEMANGIOMA})


class Defect(StrEnum):
    """What is wrong with the images of a study."""

    SHIFTED_ARTERIAL = "arterial phase shifted by 8 mm"
    GHOSTED_ARTERIAL = "motion ghosts in the arterial phase"
    NOISY = "low signal-to-noise ratio"
    NO_FAT_SUPPRESSION = "fat suppression failed"
    LIVER_CUT = "liver cut by the field of view"
    ARTERIAL_GAIN = "gain change in the arterial phase"


class Background(StrEnum):
    """What the liver shows besides the planned lesions."""

    PLAIN = "plain"
    NODULES = "regenerative and siderotic nodules"
    PERFUSION_WEDGES = "wedge-shaped arterial perfusion anomalies"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSize:
    """Longest axial diameter of a lesion and of its viable part; 0 viable is complete necrosis."""

    whole_mm: float
    viable_mm: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionPlan:
    """One lesion through the studies; ``None`` where it is not there.

    ``aspect`` are the second in-plane axis and the cranio-caudal axis as shares of the longest axis, which lies in the
    axial plane. ``remnant`` is what the non-viable part is made of.
    """

    identity: str
    lobe: Lobe
    sizes: tuple[LesionSize | None, ...]
    subtype: LesionSubtype = LesionSubtype.HCC
    aspect: tuple[float, float] = (1.0, 1.0)
    remnant: Tissue = Tissue.NECROSIS

    @property
    def largest_mm(self) -> float:
        """Largest diameter over all studies."""
        return max(size.whole_mm for size in self.sizes if size is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """One imaging visit.

    ``liver_t2_star_ms`` is the T2* of a liver with iron overload, in ms at the field strength of the images; ``None``
    is a liver without.
    """

    study_date: date
    agent: Agent = Agent.EXTRACELLULAR
    contrast_phases: tuple[ContrastPhase, ...] = EXTRACELLULAR_PHASES
    defect: Defect | None = None
    liver_t2_star_ms: float | None = None

    @property
    def reference(self) -> ContrastPhase:
        """Contrast phase on whose grid the truth is given."""
        return next(phase for phase in REFERENCE_ORDER if phase in self.contrast_phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedResponse:
    """One row of ``truth/assessments.csv``; both responses are empty at a baseline."""

    patient_id: str
    treatment_phase: str
    criterion: str
    study_date: date
    is_baseline: bool = False
    liver_response: Response | None = None
    overall: Response | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientPlan:
    """One synthetic patient.

    ``snapped`` puts lesion centres on voxel centres, so that the sampled diameter of a size does not depend on chance.
    ``large_left_lobe`` asks for a torso whose left lobe can hold a large mass.
    """

    patient_id: str
    studies: tuple[StudyPlan, ...]
    lesions: tuple[LesionPlan, ...] = ()
    cirrhotic: bool = False
    large_left_lobe: bool = False
    background: Background = Background.PLAIN
    snapped: bool = True
    treatments: tuple[Treatment, ...] = ()
    markers: tuple[Marker, ...] = ()
    findings: tuple[Finding, ...] = ()
    last_contact_date: date | None = None
    expected: tuple[ExpectedResponse, ...] = ()
    expected_targets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A named set of synthetic patients."""

    name: str
    summary: str
    patients: tuple[PatientPlan, ...]
