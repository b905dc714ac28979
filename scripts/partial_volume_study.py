"""Compare counted and partial-volume weighted volumes with the true volumes of ellipsoids.

``partial_volume_study.py --bodies 300 --json FILE`` draws ellipsoids with semi-axes of 5 to 20 mm in every orientation,
pixels of 0.7 to 2 mm, slices of 2 to 5 mm, and images in which lesion and surroundings are 4 to 12 SD of the noise
apart. The share of every voxel that lies within the body is known from 4 x 4 x 4 points of it. Each body is outlined
right, one pixel too wide, one pixel too tight, and raggedly.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import Figure, publish, reported
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mrresponse.measure.partial_volume import weighted_volume_ml

Floats = npt.NDArray[np.float64]
_FINE = 4
_NOISE = 5.0
_PIXEL = ndimage.generate_binary_structure(2, 1)[:, :, None]


def main(argv: Sequence[str] | None = None) -> int:
    """Draw bodies, measure them and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bodies", type=int, default=300, help="how many bodies to draw")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first body")
    parser.add_argument("--json", type=Path, help="write the figures here")
    chosen = parser.parse_args(argv)
    errors: dict[str, list[tuple[float, float]]] = {}
    bodies: dict[str, int] = {}
    for number in range(chosen.bodies):
        for name, counted, weighted in _measured(np.random.default_rng([chosen.seed, number])):
            bodies[name] = bodies.get(name, 0) + 1
            if weighted is not None:
                errors.setdefault(name, []).append((counted, weighted))
    return publish(list(_figures(errors, bodies)), chosen.json, last=f"{chosen.bodies} bodies")


def _figures(errors: dict[str, list[tuple[float, float]]], bodies: dict[str, int]) -> Iterator[Figure]:
    for name, pairs in errors.items():
        counted, weighted = 100.0 * np.array(pairs).T
        yield reported(f"outlined {name}: bodies with a weighted volume, of {bodies[name]}", len(pairs), "")
        for kind, error in (("counted", counted), ("weighted", weighted)):
            yield reported(f"outlined {name}: bias, {kind}", float(error.mean()), "%")
            yield reported(f"outlined {name}: SD, {kind}", float(error.std()), "%")


def _measured(rng: np.random.Generator) -> Iterator[tuple[str, float, float | None]]:
    """Yield for each way of outlining one body the relative errors of its two volumes."""
    pixel = rng.uniform(0.7, 2.0)
    spacing = np.array([pixel, pixel, rng.uniform(2.0, 5.0)])
    semi_axes = rng.uniform(5.0, 20.0, 3)
    share = _shares(spacing, semi_axes, rng)
    signal = 100.0 + rng.uniform(4.0, 12.0) * _NOISE * share + rng.normal(0.0, _NOISE, share.shape)
    image = signal.astype(np.float32)
    true = float(4.0 / 3.0 * np.pi * semi_axes.prod()) / 1000.0
    voxel = float(spacing.prod()) / 1000.0
    right = share >= 0.5
    outlines = {
        "right": right,
        "one pixel too wide": ndimage.binary_dilation(right, _PIXEL),
        "one pixel too tight": ndimage.binary_erosion(right, _PIXEL),
        "raggedly": ndimage.gaussian_filter(share + rng.normal(0.0, 0.5, share.shape), 0.8) > 0.5,
    }
    for name, mask in outlines.items():
        weighted = weighted_volume_ml(mask, {"image": image}, voxel)
        counted = float(mask.sum()) * voxel / true - 1.0
        yield name, counted, None if weighted is None else weighted / true - 1.0


def _shares(spacing: Floats, semi_axes: Floats, rng: np.random.Generator) -> Floats:
    """Return the share of every voxel that lies within an ellipsoid."""
    counts = np.ceil(2.0 * semi_axes.max() / spacing).astype(int) + 12
    middle = counts * spacing / 2.0 + rng.uniform(-0.5, 0.5, 3) * spacing
    turned = Rotation.random(rng=rng).as_matrix() / semi_axes
    axes = [
        (np.arange(n * _FINE) + 0.5) / _FINE * step - at
        for n, step, at in zip(counts, spacing, middle, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ turned
    inside = np.einsum("ijkl,ijkl->ijk", points, points) <= 1.0
    i, j, k = counts
    share: Floats = inside.reshape(i, _FINE, j, _FINE, k, _FINE).mean(axis=(1, 3, 5))
    return share


if __name__ == "__main__":
    sys.exit(main())
