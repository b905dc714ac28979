"""What an image itself says of its contrast phase: how bright blood, kidneys and tissue around the liver are beside it.

Two numbers are read from an image and its liver, each as the logarithm of a ratio to the median of the liver, so that
the gain of the scanner cancels:

blood
    the brightest 0.5 % of the tissue within 9 cm of the liver: aorta, caval and portal vein, renal cortex, spleen. Far
    above the liver in the arterial phase, moderately in the portal venous and delayed ones, like the liver or below
    before contrast and in the hepatobiliary phase, when the liver alone is bright.
tissue
    the median of that tissue, mostly muscle and spleen: it falls behind as the liver takes up agent.

The expected values are judgements, wide on purpose: what T1-weighted images show in each phase, rounded with synthetic
images in view and not estimated from patients. Portal venous and delayed images look alike and are told apart only by
their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from mrresponse.domain import Agent, BoolArray, ContrastPhase, FloatArray, Grid, Image
from mrresponse.geometry import bounding_box, box_slices, erode, grow_box, margin_voxels
from mrresponse.ingest.patterns import ART, DEL, HBP, PRE, PVP
from mrresponse.ingest.phases import Evidence

# Where the large vessels and kidneys are, and how far the liver's own border may blur.
_REACH_MM, _BORDER_MM = 90.0, 6.0
# Vessels of this width survive the smoothing that takes away noise.
_SMOOTHING_MM = 4.0
_BRIGHTEST_PERCENT = 99.5
# Lung and air are below this share of the liver.
_LEAST_TISSUE = 0.2
_LEAST_LIVER_ML = 50.0

# Mean and standard deviation of log ratios to the liver: blood, tissue.
_EXPECTED: Mapping[ContrastPhase, tuple[tuple[float, float], tuple[float, float]]] = MappingProxyType(
    {
        PRE: ((0.1, 0.25), (-0.55, 0.25)),
        ART: ((1.0, 0.30), (-0.65, 0.25)),
        PVP: ((0.5, 0.20), (-0.90, 0.25)),
        DEL: ((0.45, 0.20), (-0.90, 0.25)),
        HBP: ((0.0, 0.25), (-1.05, 0.25)),
    }
)
_LEAST_POINTS = -4.0
# Two images that look portal venous or delayed are these in order, if they are a breath-hold and a pause apart.
_IN_ORDER, _APART_S = 3.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """Log ratios to the liver."""

    blood: float
    tissue: float


def appearance(image: Image, liver: BoolArray) -> Appearance | None:
    """Measure an image around its liver; ``None`` where there is no liver, or nothing around it."""
    spacing_mm = image.grid.spacing_mm
    box = bounding_box(liver)
    if box is None or liver.sum() * image.grid.voxel_volume_ml < _LEAST_LIVER_ML:
        return None
    cut = box_slices(grow_box(box, image.grid.shape, margin_voxels(spacing_mm, _REACH_MM)))
    mask = liver[cut]
    smooth = _smoothed(image.voxels[cut], image.grid)
    core = erode(mask, spacing_mm, _BORDER_MM)
    level = float(np.median(smooth[core if core.any() else mask]))
    apart_mm = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    around = smooth[(apart_mm > _BORDER_MM) & (apart_mm < _REACH_MM)]
    tissue = around[around > _LEAST_TISSUE * level]
    if level <= 0 or not tissue.size:
        return None
    return Appearance(
        blood=float(np.log(np.percentile(tissue, _BRIGHTEST_PERCENT) / level)),
        tissue=float(np.log(np.median(tissue) / level)),
    )


def content_evidence(
    seen: Mapping[int, Appearance], times: Mapping[int, datetime | None], agent: Agent | None
) -> Mapping[int, Evidence]:
    """Return what the appearances of some volumes of one study say, by the same keys."""
    points = {index: _points(item, agent) for index, item in seen.items()}
    evidence = {
        index: Evidence(
            points=points[index],
            reason=f"blood {np.exp(item.blood):.1f} and tissue {np.exp(item.tissue):.1f} times as bright as the liver",
        )
        for index, item in seen.items()
    }
    venous = [
        (time, index)
        for index, found in points.items()
        if max(found, key=lambda phase: found[phase]) in (PVP, DEL) and (time := times.get(index)) is not None
    ]
    if len(venous) == 2:
        (early, first), (late, second) = sorted(venous)
        if (late - early).total_seconds() >= _APART_S:
            for index, phase, order in ((first, PVP, "earlier"), (second, DEL, "later")):
                found = dict(points[index]) | {phase: points[index][phase] + _IN_ORDER}
                reason = f"{evidence[index].reason}, the {order} of two such"
                evidence[index] = Evidence(points=found, reason=reason)
    return evidence


def _points(item: Appearance, agent: Agent | None) -> dict[ContrastPhase, float]:
    """Return the log likelihood of every phase, the best one 0 and none below the least."""
    found = {}
    for phase, expected in _EXPECTED.items():
        values = zip((item.blood, item.tissue), expected, strict=True)
        found[phase] = sum(-0.5 * ((value - mean) / sd) ** 2 - np.log(sd) for value, (mean, sd) in values)
    if agent is Agent.EXTRACELLULAR:
        found[HBP] = -np.inf
    best = max(found.values())
    return {phase: float(max(points - best, _LEAST_POINTS)) for phase, points in found.items()}


def _smoothed(voxels: FloatArray, grid: Grid) -> FloatArray:
    size = [max(1, round(_SMOOTHING_MM / step)) for step in grid.spacing_mm]
    smooth: FloatArray = ndimage.uniform_filter(voxels, size)
    return smooth
