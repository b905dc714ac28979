"""The small picture that shows a measurement: the slice of the caliper with its outline.

Pictures follow the radiological convention: the patient's right is on the left and anterior is up. Columns
therefore run against ``i`` and rows against ``j`` of the canonical orientation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import find_contours

from mrresponse.domain import (
    BoolArray,
    Caliper,
    ExaminedStudy,
    LesionTrack,
    Measurement,
    Observation,
    Point,
    Snapshot,
)
from mrresponse.geometry import world_to_voxel
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.viability import ViableMap, find_viable

Contour = tuple[tuple[float, float], ...]
Ends = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A square window on one slice of a prepared study; ``centre`` is in voxels ``(i, j)``."""

    slice_index: int
    centre: tuple[float, float]
    pixels: int
    pixel_mm: float
    spacing_mm: tuple[float, float, float]

    def sampling(self) -> npt.NDArray[np.float64]:
        """Give the voxel coordinates ``(i, j)`` of every pixel ``[2, row, column]``."""
        offset = (np.arange(self.pixels) - (self.pixels - 1) / 2.0) * self.pixel_mm
        i = self.centre[0] - offset / self.spacing_mm[0]
        j = self.centre[1] - offset / self.spacing_mm[1]
        return np.stack(np.broadcast_arrays(i[None, :], j[:, None]))

    def ends(self, study: ExaminedStudy, caliper: Caliper) -> Ends | None:
        """Give the ends of a caliper in pixels ``(column, row)``; ``None`` where it is on another slice."""
        at = world_to_voxel(study.prepared.grid, [caliper.start_mm, caliper.end_mm])
        if np.abs(at[:, 2] - self.slice_index).max() > 0.5:
            return None
        middle = (self.pixels - 1) / 2.0
        columns = middle - (at[:, 0] - self.centre[0]) * self.spacing_mm[0] / self.pixel_mm
        rows = middle - (at[:, 1] - self.centre[1]) * self.spacing_mm[1] / self.pixel_mm
        (c0, c1), (r0, r1) = np.round(columns, 2).tolist(), np.round(rows, 2).tolist()
        return (c0, r0), (c1, r1)


def take_snapshots(
    studies: Sequence[ExaminedStudy],
    tracks: Sequence[LesionTrack],
    measurements: Sequence[Measurement],
    settings: MeasureSettings,
    *,
    viable_maps: Sequence[ViableMap] | None = None,
) -> tuple[Snapshot, ...]:
    """Picture every measurement, and the registered place of every lesion that was not found or is gone.

    Parameters
    ----------
    viable_maps
        What `find_viable` gave for each study, where that is at hand already.

    Returns
    -------
    tuple of Snapshot
        In the order of the measurements; none for a lesion whose place is outside the images or unknown.
    """
    maps = viable_maps or [find_viable(study, settings) for study in studies]
    at_date = {study.study_date: (study, found) for study, found in zip(studies, maps, strict=True)}
    limits = {day: _grey_limits(study) for day, (study, _) in at_date.items()}
    observed = {(track.lesion_id, seen.study_date): seen for track in tracks for seen in track.observations}
    snapshots = []
    for row in measurements:
        seen = observed.get((row.lesion_id, row.study_date))
        if seen is None:
            continue
        study, viable_map = at_date[row.study_date]
        view = _view(study, row, seen, settings)
        if view is not None:
            snapshots.append(_picture(study, viable_map, (row, seen), view, limits[row.study_date]))
    return tuple(snapshots)


def _view(
    study: ExaminedStudy, row: Measurement, seen: Observation, settings: MeasureSettings
) -> _View | None:
    """Choose the slice and the window: around the caliper, or around the place where the lesion should be."""
    grid = study.prepared.grid
    place: Point | None = seen.place_mm
    length = 2.0 * (seen.radius_mm or 0.0)
    if row.caliper is not None:
        start, end = np.asarray(row.caliper.start_mm), np.asarray(row.caliper.end_mm)
        x, y, z = (start + end) / 2.0
        place, length = (float(x), float(y), float(z)), float(np.linalg.norm(end - start))
    if place is None:
        return None
    i, j, k = (float(value) for value in world_to_voxel(grid, [place])[0])
    if not all(-0.5 <= at < count - 0.5 for at, count in zip((i, j, k), grid.shape, strict=True)):
        return None
    side = max(settings.snapshot_least_mm, 1.5 * length + 20.0)
    return _View(
        slice_index=round(k),
        centre=(i, j),
        pixels=round(side / settings.snapshot_pixel_mm),
        pixel_mm=settings.snapshot_pixel_mm,
        spacing_mm=grid.spacing_mm,
    )


def _picture(
    study: ExaminedStudy,
    viable_map: ViableMap,
    shown: tuple[Measurement, Observation],
    view: _View,
    limits: tuple[float, float],
) -> Snapshot:
    row, seen = shown
    prepared = study.prepared
    at = view.sampling()
    image = prepared.images[prepared.reference].voxels[:, :, view.slice_index]
    signal = ndimage.map_coordinates(image, at, order=1, mode="constant", cval=limits[0])
    grey = np.clip((signal - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)
    labels = study.lesion_map.labels.voxels[:, :, view.slice_index]
    lesion = np.isin(labels, seen.labels) & (labels > 0)
    viable = np.zeros_like(lesion)
    if viable_map.labels is not None:
        viable = lesion & (viable_map.labels.voxels[:, :, view.slice_index] > 0)
    pixels = np.rint(255.0 * grey).astype(np.uint8)
    pixels.flags.writeable = False
    return Snapshot(
        patient_id=row.patient_id,
        lesion_id=row.lesion_id,
        study_date=row.study_date,
        contrast_phase=prepared.reference,
        pixels=pixels,
        spacing_mm=(view.pixel_mm, view.pixel_mm),
        outlines=_contours(lesion, at),
        viable_outlines=_contours(viable, at),
        caliper=None if row.caliper is None else view.ends(study, row.caliper),
        viable_caliper=None if row.viable_caliper is None else view.ends(study, row.viable_caliper),
    )


def _contours(mask: BoolArray, at: npt.NDArray[np.float64]) -> tuple[Contour, ...]:
    """Outline a mask of a slice in pixels ``(column, row)``."""
    if not mask.any():
        return ()
    level = ndimage.map_coordinates(mask.astype(np.float32), at, order=1, mode="constant", cval=0.0)
    found = find_contours(np.pad(level, 1), 0.5)
    return tuple(
        tuple((float(column), float(line)) for line, column in np.round(contour - 1.0, 2))
        for contour in found
    )


def _grey_limits(study: ExaminedStudy) -> tuple[float, float]:
    """Give the signals shown black and white: the same for all pictures of a study."""
    prepared = study.prepared
    voxels = prepared.images[prepared.reference].voxels[::2, ::2]
    low, high = np.percentile(voxels, [1.0, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0
