"""Tissues of the synthetic torso and their magnetic properties.

T1 of organs, fat, muscle and marrow: de Bazelaire 2004, Radiology; T1 of lesions: doi 10.1016/j.ejro.2020.100312;
blood T1: common 3 T value. Proton densities and effective concentrations are fitted so that signal ratios to liver
meet published and measured values (portal-venous spleen .98, kidney 1.33-1.45, IVC 1.18, pancreas 1.05). T2 in ms:
usual abdominal values at 1.5-3 T.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch


class Tissue(IntEnum):
    """What a voxel of the synthetic torso is made of; the value is the voxel value of a tissue map."""

    AIR = 0
    LIVER = 1
    LIVER_CIRRHOTIC = 2
    SPLEEN = 3
    KIDNEY_CORTEX = 4
    KIDNEY_MEDULLA = 5
    PANCREAS = 6
    MUSCLE = 7
    AORTA = 8
    PORTAL_TRUNK = 9
    VENA_CAVA = 10
    FAT = 11
    SUBCUTANEOUS_FAT = 12
    SKIN = 13
    GALLBLADDER = 14
    ASCITES = 15
    LUNG = 16
    HEART_BLOOD = 17
    MYOCARDIUM = 18
    MARROW = 19
    CORTICAL_BONE = 20
    DISC = 21
    SPINAL_CANAL = 22
    BOWEL_WALL = 23
    STOMACH_CONTENT = 24
    BOWEL_CONTENT_A = 25
    BOWEL_CONTENT_B = 26
    BOWEL_CONTENT_C = 27
    BOWEL_GAS = 28
    PORTAL_BRANCH = 29
    HEPATIC_VEIN = 30
    HEPATIC_ARTERY = 31
    BILE_DUCT = 32
    HCC = 33
    HCC_WEAK = 34
    HCC_UPTAKE = 35
    CAPSULE = 36
    NECROSIS = 37
    HAEMORRHAGE = 38
    METASTASIS = 39
    CYST = 40
    HAEMANGIOMA = 41
    SIDEROTIC_NODULE = 42
    REGENERATIVE_NODULE = 43
    PERFUSION_ANOMALY = 44
    FOCAL_FAT = 45
    CLIP = 46
    FIBROSIS = 47
    RANDOM_SHAPE_A = 48
    RANDOM_SHAPE_B = 49
    LYMPH_NODE = 50


PARENCHYMA = frozenset({Tissue.LIVER, Tissue.LIVER_CIRRHOTIC})
INTRAHEPATIC_VESSELS = frozenset(
    {Tissue.PORTAL_BRANCH, Tissue.HEPATIC_VEIN, Tissue.HEPATIC_ARTERY, Tissue.BILE_DUCT}
)
LESION_TISSUES = frozenset(Tissue(value) for value in range(Tissue.HCC, Tissue.HAEMANGIOMA + 1))
BENIGN_CHANGES = frozenset(Tissue(value) for value in range(Tissue.SIDEROTIC_NODULE, Tissue.FIBROSIS + 1))
BENIGN_PARENCHYMA = BENIGN_CHANGES - {Tissue.CLIP, Tissue.FIBROSIS}
"""Changes of the liver that are made of hepatocytes."""
LIVER_TISSUES = PARENCHYMA | INTRAHEPATIC_VESSELS | LESION_TISSUES | BENIGN_CHANGES
VIABLE_TISSUES = frozenset({Tissue.HCC, Tissue.HCC_WEAK, Tissue.HCC_UPTAKE, Tissue.METASTASIS})


@dataclass(frozen=True, slots=True)
class TissueProperties:
    """Relaxation times (ms, 3 T), proton density and effective contrast-agent concentrations (mM).

    ``extracellular`` lists ART, PVP, DEL; ``gadoxetate`` lists ART, PVP, DEL (transitional), HBP.
    """

    t1_ms: float
    proton_density: float
    t2_ms: float
    extracellular: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gadoxetate: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    t2_star_ms: float = 25.0


_BLOOD_VEIN_C = ((0.10, 0.80, 0.60), (0.08, 0.44, 0.33, 0.12))
_PORTAL_C = ((0.60, 0.90, 0.60), (0.30, 0.48, 0.33, 0.12))
_ARTERY_C = ((2.5, 0.85, 0.60), (1.2, 0.45, 0.33, 0.12))

PROPERTIES: dict[Tissue, TissueProperties] = {
    Tissue.AIR: TissueProperties(1000, 0.0, 100),
    Tissue.LIVER: TissueProperties(809, 0.80, 42, (0.08, 0.40, 0.33), (0.05, 0.24, 0.26, 0.42)),
    Tissue.LIVER_CIRRHOTIC: TissueProperties(900, 0.80, 46, (0.08, 0.36, 0.33), (0.05, 0.21, 0.22, 0.26)),
    Tissue.SPLEEN: TissueProperties(1328, 0.85, 85, (0.45, 0.50, 0.40), (0.25, 0.26, 0.20, 0.07)),
    Tissue.KIDNEY_CORTEX: TissueProperties(1142, 0.85, 100, (0.90, 1.1, 1.1), (0.45, 0.55, 0.45, 0.25)),
    Tissue.KIDNEY_MEDULLA: TissueProperties(1545, 0.90, 140, (0.20, 0.80, 1.2), (0.10, 0.45, 0.50, 0.30)),
    Tissue.PANCREAS: TissueProperties(725, 0.80, 55, (0.35, 0.35, 0.28), (0.20, 0.20, 0.14, 0.05)),
    Tissue.MUSCLE: TissueProperties(898, 0.75, 35, (0.03, 0.10, 0.14), (0.02, 0.06, 0.07, 0.03)),
    Tissue.AORTA: TissueProperties(1932, 0.95, 150, *_ARTERY_C),
    Tissue.PORTAL_TRUNK: TissueProperties(1932, 0.95, 150, *_PORTAL_C),
    Tissue.VENA_CAVA: TissueProperties(1932, 0.95, 150, *_BLOOD_VEIN_C),
    Tissue.FAT: TissueProperties(382, 0.18, 70, (0.0, 0.0, 0.01)),
    Tissue.SUBCUTANEOUS_FAT: TissueProperties(382, 0.18, 70, (0.0, 0.0, 0.01)),
    Tissue.SKIN: TissueProperties(900, 0.45, 35, (0.03, 0.10, 0.14), (0.02, 0.06, 0.07, 0.03)),
    Tissue.GALLBLADDER: TissueProperties(3000, 1.0, 750),
    Tissue.ASCITES: TissueProperties(3500, 1.0, 800),
    Tissue.LUNG: TissueProperties(1200, 0.06, 40, (0.3, 0.3, 0.2), (0.15, 0.15, 0.1, 0.05)),
    Tissue.HEART_BLOOD: TissueProperties(1932, 0.95, 150, (1.6, 0.75, 0.5), (0.8, 0.40, 0.30, 0.10)),
    Tissue.MYOCARDIUM: TissueProperties(1200, 0.80, 48, (0.25, 0.35, 0.28), (0.14, 0.20, 0.15, 0.05)),
    Tissue.MARROW: TissueProperties(586, 0.40, 50, (0.03, 0.06, 0.06), (0.02, 0.04, 0.04, 0.02)),
    Tissue.CORTICAL_BONE: TissueProperties(800, 0.08, 15, t2_star_ms=4.0),
    Tissue.DISC: TissueProperties(1300, 0.70, 90, (0.0, 0.02, 0.03), (0.0, 0.01, 0.02, 0.01)),
    Tissue.SPINAL_CANAL: TissueProperties(3500, 0.95, 400, (0.0, 0.01, 0.02)),
    Tissue.BOWEL_WALL: TissueProperties(1000, 0.80, 60, (0.30, 0.40, 0.35), (0.16, 0.22, 0.18, 0.08)),
    Tissue.STOMACH_CONTENT: TissueProperties(1500, 0.70, 250),
    Tissue.BOWEL_CONTENT_A: TissueProperties(1000, 0.60, 120),
    Tissue.BOWEL_CONTENT_B: TissueProperties(600, 0.50, 60),
    Tissue.BOWEL_CONTENT_C: TissueProperties(2500, 0.90, 500),
    Tissue.BOWEL_GAS: TissueProperties(1000, 0.02, 40),
    Tissue.PORTAL_BRANCH: TissueProperties(1932, 0.95, 150, *_PORTAL_C),
    Tissue.HEPATIC_VEIN: TissueProperties(1932, 0.95, 150, *_BLOOD_VEIN_C),
    Tissue.HEPATIC_ARTERY: TissueProperties(1932, 0.95, 150, *_ARTERY_C),
    Tissue.BILE_DUCT: TissueProperties(2500, 1.0, 700, (0.0, 0.0, 0.0), (0.0, 0.0, 0.05, 1.2)),
    Tissue.HCC: TissueProperties(1150, 0.85, 70, (0.40, 0.29, 0.25), (0.22, 0.20, 0.14, 0.09)),
    Tissue.HCC_WEAK: TissueProperties(1056, 0.85, 65, (0.20, 0.33, 0.28), (0.12, 0.20, 0.16, 0.12)),
    Tissue.HCC_UPTAKE: TissueProperties(950, 0.85, 60, (0.35, 0.36, 0.30), (0.18, 0.22, 0.20, 0.45)),
    Tissue.CAPSULE: TissueProperties(1100, 0.85, 50, (0.10, 0.45, 0.55), (0.06, 0.26, 0.28, 0.12)),
    Tissue.NECROSIS: TissueProperties(1200, 0.80, 50, (0.0, 0.01, 0.02), (0.0, 0.01, 0.01, 0.01)),
    Tissue.HAEMORRHAGE: TissueProperties(550, 0.80, 45, (0.0, 0.01, 0.02), (0.0, 0.01, 0.01, 0.01)),
    Tissue.METASTASIS: TissueProperties(1757, 0.90, 85, (0.15, 0.20, 0.25), (0.10, 0.13, 0.13, 0.08)),
    Tissue.CYST: TissueProperties(3793, 1.0, 700),
    Tissue.HAEMANGIOMA: TissueProperties(2524, 0.95, 170, (0.25, 0.60, 0.70), (0.12, 0.32, 0.34, 0.15)),
    Tissue.SIDEROTIC_NODULE: TissueProperties(
        800, 0.75, 20, (0.04, 0.25, 0.25), (0.03, 0.15, 0.16, 0.25), t2_star_ms=6.0
    ),
    Tissue.REGENERATIVE_NODULE: TissueProperties(720, 0.80, 38, (0.08, 0.35, 0.31), (0.05, 0.20, 0.21, 0.27)),
    Tissue.PERFUSION_ANOMALY: TissueProperties(809, 0.80, 44, (0.26, 0.40, 0.33), (0.15, 0.24, 0.26, 0.42)),
    Tissue.FOCAL_FAT: TissueProperties(650, 0.62, 45, (0.07, 0.34, 0.28), (0.04, 0.20, 0.22, 0.36)),
    Tissue.CLIP: TissueProperties(1000, 0.02, 10, t2_star_ms=1.0),
    Tissue.FIBROSIS: TissueProperties(1050, 0.80, 60, (0.08, 0.38, 0.42), (0.05, 0.22, 0.24, 0.14)),
    Tissue.RANDOM_SHAPE_A: TissueProperties(1000, 0.70, 80, (0.2, 0.3, 0.3), (0.1, 0.15, 0.15, 0.1)),
    Tissue.RANDOM_SHAPE_B: TissueProperties(1500, 0.85, 150, (0.1, 0.2, 0.2), (0.05, 0.1, 0.1, 0.05)),
    Tissue.LYMPH_NODE: TissueProperties(1100, 0.85, 80, (0.15, 0.30, 0.28), (0.08, 0.17, 0.15, 0.06)),
}

TISSUE_COUNT = max(Tissue) + 1


def is_in(tissue: torch.Tensor, members: frozenset[Tissue]) -> torch.Tensor:
    """Return a bool tensor: which voxels of a tissue map belong to ``members``."""
    lookup = torch.zeros(256, dtype=torch.bool, device=tissue.device)
    lookup[[int(member) for member in members]] = True
    return lookup[tissue.long()]


def liver_mask(tissue: torch.Tensor) -> torch.Tensor:
    """Return the liver as a reader outlines it: parenchyma, intrahepatic vessels and ducts, lesions.

    The vena cava, the portal trunk outside the liver and the gallbladder do not belong to it.
    """
    return is_in(tissue, LIVER_TISSUES)
