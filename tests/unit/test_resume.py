"""An examined study that is kept comes back with everything that measuring reads."""

from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import numpy as np

from mrresponse import resume
from mrresponse.domain import ContrastPhase, PatientResult
from mrresponse.resume import ResumeFolder
from tests.phantoms import ball, examined_study

PVP = ContrastPhase.PORTAL_VENOUS


def test_what_a_phase_shows_is_kept_with_a_study(tmp_path: Path) -> None:
    study = examined_study([ball((20.0, 0.0, 0.0), 20.0)], date(2024, 1, 10))
    seen = np.zeros(study.prepared.grid.shape, dtype=bool)
    seen[:, :, 2:] = True
    cut = replace(study, prepared=replace(study.prepared, fields={PVP: seen}))
    folder = ResumeFolder(path=tmp_path, failures=tmp_path / "failures")
    for given in (study, cut):
        folder.keep_study(given, "key")
        found = folder.recall_study(given.prepared.study, "key")
        assert found is not None
        assert set(found.prepared.fields) == set(given.prepared.fields)
        assert all(np.array_equal(found.prepared.fields[phase], seen) for phase in found.prepared.fields)


def test_all_of_a_result_but_its_pictures_is_kept() -> None:
    """What is not named there would be gone once a run goes on."""
    kept = {part.name for part in fields(resume._Stored)}
    assert kept == {part.name for part in fields(PatientResult)} - {"snapshots"}
