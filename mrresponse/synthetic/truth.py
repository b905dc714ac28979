"""What is true of a synthetic patient: masks, sizes and expected responses, written beside the images.

Diameters are given twice: ``analytic`` follows from the ellipsoid, ``voxelised`` is the largest distance between two
voxel centres of the truth mask in one slice, by brute force. Neither uses the measuring code of the line. On sampled
discs of 5 to 60 mm the distance of centres is 0.2 pixels (95 %: 0.0 to 0.6) below the true diameter.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mrresponse.domain import BoolArray, ContrastPhase, LabelMap
from mrresponse.files import write_atomically
from mrresponse.nifti import write_label_map
from mrresponse.synthetic.ellipsoids import Ellipsoid
from mrresponse.synthetic.placement import PlacedPatient
from mrresponse.synthetic.plans import BENIGN, ExpectedResponse
from mrresponse.synthetic.render import RenderedStudy
from mrresponse.synthetic.study_geometry import LocatedLesion
from mrresponse.tables import write_rows

GENERATOR_VERSION = "1"
"""Version of the synthetic patients: changes whenever equal arguments give other bytes."""

# Labels are drawn from a little more numbers than there are lesions, so that a label tells nothing of a lesion.
_SPARE_LABELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Extents:
    """Longest in-plane diameter of a mask and its extent at a right angle to it, in the same slice."""

    longest_mm: float
    perpendicular_mm: float


def write_study_truth(
    folder: Path, patient: PlacedPatient, study: RenderedStudy, *, seed: int
) -> dict[str, Any]:
    """Write the masks of one study below ``folder`` and return its entry of ``truth.json``.

    A study without an arterial phase has no ``viable`` mask: viability cannot be seen in it.
    """
    place = folder / "masks" / patient.plan.patient_id / study.plan.study_date.isoformat()
    labels = _draw_labels(len(study.lesions), seed=seed)
    whole = np.zeros(study.grid.shape, dtype=np.uint16)
    viable = np.zeros(study.grid.shape, dtype=np.uint16)
    for label, lesion in zip(labels, study.lesions, strict=True):
        whole[lesion.whole_mask] = label
        viable[lesion.viable_mask] = label
    write_label_map(place / "liver.nii.gz", LabelMap(voxels=study.liver.astype(np.uint16), grid=study.grid))
    write_label_map(place / "lesions.nii.gz", LabelMap(voxels=whole, grid=study.grid))
    if ContrastPhase.ARTERIAL in study.plan.contrast_phases:
        write_label_map(place / "viable.nii.gz", LabelMap(voxels=viable, grid=study.grid))
    return {
        "study_date": study.plan.study_date.isoformat(),
        "agent": study.plan.agent.value,
        "contrast_phases": [phase.value for phase in study.plan.contrast_phases],
        "reference_phase": study.plan.reference.value,
        "defect": None if study.plan.defect is None else study.plan.defect.value,
        "liver_volume_ml": _round(float(study.liver.sum()) * study.grid.voxel_volume_ml, 3),
        "lesions": [
            _describe(lesion, label, study) for label, lesion in zip(labels, study.lesions, strict=True)
        ],
    }


def write_truth(
    folder: Path,
    header: dict[str, Any],
    patients: Iterable[dict[str, Any]],
    expected: Sequence[ExpectedResponse],
) -> None:
    """Write ``truth.json`` and ``assessments.csv``."""
    content = {"generator_version": GENERATOR_VERSION, **header, "patients": list(patients)}
    write_atomically(folder / "truth.json", (json.dumps(content, indent=1) + "\n").encode())
    write_rows(folder / "assessments.csv", expected, ExpectedResponse)


def describe_patient(patient: PlacedPatient, studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry of a patient in ``truth.json``."""
    return {
        "patient_id": patient.plan.patient_id,
        "anatomy_seed": patient.anatomy.seed,
        "cirrhotic": patient.plan.cirrhotic,
        "background": patient.plan.background.value,
        "expected_target_lesions_at_first_study": patient.plan.expected_targets,
        "studies": list(studies),
    }


def mask_extents(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> Extents | None:
    """Measure a convex mask ``[i, j, k]`` by comparing all pairs of its outermost voxel centres, slice by slice."""
    best: Extents | None = None
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        region = mask[:, :, k]
        rim = region & ~ndimage.binary_erosion(region)
        points = np.argwhere(rim) * np.asarray(spacing_mm[:2])
        between = points[:, None, :] - points[None, :, :]
        lengths = np.sqrt((between**2).sum(axis=2))
        first, last = np.unravel_index(int(lengths.argmax()), lengths.shape)
        longest = float(lengths[first, last])
        if best is not None and longest <= best.longest_mm:
            continue
        direction = between[first, last] / max(longest, 1e-9)
        across = points @ np.array([-direction[1], direction[0]])
        best = Extents(longest_mm=longest, perpendicular_mm=float(np.ptp(across)))
    return best


def _draw_labels(count: int, *, seed: int) -> list[int]:
    numbers = np.random.default_rng([seed, 83]).permutation(count + _SPARE_LABELS) + 1
    return [int(number) for number in numbers[:count]]


def _describe(lesion: LocatedLesion, label: int, study: RenderedStudy) -> dict[str, Any]:
    plan = lesion.placed.plan
    benign = plan.subtype in BENIGN
    return {
        "identity": plan.identity,
        "label": label if lesion.whole_mask.any() else None,
        "subtype": plan.subtype.value,
        "malignant": not benign,
        "lobe": plan.lobe.value,
        "remnant": plan.remnant.name.lower(),
        "centre_mm": [_round(value, 3) for value in lesion.whole.centre_mm],
        "analytic": {
            **_analytic(lesion.whole, ""),
            **_analytic(None if benign else lesion.viable, "viable_"),
        },
        "voxelised": {
            **_voxelised(lesion.whole_mask, study, ""),
            **_voxelised(lesion.viable_mask, study, "viable_"),
        },
    }


def _analytic(part: Ellipsoid | None, prefix: str) -> dict[str, float]:
    if part is None:
        return _sizes(prefix, 0.0, 0.0, 0.0)
    first, second, _ = part.semi_axes_mm
    return _sizes(prefix, 2 * max(first, second), 2 * min(first, second), part.volume_ml)


def _voxelised(mask: BoolArray, study: RenderedStudy, prefix: str) -> dict[str, float]:
    extents = mask_extents(mask, study.grid.spacing_mm)
    if extents is None:
        return _sizes(prefix, 0.0, 0.0, 0.0)
    volume = float(mask.sum()) * study.grid.voxel_volume_ml
    return _sizes(prefix, extents.longest_mm, extents.perpendicular_mm, volume)


def _sizes(prefix: str, longest: float, perpendicular: float, volume: float) -> dict[str, float]:
    return {
        f"{prefix}longest_diameter_mm": _round(longest, 3),
        f"{prefix}perpendicular_diameter_mm": _round(perpendicular, 3),
        f"{prefix}volume_ml": _round(volume, 4),
    }


def _round(value: float, digits: int) -> float:
    return round(float(value), digits)
