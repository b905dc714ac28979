"""A new lesion found by a network counts only where the earlier study, looked at again, shows liver."""

from pathlib import Path

import pytest

from mrresponse import Settings, assess_patient
from mrresponse.domain import NewLesionStatus, Response
from mrresponse.synthetic.scenarios import generate
from tests.integration.test_run import as_network, only_patient

FIRST, SECOND = "2024-01-15", "2024-04-15"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "R5"
    generate("R5", size="tiny", seed=2, image_format="nifti", out=folder)
    return folder


def test_a_new_hcc_where_there_was_liver_is_definite(phantom: Path) -> None:
    segmenter = as_network(phantom / "truth" / "masks", erased_at=None)
    result = assess_patient(only_patient(phantom / "data"), segmenter, Settings())
    (new,) = (row for row in result.measurements if row.new_lesion_status is not None)
    assert new.new_lesion_status is NewLesionStatus.DEFINITE
    track = next(one for one in result.tracks if one.lesion_id == new.lesion_id)
    assert track.observations[0].was_liver_before is True


def test_a_lesion_missed_before_is_not_a_new_one(phantom: Path) -> None:
    segmenter = as_network(phantom / "truth" / "masks", erased_at=FIRST)
    result = assess_patient(only_patient(phantom / "data"), segmenter, Settings())
    tracks = {one.lesion_id: one.observations[0] for one in result.tracks}
    status = {
        row.lesion_id: row.new_lesion_status
        for row in result.measurements
        if row.study_date.isoformat() == SECOND
    }
    missed = max(tracks, key=lambda one: tracks[one].radius_mm or 0.0)
    assert tracks[missed].was_liver_before is False
    assert "not like liver" in tracks[missed].evidence
    assert status[missed] is NewLesionStatus.EQUIVOCAL
    assert Response.CR not in {row.overall for row in result.response.assessments}
