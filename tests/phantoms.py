"""Ellipsoid livers and lesions whose volume and diameters are known in closed form.

Everything is a function of world coordinates, so a moved, rotated or deformed body is the same function looked
up elsewhere, and no expected value comes from the code under test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import pi
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrresponse.domain import (
    Agent,
    ContrastPhase,
    ExaminedStudy,
    Grid,
    Image,
    LabelMap,
    Lesion,
    LesionMap,
    MeasurementSource,
    Point,
    PreparedStudy,
    RegistrationRecord,
    Series,
    Study,
)

Points = npt.NDArray[np.float64]
Motion = Callable[[Points], Points]
_NOWHERE = Path("phantom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """A body with axes along the world axes; ``core`` is the share of every semi-axis that is necrotic."""

    centre_mm: Point
    semi_axes_mm: Point
    core: float = 0.0

    @property
    def volume_ml(self) -> float:
        """Volume 4/3 pi a b c."""
        a, b, c = self.semi_axes_mm
        return 4.0 / 3.0 * pi * a * b * c / 1000.0

    @property
    def viable_volume_ml(self) -> float:
        """Volume without the core."""
        return self.volume_ml * (1.0 - self.core**3)

    @property
    def perpendicular_diameter_mm(self) -> float:
        """Largest diameter perpendicular to the longest one in the axial plane."""
        return 2.0 * min(self.semi_axes_mm[:2])

    def level(self, points: Points) -> npt.NDArray[np.float64]:
        """Give 0 at the centre, 1 on the surface, more outside."""
        offset = (points - np.asarray(self.centre_mm)) / np.asarray(self.semi_axes_mm)
        return np.asarray(np.sqrt((offset**2).sum(axis=-1)), dtype=np.float64)

    def moved(self, shift_mm: Point) -> "Ellipsoid":
        """Give the same body elsewhere."""
        x, y, z = (place + step for place, step in zip(self.centre_mm, shift_mm, strict=True))
        return replace(self, centre_mm=(x, y, z))


def ball(centre_mm: Point, diameter_mm: float, core: float = 0.0) -> Ellipsoid:
    """Give a sphere."""
    radius = diameter_mm / 2.0
    return Ellipsoid(centre_mm=centre_mm, semi_axes_mm=(radius, radius, radius), core=core)


LIVER = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(80.0, 60.0, 55.0))  # 1105.8 mL


def grid_around(
    body: Ellipsoid = LIVER, spacing_mm: Point = (4.0, 4.0, 5.0), margin_mm: float = 16.0
) -> Grid:
    """Give a canonical grid that contains ``body`` with a margin, its centre on a voxel centre."""
    counts = [
        int(np.ceil((axis + margin_mm) / step))
        for axis, step in zip(body.semi_axes_mm, spacing_mm, strict=True)
    ]
    rows = np.zeros((3, 4))
    for axis, (count, step) in enumerate(zip(counts, spacing_mm, strict=True)):
        rows[axis, axis] = step
        rows[axis, 3] = body.centre_mm[axis] - count * step
    i, j, k = (2 * count + 1 for count in counts)
    return Grid(shape=(i, j, k), affine_rows=tuple(tuple(float(v) for v in row) for row in rows))


def world_points(grid: Grid) -> Points:
    """Give the world coordinates of every voxel centre, ``[i, j, k, 3]``."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return np.asarray(index @ grid.affine[:3, :3].T + grid.affine[:3, 3], dtype=np.float64)


def mask_of(body: Ellipsoid, grid: Grid) -> npt.NDArray[np.bool_]:
    """Sample a body: voxels whose centre lies inside."""
    return np.asarray(body.level(world_points(grid)) <= 1.0)


def label_map(bodies: Sequence[Ellipsoid], grid: Grid, labels: Sequence[int] | None = None) -> LabelMap:
    """Draw bodies as labels 1, 2, … or as the labels given; a later one covers an earlier one."""
    voxels = np.zeros(grid.shape, dtype=np.uint16)
    for body, label in zip(bodies, labels or range(1, len(bodies) + 1), strict=True):
        voxels[mask_of(body, grid)] = label
    return LabelMap(voxels=voxels, grid=grid)


# Signal relative to pre-contrast liver, rounded from the spoiled gradient echo of the digital phantom with
# the extracellular agent: outside, liver, vessel, viable lesion, necrosis.
SIGNALS: Mapping[ContrastPhase, tuple[float, float, float, float, float]] = {
    ContrastPhase.PRECONTRAST: (0.38, 1.00, 0.57, 0.80, 0.73),
    ContrastPhase.ARTERIAL: (0.38, 1.24, 1.60, 1.91, 0.73),
    ContrastPhase.PORTAL_VENOUS: (0.38, 1.93, 2.85, 1.68, 0.77),
    ContrastPhase.DELAYED: (0.38, 1.80, 2.40, 1.57, 0.79),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """An ellipsoid liver in a body, with tubes for vessels, a mild texture, and lesions."""

    liver: Ellipsoid = LIVER
    lesions: tuple[Ellipsoid, ...] = ()
    seed: int = 0

    def signal(self, points: Points, phase: ContrastPhase) -> npt.NDArray[np.float64]:
        """Give the noiseless signal at world points ``[..., 3]``."""
        outside, liver, vessel, viable, necrosis = SIGNALS[phase]
        texture = 1.0 + 0.06 * self._waves(points)
        value = np.where(
            self._surface(points) <= 1.0, liver * texture, outside * (1.0 + self._organs(points))
        )
        value = np.where(self._vessels(points), vessel, value)
        for lesion in self.lesions:
            level = lesion.level(points)
            value = np.where(level <= 1.0, viable, value)
            value = np.where(level <= lesion.core, necrosis, value)
        return np.asarray(value, dtype=np.float64)

    def image(
        self, grid: Grid, phase: ContrastPhase, *, motion: Motion | None = None, noise_sd: float = 0.0
    ) -> Image:
        """Sample the signal on a grid; ``motion`` maps world points to the points of the resting body."""
        points = world_points(grid)
        value = self.signal(points if motion is None else motion(points), phase)
        noise = np.random.default_rng([self.seed, list(SIGNALS).index(phase)]).normal(0.0, 1.0, value.shape)
        return Image(voxels=(100.0 * (value + noise_sd * noise)).astype(np.float32), grid=grid)

    def _surface(self, points: Points) -> npt.NDArray[np.float64]:
        bumps = 0.06 * np.sin(points[..., 0] / 19.0 + 1.0) * np.cos(points[..., 1] / 15.0)
        return self.liver.level(points) * (1.0 + bumps * (points[..., 2] / 50.0))

    def _waves(self, points: Points) -> npt.NDArray[np.float64]:
        random = np.random.default_rng(self.seed)
        total = np.zeros(points.shape[:-1])
        for _ in range(6):
            direction = random.normal(size=3)
            direction *= 2.0 * pi / (random.uniform(15.0, 40.0) * np.linalg.norm(direction))
            total += np.sin(points @ direction + random.uniform(0.0, 2.0 * pi))
        return total / np.sqrt(3.0)

    def _organs(self, points: Points) -> npt.NDArray[np.float64]:
        return 0.8 * np.sin(points[..., 0] / 23.0) * np.cos(points[..., 1] / 31.0 + points[..., 2] / 27.0)

    def _vessels(self, points: Points) -> npt.NDArray[np.bool_]:
        random = np.random.default_rng(self.seed + 1)
        inside = np.zeros(points.shape[:-1], dtype=bool)
        for _ in range(14):
            start = np.asarray(self.liver.centre_mm) + random.uniform(-0.3, 0.3, 3) * self.liver.semi_axes_mm
            along = random.normal(size=3)
            along /= np.linalg.norm(along)
            offset = points - start
            distance = offset @ along
            radius = random.uniform(2.5, 5.0)
            across = (offset**2).sum(axis=-1) - distance**2
            inside |= (across <= radius**2) & (distance > 0) & (self.liver.level(points) < 0.9)
        return inside


def still(points: Points) -> Points:
    """Leave points in place."""
    return points


def rigid(shift_mm: Point, degrees: Point = (0.0, 0.0, 0.0), about_mm: Point = (0.0, 0.0, 0.0)) -> Motion:
    """Turn about the world axes (x first), then shift."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    centre = np.asarray(about_mm)
    return lambda points: (points - centre) @ matrix.T + centre + np.asarray(shift_mm)


def waving(sd_mm: float, seed: int, cell_mm: float = 50.0, shift_mm: Point = (0.0, 0.0, 0.0)) -> Motion:
    """Displace smoothly: sine waves of twice the cell as wavelength, with the given SD per axis."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(3, 3, 3))
    directions *= pi / (cell_mm * np.linalg.norm(directions, axis=-1, keepdims=True))
    phases = random.uniform(0.0, 2.0 * pi, (3, 3))

    def move(points: Points) -> Points:
        waves = [np.sin(points @ directions[axis].T + phases[axis]).sum(axis=-1) for axis in range(3)]
        return points + np.asarray(shift_mm) + sd_mm * np.stack(waves, axis=-1) / np.sqrt(1.5)

    return move


def inverse_of(motion: Motion, points: Points) -> Points:
    """Solve ``motion(x) = points`` by fixed-point iteration (the motions here are close to a shift)."""
    found = points
    for _ in range(60):
        found = found - (motion(found) - points)
    return found


def prepared_study(
    lesions: Sequence[Ellipsoid] = (),
    *,
    study_date: date = date(2024, 1, 10),
    body: Body | None = None,
    grid: Grid | None = None,
    phases: Sequence[ContrastPhase] = tuple(SIGNALS),
    noise_sd: float = 0.0,
) -> PreparedStudy:
    """Give a prepared study whose images are in perfect register; the reference is ART where present."""
    body = body or Body(lesions=tuple(lesions))
    grid = grid or grid_around(body.liver)
    liver = mask_of(body.liver, grid)
    reference = ContrastPhase.ARTERIAL if ContrastPhase.ARTERIAL in phases else phases[0]
    study = Study(
        patient_id="P001",
        study_date=study_date,
        series=tuple(
            Series(path=_NOWHERE / f"{phase.value}.nii.gz", contrast_phase=phase) for phase in phases
        ),
    )
    return PreparedStudy(
        study=study,
        grid=grid,
        native_grid=grid,
        crop_start=(0, 0, 0),
        images={phase: body.image(grid, phase, noise_sd=noise_sd) for phase in phases},
        reference=reference,
        liver=LabelMap(voxels=liver.astype(np.uint16), grid=grid),
        liver_probability=Image(voxels=liver.astype(np.float32), grid=grid),
        agent=Agent.EXTRACELLULAR,
    )


def lesion_map(
    labels: LabelMap, source: MeasurementSource = MeasurementSource.MASK, not_assessable: str | None = None
) -> LesionMap:
    """Describe drawn labels voxel by voxel, largest first."""
    lesions = []
    for label in np.unique(labels.voxels[labels.voxels > 0]):
        places = np.argwhere(labels.voxels == label)
        x, y, z = (places @ labels.grid.affine[:3, :3].T + labels.grid.affine[:3, 3]).mean(axis=0)
        low, high = places.min(axis=0), places.max(axis=0) + 1
        i, j, k = ((int(first), int(last)) for first, last in zip(low, high, strict=True))
        lesions.append(
            Lesion(
                label=int(label),
                centroid_mm=(float(x), float(y), float(z)),
                volume_ml=len(places) * labels.grid.voxel_volume_ml,
                bounding_box=(i, j, k),
            )
        )
    lesions.sort(key=lambda lesion: (-lesion.volume_ml, lesion.centroid_mm))
    return LesionMap(labels=labels, lesions=tuple(lesions), source=source, not_assessable=not_assessable)


def examined_study(
    lesions: Sequence[Ellipsoid],
    study_date: date,
    *,
    body: Body | None = None,
    grid: Grid | None = None,
    labels: Sequence[int] | None = None,
    source: MeasurementSource = MeasurementSource.MASK,
) -> ExaminedStudy:
    """Give one study with its lesions drawn as given masks (or as if a network had found them)."""
    body = body or Body(lesions=tuple(lesions))
    prepared = prepared_study(
        study_date=study_date, body=body, grid=grid, phases=(ContrastPhase.PORTAL_VENOUS,)
    )
    drawn = label_map(lesions, prepared.grid, labels)
    return ExaminedStudy(prepared=prepared, lesion_map=lesion_map(drawn, source))


def cut_above(study: ExaminedStudy, top_mm: float) -> ExaminedStudy:
    """Give the same study as if its volume had ended at a height in the world; its grid has to run along the axes."""
    prepared = study.prepared
    i, j, k = prepared.grid.shape
    rows = prepared.grid.affine_rows[2]
    shape = (i, j, min(k, int((top_mm - rows[3]) // rows[2]) + 1))
    grid = replace(prepared.grid, shape=shape)

    def image(one: Image) -> Image:
        return Image(voxels=one.voxels[:, :, : shape[2]], grid=grid)

    def labels(one: LabelMap) -> LabelMap:
        return LabelMap(voxels=one.voxels[:, :, : shape[2]], grid=grid)

    return replace(
        study,
        prepared=replace(
            prepared,
            grid=grid,
            native_grid=grid,
            images={phase: image(one) for phase, one in prepared.images.items()},
            liver=labels(prepared.liver),
            liver_probability=image(prepared.liver_probability),
        ),
        lesion_map=lesion_map(labels(study.lesion_map.labels), study.lesion_map.source),
    )


def refused_registration(phase: ContrastPhase) -> RegistrationRecord:
    """Give the record of a contrast phase that could not be brought into register with the arterial one."""
    return RegistrationRecord(
        patient_id="P001",
        study_date=date(2024, 1, 10),
        moving=phase.value,
        fixed="ART",
        accepted=False,
        measure="mutual information in the liver (nats)",
        similarity_before=0.1,
        similarity_after=0.1,
        reason="did not rise",
    )
