"""Which part of a lesion is viable: what enhances in the arterial phase more than the liver does.

``ES = (ART - PRE) / median liver (PRE)`` on registered images; viable is ``ES > mean + k SD`` of a
reference region of liver (qEASL-like, Chapiro 2014, k = 2). The subtraction keeps haemorrhage, bright
before contrast, out. Nothing is said without an arterial or a pre-contrast image (a setting lets the arterial signal
alone decide, with less confidence), where the two could not be brought into register, where the arterial phase is
mistimed, and where motion or noise make the liver vary so much that enhancing tumour would not stand out. Nothing is
said of a lesion that one of the two images does not show whole. A given viable mask is believed as it is.

**Clean-up.** Detail thinner than `thin_mm` is not believed, in the slice plane only: parts of the viable
mask whose mean thickness (harmonic mean of the shorter of the runs along both axes) is less are removed,
and enclosed non-viable holes of that kind are filled. One-voxel islands and threads on grids finer than 2
mm go; a rim of 2 mm stays, because a rim that is now one and now two voxels wide has a mean of at least 2
mm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import (
    BoolArray,
    ContrastPhase,
    ExaminedStudy,
    FloatArray,
    LabelMap,
    Point,
    PreparedStudy,
)
from mrresponse.geometry import bounding_box, box_slices, grow_box, margin_voxels, voxel_to_world
from mrresponse.measure.rim import without_thin_rim
from mrresponse.measure.settings import MeasureSettings, WithoutPrecontrast
from mrresponse.measure.size import IN_PLANE_NEIGHBOURS
from mrresponse.measure.vessels import REACH_MM, vessel_signal, without_vessels

Box = tuple[slice, slice, slice]

# Reference voxels are taken at about this distance in the plane: enough for a mean, and quicker.
_REFERENCE_STEP_MM = 3.0
# Thickness is compared with `thin_mm` less this share: the sampled mean of a small rim scatters that much.
_THICKNESS_TOLERANCE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Liver that lesions are compared with.

    Parameters
    ----------
    sample, step
        The voxels of it that were looked at, ``[i, j, k]``, and their distance along ``i`` and ``j`` in voxels.
    volume_ml
        The volume they stand for.
    vessels_removed
        False where there is no phase in register to see them in.
    medians, sds
        Median and standard deviation of its signal in every contrast phase.
    centre_mm
        Its middle in the world.
    """

    sample: BoolArray
    step: tuple[int, int]
    volume_ml: float
    vessels_removed: bool
    medians: Mapping[ContrastPhase, float]
    sds: Mapping[ContrastPhase, float]
    centre_mm: Point = (0.0, 0.0, 0.0)

    def region(self, k: int) -> BoolArray:
        """Give the part ``[i, j]`` of one slice that the voxels looked at stand for."""
        return cast(BoolArray, ndimage.maximum_filter(self.sample[:, :, k], size=self.step))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Enhancement:
    """Arterial enhancement in units of pre-contrast liver, or arterial signal over liver without PRE."""

    voxels: FloatArray
    reference_mean: float
    reference_sd: float
    is_subtracted: bool
    gain: float

    def threshold(self, k_sd: float) -> float:
        """Give the value above which a voxel is viable."""
        return self.reference_mean + k_sd * self.reference_sd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViableMap:
    """The viable voxels of one study with their lesion's label.

    ``labels`` is ``None`` where viability could not be judged; ``reason`` says why, or how it was found, and
    ``evidence`` adds what is particular to a lesion. ``not_assessed`` says why a lesion could not be judged where
    others could; nothing of it is marked in ``labels``. Of the lesions ``emptied`` all that enhances was taken for a
    vessel.
    """

    labels: LabelMap | None
    reason: str
    not_assessed: Mapping[int, str] = field(default_factory=dict)
    evidence: Mapping[int, str] = field(default_factory=dict)
    emptied: frozenset[int] = frozenset()
    reference: Reference | None = None
    enhancement: Enhancement | None = None


def find_viable(
    study: ExaminedStudy, settings: MeasureSettings, *, treated: frozenset[int] = frozenset()
) -> ViableMap:
    """Take the given viable mask of a study, or derive one from its images.

    Parameters
    ----------
    treated
        Labels of lesions that had a local treatment: a thin smooth rim of theirs is not viable.
    """
    lesion_map, prepared = study.lesion_map, study.prepared
    if lesion_map.not_assessable is not None:
        return ViableMap(labels=None, reason=lesion_map.not_assessable)
    lesions = lesion_map.labels.voxels
    reference = _find_reference(prepared, lesions > 0, settings)
    enhancement = None if reference is None else _measure_enhancement(prepared, reference, settings)
    if lesion_map.viable is not None:
        inside = np.where(lesion_map.viable.voxels == lesions, lesions, 0).astype(np.uint16)
        return ViableMap(
            labels=LabelMap(voxels=inside, grid=prepared.grid),
            reason="given viable mask",
            reference=reference,
            enhancement=enhancement,
        )
    if ContrastPhase.ARTERIAL not in prepared.images:
        return ViableMap(labels=None, reason="no arterial phase", reference=reference)
    if reference is None or enhancement is None:
        least = settings.reference_least_ml
        return ViableMap(labels=None, reason=f"less than {least:g} mL of liver to compare with")
    doubt = _why_not(study, enhancement, settings)
    if doubt:
        return ViableMap(labels=None, reason=doubt, reference=reference, enhancement=enhancement)
    return _derive_viable(study, reference, enhancement, settings, treated)


def _why_not(study: ExaminedStudy, enhancement: Enhancement, settings: MeasureSettings) -> str:
    """Say why viability cannot be judged from these images, or nothing."""
    if not enhancement.is_subtracted and settings.without_precontrast is WithoutPrecontrast.NOT_ASSESSED:
        return "no precontrast phase: haemorrhage cannot be told from enhancement"
    refused = [row for row in study.prepared.registrations if not row.accepted]
    if enhancement.is_subtracted and any(
        {row.moving, row.fixed} == {ContrastPhase.ARTERIAL.value, ContrastPhase.PRECONTRAST.value}
        for row in refused
    ):
        return "motion: the precontrast and the arterial phase could not be brought into register"
    if any(flag.code == "mistimed_arterial" for flag in study.flags):
        return "the arterial phase was not taken in the late arterial phase"
    scatter = enhancement.reference_sd
    if enhancement.is_subtracted and scatter > settings.largest_reference_sd:
        return (
            f"motion or noise: the enhancement of the liver scatters by {scatter:.2f}, expected at most "
            f"{settings.largest_reference_sd:g}, so that enhancing tumour would not stand out"
        )
    return ""


def phases_short_of(prepared: PreparedStudy, lesion: BoolArray, box: Box) -> frozenset[ContrastPhase]:
    """Name the phases that do not show the whole lesion, a mask in its box of the grid, at its place.

    Their field of view does not hold it, or they could not be brought into register.
    """
    short = (phase for phase, seen in prepared.fields.items() if (lesion & ~seen[box]).any())
    return _out_of_register(prepared) | frozenset(short)


def _out_of_register(prepared: PreparedStudy) -> frozenset[ContrastPhase]:
    refused = {row.moving for row in prepared.registrations if not row.accepted}
    return frozenset(phase for phase in prepared.images if phase.value in refused)


def clean_viable(
    viable: BoolArray, lesion: BoolArray, spacing_mm: tuple[float, float, float], *, thin_mm: float
) -> BoolArray:
    """Remove in-plane islands and threads thinner than `thin_mm` and fill enclosed holes of that kind."""
    kept = viable & ~_thin_parts(viable, spacing_mm, thin_mm)
    holes = _thin_parts(lesion & ~kept, spacing_mm, thin_mm)
    labels, count = ndimage.label(holes, structure=IN_PLANE_NEIGHBOURS)
    if count == 0:
        return kept
    around = ndimage.binary_dilation(~lesion, structure=_in_plane(3, 3), border_value=1)
    open_ones = np.unique(labels[around])
    return kept | (holes & ~np.isin(labels, open_ones[open_ones > 0]))


def _find_reference(
    prepared: PreparedStudy, lesions: BoolArray, settings: MeasureSettings
) -> Reference | None:
    """Sample liver away from its border, from lesions and from vessels."""
    spacing = prepared.grid.spacing_mm
    step = (max(1, int(_REFERENCE_STEP_MM // spacing[0])), max(1, int(_REFERENCE_STEP_MM // spacing[1])))
    coarse = (slice(None, None, step[0]), slice(None, None, step[1]), slice(None))
    liver = (prepared.liver.voxels[coarse] > 0) | lesions[coarse]
    sampling = (spacing[0] * step[0], spacing[1] * step[1], spacing[2])
    depth, off = _depths(liver, lesions[coarse], sampling)
    voxel_ml = prepared.grid.voxel_volume_ml * step[0] * step[1]
    usable = prepared.images.keys() - _out_of_register(prepared)
    vessel_phase = next(
        (p for p in (ContrastPhase.PORTAL_VENOUS, ContrastPhase.DELAYED) if p in usable), None
    )
    for share in (1.0, 0.5):
        region = (depth > share * settings.reference_erosion_mm) & (off >= share * settings.reference_gap_mm)
        for image in prepared.images.values():
            region &= image.voxels[coarse] > 0
        for seen in prepared.fields.values():
            region &= seen[coarse]
        if vessel_phase is not None and region.any():
            signal = prepared.images[vessel_phase].voxels[coarse]
            middle = np.median(signal[region])
            spread = np.median(np.abs(signal[region] - middle))
            region &= signal <= middle + settings.vessel_mad * spread
        volume = float(region.sum()) * voxel_ml
        if volume >= settings.reference_least_ml:
            sample = np.zeros(prepared.grid.shape, dtype=bool)
            sample[coarse] = region
            x, y, z = voxel_to_world(prepared.grid, [np.argwhere(sample).mean(axis=0)])[0].tolist()
            signals = {phase: image.voxels[sample] for phase, image in prepared.images.items()}
            return Reference(
                sample=sample,
                step=step,
                volume_ml=volume,
                vessels_removed=vessel_phase is not None,
                medians={phase: float(np.median(signal)) for phase, signal in signals.items()},
                sds={phase: float(signal.std(dtype=np.float64)) for phase, signal in signals.items()},
                centre_mm=(x, y, z),
            )
    return None


def _depths(
    liver: BoolArray, lesions: BoolArray, sampling: tuple[float, float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give how far each voxel of the liver, lesions included, is from its border and from lesions, in mm."""
    depth = np.zeros(liver.shape)
    off = np.full(liver.shape, np.inf)
    box = bounding_box(liver)
    if box is not None:
        cut = box_slices(grow_box(box, (liver.shape[0], liver.shape[1], liver.shape[2]), (1, 1, 1)))
        depth[cut] = ndimage.distance_transform_edt(liver[cut], sampling=sampling)
        if lesions.any():
            off[cut] = ndimage.distance_transform_edt(~lesions[cut], sampling=sampling)
    return depth, off


def _measure_enhancement(
    prepared: PreparedStudy, reference: Reference, settings: MeasureSettings
) -> Enhancement | None:
    images = prepared.images
    if ContrastPhase.ARTERIAL not in images:
        return None
    arterial = images[ContrastPhase.ARTERIAL].voxels
    gain = 1.0
    if ContrastPhase.PRECONTRAST in images:
        precontrast = images[ContrastPhase.PRECONTRAST].voxels
        liver = reference.medians[ContrastPhase.PRECONTRAST]
        found = _gain(prepared, liver)
        gain = found if not settings.gain_low <= found <= settings.gain_high else 1.0
        voxels = (arterial / gain - precontrast) / liver
    else:
        voxels = arterial / reference.medians[ContrastPhase.ARTERIAL]
    sample = voxels[reference.sample]
    if reference.vessels_removed:
        mean, sd = float(sample.mean(dtype=np.float64)), float(sample.std(dtype=np.float64))
    else:
        # Vessels are still in the sample: their tail must not enter the mean and the spread.
        mean = float(np.median(sample))
        sd = 1.4826 * float(np.median(np.abs(sample - mean)))
    return Enhancement(
        voxels=voxels.astype(np.float32),
        reference_mean=mean,
        reference_sd=sd,
        is_subtracted=ContrastPhase.PRECONTRAST in images,
        gain=gain,
    )


def _gain(prepared: PreparedStudy, liver_signal: float) -> float:
    """Estimate the gain of the arterial against the pre-contrast image on what does not enhance.

    Outside the liver most voxels are fat and muscle, whose signal hardly changes in the arterial phase: the
    most frequent ratio is taken, from in-plane averages of 3 x 3 voxels.
    """
    outside = ~ndimage.binary_dilation(prepared.liver.voxels > 0, structure=_in_plane(5, 5))
    arterial, precontrast = (
        ndimage.uniform_filter(prepared.images[phase].voxels, size=(3, 3, 1))
        for phase in (ContrastPhase.ARTERIAL, ContrastPhase.PRECONTRAST)
    )
    tissue = (
        outside & (precontrast > 0.2 * liver_signal) & (precontrast < 1.2 * liver_signal) & (arterial > 0)
    )
    if not tissue.any():
        return 1.0
    width = 0.02
    # from a thousandth to a thousand times: series may be stored in different units
    edges = width * np.arange(-350, 351)
    counts, _ = np.histogram(np.log(arterial[tissue] / precontrast[tissue]), edges)
    peak = int(ndimage.gaussian_filter1d(counts.astype(np.float64), 2.0).argmax())
    return float(np.exp(edges[peak] + width / 2.0))


def _derive_viable(
    study: ExaminedStudy,
    reference: Reference,
    enhancement: Enhancement,
    settings: MeasureSettings,
    treated: frozenset[int],
) -> ViableMap:
    labels = study.lesion_map.labels
    grid = labels.grid
    viable = np.zeros(grid.shape, dtype=np.uint16)
    evidence, not_assessed, emptied = {}, {}, set()
    vessels = _find_vessels(study, reference, enhancement, settings)
    needed = [ContrastPhase.ARTERIAL] + [ContrastPhase.PRECONTRAST] * enhancement.is_subtracted
    for label, box in enumerate(ndimage.find_objects(labels.voxels.astype(np.int32)), start=1):
        if box is None:
            continue
        lesion = labels.voxels[box] == label
        short = phases_short_of(study.prepared, lesion, box)
        missing = " and ".join(phase.value for phase in needed if phase in short)
        if missing:
            not_assessed[label] = f"the lesion is not wholly in the field of view of {missing}"
            continue
        volumes = []
        for k_sd in settings.sensitivity_k_sd:
            found = _above(enhancement, lesion, box, k_sd, (grid.spacing_mm, settings.thin_mm))
            volumes.append(f"{int(found.sum()) * grid.voxel_volume_ml:.1f}")
        found = _above(enhancement, lesion, box, settings.viable_k_sd, (grid.spacing_mm, settings.thin_mm))
        kept = _without_vessels(found, label, box, labels, vessels)
        multiples = "/".join(f"{k_sd:g}" for k_sd in settings.sensitivity_k_sd)
        evidence[label] = f"viable volume at k {multiples}: {'/'.join(volumes)} mL"
        lost = int(found.sum() - kept.sum()) * grid.voxel_volume_ml
        if lost > 0.0:
            evidence[label] += f"; {lost:.2f} mL of a vessel along the edge is not counted"
            if not kept.any():
                emptied.add(label)
        found = kept
        if label in treated:
            kept = without_thin_rim(found, lesion, grid.spacing_mm, rim_mm=settings.treated_rim_mm)
            lost = int(found.sum() - kept.sum()) * grid.voxel_volume_ml
            if lost > 0.0:
                evidence[label] += (
                    f"; {lost:.1f} mL of a rim of at most {settings.treated_rim_mm:g} mm after local treatment "
                    "is not counted"
                )
            found = kept
        viable[box][found] = label
    return ViableMap(
        labels=LabelMap(voxels=viable, grid=grid),
        reason=_derivation(reference, enhancement, settings),
        not_assessed=not_assessed,
        evidence=evidence,
        emptied=frozenset(emptied),
        reference=reference,
        enhancement=enhancement,
    )


def _find_vessels(
    study: ExaminedStudy, reference: Reference, enhancement: Enhancement, settings: MeasureSettings
) -> tuple[BoolArray, BoolArray] | None:
    """Mark what enhances as a vessel does, and what is as bright as the liver in the portal venous phase.

    ``None`` where the images do not say what a vessel is.
    """
    prepared, venous = study.prepared, ContrastPhase.PORTAL_VENOUS
    if venous not in prepared.images or venous in _out_of_register(prepared) or settings.vessel_level >= 1.0:
        return None
    image, median = prepared.images[venous].voxels, reference.medians[venous]
    i, j = reference.step
    coarse = (slice(None, None, i), slice(None, None, j))
    liver = (prepared.liver.voxels[coarse] > 0) & (study.lesion_map.labels.voxels[coarse] == 0)
    signal = vessel_signal(image[coarse], liver, median, level=settings.vessel_level)
    if signal is None:
        return None
    enhances = enhancement.voxels > enhancement.threshold(settings.viable_k_sd)
    return enhances & (image >= signal), image >= median


def _without_vessels(
    found: BoolArray, label: int, box: Box, lesions: LabelMap, vessels: tuple[BoolArray, BoolArray] | None
) -> BoolArray:
    if vessels is None or not found.any():
        return found
    i, j, k = ((part.start, part.stop) for part in box)
    wide = box_slices(
        grow_box((i, j, k), lesions.grid.shape, margin_voxels(lesions.grid.spacing_mm, REACH_MM))
    )
    inner = tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(box, wide, strict=True)
    )
    labels = lesions.voxels[wide]
    viable = np.zeros(labels.shape, dtype=bool)
    viable[inner] = found
    bright, edge = (mask[wide] for mask in vessels)
    kept = without_vessels(viable, labels == label, labels > 0, (bright, edge), lesions.grid.spacing_mm)
    return kept[inner]


def _above(
    enhancement: Enhancement,
    lesion: BoolArray,
    box: Box,
    k_sd: float,
    detail: tuple[tuple[float, float, float], float],
) -> BoolArray:
    spacing_mm, thin_mm = detail
    bright = lesion & (enhancement.voxels[box] > enhancement.threshold(k_sd))
    return clean_viable(bright, lesion, spacing_mm, thin_mm=thin_mm)


def _derivation(reference: Reference, enhancement: Enhancement, settings: MeasureSettings) -> str:
    quantity = "ART - PRE" if enhancement.is_subtracted else "ART"
    parts = [
        f"{quantity} > {enhancement.reference_mean:.2f} + {settings.viable_k_sd:g} x"
        f" {enhancement.reference_sd:.2f} of {reference.volume_ml:.0f} mL liver around"
        f" ({', '.join(f'{value:.0f}' for value in reference.centre_mm)}) mm"
    ]
    if not enhancement.is_subtracted:
        parts.append("no precontrast image: lower confidence")
    if enhancement.gain != 1.0:
        parts.append(f"arterial gain {enhancement.gain:.2f} corrected")
    if not reference.vessels_removed:
        parts.append("vessels not removed: no portal venous phase in register")
    return "; ".join(parts)


def _thin_parts(mask: BoolArray, spacing_mm: tuple[float, float, float], thin_mm: float) -> BoolArray:
    """Find the in-plane parts of a mask that are thinner than `thin_mm`.

    What holds a square surely thicker than `thin_mm`, and the voxels next to it, is no thin part.
    """
    if thin_mm <= 0.0 or not mask.any():
        return np.zeros_like(mask)
    sides = [ceil(thin_mm / spacing_mm[axis]) + 1 for axis in (0, 1)]
    padded = np.pad(mask, [(side, side) for side in sides] + [(0, 0)])
    core = ndimage.binary_opening(padded, structure=_in_plane(*sides))
    near = ndimage.binary_dilation(core, structure=_in_plane(3, 3))
    slender = (padded & ~near)[sides[0] : -sides[0], sides[1] : -sides[1]]
    labels, count = ndimage.label(slender, structure=IN_PLANE_NEIGHBOURS)
    if count == 0:
        return np.zeros_like(mask)
    thickness = np.minimum(_run_lengths(mask, 0) * spacing_mm[0], _run_lengths(mask, 1) * spacing_mm[1])
    inside = labels[slender]
    sizes = np.bincount(inside, minlength=count + 1)
    inverse = np.bincount(inside, weights=1.0 / thickness[slender], minlength=count + 1)
    mean = np.divide(sizes, inverse, out=np.zeros(count + 1), where=inverse > 0)
    is_thin = mean < (1.0 - _THICKNESS_TOLERANCE) * thin_mm
    is_thin[0] = False
    return cast(BoolArray, is_thin[labels])


def _run_lengths(mask: BoolArray, axis: int) -> npt.NDArray[np.int64]:
    """Give, for each voxel of a mask, the length of the run along an axis that it lies in."""
    lines = np.moveaxis(mask, axis, -1)
    starts = lines & ~np.concatenate([np.zeros_like(lines[..., :1]), lines[..., :-1]], axis=-1)
    runs = np.cumsum(starts.ravel()) - 1
    inside = lines.ravel()
    lengths = np.zeros(inside.shape, dtype=np.int64)
    lengths[inside] = np.bincount(runs[inside])[runs[inside]]
    return np.moveaxis(lengths.reshape(lines.shape), -1, axis)


def _in_plane(rows: int, columns: int) -> BoolArray:
    return np.ones((rows, columns, 1), dtype=bool)
