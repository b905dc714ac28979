"""Repeated readings beside the tables of a folder give the error of one reading."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from mrresponse.domain import (
    AuditRow,
    Failure,
    LesionEdit,
    LesionTrack,
    MaskEdit,
    Patient,
    PatientEdits,
    PatientResult,
)
from mrresponse.errors import DataError
from mrresponse.numbers import respond_again, with_repeats
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


ONE = date(2024, 1, 10)


def measured(*, same_as: str | None = None, masks: Sequence[str] = (), edits: PatientEdits) -> PatientResult:
    """Give a patient as a run left it: the identities and masks that its measurements rest on, and the edits of now."""
    return PatientResult(
        patient=Patient(patient_id="P1", edits=edits),
        tracks=(
            LesionTrack(patient_id="P1", lesion_id="L01", observations=()),
            LesionTrack(patient_id="P1", lesion_id="L02", observations=(), same_as=same_as),
        ),
        audit=tuple(
            AuditRow(patient_id="P1", study_date=ONE, edit=f"masks/{mask}", what=f"{mask} mask", sha256="a1")
            for mask in masks
        ),
    )


def identity(lesion_id: str, same_as: str) -> PatientEdits:
    row = LesionEdit(patient_id="P1", lesion_id=lesion_id, same_as=same_as, reader="Dr C", reason="moved")
    return PatientEdits(lesions=(row,))


def corrected(*masks: str, sha256: str = "a1") -> PatientEdits:
    return PatientEdits(
        masks=tuple(
            MaskEdit(patient_id="P1", study_date=ONE, mask=mask, root=Path(), sha256=sha256) for mask in masks
        )
    )


@pytest.mark.parametrize(
    ("result", "said"),
    [
        # taken back, made another, misspelt: what was measured is still L02 within L01
        (
            measured(same_as="L01", edits=PatientEdits()),
            "edits/lesions.csv: found no same_as of L02, measured as L01",
        ),
        (measured(same_as="L01", edits=identity("L02", "L03")), "found same_as L03 of L02, measured as L01"),
        (measured(edits=identity("L99", "L01")), "found same_as L01 of L99, measured apart"),
        (
            measured(edits=corrected("lesions")),
            "edits/masks: found a mask 'lesions' of 2024-01-10 that was not used",
        ),
        (
            measured(masks=["viable"], edits=corrected()),
            "edits/masks: found no mask 'viable' of 2024-01-10, which was",
        ),
        (
            measured(masks=["viable"], edits=corrected("viable", sha256="b2")),
            "edits/masks: found a mask 'viable' of 2024-01-10 that was changed since it was used",
        ),
    ],
)
def test_an_edit_that_needs_the_images_is_not_passed_over(result: PatientResult, said: str) -> None:
    (outcome,) = respond_again([result], RespondSettings())
    assert isinstance(outcome, Failure)
    assert (outcome.patient_id, outcome.code, outcome.step) == ("P1", "bad_edit", "response")
    assert said in outcome.message
    assert outcome.message.endswith("run 'mrresponse run' again")


def test_edits_that_the_measurements_rest_on_are_taken() -> None:
    both = PatientEdits(lesions=identity("L02", "L01").lesions, masks=corrected("liver", "lesions").masks)
    (outcome,) = respond_again(
        [measured(same_as="L01", masks=["lesions", "liver"], edits=both)], RespondSettings()
    )
    assert isinstance(outcome, PatientResult)
