"""A cohort on disk that is assessed in moments: coarse ellipsoid livers, two studies each, with given masks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrresponse.domain import ContrastPhase, LabelMap
from mrresponse.nifti import write_image, write_label_map
from tests.phantoms import LIVER, Body, Ellipsoid, ball, grid_around, label_map, mask_of

DATES = ("2024-01-15", "2024-04-15")
PHASES = (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL)

# Registration on this grid has nothing to find; without its last step a patient takes a fraction of a second.
SETTINGS = {
    "prepare": {"registration": {"knot_spacing_mm": 0, "iterations": 5}},
    "track": {"registration": {"iterations": 5, "study_knot_spacing_mm": 0}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallCohort:
    """Where it lies, and who is in it."""

    path: Path
    patients: tuple[str, ...]

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.path / "data"

    @property
    def masks(self) -> Path:
        """The folder of the true masks."""
        return self.path / "masks"

    @property
    def config(self) -> Path:
        """The settings file that makes it quick."""
        return self.path / "config.yaml"

    def arguments(self, out: Path, *more: str) -> list[str]:
        """Give the words of a run."""
        words = ["run", str(self.data), "--masks", str(self.masks), "--config", str(self.config)]
        return [*words, "--out", str(out), *more]

    def image(self, patient: str, date: str, phase: ContrastPhase = ContrastPhase.ARTERIAL) -> Path:
        """Give one image file."""
        return self.data / patient / f"{date}_{phase.value}.nii.gz"


def write_small_cohort(path: Path, patients: Sequence[str]) -> SmallCohort:
    """Write patients whose one lesion shrinks; every patient is another body."""
    cohort = SmallCohort(path=path, patients=tuple(patients))
    rows = ["patient_id,study_date,contrast_phase,path"]
    for seed, patient in enumerate(patients):
        for date, diameter_mm in zip(DATES, (44.0, 28.0), strict=True):
            _write_study(cohort, patient, date, ball((-25.0, 0.0, 0.0), diameter_mm), seed)
            rows += [
                f"{patient},{date},{phase.value},{cohort.image(patient, date, phase).relative_to(cohort.data)}"
                for phase in PHASES
            ]
    (cohort.data / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_settings(cohort, {})
    return cohort


def write_settings(cohort: SmallCohort, more: dict[str, dict[str, object]]) -> None:
    """Write the settings file: the quick ones, with more of them step by step."""
    merged = {step: {**SETTINGS.get(step, {}), **more.get(step, {})} for step in {**SETTINGS, **more}}
    # JSON is YAML
    cohort.config.write_text(json.dumps(merged), encoding="utf-8")


def _write_study(cohort: SmallCohort, patient: str, date: str, lesion: Ellipsoid, seed: int) -> None:
    body = Body(lesions=(lesion,), seed=seed)
    grid = grid_around(body.liver, spacing_mm=(8.0, 8.0, 8.0))
    for phase in PHASES:
        write_image(cohort.image(patient, date, phase), body.image(grid, phase, noise_sd=0.02))
    folder = cohort.masks / patient / date
    liver = LabelMap(voxels=mask_of(LIVER, grid).astype(np.uint16), grid=grid)
    write_label_map(folder / "liver.nii.gz", liver)
    write_label_map(folder / "lesions.nii.gz", label_map([lesion], grid))
