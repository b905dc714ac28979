"""Measure the error of diameters on bodies whose size is known in closed form.

``diameter_study.py --bodies 1000 --json FILE`` draws ellipsoids of 8 to 100 mm and every orientation on grids of 0.7 to
2 mm in plane and slices of 2 to 8 mm, axial and oblique, and measures them as the line does: a voxel belongs to a body
when its centre does. The section of an ellipsoid by a slice is an ellipse, so two true values are known exactly: the
longest diameter of the body on the slices that were sampled, and the longest that any plane parallel to the slices
would show; the difference between the two is what thick slices lose.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import Figure, at_most, publish, reported
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.measure import regionprops

from mrresponse.measure import longest_diameter, whole_extent
from mrresponse.measure.size import volume_ml

Floats = npt.NDArray[np.float64]
ALLOWED_MM = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One body on one grid: what was measured and what is true, in mm and mL."""

    pixel: float
    slice_mm: float
    is_oblique: bool
    measured: float
    on_slices: float
    in_planes: float
    perpendicular: float
    true_perpendicular: float
    volume: float
    true_volume: float
    caliper: float
    feret_2d: float
    feret_3d: float
    true_3d: float

    @property
    def error(self) -> float:
        """Measured less true diameter on the sampled slices."""
        return self.measured - self.on_slices

    @property
    def excess(self) -> float:
        """How far the error is beyond one pixel and half a millimetre; negative where it is within."""
        return abs(self.error) - self.pixel - ALLOWED_MM


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all bodies and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bodies", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="file to write")
    chosen = parser.parse_args(argv)
    cases = [measure_body(np.random.default_rng([seed, 3])) for seed in range(chosen.bodies)]
    error = np.array([case.error for case in cases])
    pixel = np.array([case.pixel for case in cases])
    loss = np.array([case.in_planes - case.on_slices for case in cases])
    figures: list[Figure] = [
        reported("bodies", len(cases), ""),
        at_most("cases beyond one pixel + 0.5 mm", sum(case.excess > 0 for case in cases), "", 0),
        reported("largest error less one pixel + 0.5 mm", max(case.excess for case in cases), "mm"),
        reported("bias of the diameter", float(error.mean()), "mm"),
        reported("limits of agreement, low", error.mean() - 1.96 * error.std(), "mm"),
        reported("limits of agreement, high", error.mean() + 1.96 * error.std(), "mm"),
        reported("bias in pixels", (error / pixel).mean(), "pixel"),
    ]
    for name, chosen_cases in (
        ("axial", [case for case in cases if not case.is_oblique]),
        ("oblique or rotated", [case for case in cases if case.is_oblique]),
    ):
        figures.append(reported(f"bias, {name}", _mean([case.error for case in chosen_cases]), "mm"))
    figures += [
        reported(
            "bias of the perpendicular",
            _mean([c.perpendicular - c.true_perpendicular for c in cases]),
            "mm",
        ),
        reported("relative bias of the volume", _mean([c.volume / c.true_volume - 1 for c in cases]), ""),
        reported(
            "largest difference of length and caliper ends",
            max(abs(c.caliper - c.measured) for c in cases),
            "mm",
        ),
        reported(
            "bias against scikit-image's 2-D Feret", _mean([c.measured - c.feret_2d for c in cases]), "mm"
        ),
        reported(
            "the same in pixels, SD", _spread([(c.measured - c.feret_2d) / c.pixel for c in cases]), "pixel"
        ),
        reported("3-D Feret less true 3-D diameter", _mean([c.feret_3d - c.true_3d for c in cases]), "mm"),
        reported("cases above the 3-D Feret", sum(c.measured > c.feret_3d + c.pixel for c in cases), ""),
    ]
    for low, high in ((2.0, 4.0), (4.0, 6.0), (6.0, 8.01)):
        inside = np.array([low <= case.slice_mm < high for case in cases])
        figures += [
            reported(
                f"lost between slices, {low:g}-{high:.0f} mm thick, mean", float(loss[inside].mean()), "mm"
            ),
            reported(
                f"lost between slices, {low:g}-{high:.0f} mm thick, worst", float(loss[inside].max()), "mm"
            ),
        ]
    last = (
        f"The diameter of {len(cases)} bodies is off by {error.mean():+.2f} mm on average and "
        f"{np.abs(error).max():.2f} mm at most."
    )
    return publish(figures, chosen.json, last=last)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values))


def measure_body(rng: np.random.Generator) -> Case:
    """Draw one body and one grid, and measure it."""
    longest = float(np.exp(rng.uniform(np.log(8.0), np.log(100.0))))
    axes = longest / 2.0 * np.array([1.0, *np.sort(rng.uniform(0.4, 1.0, 2))[::-1]])
    spacing = np.array([*np.repeat(rng.uniform(0.7, 2.0), 2), rng.uniform(2.0, 8.0)])
    if rng.random() < 0.3:
        spacing[1] = float(np.clip(spacing[0] * rng.uniform(0.8, 1.25), 0.7, 2.0))
    body = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    is_oblique = bool(rng.random() < 0.5)
    tilt = rng.uniform(-30, 30, 2) if is_oblique else np.zeros(2)
    turn = rng.uniform(0, 360) if is_oblique else 0.0
    frame = Rotation.from_euler("zxy", [turn, *tilt], degrees=True).as_matrix()
    # in the frame of the grid the body is x' Q x <= 1
    turned = frame.T @ body
    form = turned @ np.diag(axes**-2.0) @ turned.T
    offset = rng.uniform(-0.5, 0.5, 3) * spacing
    reach = np.sqrt(np.diag(np.linalg.inv(form)))
    half = np.ceil(reach / spacing).astype(int) + 2
    axis_points = [
        np.arange(-count, count + 1) * step - shift
        for count, step, shift in zip(half, spacing, offset, strict=True)
    ]
    x, y, z = np.meshgrid(*axis_points, indexing="ij")
    points = np.stack([x, y, z], axis=-1)
    mask = np.einsum("...i,ij,...j->...", points, form, points) <= 1.0
    if not mask.any():
        return measure_body(rng)
    return _case(mask, spacing, form, axis_points[2], axes, is_oblique)


def _case(
    mask: npt.NDArray[np.bool_],
    spacing: Floats,
    form: Floats,
    heights: Floats,
    axes: Floats,
    is_oblique: bool,
) -> Case:
    steps = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    extent = whole_extent(mask, steps)
    chord = longest_diameter(mask, steps)
    assert extent is not None
    assert chord is not None
    seen = heights[mask.any(axis=(0, 1))]
    sections = [_section(form, float(height)) for height in seen]
    best = max(sections)
    measured = _section(form, float(heights[chord.slice_index]))
    ends = np.subtract(chord.end, chord.start) * spacing[:2]
    plane = mask[:, :, chord.slice_index]
    label = plane.astype(np.uint8)
    flat = regionprops(label, spacing=steps[:2])[0]
    return Case(
        pixel=float(max(spacing[:2])),
        slice_mm=steps[2],
        is_oblique=is_oblique,
        measured=chord.length_mm,
        on_slices=best[0],
        in_planes=_section(form, 0.0)[0],
        perpendicular=extent.perpendicular.length_mm,
        true_perpendicular=measured[1],
        volume=volume_ml(mask, float(spacing.prod()) / 1000.0),
        true_volume=float(4.0 / 3.0 * np.pi * axes.prod()) / 1000.0,
        caliper=float(np.linalg.norm(ends)),
        feret_2d=float(flat.feret_diameter_max),
        feret_3d=_feret_3d(mask, spacing),
        true_3d=float(2.0 * axes.max()),
    )


def _section(form: Floats, height: float) -> tuple[float, float]:
    """Return the long and short diameter of the ellipse in which the plane at a height cuts the body."""
    flat, cross, up = form[:2, :2], form[:2, 2], form[2, 2]
    left = 1.0 - height**2 * (up - cross @ np.linalg.solve(flat, cross))
    if left <= 0.0:
        return 0.0, 0.0
    short, long = np.sqrt(left / np.linalg.eigvalsh(flat)[::-1])
    return float(2.0 * long), float(2.0 * short)


def _feret_3d(mask: npt.NDArray[np.bool_], spacing: Floats) -> float:
    """Return the largest distance between two voxel centres of the surface, by the convex hull."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    surface = np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing
    if np.linalg.matrix_rank(surface - surface[0]) < 3:
        return float(pdist(surface).max()) if len(surface) > 1 else 0.0
    return float(pdist(surface[ConvexHull(surface).vertices]).max())


if __name__ == "__main__":
    sys.exit(main())
