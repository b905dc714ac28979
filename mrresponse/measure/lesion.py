"""One lesion at one study: from labels of the lesion map to rounded numbers with calipers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial

import numpy as np

from mrresponse.domain import BoolArray, Caliper, MeasurementState, PreparedStudy
from mrresponse.geometry import voxel_to_world, world_to_voxel
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.size import Chord, Extent, diameter_sd_mm, volume_ml, volume_sd_ml
from mrresponse.measure.viability import Box

ExtentOf = Callable[[BoolArray, tuple[float, float, float]], Extent | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a lesion or of its viable part, unrounded.

    Fragments count as one lesion: volumes and longest diameters are added (RECIST 1.1), and the
    perpendicular is the one whose product with that sum is the sum of the fragments' products. The calipers
    and the solidity are those of the fragment with the longest diameter.
    """

    longest_mm: float
    perpendicular_mm: float
    volume_ml: float
    longest_sd_mm: float
    perpendicular_sd_mm: float
    volume_sd_ml: float
    voxels: int
    solidity: float
    caliper: Caliper
    perpendicular_caliper: Caliper

    def state(self, settings: MeasureSettings) -> MeasurementState:
        """Tell whether this can be measured reliably."""
        is_small = round_length(self.longest_mm) < settings.too_small_mm
        if is_small or self.voxels < settings.least_voxels:
            return MeasurementState.TOO_SMALL
        return MeasurementState.MEASURED


def size_of(
    prepared: PreparedStudy,
    fragments: Sequence[tuple[Box, BoolArray]],
    extent_of: ExtentOf,
    settings: MeasureSettings,
) -> Size | None:
    """Measure the fragments of one lesion, each a mask in its box of the grid; ``None`` for no voxel."""
    grid = prepared.grid
    spacing = grid.spacing_mm
    found: list[tuple[Extent, Box]] = []
    voxels = 0
    for box, mask in fragments:
        extent = extent_of(mask, spacing)
        if extent is not None:
            found.append((extent, box))
            voxels += int(np.count_nonzero(mask))
    if not found:
        return None
    lengths = [extent.longest.length_mm for extent, _ in found]
    widths = [extent.perpendicular.length_mm for extent, _ in found]
    volume = sum(volume_ml(mask, grid.voxel_volume_ml) for _, mask in fragments)
    largest, box = max(found, key=lambda pair: pair[0].longest.length_mm)
    sd_of = partial(diameter_sd_mm, spacing_mm=spacing, boundary_sd_mm=settings.boundary_sd_mm)
    return Size(
        longest_mm=math.fsum(lengths),
        perpendicular_mm=math.fsum(a * b for a, b in zip(lengths, widths, strict=True)) / math.fsum(lengths),
        volume_ml=volume,
        longest_sd_mm=math.hypot(*(sd_of(a, repeat_pixels=settings.repeat_longest_pixels) for a in lengths)),
        perpendicular_sd_mm=math.hypot(
            *(sd_of(max(b, 1e-3), repeat_pixels=settings.repeat_perpendicular_pixels) for b in widths)
        ),
        volume_sd_ml=volume_sd_ml(
            volume,
            spacing,
            boundary_sd_mm=settings.boundary_sd_mm,
            repeat_pixels=settings.repeat_volume_pixels,
        ),
        voxels=voxels,
        solidity=largest.solidity,
        caliper=_caliper(prepared, largest.longest, box),
        perpendicular_caliper=_caliper(prepared, largest.perpendicular, box),
    )


def round_length(length_mm: float) -> float:
    """Round a length to 0.1 mm, halves up."""
    return _round(length_mm, "0.1")


def round_volume(volume: float) -> float:
    """Round a volume to 0.001 mL, halves up."""
    return _round(volume, "0.001")


def _round(value: float, unit: str) -> float:
    """Round halves up after dropping what floating point adds beyond nine decimals.

    Volumes are multiples of a voxel and meet exact halves; their last binary digit must not decide.
    """
    return float(Decimal(f"{value:.9f}").quantize(Decimal(unit), rounding=ROUND_HALF_UP))


def _caliper(prepared: PreparedStudy, chord: Chord, box: Box) -> Caliper:
    """Place a chord of a box in the world and on the native grid, whose slices may run the other way."""
    ends = [
        (i + box[0].start, j + box[1].start, chord.slice_index + box[2].start)
        for i, j in (chord.start, chord.end)
    ]
    world = voxel_to_world(prepared.grid, ends)
    native = prepared.native_grid
    along_slices = np.linalg.solve(native.affine[:3, :3], prepared.grid.affine[:3, 2])
    axis = int(np.abs(along_slices).argmax())
    slice_index = round(float(world_to_voxel(native, world)[:, axis].mean()))
    start, end = ((round(float(x), 2), round(float(y), 2), round(float(z), 2)) for x, y, z in world)
    return Caliper(slice_index=slice_index, start_mm=start, end_mm=end)
