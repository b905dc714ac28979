"""Places that are brighter than the liver around them in the arterial phase alone: its blood supply, not a lesion.

A perfusion anomaly is parenchyma with more arterial and less portal venous blood, as by an arterioportal shunt or a
narrowed portal vein: in every other contrast phase it is as the liver beside it. "Perfusion changes, arterio-portal
shunts" are no lesions [Lencioni & Llovet 2010, doi 10.1055/s-0030-1247132]. A rounded mass of 20 mm is one: with
arterial hyperenhancement alone it is probably HCC (LR-4, LI-RADS v2018), where a smaller one may be nothing.
"""

import numpy as np
from scipy import ndimage

from mrresponse.domain import BoolArray, ContrastPhase, LabelArray, PreparedStudy
from mrresponse.geometry import box_slices, grow_box, margin_voxels
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.viability import Box, phases_short_of

PRE, ART, PVP = ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS
_LATER = (PVP, ContrastPhase.DELAYED, ContrastPhase.HEPATOBILIARY)
# The outermost millimetres are shared with liver, and so is what lies next to them.
_EDGE_MM = 2.0
_LEAST_VOXELS = 8
_RING_MM = (3.0, 12.0)
_LEAST_RING_ML = 1.0
_MASS_MM = 20.0
# Of the liver 3 to 12 mm around, as bright in the arterial phase as the body. In 88 synthetic studies of their own
# seeds: wedge-shaped changes 0.13 to 0.52, tumours 0 to 0.23, of which none from 0.2 on is as liver in later phases.
_GOES_ON = 0.2
# Dark pieces of the liver's texture, but no darker: most tumours are before contrast.
_LEAST_BEFORE = 0.88
# Shortest over longest axis. Of wedges in synthetic livers of their own seeds, what is rounder is below 20 mm.
_ROUNDED = 0.7


def is_perfusion_like(
    prepared: PreparedStudy, labels: LabelArray, label: int, box: Box, settings: MeasureSettings
) -> bool:
    """Tell whether one label of a lesion map is liver but for its arterial supply.

    It is compared with the liver around it, not with that of the whole organ, and each phase with the one before
    contrast: near the coil everything is brighter, in all phases alike. In none of the later ones may it be darker than
    the liver around it: with washout it would be HCC. Nor is it a rounded mass. Where the arterial enhancement goes on
    into the liver around it, it is a piece of a larger change, and it is enough that it differs from the liver in the
    later phases as little as before contrast: which piece a network takes follows the texture of the liver. It is not
    judged, and the answer is no, without precontrast, arterial or portal venous phase, or where one of them does not
    show it whole and at its place.

    Parameters
    ----------
    labels
        Lesions on ``prepared.grid``.
    box
        Where the label lies; a box with a margin will do.
    """
    spacing = prepared.grid.spacing_mm
    i, j, k = ((part.start, part.stop) for part in box)
    near = box_slices(grow_box((i, j, k), prepared.grid.shape, margin_voxels(spacing, _RING_MM[1])))
    body = labels[near] == label
    short = phases_short_of(prepared, body, near)
    shown = {phase: image.voxels[near] for phase, image in prepared.images.items() if phase not in short}
    if not {PRE, ART, PVP} <= shown.keys():
        return False
    away = ndimage.distance_transform_edt(~body, sampling=spacing)
    ring = (away > _RING_MM[0]) & (away <= _RING_MM[1])
    ring &= (prepared.liver.voxels[near] > 0) & (labels[near] == 0)
    if np.count_nonzero(ring) * prepared.grid.voxel_volume_ml < _LEAST_RING_ML:
        return False
    inner = ndimage.distance_transform_edt(body, sampling=spacing) > _EDGE_MM
    inner = inner if np.count_nonzero(inner) >= _LEAST_VOXELS else body
    around = {phase: float(np.median(signal[ring])) for phase, signal in shown.items()}
    if min(around.values()) <= 0:
        return False
    ratios = {phase: float(np.median(signal[inner])) / around[phase] for phase, signal in shown.items()}
    before = ratios[PRE]
    later = [ratios[phase] for phase in _LATER if phase in ratios]
    if any(abs(ratio / before - 1.0) > settings.isointense for ratio in later):
        return False
    if before >= _LEAST_BEFORE and _goes_on(prepared, labels, near, (inner, ring), settings):
        return True
    # what washes out is no change of perfusion, however little it differs from its look before contrast
    return (
        before >= 1.0 - settings.isointense
        and ratios[ART] / before >= settings.aphe_ratio
        and min(later) >= settings.washout_ratio
        and not _is_rounded_mass(body, spacing)
    )


def _goes_on(
    prepared: PreparedStudy,
    labels: LabelArray,
    near: tuple[slice, slice, slice],
    parts: tuple[BoolArray, BoolArray],
    settings: MeasureSettings,
) -> bool:
    """Tell whether the liver around a body is in part as bright in the arterial phase as the body itself.

    ``parts`` are the inside of the body and the ring around it, in ``near``. Voxels are taken as bright from half way
    between the whole liver without lesions and the body, both arterial over precontrast.
    """
    inner, ring = parts
    before, arterial = (prepared.images[phase].voxels for phase in (PRE, ART))
    liver = (prepared.liver.voxels > 0) & (labels == 0)
    usual = float(np.median(arterial[liver])) / max(float(np.median(before[liver])), 1e-6)
    # of single noisy voxels too many would be bright, or too few
    smooth_before, smooth_arterial = (
        ndimage.uniform_filter(image[near], size=(3, 3, 1)) for image in (before, arterial)
    )
    ratio = smooth_arterial / np.maximum(smooth_before, 1e-6)
    body = float(np.median(ratio[inner]))
    if usual <= 0 or body / usual < settings.aphe_ratio:
        return False
    return bool((ratio[ring] >= (usual + body) / 2.0).mean() >= _GOES_ON)


def _is_rounded_mass(body: BoolArray, spacing_mm: tuple[float, float, float]) -> bool:
    """Tell whether a body is large, and as long as it is wide: by the axes of the ellipsoid with its second moments."""
    places = np.argwhere(body) * np.asarray(spacing_mm)
    if len(places) < _LEAST_VOXELS:
        return False
    # a solid ellipsoid has a variance of a fifth of the square of its half axis
    axes_mm = 2.0 * np.sqrt(5.0 * np.maximum(np.linalg.eigvalsh(np.cov(places.T)), 0.0))
    return bool(axes_mm[-1] >= _MASS_MM and axes_mm[0] >= _ROUNDED * axes_mm[-1])
