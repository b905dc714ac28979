"""Torsos from users' own organ label maps, in place of the procedural one.

A label map names organs only. What it leaves out is filled in: the body wall around the organs' convex hull, lungs
above the organs under the diaphragm, a spine behind the aorta, bowel below the liver, vessels inside the liver. Every
draw deforms the template strongly; left and right are never exchanged, for the liver's side is what the network must
learn.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813  (its customary name)
import torch
import torch.nn.functional as functional
import yaml
from scipy import ndimage
from skimage.morphology import convex_hull_image

from mrresponse.config import read_yaml
from mrresponse.errors import ConfigError
from mrresponse.synthetic.examples import MapSource, Shape, add_distractors, draw_lesions, procedural_map
from mrresponse.synthetic.noise import centred_affine, grid_points, noise_field
from mrresponse.synthetic.pathology import paint_lesions
from mrresponse.synthetic.shapes import rotation_matrix
from mrresponse.synthetic.tissues import Tissue

TEMPLATE_SPACING_MM = 3.0
_SHAPE = (144, 112, 112)
_LIVER_CENTRE_MM = (72.0, 0.0, 0.0)
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One person's tissue map on a 3 mm grid centred on the world origin."""

    name: str
    tissue: torch.Tensor


def mixed_source(catalogue: Path) -> MapSource:
    """Return a source that half of the time deforms a listed label map, otherwise draws a procedural torso.

    Raises
    ------
    ConfigError
        The list or one of its files cannot be read.
    """
    templates = load_templates(catalogue)

    def draw(rng: np.random.Generator, shape: Shape, spacing_mm: float) -> torch.Tensor:
        if rng.random() < 0.5:
            return procedural_map(rng, shape, spacing_mm)
        return deform(templates[int(rng.integers(len(templates)))], rng, shape, spacing_mm)

    return draw


def load_templates(catalogue: Path) -> list[Template]:
    """Read and complete every label map listed in a YAML file."""
    try:
        entries = read_yaml(catalogue.read_text(encoding="utf-8"))
        return [_template(entry, catalogue.parent) for entry in entries]
    except (OSError, RuntimeError, KeyError, yaml.YAMLError) as error:
        raise ConfigError(
            f"training.label_maps: '{catalogue.name}' or a file it lists cannot be read"
        ) from error


def deform(template: Template, rng: np.random.Generator, shape: Shape, spacing_mm: float) -> torch.Tensor:
    """Draw a deformed copy of a template: anisotropic scale, rotation, two scales of smooth displacement, lesions."""
    points = grid_points(shape, centred_affine(shape, (spacing_mm,) * 3, (0.0, 0.0, -20.0)))
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
    bend = noise_field(generator, cell_mm=55.0, sd=float(rng.uniform(3, 9)), channels=3).sample(points)
    bend = bend + noise_field(generator, cell_mm=24.0, sd=float(rng.uniform(0.5, 2.2)), channels=3).sample(
        points
    )
    angles = (float(rng.normal(0, 5)), float(rng.normal(0, 5)), float(rng.normal(0, 7)))
    zoom = rng.uniform(0.86, 1.16) * rng.uniform(0.92, 1.08, 3)
    matrix = torch.from_numpy(1.0 / zoom).float()[:, None] * rotation_matrix(angles)
    places = torch.tensordot(matrix, points + bend, dims=1)
    half = torch.tensor([(n - 1) / 2 * TEMPLATE_SPACING_MM for n in _SHAPE]).view(3, 1, 1, 1)
    grid = (places / half).flip(0).permute(1, 2, 3, 0)[None]
    tissue = functional.grid_sample(
        template.tissue.float()[None, None], grid, mode="nearest", padding_mode="border", align_corners=True
    )[0, 0].to(torch.uint8)
    tissue = _random_liver_vessels(tissue, points, generator)
    if rng.random() < 0.35:
        tissue = torch.where(tissue == int(Tissue.LIVER), int(Tissue.LIVER_CIRRHOTIC), tissue).to(torch.uint8)
    if rng.random() < 0.5:
        count = int(rng.choice([1, 2, 4]))
        tissue, _, _ = paint_lesions(tissue, points, draw_lesions(tissue, points, rng, count=count))
    return add_distractors(tissue, points, rng)


def _random_liver_vessels(
    tissue: torch.Tensor, points: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Paint vessels where two smooth noises vanish together: curved tubes of varying calibre."""
    parenchyma = tissue == int(Tissue.LIVER)
    for kind, calibre in ((Tissue.PORTAL_BRANCH, 0.05), (Tissue.HEPATIC_VEIN, 0.04)):
        noise = noise_field(generator, cell_mm=32.0, channels=2).sample(points)
        tube = noise[0] * noise[0] + noise[1] * noise[1] < calibre
        tissue = torch.where(tube & parenchyma, int(kind), tissue).to(torch.uint8)
    return tissue


def _template(entry: dict[str, object], folder: Path) -> Template:
    image = sitk.ReadImage(str(folder / str(entry["file"])))
    spacing = entry.get("spacing_mm")
    if isinstance(spacing, list):
        image.SetSpacing([float(value) for value in spacing])
    image = sitk.DICOMOrient(image, "RAS")
    values = entry["values"]
    if not isinstance(values, dict):
        raise ConfigError("training.label_maps: 'values' must map tissue names to lists of labels")
    lookup = np.zeros(4096, dtype=np.uint8)
    for name, labels in values.items():
        lookup[labels] = int(Tissue[str(name)])
    # SimpleITK arrays are (z, y, x)
    source = lookup[sitk.GetArrayFromImage(image).astype(np.int64).transpose(2, 1, 0)]
    organs = _resample(source, image.GetSpacing())
    wall = entry["wall_mm"]
    return Template(str(entry["name"]), torch.from_numpy(_complete(organs, float(str(wall)))))


def _resample(source: Labels, spacing: tuple[float, ...]) -> Labels:
    """Put the liver's centre at its place in the template grid (nearest neighbour) and close organs cut at the top."""
    centre = np.array(ndimage.center_of_mass(source == int(Tissue.LIVER)))
    target = np.indices(_SHAPE).astype(np.float32)
    for axis in range(3):
        world = (target[axis] - (_SHAPE[axis] - 1) / 2) * TEMPLATE_SPACING_MM - _LIVER_CENTRE_MM[axis]
        target[axis] = world / spacing[axis] + centre[axis]
    found = ndimage.map_coordinates(source, target, order=0, mode="constant", cval=0)
    above = target[2] > source.shape[2] - 1
    return np.where(above, _cap(found, above), found).astype(np.uint8)


def _cap(found: Labels, above: npt.NDArray[np.bool_]) -> Labels:
    """Close organs that the field of view cuts at the top by shrinking them slice by slice."""
    capped = found.copy()
    first = int(np.argmax(above.any((0, 1)))) if above.any() else found.shape[2]
    for index in range(first, found.shape[2]):
        below = capped[:, :, index - 1]
        kept = np.zeros_like(below)
        for tissue in (Tissue.LIVER, Tissue.SPLEEN, Tissue.STOMACH_CONTENT):
            inside = ndimage.binary_erosion(below == int(tissue), iterations=2 + (index - first) // 2)
            kept[inside] = int(tissue)
        for tissue in (Tissue.AORTA, Tissue.VENA_CAVA, Tissue.MARROW, Tissue.MUSCLE):
            kept[below == int(tissue)] = int(tissue)
        capped[:, :, index] = kept
    return capped


def _complete(organs: Labels, wall_mm: float) -> Labels:
    outside = _distance_outside_hull(organs)
    inside = outside <= 0
    rng = np.random.default_rng(7)
    fat = float(rng.uniform(10, 20))
    body = np.zeros_like(organs)
    body[outside < wall_mm + fat + 2] = int(Tissue.SKIN)
    body[outside < wall_mm + fat] = int(Tissue.SUBCUTANEOUS_FAT)
    body[outside < wall_mm] = int(Tissue.MUSCLE)
    body[inside] = int(Tissue.FAT)
    if not (organs == int(Tissue.MARROW)).any():
        _add_spine(body, organs, outside < wall_mm)
    if (organs == int(Tissue.BOWEL_CONTENT_A)).sum() < 20_000:
        _add_bowel(body, organs, inside)
    covered = np.isin(organs, [int(Tissue.LIVER), int(Tissue.SPLEEN), int(Tissue.STOMACH_CONTENT)])
    under = np.maximum.accumulate(covered, axis=2)
    top = int(np.flatnonzero(covered.any((0, 1)))[-1])
    under[:, :, top + 1 :] = True
    lung = under & (organs == 0) & inside & ~_below(covered)
    body[ndimage.binary_opening(lung, iterations=2)] = int(Tissue.LUNG)
    body[organs > 0] = organs[organs > 0]
    return _add_stomach_wall(body)


def _below(covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return voxels that still have an organ above them in their column."""
    return np.maximum.accumulate(covered[:, :, ::-1], axis=2)[:, :, ::-1]


def _distance_outside_hull(organs: Labels) -> npt.NDArray[np.float32]:
    """Return the in-plane distance (mm) to the smoothed convex hull of all organs, zero inside."""
    hull = np.zeros(organs.shape, dtype=bool)
    for index in range(organs.shape[2]):
        if (organs[:, :, index] > 0).sum() > 200:
            hull[:, :, index] = convex_hull_image(organs[:, :, index] > 0)
    filled = np.flatnonzero(hull.any((0, 1)))
    for index in range(organs.shape[2]):
        nearest = filled[np.argmin(np.abs(filled - index))]
        hull[:, :, index] |= hull[:, :, nearest]
    # organs end at the diaphragm, the trunk does not: no slice is narrower than the widest one near the liver
    near = np.abs(filled - organs.shape[2] // 2) * TEMPLATE_SPACING_MM < 60
    widest = filled[near][np.argmax(hull[:, :, filled[near]].sum((0, 1)))]
    hull |= hull[:, :, widest : widest + 1]
    soft = ndimage.gaussian_filter(hull.astype(np.float32), (3, 3, 5)) > 0.4
    hull |= soft
    distance = np.stack(
        [
            ndimage.distance_transform_edt(~hull[:, :, k], sampling=TEMPLATE_SPACING_MM)
            for k in range(organs.shape[2])
        ],
        axis=2,
    )
    return distance.astype(np.float32)


def _add_spine(body: Labels, organs: Labels, room: npt.NDArray[np.bool_]) -> None:
    """Paint vertebrae, canal and back muscles to the right of and behind the aorta."""
    x, y = (np.indices(body.shape[:2]) * TEMPLATE_SPACING_MM).astype(np.float32)
    centre = None
    for index in range(body.shape[2]):
        aorta = np.argwhere(organs[:, :, index] == int(Tissue.AORTA))
        if len(aorta):
            centre = aorta.mean(0) * TEMPLATE_SPACING_MM + np.array([12.0, -28.0])
        if centre is None:
            continue
        dx, dy = x - centre[0], y - centre[1]
        plane = body[:, :, index]
        for side in (-1, 1):
            plane[((dx - side * 36) / 28) ** 2 + ((dy + 32) / 19) ** 2 < 1] = int(Tissue.MUSCLE)
        vertebra = Tissue.DISC if index % 11 < 3 else Tissue.MARROW
        plane[(dx / 20) ** 2 + (dy / 17) ** 2 < 1] = int(vertebra)
        plane[(np.abs(dx) < 5) & (dy < -24) & (dy > -50)] = int(Tissue.MARROW)
        plane[(dx / 9) ** 2 + ((dy + 25) / 8) ** 2 < 1] = int(Tissue.SPINAL_CANAL)
    body[~room & np.isin(body, [int(Tissue.MARROW), int(Tissue.SPINAL_CANAL)])] = int(Tissue.SUBCUTANEOUS_FAT)


def _add_bowel(body: Labels, organs: Labels, inside: npt.NDArray[np.bool_]) -> None:
    """Paint bowel loops in the unlabelled space level with and below the lower half of the liver."""
    generator = torch.Generator().manual_seed(5)
    points = grid_points(_SHAPE, centred_affine(_SHAPE, (TEMPLATE_SPACING_MM,) * 3, (0.0, 0.0, 0.0)))
    noise = noise_field(generator, cell_mm=22.0).sample(points)[0].numpy()
    levels = np.flatnonzero((organs == int(Tissue.LIVER)).any((0, 1)))
    aorta = np.argwhere(organs == int(Tissue.AORTA))[:, 1].mean()
    free = inside & (organs == 0)
    free[:, :, int(levels[0] + 0.5 * (levels[-1] - levels[0])) :] = False
    free[:, : int(aorta)] = False
    body[free & (noise > -0.1)] = int(Tissue.BOWEL_WALL)
    body[free & (noise > 0.15)] = int(Tissue.BOWEL_CONTENT_B)
    body[free & (noise > 0.9)] = int(Tissue.BOWEL_CONTENT_C)


def _add_stomach_wall(body: Labels) -> Labels:
    for tissue in (Tissue.STOMACH_CONTENT, Tissue.BOWEL_CONTENT_A):
        whole = body == int(tissue)
        body[whole & ~ndimage.binary_erosion(whole)] = int(Tissue.BOWEL_WALL)
    kidney = body == int(Tissue.KIDNEY_CORTEX)
    body[ndimage.binary_erosion(kidney, iterations=2)] = int(Tissue.KIDNEY_MEDULLA)
    return body
