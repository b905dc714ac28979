"""Measure the target error of the registrations on synthetic patients whose motion is known.

``registration_study.py FOLDER --json FILE`` takes scenarios made by ``scenario_suite.py`` or ``mrresponse phantom``
below FOLDER. The target error of a point of the liver is how far its registered place is from the true one, in mm.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from figures import at_most, publish, reported

from mrresponse import Settings, make_segmenter
from mrresponse.domain import ContrastPhase, Image, PreparedStudy, Study
from mrresponse.geometry import to_canonical, voxel_to_world
from mrresponse.ingest import ingest, read_study
from mrresponse.prepare import prepare
from mrresponse.registration import FixedLiver, RegistrationSettings, register_phases, register_studies
from mrresponse.synthetic.acquisition import Motion
from mrresponse.synthetic.catalogue import find_scenario
from mrresponse.synthetic.placement import place_patient
from mrresponse.synthetic.render import phase_motion
from mrresponse.synthetic.scenarios import seed_of
from mrresponse.synthetic.study_geometry import SIZES, StudyGeometry, locate_study

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Target errors of one registration in mm: median and 95th percentile over the liver."""

    name: str
    before: float
    median: float
    p95: float
    accepted: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both kinds of registration and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that holds one folder per scenario")
    parser.add_argument("--size", default="standard", help="size that the scenarios were made with")
    parser.add_argument("--seed", type=int, default=1, help="seed that the scenarios were made with")
    parser.add_argument("--only", choices=["phases", "studies"], help="measure one kind only")
    parser.add_argument("--json", type=Path, help="file to write")
    chosen = parser.parse_args(argv)
    phases: list[Error] = []
    studies: list[Error] = []
    for folder in sorted(path.parent.parent for path in chosen.folder.glob("*/truth/truth.json")):
        for error in measure_scenario(folder, size=chosen.size, seed=chosen.seed, only=chosen.only):
            (studies if "->" in error.name else phases).append(error)
            print(
                f"{error.name:<40} before {error.before:5.1f}  median {error.median:5.2f}"
                f"  p95 {error.p95:5.2f}{'' if error.accepted else '  refused'}",
                flush=True,
            )
    figures = []
    for name, found, bars in (("phases", phases, (1.5, 3.0)), ("studies", studies, (5.0, 10.0))):
        if found:
            figures += [
                reported(f"between {name}: registrations", len(found), ""),
                at_most(f"between {name}: median", np.median([one.median for one in found]), "mm", bars[0]),
                at_most(f"between {name}: 95th percentile", _pooled_p95(found), "mm", bars[1]),
                reported(f"between {name}: worst median", max(one.median for one in found), "mm"),
                reported(f"between {name}: worst p95", max(one.p95 for one in found), "mm"),
                reported(f"between {name}: refused", sum(not one.accepted for one in found), ""),
            ]
    return publish(figures, chosen.json, last=f"{len(phases) + len(studies)} registrations were measured.")


def _pooled_p95(errors: Sequence[Error]) -> float:
    """Return the median over the registrations of their 95th percentile: every liver counts alike."""
    return float(np.median([one.p95 for one in errors]))


def measure_scenario(folder: Path, *, size: str, seed: int, only: str | None) -> Iterator[Error]:
    """Yield the error of every registration of one scenario."""
    settings = Settings()
    found = ingest(folder / "data", settings.ingest)
    segmenter = make_segmenter(settings.segment, masks=folder / "truth" / "masks")
    plans = {plan.patient_id: plan for plan in find_scenario(folder.name, seed=seed).patients}
    for patient in found.patients:
        patient_seed = seed_of(patient.patient_id, seed)
        placed = place_patient(plans[patient.patient_id], seed=patient_seed)
        geometries = [
            locate_study(placed, number, size=SIZES[size], seed=patient_seed)
            for number in range(len(patient.studies))
        ]
        prepared = []
        for study, geometry in zip(patient.studies, geometries, strict=True):
            images = read_study(study)
            prepared.append(prepare(study, images, partial(segmenter.liver, study), settings.prepare))
            if only != "studies":
                yield from phase_errors(study, images, prepared[-1], geometry, settings.prepare.registration)
        if only != "phases":
            for (fixed, one), (moving, other) in pairwise(zip(prepared, geometries, strict=True)):
                yield study_error(fixed, moving, (one, other), settings.track.registration)


def phase_errors(
    study: Study,
    images: dict[ContrastPhase, Image],
    prepared: PreparedStudy,
    geometry: StudyGeometry,
    settings: RegistrationSettings,
) -> Iterator[Error]:
    """Yield the error of every contrast phase of a study against its reference."""
    target = FixedLiver.of(prepared.images[prepared.reference], prepared.liver, settings)
    points = _liver_points(prepared)
    for index, phase in enumerate(geometry.plan.contrast_phases):
        if phase is prepared.reference:
            continue
        found = register_phases(to_canonical(images[phase]), target)
        motion = phase_motion(geometry.plan, phase, seed=geometry.seed + index)
        yield _error(
            f"{study.patient_id} {study.study_date} {phase.value}",
            before=moved(motion, points) - points,
            after=moved(motion, found.map_points(points)) - points,
            accepted=found.accepted,
        )


def study_error(
    fixed: PreparedStudy,
    moving: PreparedStudy,
    geometries: tuple[StudyGeometry, StudyGeometry],
    settings: RegistrationSettings,
) -> Error:
    """Return the error of the registration of a study to the one before."""
    one, other = geometries
    points = _liver_points(fixed)
    anatomy = moved(one.motion, points)
    found = register_studies(moving, fixed, settings)
    return _error(
        f"{fixed.study.patient_id} {fixed.study.study_date} -> {moving.study.study_date}",
        before=moved(other.motion, points) - anatomy,
        after=moved(other.motion, found.map_points(points)) - anatomy,
        accepted=found.accepted,
    )


def moved(motion: Motion, points: Points) -> Points:
    """Return the anatomical places of image points ``(n, 3)``."""
    given = torch.from_numpy(points.T.astype(np.float32)).view(3, -1, 1, 1)
    return np.asarray(motion.apply(given).view(3, -1).numpy().T, dtype=np.float64)


def _liver_points(prepared: PreparedStudy) -> Points:
    index = np.argwhere(prepared.liver.voxels > 0)
    return np.asarray(voxel_to_world(prepared.grid, index[:: max(1, len(index) // 4000)]))


def _error(name: str, *, before: Points, after: Points, accepted: bool) -> Error:
    length = np.linalg.norm(after, axis=1)
    return Error(
        name=name,
        before=float(np.median(np.linalg.norm(before, axis=1))),
        median=float(np.median(length)),
        p95=float(np.percentile(length, 95)),
        accepted=accepted,
    )


if __name__ == "__main__":
    sys.exit(main())
