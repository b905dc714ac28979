"""How a lesion looks beside the liver: suggestions from signal ratios, never a diagnosis."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from mrresponse.domain import CYST_LIKE, HAEMANGIOMA_LIKE, Agent, BoolArray, ContrastPhase, PreparedStudy
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.viability import Box, Reference, ViableMap, phases_short_of

HCC_LIKE = "hcc-like"

PRE = ContrastPhase.PRECONTRAST
ART = ContrastPhase.ARTERIAL
PVP = ContrastPhase.PORTAL_VENOUS
DEL = ContrastPhase.DELAYED


@dataclass(frozen=True, slots=True, kw_only=True)
class Phenotype:
    """Hyperenhancement, washout, named pattern and delineation; ``None`` where a phase is missing."""

    aphe: bool | None = None
    washout: bool | None = None
    pattern: str | None = None
    well_delineated: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What is described of a lesion: masks of the box that holds it, with a margin.

    ``part`` is what hyperenhancement and washout are judged on: the viable part, or the lesion again.
    ``solidity`` is the share of its convex hull that the lesion fills in its widest section.
    """

    box: Box
    lesion: BoolArray
    part: BoolArray
    solidity: float


def describe(
    prepared: PreparedStudy, viable_map: ViableMap, judged: Judged, settings: MeasureSettings
) -> Phenotype:
    """Describe one lesion by its signal relative to reference liver, from the phases that show it whole, in place."""
    short = phases_short_of(prepared, judged.lesion, judged.box)
    if short:
        whole = {phase: image for phase, image in prepared.images.items() if phase not in short}
        prepared = replace(prepared, images=whole)
    reference = viable_map.reference
    if reference is None or not prepared.images:
        return Phenotype(well_delineated=None if judged.solidity >= settings.least_solidity else False)
    ratios: dict[ContrastPhase, float] = {
        phase: float(np.median(image.voxels[judged.box][judged.part])) / reference.medians[phase]
        for phase, image in prepared.images.items()
        if phase is not ContrastPhase.OTHER
    }
    aphe = _has_aphe(ratios, viable_map, judged, settings)
    washout = _has_washout(ratios, prepared.agent, settings)
    pattern = None
    if _is_cyst_like(prepared, viable_map, judged, settings):
        pattern = CYST_LIKE
    elif _is_haemangioma_like(ratios, prepared.agent, settings):
        pattern = HAEMANGIOMA_LIKE
    elif aphe and washout:
        pattern = HCC_LIKE
    return Phenotype(
        aphe=aphe,
        washout=washout,
        pattern=pattern,
        well_delineated=judged.solidity >= settings.least_solidity
        and _border_contrast_sd(prepared, reference, judged) >= settings.delineation_sd,
    )


def _has_aphe(
    ratios: dict[ContrastPhase, float], viable_map: ViableMap, judged: Judged, settings: MeasureSettings
) -> bool | None:
    """Tell whether the lesion enhances more than liver; nothing where enhancement says nothing of viability either."""
    enhancement = viable_map.enhancement
    if enhancement is not None and enhancement.is_subtracted and viable_map.labels is None:
        return None
    if enhancement is None or ART not in ratios or (enhancement.is_subtracted and PRE not in ratios):
        return None
    excess = float(np.median(enhancement.voxels[judged.box][judged.part])) - enhancement.reference_mean
    return excess >= settings.aphe_sd * enhancement.reference_sd and ratios[ART] > settings.aphe_ratio


def _has_washout(
    ratios: dict[ContrastPhase, float], agent: Agent | None, settings: MeasureSettings
) -> bool | None:
    """Tell whether the lesion is darker than liver; with gadoxetate the portal venous phase alone decides."""
    phases = (PVP,) if agent is Agent.GADOXETATE else (PVP, DEL)
    late = [ratios[phase] for phase in phases if phase in ratios]
    return min(late) < settings.washout_ratio if late else None


def _is_cyst_like(
    prepared: PreparedStudy, viable_map: ViableMap, judged: Judged, settings: MeasureSettings
) -> bool:
    """Tell whether a lesion is dark and homogeneous before contrast and does not enhance.

    The outermost voxels are shared with liver and are left out where the lesion is large enough.
    """
    if PRE not in prepared.images or viable_map.reference is None:
        return False
    later = [phase for phase in (ART, PVP, DEL) if phase in prepared.images]
    if not later:
        return False
    inner = _inner(judged.lesion)
    liver = viable_map.reference.medians[PRE]
    before = prepared.images[PRE].voxels[judged.box][inner] / liver
    gain = viable_map.enhancement.gain if viable_map.enhancement is not None else 1.0
    enhancement = max(
        float(np.median(prepared.images[phase].voxels[judged.box][inner]))
        / (gain if phase is ART else 1.0)
        / liver
        for phase in later
    ) - float(np.median(before))
    return (
        float(np.median(before)) < settings.cyst_ratio
        and enhancement < settings.cyst_enhancement
        and float(before.std()) < settings.cyst_cv
    )


def _is_haemangioma_like(
    ratios: dict[ContrastPhase, float], agent: Agent | None, settings: MeasureSettings
) -> bool:
    """Tell whether a lesion is dark before contrast and stays brighter than liver afterwards.

    With gadoxetate the liver itself brightens, and a haemangioma is hardly brighter in the portal venous phase (signal
    model: 1.09) and darker later: there it has to fill in, and not to be darker than liver.
    """
    if PRE not in ratios or PVP not in ratios or ratios[PRE] >= settings.haemangioma_precontrast_ratio:
        return False
    if agent is Agent.GADOXETATE:
        fills_in = ART in ratios and ratios[PVP] > ratios[ART]
        return fills_in and ratios[PVP] > settings.haemangioma_gadoxetate_ratio
    phases = [PVP, DEL] if DEL in ratios else [PVP]
    return all(ratios[phase] > settings.haemangioma_late_ratio for phase in phases)


def _border_contrast_sd(prepared: PreparedStudy, reference: Reference, judged: Judged) -> float:
    """Give the largest difference, over the phases, of the border and the liver around it, in liver SD."""
    near = np.ones((3, 3, 3), dtype=bool)
    body = judged.lesion
    around = ndimage.binary_dilation(body, near, iterations=3) & ~ndimage.binary_dilation(body, near)
    outer = around & (prepared.liver.voxels[judged.box] > 0)
    outer = outer if outer.any() else around
    border = body & ~ndimage.binary_erosion(body, near, iterations=2)
    if not outer.any():
        return 0.0
    contrasts = []
    for phase, image in prepared.images.items():
        signal = image.voxels[judged.box]
        difference = abs(float(np.median(signal[border])) - float(np.median(signal[outer])))
        contrasts.append(difference / max(reference.sds[phase], 1e-6 * abs(reference.medians[phase]), 1e-12))
    return max(contrasts)


def _inner(lesion: BoolArray) -> BoolArray:
    inner = ndimage.binary_erosion(lesion, np.ones((3, 3, 1), dtype=bool))
    return inner if inner.any() else lesion
