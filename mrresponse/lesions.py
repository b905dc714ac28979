"""From a lesion probability, or masks that already exist, to individual lesions. Every threshold is here."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.borders import along_borders
from mrresponse.domain import (
    BoolArray,
    Certainty,
    ContrastPhase,
    FloatArray,
    GivenLesions,
    Grid,
    Image,
    LabelArray,
    LabelMap,
    Lesion,
    LesionMap,
    MeasurementSource,
    PreparedStudy,
    Study,
)
from mrresponse.errors import DataError
from mrresponse.geometry import (
    Box,
    ball_diameter_mm,
    box_slices,
    dilate,
    largest_piece,
    margin_voxels,
    voxel_to_world,
    with_slice_left_out,
)

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-connectivity
_MILD = Certainty()
# Diameter of the ball of a body's volume from which, and at which, it is outlined at a higher probability than found.
_OUTLINED_CLOSER_MM = (10.0, 25.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSettings:
    """What counts as a lesion in a probability map; given masks are believed.

    Parameters
    ----------
    threshold
        Probability from which a voxel may belong to a lesion. Where it, one of the next two or ``outline`` is not set,
        it is what the network's own description says (``certainty`` in ``configs/metadata.json``, chosen with
        ``scripts/tune_lesions.py``), and 0.5, 0.7, 0.5, 0.5 where that says nothing.
    least_diameter_mm, least_volume_ml
        Smaller components are noise: 5 mm is the smallest lesion that is ever measured, 0.07 mL its ball.
    least_peak, least_mean
        Highest and mean probability that a component must reach.
    outline
        Probability from which a voxel of a component lies within the outline, where it is as large as a ball of 25 mm.
        A faint lesion is found at a low threshold, at which a clear one is outlined too large; from 25 mm down to 10 mm
        the level falls to that threshold.
    opening
        What an outline is rid of: tails that a ball of this share of the largest inscribed ball's radius does not
        enter. A tail along a vessel adds little to a volume and much to a diameter. 0 leaves outlines as they are.
    edge_mm, edge_contrast
        How far the outline of a network's lesion may move onto the border that the contrast phases show there, and the
        contrast, as a fraction of the liver's signal, below which they show none: the voxels of a network are larger
        than those of the images. 0 mm leaves outlines as they are.
    liver_margin_mm
        How far outside the liver a lesion may reach; exophytic lesions belong to the liver.
    neck
        Two bodies joined by a neck narrower than this share of the smaller one's diameter are two lesions.
    """

    threshold: float | None = None
    least_diameter_mm: float = 5.0
    least_volume_ml: float = 0.07
    least_peak: float | None = None
    least_mean: float | None = None
    outline: float | None = None
    opening: float = 0.5
    edge_mm: float = 3.0
    edge_contrast: float = 0.05
    liver_margin_mm: float = 5.0
    neck: float = 0.5

    def certainty(self, suits: Certainty) -> Certainty:
        """Return how sure a network must be: what is set, and for the rest what suits the network."""
        return Certainty(
            threshold=suits.threshold if self.threshold is None else self.threshold,
            least_peak=suits.least_peak if self.least_peak is None else self.least_peak,
            least_mean=suits.least_mean if self.least_mean is None else self.least_mean,
            outline=suits.outline if self.outline is None else self.outline,
        )


def find_lesions(
    prepared: PreparedStudy,
    found: Image | GivenLesions,
    settings: LesionSettings,
    *,
    suits: Certainty = _MILD,
) -> LesionMap:
    """Turn what was found in a study into individual lesions, largest first.

    Parameters
    ----------
    found
        Lesion probability on ``prepared.grid``, or given masks. Instance labels of a given mask are kept; a mask
        with one label is split into its connected components, one where a single slice between was left out.
    suits
        What the network that gave the probability needs where ``settings`` do not say.

    Raises
    ------
    DataError
        That of `with_viable`.
    """
    if isinstance(found, GivenLesions):
        return _given_lesions(found, prepared.study)
    if set(prepared.images) <= {ContrastPhase.OTHER}:
        return LesionMap(
            labels=LabelMap(voxels=np.zeros(prepared.grid.shape, dtype=np.uint16), grid=prepared.grid),
            lesions=(),
            source=MeasurementSource.NETWORK,
            not_assessable="no T1 contrast phase",
        )
    near = dilate(prepared.liver.voxels > 0, prepared.grid.spacing_mm, settings.liver_margin_mm)
    sure = settings.certainty(suits)
    labels = _components((found.voxels >= sure.threshold) & near, found, settings, sure)
    if sure.outline > sure.threshold:
        labels = _outlined(labels, found, sure)
    labels = _drawn_along_borders(labels, prepared, near, settings)
    # after it: the border follows a vessel that touches
    labels = _opened(labels, prepared.grid.spacing_mm, settings.opening)
    lesions = _described(labels, prepared.grid, found)
    # the label is the rank, so that the largest lesion is label 1
    rank = np.zeros(int(labels.max()) + 1, dtype=np.uint16)
    rank[[lesion.label for lesion in lesions]] = np.arange(1, len(lesions) + 1)
    ranked = LabelMap(voxels=rank[labels], grid=prepared.grid)
    return LesionMap(
        labels=ranked,
        lesions=_described(ranked.voxels, prepared.grid, found),
        source=MeasurementSource.NETWORK,
    )


def _given_lesions(found: GivenLesions, study: Study) -> LesionMap:
    labels = found.labels.voxels
    if len(np.unique(labels[labels > 0])) == 1:
        given = labels > 0
        pieces, count = ndimage.label(with_slice_left_out(given), structure=_TOUCHING)
        # a single lesion keeps its label; several pieces of one label are a mask of one class
        labels = labels if count == 1 else np.where(given, pieces, 0).astype(np.uint16)
    grid = found.labels.grid
    lesion_map = LesionMap(
        labels=LabelMap(voxels=labels, grid=grid),
        lesions=_described(labels, grid, None),
        source=MeasurementSource.MASK,
    )
    return lesion_map if found.viable is None else with_viable(lesion_map, found.viable, study)


def with_viable(lesion_map: LesionMap, viable: LabelMap, study: Study) -> LesionMap:
    """Put a given viable mask into a lesion map; it is believed.

    By place, not by value: the viable mask may be of one class or numbered otherwise. What lies in no lesion is left
    out and counted; `check_quality` says so.

    Raises
    ------
    DataError
        ``viable_outside_lesions``: it is not empty, and lies in no lesion at all. It would say that all tumour is dead.
    """
    labels = lesion_map.labels
    inside = np.where(viable.voxels > 0, labels.voxels, 0).astype(np.uint16)
    count = np.count_nonzero(viable.voxels)
    if count and not inside.any():
        raise DataError(
            f"mask 'viable' has {count} voxels, none of them in a lesion; expected viable tumour within lesions",
            code="viable_outside_lesions",
            patient_id=study.patient_id,
            study_date=study.study_date,
        )
    return replace(
        lesion_map,
        viable=LabelMap(voxels=inside, grid=labels.grid),
        viable_outside=int(count - np.count_nonzero(inside)),
    )


def _components(mask: BoolArray, probability: Image, settings: LesionSettings, sure: Certainty) -> LabelArray:
    """Label the connected bodies that pass the thresholds, those joined by a thin neck apart."""
    joined, _ = ndimage.label(mask, structure=_TOUCHING)
    labels = np.zeros(mask.shape, dtype=np.uint16)
    spacing_mm = probability.grid.spacing_mm
    count = 0
    for number, cut in enumerate(ndimage.find_objects(joined), start=1):
        parts = _parted(joined[cut] == number, spacing_mm, settings)
        for part in range(1, int(parts.max()) + 1):
            body = parts == part
            values = probability.voxels[cut][body]
            if (
                values.max() >= sure.least_peak
                and values.mean() >= sure.least_mean
                and _is_large_enough(body, probability.grid, settings)
            ):
                count += 1
                labels[cut][body] = count
    return labels


def _outlined(labels: LabelArray, probability: Image, sure: Certainty) -> LabelArray:
    """Draw lesions closer: of each the largest piece of what lies within; one without such voxels stays as it is."""
    closer = labels.copy()
    for label, cut in enumerate(ndimage.find_objects(labels), start=1):
        body = labels[cut] == label
        level = _outline_level(np.count_nonzero(body) * probability.grid.voxel_volume_ml, sure)
        kept = largest_piece(body & (probability.voxels[cut] >= level), connectivity=3)
        if kept.any():
            closer[cut][body & ~kept] = 0
    return closer


def _outline_level(volume_ml: float, sure: Certainty) -> float:
    """Return the probability at which a body of this volume is outlined.

    The voxels of a network blur a small lesion away: at the level that suits a large one it is drawn too small.
    """
    smallest, largest = _OUTLINED_CLOSER_MM
    share = float(np.clip((ball_diameter_mm(volume_ml) - smallest) / (largest - smallest), 0.0, 1.0))
    return sure.threshold + share * (sure.outline - sure.threshold)


def _opened(labels: LabelArray, spacing_mm: tuple[float, float, float], share: float) -> LabelArray:
    """Take the tails off lesions: of each, keep the largest piece that a ball reaches which fits inside."""
    opened = labels.copy()
    for label, cut in enumerate(ndimage.find_objects(labels), start=1):
        body = np.pad(labels[cut] == label, 1)
        depth = ndimage.distance_transform_edt(body, sampling=spacing_mm)
        radius = share * depth.max()
        # half a voxel more: depth is measured to voxel centres, and the end of a smooth body is no tail
        away = ndimage.distance_transform_edt(depth <= radius, sampling=spacing_mm)
        reached = away <= radius + min(spacing_mm) / 2.0
        kept = largest_piece(body & reached, connectivity=3)
        opened[cut][(body & ~kept)[1:-1, 1:-1, 1:-1]] = 0
    return opened


def _drawn_along_borders(
    labels: LabelArray, prepared: PreparedStudy, near: BoolArray, settings: LesionSettings
) -> LabelArray:
    """Draw every lesion along the border that the contrast phases show, which show all around it."""
    if settings.edge_mm <= 0.0:
        return labels
    spacing_mm = prepared.grid.spacing_mm
    margin = margin_voxels(spacing_mm, 2.0 * settings.edge_mm)
    drawn = labels.copy()
    for label, cut in enumerate(ndimage.find_objects(labels), start=1):
        if cut is None:
            continue
        i, j, k = (slice(max(at.start - by, 0), at.stop + by) for at, by in zip(cut, margin, strict=True))
        box = i, j, k
        signals = _signals(prepared, box, near[box] & (labels[box] == 0))
        if not signals:
            continue
        own = drawn[box] == label
        body = along_borders(
            own,
            near[box] & (drawn[box] == 0),
            signals,
            spacing_mm,
            reach_mm=settings.edge_mm,
            least_contrast=settings.edge_contrast,
        )
        drawn[box][own] = 0
        drawn[box][body] = label
    return drawn


def _signals(prepared: PreparedStudy, box: tuple[slice, slice, slice], beside: BoolArray) -> list[FloatArray]:
    """Return the T1 contrast phases that show the whole of a box, in units of the liver beside a lesion."""
    signals = []
    for phase, image in prepared.images.items():
        if phase is ContrastPhase.OTHER or (
            phase in prepared.fields and not prepared.fields[phase][box].all()
        ):
            continue
        voxels = image.voxels[box]
        level = float(np.median(voxels[beside])) if beside.any() else 0.0
        if level > 0.0:
            # far off the liver's own signal it does not matter how far
            signals.append(np.clip(voxels / np.float32(level) - 1, -1, 1))
    return signals


def _is_large_enough(body: BoolArray, grid: Grid, settings: LesionSettings) -> bool:
    extent = max(
        np.ptp(places) * step + step
        for places, step in zip(np.nonzero(body), grid.spacing_mm, strict=True)
        if len(places)
    )
    volume_ml = np.count_nonzero(body) * grid.voxel_volume_ml
    return bool(extent >= settings.least_diameter_mm and volume_ml >= settings.least_volume_ml)


def _parted(
    body: BoolArray, spacing_mm: tuple[float, float, float], settings: LesionSettings
) -> npt.NDArray[np.intp]:
    """Cut a connected body where its neck is thin: watershed of the depth, thick necks joined again."""
    from skimage.morphology import local_maxima
    from skimage.segmentation import watershed

    padded = np.pad(body, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    peaks = local_maxima(depth, connectivity=3) & (depth >= settings.least_diameter_mm / 2.0)
    seeds, count = ndimage.label(peaks, structure=_TOUCHING)
    if count < 2:
        return body.astype(np.intp)
    basins = watershed(-depth, seeds, mask=padded, connectivity=_TOUCHING)
    radius = ndimage.maximum(depth, basins, index=np.arange(count + 1))
    owner = np.arange(count + 1)
    # widest necks first, so that ripples of one body grow together before it is compared with its neighbours
    for neck, one, other in sorted(_necks(basins, depth), reverse=True):
        first, second = owner[one], owner[other]
        if first != second and neck >= settings.neck * min(radius[first], radius[second]):
            keep, lost = (first, second) if radius[first] >= radius[second] else (second, first)
            owner[owner == lost] = keep
    _, numbers = np.unique(owner, return_inverse=True)
    return np.asarray(numbers[basins][1:-1, 1:-1, 1:-1], dtype=np.intp)


def _necks(basins: npt.NDArray[np.intp], depth: npt.NDArray[np.float64]) -> list[tuple[float, int, int]]:
    """Give the depth of the deepest contact of every two basins that touch."""
    deepest: dict[tuple[int, int], float] = {}
    for axis in range(3):
        one, other = np.moveaxis(basins, axis, 0)[:-1], np.moveaxis(basins, axis, 0)[1:]
        touch = (one != other) & (one > 0) & (other > 0)
        level = np.minimum(np.moveaxis(depth, axis, 0)[:-1], np.moveaxis(depth, axis, 0)[1:])[touch]
        for first, second, value in zip(one[touch], other[touch], level, strict=True):
            pair = (int(min(first, second)), int(max(first, second)))
            deepest[pair] = max(deepest.get(pair, 0.0), float(value))
    return [(value, first, second) for (first, second), value in deepest.items()]


def _described(labels: LabelArray, grid: Grid, probability: Image | None) -> tuple[Lesion, ...]:
    """Describe every label, largest first, then by position."""
    lesions = []
    for label, cut in enumerate(ndimage.find_objects(labels), start=1):
        if cut is None:
            continue
        body = labels[cut] == label
        low = [part.start for part in cut]
        middle = np.argwhere(body).mean(axis=0, keepdims=True) + low
        x, y, z = voxel_to_world(grid, middle)[0].tolist()
        i, j, k = ((part.start, part.stop) for part in cut)
        box: Box = (i, j, k)
        mean = None if probability is None else float(probability.voxels[box_slices(box)][body].mean())
        lesions.append(
            Lesion(
                label=label,
                centroid_mm=(x, y, z),
                volume_ml=float(body.sum()) * grid.voxel_volume_ml,
                bounding_box=box,
                mean_probability=mean,
            )
        )
    return tuple(sorted(lesions, key=lambda lesion: (-lesion.volume_ml, lesion.centroid_mm)))
