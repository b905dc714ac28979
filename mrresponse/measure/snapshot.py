"""The small pictures that show a measurement: slices around a lesion with its outline and calipers.

A lesion is shown at every study around the same place of the anatomy (`LesionTrack.places_mm`) and at the same
magnification, so that two visits can be compared by eye. The slices of the calipers come besides. Pictures follow
the radiological convention: the patient's right is on the left and anterior is up. Columns therefore run against
``i`` and rows against ``j`` of the canonical orientation.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import (
    BoolArray,
    Caliper,
    DrawnCaliper,
    ExaminedStudy,
    FloatArray,
    Grid,
    LesionTrack,
    Measurement,
    Observation,
    PicturedSlice,
    Point,
    Snapshot,
)
from mrresponse.geometry import voxel_to_world, world_to_voxel
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.viability import ViableMap, find_viable

Contour = tuple[tuple[float, float], ...]
Grey = tuple[float, float]

# A picture of a large lesion has larger pixels rather than more: it is shown at some 180 points on a page.
_MOST_PIXELS = 200
# Liver is shown at this share of white, so that it has the same grey at every visit and enhancing tumour, at 1.5 times
# its signal, still lies below white.
_LIVER_GREY = 0.42
# The subtraction spans from no enhancement to this much more than that of liver, in units of its precontrast signal.
_SUBTRACTION_SPAN = 1.0
# Points of an outline may be left out where it stays this close, in pixels.
_OUTLINE_TOLERANCE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What all pictures of one lesion share: their pixels, and the distance of their slices."""

    pixels: int
    pixel_mm: float
    step_mm: float
    steps: range


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A square window on a prepared study; ``centre`` is the anatomical place in voxels ``(i, j, k)``."""

    frame: _Frame
    centre: tuple[float, float, float]
    grid: Grid

    def sampling(self) -> npt.NDArray[np.float64]:
        """Give the voxel coordinates ``(i, j)`` of every pixel ``[2, row, column]``."""
        pixels, spacing = self.frame.pixels, self.grid.spacing_mm
        offset = (np.arange(pixels) - (pixels - 1) / 2.0) * self.frame.pixel_mm
        i = self.centre[0] - offset / spacing[0]
        j = self.centre[1] - offset / spacing[1]
        return np.stack(np.broadcast_arrays(i[None, :], j[:, None]))

    def slices(self, calipers: Sequence[Caliper]) -> tuple[tuple[int, int | None], ...]:
        """List the slices ``k`` with their step, from the feet up; those of calipers only have none."""
        spacing, count = self.grid.spacing_mm[2], self.grid.shape[2]
        found: dict[int, int | None] = {}
        for step in sorted(self.frame.steps, key=abs):
            k = round(self.centre[2] + step * self.frame.step_mm / spacing)
            if 0 <= k < count:
                found.setdefault(k, step)
        for caliper in calipers:
            found.setdefault(self.slice_of(caliper), None)
        return tuple(sorted(found.items()))

    def slice_of(self, caliper: Caliper) -> int:
        """Give the slice ``k`` that a caliper lies on."""
        return round(float(world_to_voxel(self.grid, [caliper.start_mm, caliper.end_mm])[:, 2].mean()))

    def drawn(self, caliper: Caliper | None, slices: Sequence[int]) -> DrawnCaliper | None:
        """Place a caliper on the pictures."""
        if caliper is None:
            return None
        at = world_to_voxel(self.grid, [caliper.start_mm, caliper.end_mm])
        middle, spacing = (self.frame.pixels - 1) / 2.0, self.grid.spacing_mm
        columns = middle - (at[:, 0] - self.centre[0]) * spacing[0] / self.frame.pixel_mm
        rows = middle - (at[:, 1] - self.centre[1]) * spacing[1] / self.frame.pixel_mm
        (c0, c1), (r0, r1) = np.round(columns, 2).tolist(), np.round(rows, 2).tolist()
        return DrawnCaliper(slice_number=slices.index(self.slice_of(caliper)), start=(c0, r0), end=(c1, r1))


def take_snapshots(
    studies: Sequence[ExaminedStudy],
    tracks: Sequence[LesionTrack],
    measurements: Sequence[Measurement],
    settings: MeasureSettings,
    *,
    viable_maps: Sequence[ViableMap] | None = None,
) -> tuple[Snapshot, ...]:
    """Picture every lesion at every study from its first on, and its place at the study before that.

    Parameters
    ----------
    viable_maps
        What `find_viable` gave for each study, where that is at hand already.

    Returns
    -------
    tuple of Snapshot
        In the order of the tracks and of time; none where the place is outside the images or unknown.
    """
    maps = viable_maps or [find_viable(study, settings) for study in studies]
    at_date = {study.study_date: (study, found) for study, found in zip(studies, maps, strict=True)}
    measured = {(row.lesion_id, row.study_date): row for row in measurements}
    snapshots = []
    for track in tracks:
        rows = {day: row for (lesion_id, day), row in measured.items() if lesion_id == track.lesion_id}
        days = [day for day in _days(track) if day in at_date]
        frame = _frame(track, rows, [at_date[day][0] for day in days], settings)
        for day in days:
            window = _window(track, day, rows.get(day), at_date[day][0].prepared.grid, frame)
            if window is not None:
                snapshots.append(_snapshot(track, *at_date[day], window, rows.get(day)))
    return tuple(snapshots)


def _days(track: LesionTrack) -> list[date]:
    """List the studies to picture: all with an observation, and the last one before."""
    observed = [seen.study_date for seen in track.observations]
    earlier = [day for day, _ in track.places_mm if day < observed[0]]
    return [*sorted(earlier)[-1:], *observed]


def _frame(
    track: LesionTrack,
    rows: Mapping[date, Measurement],
    studies: Sequence[ExaminedStudy],
    settings: MeasureSettings,
) -> _Frame:
    """Make the pictures as large as the lesion at its largest needs, and let their slices reach over it."""
    diameters = [2.0 * (seen.radius_mm or 0.0) for seen in track.observations]
    diameters += [row.longest_diameter_mm or 0.0 for row in rows.values()]
    longest = max(diameters, default=0.0)
    side = max(settings.snapshot_least_mm, 1.5 * longest + 20.0)
    pixel_mm = max(settings.snapshot_pixel_mm, math.ceil(100.0 * side / _MOST_PIXELS) / 100.0)
    thickest = max((study.prepared.grid.spacing_mm[2] for study in studies), default=1.0)
    reach = settings.snapshot_slices // 2
    return _Frame(
        pixels=round(side / pixel_mm),
        pixel_mm=pixel_mm,
        step_mm=thickest * max(1, math.ceil(0.5 * longest / max(reach, 1) / thickest - 0.5)),
        steps=range(-reach, reach + 1),
    )


def _window(
    track: LesionTrack, day: date, row: Measurement | None, grid: Grid, frame: _Frame
) -> _Window | None:
    place = dict(track.places_mm).get(day) or _seen_place(track.observations, day, row)
    if place is None:
        return None
    i, j, k = (float(value) for value in world_to_voxel(grid, [place])[0])
    if not all(-0.5 <= at < count - 0.5 for at, count in zip((i, j, k), grid.shape, strict=True)):
        return None
    return _Window(frame=frame, centre=(i, j, k), grid=grid)


def _seen_place(observations: Sequence[Observation], day: date, row: Measurement | None) -> Point | None:
    """Give the place of a lesion at one study where its anatomical place is not known there."""
    if row is not None and row.caliper is not None:
        x, y, z = (np.asarray(row.caliper.start_mm) + np.asarray(row.caliper.end_mm)) / 2.0
        return float(x), float(y), float(z)
    return next((seen.place_mm for seen in observations if seen.study_date == day), None)


def _snapshot(
    track: LesionTrack,
    study: ExaminedStudy,
    viable_map: ViableMap,
    window: _Window,
    row: Measurement | None,
) -> Snapshot:
    calipers = (row.caliper, row.viable_caliper) if row else (None, None)
    slices = window.slices([caliper for caliper in calipers if caliper is not None])
    numbers = [k for k, _ in slices]
    at = window.sampling()
    prepared = study.prepared
    enhancement = viable_map.enhancement
    subtraction = None
    if enhancement is not None and enhancement.is_subtracted:
        limits = (0.0, enhancement.reference_mean + _SUBTRACTION_SPAN)
        subtraction = _grey(enhancement.voxels, numbers, at, limits)
    labels = next((seen.labels for seen in track.observations if seen.study_date == study.study_date), ())
    return Snapshot(
        patient_id=track.patient_id,
        lesion_id=track.lesion_id,
        study_date=study.study_date,
        contrast_phase=prepared.reference,
        pixels=_grey(prepared.images[prepared.reference].voxels, numbers, at, _limits(study, viable_map)),
        subtraction=subtraction,
        spacing_mm=(window.frame.pixel_mm, window.frame.pixel_mm),
        slices=tuple(_pictured_slices(study, viable_map, window, slices, labels)),
        caliper=window.drawn(calipers[0], numbers),
        viable_caliper=window.drawn(calipers[1], numbers),
    )


def _pictured_slices(
    study: ExaminedStudy,
    viable_map: ViableMap,
    window: _Window,
    slices: Sequence[tuple[int, int | None]],
    labels: tuple[int, ...],
) -> Iterator[PicturedSlice]:
    at, prepared = window.sampling(), study.prepared
    for k, step in slices:
        labelled = study.lesion_map.labels.voxels[:, :, k]
        lesion = np.isin(labelled, labels) & (labelled > 0)
        viable, reference = np.zeros_like(lesion), np.zeros_like(lesion)
        if viable_map.labels is not None:
            viable = lesion & (viable_map.labels.voxels[:, :, k] > 0)
        if viable_map.reference is not None:
            reference = viable_map.reference.region(k)
        yield PicturedSlice(
            slice_index=_native_slice(prepared.grid, prepared.native_grid, k),
            step=step,
            offset_mm=round((k - window.centre[2]) * prepared.grid.spacing_mm[2], 1),
            outlines=_contours(lesion, at),
            viable_outlines=_contours(viable, at),
            reference_outlines=_contours(reference, at),
        )


def _native_slice(grid: Grid, native: Grid, k: int) -> int:
    """Give the number of a slice in the reference series, whose slices may run the other way."""
    axis = int(np.abs(np.linalg.solve(native.affine[:3, :3], grid.affine[:3, 2])).argmax())
    middle = voxel_to_world(grid, [(0.0, 0.0, float(k))])
    return round(float(world_to_voxel(native, middle)[0, axis]))


def _grey(
    voxels: FloatArray, numbers: Sequence[int], at: npt.NDArray[np.float64], limits: Grey
) -> npt.NDArray[np.uint8]:
    """Sample slices ``[slice, row, column]`` as grey between the limits; outside the images it is black."""
    low, high = limits
    signal = np.stack(
        [ndimage.map_coordinates(voxels[:, :, k], at, order=1, mode="constant", cval=low) for k in numbers]
    )
    pixels = np.rint(255.0 * np.clip((signal - low) / (high - low), 0.0, 1.0)).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def _limits(study: ExaminedStudy, viable_map: ViableMap) -> Grey:
    """Give the signals shown black and white: scaled to the liver, or to all that is seen where that is unknown."""
    prepared = study.prepared
    reference = viable_map.reference
    if reference is not None and reference.medians.get(prepared.reference, 0.0) > 0.0:
        return 0.0, reference.medians[prepared.reference] / _LIVER_GREY
    low, high = np.percentile(prepared.images[prepared.reference].voxels[::2, ::2], [1.0, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def _contours(mask: BoolArray, at: npt.NDArray[np.float64]) -> tuple[Contour, ...]:
    """Outline a mask of a slice in pixels ``(column, row)``."""
    from skimage.measure import find_contours

    if not mask.any():
        return ()
    level = ndimage.map_coordinates(mask.astype(np.float32), at, order=1, mode="constant", cval=0.0)
    found = (simplified(one, _OUTLINE_TOLERANCE) for one in find_contours(np.pad(level, 1), 0.5))
    return tuple(
        tuple((float(column), float(line)) for line, column in np.round(contour - 1.0, 2))
        for contour in found
        if len(contour) > 3
    )


def simplified(chain: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.float64]:
    """Leave out points of a chain that lie within a tolerance of the rest (Douglas and Peucker 1973).

    Every stretch between two corners gets its furthest point as a new corner, all stretches at once, until none is
    further off than the tolerance.

    Parameters
    ----------
    chain
        Points ``[point, 2]``; first and last are always kept.

    Returns
    -------
    array
        The points kept, ``[corner, 2]``.
    """
    kept = np.zeros(len(chain), dtype=bool)
    kept[[0, -1]] = True
    while True:
        corners = np.flatnonzero(kept)
        stretch = np.repeat(np.arange(len(corners) - 1), np.diff(corners))
        inner = chain[: corners[-1]]
        start, along = chain[corners[:-1]], np.diff(chain[corners], axis=0)
        squared = np.maximum((along**2).sum(axis=1), 1e-12)
        from_start = inner - start[stretch]
        share = np.clip((from_start * along[stretch]).sum(axis=1) / squared[stretch], 0.0, 1.0)
        off = np.hypot(*(from_start - share[:, None] * along[stretch]).T)
        furthest = np.maximum.reduceat(off, corners[:-1])
        new = np.flatnonzero((off == furthest[stretch]) & (furthest > tolerance)[stretch])
        if not len(new):
            return chain[kept]
        _, first = np.unique(stretch[new], return_index=True)
        kept[new[first]] = True
