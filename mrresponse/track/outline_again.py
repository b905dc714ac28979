"""A lesion that the network lost, outlined by its signal where it still looks as it did.

A network misses now and then what it found before: a dead lesion that has turned bright before contrast, a small one.
Where the registered place differs from the liver beside it as the lesion did, and clearly, it is there, and half of
that difference is its edge. Only what cannot be a vessel is taken: after contrast no brighter than the liver.
"""

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from mrresponse.domain import BoolArray, ContrastPhase, ExaminedStudy, LabelMap, Lesion
from mrresponse.geometry import ball_diameter_mm, voxel_to_world
from mrresponse.track.assign import Body
from mrresponse.track.look_again import Around, Look, around, doubts_about, look_at_ball, reach_of
from mrresponse.track.settings import TrackSettings

# Treatment changes the arterial enhancement first, and other contrasts are no part of the look.
_LASTING = (
    ContrastPhase.PRECONTRAST,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
)
_WITH_BRIGHT_VESSELS = (ContrastPhase.PORTAL_VENOUS, ContrastPhase.DELAYED)
# The liver beside a place, beyond the body that is looked for.
_BESIDE_MM = (6.0, 20.0)
_SMOOTHING_MM = 1.0
_LARGEST_SHARE_OUTSIDE = 0.05
_IN_PLANE = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)[:, :, None]


def outline_again(
    study: ExaminedStudy, expected: Body, then: Look | None, settings: TrackSettings
) -> BoolArray | None:
    """Outline a lesion at its registered place by the signal that told it from the liver when it was last seen.

    Parameters
    ----------
    expected
        The lesion as it was last seen, carried into the world of the study.
    then
        How it looked there.

    Returns
    -------
    mask or None
        On the study's grid; ``None`` where the place does not show the lesion beyond doubt: no contrast phase in which
        it stood out and clearly does to the same side (``outline_contrast``), brighter than the liver where vessels
        are, images in doubt, or a body of another size (``outline_least_share``, ``outline_largest_share``) or without
        an edge within ``search_mm`` of where the lesion is expected.
    """
    if then is None or doubts_about(study):
        return None
    reach = reach_of(study, expected.radius_mm)
    now = look_at_ball(study, expected.middle, reach)
    if now is None:
        return None
    telling = _telling(then, now, settings)
    if not telling:
        return None
    extent = float(np.linalg.norm(expected.points - expected.middle, axis=1).max())
    place = around(study, expected.middle, extent + settings.search_mm + _BESIDE_MM[1])
    shown = _shown(study, place, now, telling, beyond_mm=extent + _BESIDE_MM[0])
    if shown is None:
        return None
    body = _body_at(shown & _free(study, place), place, reach)
    volume_ml = float(body.sum()) * study.prepared.grid.voxel_volume_ml
    share = volume_ml / expected.volume_ml
    if not settings.outline_least_share <= share <= settings.outline_largest_share:
        return None
    if ball_diameter_mm(volume_ml) < settings.outline_least_mm or _leaves(
        study, body, place, expected, settings.search_mm
    ):
        return None
    mask = np.zeros(study.prepared.grid.shape, dtype=np.bool_)
    mask[place.box] = body
    return mask


def with_outlined(study: ExaminedStudy, mask: BoolArray) -> tuple[ExaminedStudy, Lesion]:
    """Return the study with one lesion more, under the next label, and that lesion."""
    lesion_map = study.lesion_map
    grid = lesion_map.labels.grid
    label = 1 + max((lesion.label for lesion in lesion_map.lesions), default=0)
    index = np.argwhere(mask)
    x, y, z = voxel_to_world(grid, index.mean(axis=0, keepdims=True))[0].tolist()
    i, j, k = zip(index.min(axis=0).tolist(), (index.max(axis=0) + 1).tolist(), strict=True)
    lesion = Lesion(
        label=label,
        centroid_mm=(x, y, z),
        volume_ml=len(index) * grid.voxel_volume_ml,
        bounding_box=(i, j, k),
    )
    labels = LabelMap(voxels=np.where(mask, label, lesion_map.labels.voxels).astype(np.uint16), grid=grid)
    added = replace(
        lesion_map,
        labels=labels,
        lesions=(*lesion_map.lesions, lesion),
        outlined_by_signal=lesion_map.outlined_by_signal | {label},
    )
    return replace(study, lesion_map=added), lesion


def _telling(then: Look, now: Look, settings: TrackSettings) -> list[ContrastPhase]:
    """Return the contrast phases that show the lesion as it was; none where one speaks against it."""
    if any(now.ratios.get(phase, 0.0) > 1.0 + settings.liver_like for phase in _WITH_BRIGHT_VESSELS):
        return []
    stood_out = [phase for phase in then.stands_out(settings.liver_like) if phase in _LASTING]
    contrasts = [
        (phase, (now.ratios[phase] - 1.0) * np.sign(then.ratios[phase] - 1.0))
        for phase in stood_out
        if phase in now.ratios
    ]
    if any(contrast < -settings.liver_like for _, contrast in contrasts):
        return []
    telling = [phase for phase, contrast in contrasts if contrast >= settings.outline_contrast]
    return telling if 2 * len(telling) >= len(contrasts) else []


def _shown(
    study: ExaminedStudy, place: Around, now: Look, telling: list[ContrastPhase], *, beyond_mm: float
) -> BoolArray | None:
    """Tell which voxels differ from the liver beside the place by half of what its middle does, over these phases."""
    prepared = study.prepared
    beside = (
        (prepared.liver.voxels[place.box] > 0)
        & (study.lesion_map.labels.voxels[place.box] == 0)
        & (place.distance_mm > beyond_mm)
    )
    sigma = [_SMOOTHING_MM / step for step in prepared.grid.spacing_mm]
    shares, is_seen = [], np.ones_like(beside)
    for phase in telling:
        voxels = prepared.images[phase].voxels[place.box].astype(np.float32)
        if phase in prepared.fields:
            is_seen &= prepared.fields[phase][place.box]
        around_it = voxels[beside & is_seen]
        if not around_it.size:
            return None
        liver = max(float(np.median(around_it)), 1e-6)
        shares.append((ndimage.gaussian_filter(voxels, sigma) / liver - 1.0) / (now.ratios[phase] - 1.0))
    found: BoolArray = (np.mean(shares, axis=0) >= 0.5) & is_seen
    return found


def _free(study: ExaminedStudy, place: Around) -> BoolArray:
    """Liver in which no other lesion was found."""
    liver = study.prepared.liver.voxels[place.box] > 0
    free: BoolArray = liver & (study.lesion_map.labels.voxels[place.box] == 0)
    return free


def _body_at(shown: BoolArray, place: Around, reach_mm: float) -> BoolArray:
    """Return the piece that fills most of the middle of the place, rid of what hangs on by one voxel, without holes."""
    # slice by slice: a small lesion lies in two or three of them
    body = ndimage.binary_opening(shown, structure=_IN_PLANE)
    pieces, count = ndimage.label(body)
    inside = np.bincount(pieces[place.distance_mm <= reach_mm], minlength=count + 1)
    inside[0] = 0
    if not inside.any():
        return np.zeros_like(shown)
    return np.asarray(ndimage.binary_fill_holes(pieces == inside.argmax()), dtype=np.bool_)


def _leaves(study: ExaminedStudy, body: BoolArray, place: Around, expected: Body, search_mm: float) -> bool:
    """Tell whether more than a twentieth of a body lies farther from what is expected than registration may be off."""
    corner = np.array([part.start for part in place.box])
    points = voxel_to_world(study.prepared.grid, np.argwhere(body) + corner)
    distance, _ = KDTree(expected.points).query(points, distance_upper_bound=search_mm)
    return bool(np.isinf(distance).mean() > _LARGEST_SHARE_OUTSIDE)
