"""Repeated readings beside the tables of a folder give the error of one reading."""

from pathlib import Path

import pytest

from mrresponse.errors import DataError
from mrresponse.numbers import with_repeats
from mrresponse.respond import RespondSettings

HEADER = "patient_id,lesion_id,study_date,reader,longest_diameter_mm\n"


def write(folder: Path, *cells: str) -> Path:
    rows = "".join(f"R{number},L01,2024-01-01,{cell}\n" for number, cell in enumerate(cells))
    (folder / "repeats.csv").write_text(HEADER + rows, encoding="utf-8")
    return folder


def test_a_folder_without_repeated_readings_changes_no_setting(tmp_path: Path) -> None:
    settings = RespondSettings()
    assert with_repeats(settings, tmp_path) is settings


def test_repeated_readings_set_the_error_and_so_the_fingerprint(tmp_path: Path) -> None:
    rows = [f"P{n},L01,2024-01-01,A/{k},{20 + n + 2 * k}\n" for n in range(12) for k in (1, 2)]
    (tmp_path / "repeats.csv").write_text(HEADER + "".join(rows), encoding="utf-8")
    found = with_repeats(RespondSettings(), tmp_path)
    # every pair differs by 2 mm: 2 / sqrt(2)
    assert found.measurement_error.diameter_floor_mm == pytest.approx(2**0.5)
    assert found.fingerprint != RespondSettings().fingerprint


def test_a_repeated_reading_that_is_no_number_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"repeats\.csv row 3 .*found '12mm'"):
        with_repeats(RespondSettings(), write(tmp_path, "A/1,12", "A/2,12mm"))


def test_too_few_repeated_readings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 0 repeated readings"):
        with_repeats(RespondSettings(), write(tmp_path, "A/1,12", "A/2,13"))
