"""Everything that a hospital's export of one patient holds becomes what it is, or is asked for; nothing is guessed."""

from collections import Counter

import numpy as np
import pytest

from mrresponse.ingest import IngestSettings, ingest, read_series
from mrresponse.ingest.check import check_report
from tests.hospital import ASKS, LEFT_OUT, QUIRKS, build, stored_values

PHASES = {"PRE", "ART", "PVP", "DEL", "HBP"}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    data = build(tmp_path_factory.mktemp("hospital"))
    return ingest(data, IngestSettings())


@pytest.fixture(scope="module")
def studies(ingested):
    everything = [study for patient in ingested.patients for study in patient.studies]
    return sorted([*everything, *ingested.failed_studies], key=lambda study: study.study_date)


def rows_of(ingested, studies, quirk):
    """Return the rows of the report about the series of a quirk."""
    date = studies[quirk.visit - 1].study_date
    return [
        row
        for row in check_report(ingested)
        if row.study_date == date and row.series == str(quirk.number) and row.status != "failed"
    ]


def test_the_hospital_is_as_large_as_it_says():
    assert len({(quirk.visit, quirk.number) for quirk in QUIRKS}) == 60
    assert len({quirk.visit for quirk in QUIRKS}) == 5
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name.replace(" ", "-"))
def test_series(ingested, studies, quirk):
    rows = rows_of(ingested, studies, quirk)
    if quirk.becomes in PHASES:
        taken = [row for row in rows if row.status == "taken" and row.contrast_phase == quirk.becomes]
        assert len(taken) == 1, rows
        (series,) = [
            item
            for item in studies[quirk.visit - 1].series
            if item.contrast_phase == quirk.becomes and item.series_number == quirk.number
        ]
        image = read_series(series, patient_id="P", study_date=studies[quirk.visit - 1].study_date)
        np.testing.assert_array_equal(image.voxels, stored_values(quirk))
    elif quirk.becomes == LEFT_OUT:
        reasons = [row.why for row in rows if row.status == "left out"]
        assert any(reason.startswith(quirk.reason) for reason in reasons), rows
    else:
        assert quirk.becomes == ASKS
        assert [row.status for row in rows] == ["undecided"]
        assert quirk.reason in rows[0].why


def test_no_phase_is_taken_that_no_quirk_names(studies):
    expected = Counter((quirk.visit, quirk.becomes) for quirk in QUIRKS if quirk.becomes in PHASES)
    taken = Counter(
        (visit, series.contrast_phase.value)
        for visit, study in enumerate(studies, start=1)
        for series in study.series
    )
    assert taken == expected


def test_what_is_asked_for_fails_the_patient_with_the_number_of_the_series(ingested):
    asked = sorted(str(quirk.number) for quirk in QUIRKS if quirk.becomes == ASKS)
    assert sorted(failure.series for failure in ingested.failures) == asked
    assert {failure.code for failure in ingested.failures} == {"unknown_contrast_phase"}
    assert all("a line in manifest.csv" in failure.message for failure in ingested.failures)
