"""Measure how much a measurement of one lesion varies when it is imaged again.

``repeatability_study.py --repeats 200 --json FILE`` images the same lesions again and again: new noise, new residual
motion between the contrast phases, new place and angle of the voxels. Each time the lesion is outlined on the images at
half its contrast with the liver, the viable part is derived by subtraction, and both are measured as the line does.
The coefficient of repeatability is 1.96 x sqrt(2) times the standard deviation within a lesion (Bland & Altman 1986):
two measurements of the same lesion differ by no more in 95 %. Half-hidden systematic effects, and how differently
readers would outline the lesion, are not in it.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import Figure, publish, reported
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mrresponse.domain import (
    Agent,
    ContrastPhase,
    ExaminedStudy,
    GivenLesions,
    Grid,
    Image,
    LabelMap,
    LesionTrack,
    Observation,
    PreparedStudy,
    Series,
    Study,
    TrackEvent,
)
from mrresponse.geometry import voxel_to_world
from mrresponse.lesions import LesionSettings, find_lesions
from mrresponse.measure import MeasureSettings, measure

Floats = npt.NDArray[np.float64]
SPACING_MM = (1.6, 1.6, 3.0)
# Oversampling of a voxel along each axis, for partial volume.
FINE = (2, 2, 3)
# Signal over liver before contrast: liver, viable tumour, necrosis (spoiled gradient echo, extracellular agent).
SIGNALS = {
    ContrastPhase.PRECONTRAST: (1.00, 0.80, 0.73),
    ContrastPhase.ARTERIAL: (1.24, 1.91, 0.73),
    ContrastPhase.PORTAL_VENOUS: (1.93, 1.68, 0.77),
    ContrastPhase.DELAYED: (1.80, 1.57, 0.79),
}
NOISE = 0.04
TEXTURE = 0.04
MOTION_SD_MM = (0.3, 0.6, 1.5)
# Longest diameter of the lesion and of its viable part, mm.
LESIONS = ((14.0, 14.0), (24.0, 15.0), (40.0, 26.0))
QUANTITIES = (
    "longest_diameter_mm",
    "perpendicular_diameter_mm",
    "volume_ml",
    "viable_longest_diameter_mm",
    "viable_perpendicular_diameter_mm",
    "viable_volume_ml",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """An ellipsoid with an ellipsoid viable part that lies off its centre, in mm."""

    axes: Floats
    viable_axes: Floats
    viable_centre: Floats

    def parts(self, points: Floats) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Tell which points lie in the lesion, and which in its viable part."""
        whole = ((points / self.axes) ** 2).sum(axis=-1) <= 1.0
        viable = (((points - self.viable_centre) / self.viable_axes) ** 2).sum(axis=-1) <= 1.0
        return whole, whole & viable


def main(argv: Sequence[str] | None = None) -> int:
    """Image every lesion again and again and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="images of each lesion")
    parser.add_argument("--json", type=Path, help="file to write")
    chosen = parser.parse_args(argv)
    within: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    relative: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    figures: list[Figure] = [reported("repeats of each lesion", chosen.repeats, "")]
    for number, (whole_mm, viable_mm) in enumerate(LESIONS):
        lesion = make_lesion(whole_mm, viable_mm)
        rows = [
            image_and_measure(lesion, np.random.default_rng([number, repeat, 5]))
            for repeat in range(chosen.repeats)
        ]
        for name in QUANTITIES:
            values = np.array([row[name] for row in rows if row[name] is not None], dtype=float)
            unit = "mL" if name.endswith("ml") else "mm"
            spread = float(values.std(ddof=1))
            within[name].append(spread)
            relative[name].append(spread / float(values.mean()))
            label = f"{whole_mm:g}/{viable_mm:g} mm: {name}"
            figures += [
                reported(f"{label}, mean of {len(values)}", float(values.mean()), unit),
                reported(f"{label}, SD", spread, unit),
            ]
    for name in QUANTITIES:
        if name.endswith("ml"):
            share = math.sqrt(float(np.mean(np.square(relative[name]))))
            figures.append(reported(f"within-lesion SD of {name}, of its size", share, ""))
            figures.append(reported(f"coefficient of repeatability of {name}, of its size", 2.77 * share, ""))
        else:
            pooled = math.sqrt(float(np.mean(np.square(within[name]))))
            figures.append(reported(f"within-lesion SD of {name}", pooled, "mm"))
            figures.append(reported(f"coefficient of repeatability of {name}", 2.77 * pooled, "mm"))
    pooled = math.sqrt(float(np.mean(np.square(within["longest_diameter_mm"]))))
    last = f"Two measurements of one lesion differ by at most {2.77 * pooled:.1f} mm in 95 %."
    return publish(figures, chosen.json, last=last)


def make_lesion(whole_mm: float, viable_mm: float) -> Lesion:
    """Return a lesion of the given longest diameters."""
    axes = whole_mm / 2.0 * np.array([1.0, 0.85, 0.9])
    share = viable_mm / whole_mm
    return Lesion(
        axes=axes,
        viable_axes=axes * share,
        viable_centre=axes * (1.0 - share) * np.array([0.6, 0.3, 0.2]),
    )


def image_and_measure(lesion: Lesion, rng: np.random.Generator) -> dict[str, float | None]:
    """Image a lesion once and measure it."""
    grid = _grid(float(lesion.axes.max()), rng)
    place = rng.uniform(-0.5, 0.5, 3) * np.asarray(SPACING_MM)
    turn = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3) * [0.5, 0.5, 1.0], degrees=True).as_matrix()
    textured = _texture(grid, rng)
    images = {}
    for phase, signals in SIGNALS.items():
        motion = np.zeros(3)
        if phase is not ContrastPhase.ARTERIAL:
            motion = rng.normal(0.0, MOTION_SD_MM)
        whole, viable = _shares(lesion, grid, place + motion, turn)
        value = signals[0] * textured * (1.0 - whole) + signals[2] * (whole - viable) + signals[1] * viable
        noisy = value + NOISE * rng.normal(size=value.shape)
        images[phase] = Image(voxels=(100.0 * noisy).astype(np.float32), grid=grid)
    study = _study(images, _outlined(images, grid, place))
    track = LesionTrack(
        patient_id="P001",
        lesion_id="L01",
        observations=(
            Observation(study_date=study.study_date, event=TrackEvent.FIRST, labels=_labels(study)),
        ),
    )
    (row,) = measure([study], [track], MeasureSettings())
    return {name: getattr(row, name) for name in QUANTITIES}


def _labels(study: ExaminedStudy) -> tuple[int, ...]:
    return tuple(lesion.label for lesion in study.lesion_map.lesions)


def _outlined(images: dict[ContrastPhase, Image], grid: Grid, place: Floats) -> npt.NDArray[np.bool_]:
    """Outline the lesion where its contrast with the liver, over all phases, is above half."""
    deviation = np.zeros(grid.shape)
    for image in images.values():
        liver = np.median(image.voxels)
        deviation = np.maximum(
            deviation, np.abs(ndimage.gaussian_filter(image.voxels, (0.7, 0.7, 0)) / liver - 1.0)
        )
    middle = voxel_to_world(grid, np.indices(grid.shape).reshape(3, -1).T).reshape(*grid.shape, 3) - place
    distance = np.linalg.norm(middle, axis=-1)
    inner = deviation[distance < 4.0]
    outer = float(np.median(deviation[distance > 0.9 * distance.max()]))
    pieces, _ = ndimage.label(deviation > (float(np.median(inner)) + outer) / 2.0)
    near = pieces[distance < 4.0]
    mask = pieces == np.bincount(near[near > 0]).argmax()
    opened = ndimage.binary_opening(mask, structure=np.ones((2, 2, 1), dtype=bool))
    return np.asarray(ndimage.binary_fill_holes(opened))


def _shares(lesion: Lesion, grid: Grid, place: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """Return the share of every voxel that is lesion, and that is viable."""
    axes = [
        (np.arange(count * fine) + 0.5) / fine - 0.5 for count, fine in zip(grid.shape, FINE, strict=True)
    ]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    points = (index * np.asarray(SPACING_MM) + grid.affine[:3, 3] - place) @ turn
    found = []
    for part in lesion.parts(points):
        i, j, k = grid.shape
        blocks = part.reshape(i, FINE[0], j, FINE[1], k, FINE[2])
        found.append(blocks.mean(axis=(1, 3, 5)))
    return found[0], found[1]


def _texture(grid: Grid, rng: np.random.Generator) -> Floats:
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), 4.0 / np.asarray(SPACING_MM))
    return np.asarray(1.0 + TEXTURE * noise / noise.std())


def _grid(radius: float, rng: np.random.Generator) -> Grid:
    half = np.ceil((radius + 22.0) / np.asarray(SPACING_MM)).astype(int)
    i, j, k = (int(2 * count + 1) for count in half)
    shift = rng.uniform(-0.5, 0.5, 3) * np.asarray(SPACING_MM)
    rows = tuple(
        tuple(
            step if column == axis else float(shift[axis] - half[axis] * step) if column == 3 else 0.0
            for column in range(4)
        )
        for axis, step in enumerate(SPACING_MM)
    )
    return Grid(shape=(i, j, k), affine_rows=rows)


def _study(images: dict[ContrastPhase, Image], mask: npt.NDArray[np.bool_]) -> ExaminedStudy:
    grid = images[ContrastPhase.ARTERIAL].grid
    liver = np.ones(grid.shape)
    prepared = PreparedStudy(
        study=Study(
            patient_id="P001",
            study_date=date(2024, 1, 10),
            series=tuple(Series(path=Path("drawn"), contrast_phase=phase) for phase in images),
        ),
        grid=grid,
        native_grid=grid,
        crop_start=(0, 0, 0),
        images=images,
        reference=ContrastPhase.ARTERIAL,
        liver=LabelMap(voxels=liver.astype(np.uint16), grid=grid),
        liver_probability=Image(voxels=liver.astype(np.float32), grid=grid),
        agent=Agent.EXTRACELLULAR,
    )
    given = GivenLesions(labels=LabelMap(voxels=mask.astype(np.uint16), grid=grid))
    return ExaminedStudy(prepared=prepared, lesion_map=find_lesions(prepared, given, LesionSettings()))


if __name__ == "__main__":
    sys.exit(main())
