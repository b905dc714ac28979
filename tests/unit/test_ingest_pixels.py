"""Pixels are decoded and rescaled as they were meant; what states an absurd size is refused before it takes memory."""

import struct
from datetime import date

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from mrresponse.cli import main
from mrresponse.errors import DataError
from mrresponse.ingest import IngestSettings, ingest, pixels, read_study
from mrresponse.ingest.check import with_refused_scales
from mrresponse.ingest.headers import read_headers
from mrresponse.ingest.volume import read_volume
from tests.dicom_files import SeriesPlan, alter, pixel_values, write_dynamic, write_enhanced, write_series
from tests.hospital import compress

DAY = date(2024, 1, 5)
PLAN = SeriesPlan(rows=32, columns=33, slices=2)


def code_of(files, frames=()):
    with pytest.raises(DataError) as caught:
        read_volume(files, frames)
    assert "/" not in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1])
@pytest.mark.parametrize("element", ["Rows", "Columns"])
def test_a_compressed_image_of_another_size_than_its_header_is_never_decoded(
    tmp_path, monkeypatch, syntax, element
):
    files = write_series(tmp_path, PLAN)
    for file in files:
        compress(file, syntax)
        alter(file, **{element: 16})

    def decoded(self):
        raise AssertionError("decoded")

    monkeypatch.setattr("pydicom.dataset.Dataset.pixel_array", property(decoded))
    assert code_of(files) == "truncated"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1, RLELossless])
def test_every_lossless_syntax_gives_the_stored_values(tmp_path, syntax):
    files = write_series(tmp_path, PLAN)
    for file in files:
        compress(file, syntax)
    expected = np.stack([pixel_values(PLAN, index).T for index in range(2)], axis=2)
    np.testing.assert_array_equal(read_volume(files).voxels, expected)


def test_a_slice_of_an_absurd_size_is_refused(tmp_path):
    files = write_series(tmp_path, PLAN)
    for file in files:
        alter(file, Rows=60_000, Columns=60_000)
    assert code_of(files) == "too_large"


def test_a_deflated_file_is_read_and_one_that_would_fill_the_memory_is_not(tmp_path, monkeypatch):
    files = write_series(tmp_path, PLAN)
    for file in files:
        dataset = dcmread(file)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(file)
    assert read_headers(files[0]).slices
    assert read_volume(files).grid.shape == (33, 32, 2)
    monkeypatch.setattr(pixels, "_MOST_INFLATED", 1000)
    assert read_headers(files[0]).is_unreadable
    assert code_of(files) == "truncated"


def test_rescaling_takes_philips_own_slope_out_of_the_values(tmp_path):
    files = write_series(tmp_path, PLAN)
    for file in files:
        dataset = dcmread(file)
        dataset.RescaleSlope, dataset.RescaleIntercept = 3.0, 6.0
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.25)
        dataset.save_as(file)
    # (3 x + 6) / (3 * 0.25)
    assert read_volume(files).voxels[2, 0, 0] == pytest.approx((3 * 2 + 6) / 0.75)


@pytest.mark.parametrize("creator", ["Philips MR Imaging DD 001", "PHILIPS MR IMAGING DD 001"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_philips_own_slope_is_read_where_an_archive_lost_its_type(tmp_path, creator, syntax):
    files = write_series(tmp_path, PLAN)
    for file in files:
        dataset = dcmread(file)
        dataset.RescaleSlope, dataset.RescaleIntercept = 3.0, 6.0
        block = dataset.private_block(0x2005, creator, create=True)
        block.add_new(0x0E, "UN", struct.pack("<f", 0.25))
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file)
    assert read_volume(files).voxels[2, 0, 0] == pytest.approx((3 * 2 + 6) / 0.75)


def test_frames_of_a_multi_frame_file_are_read_in_the_order_of_their_places(tmp_path):
    file = write_enhanced(tmp_path / "mf", [PLAN, SeriesPlan(rows=32, columns=33, slices=2, time="110000")])
    image = read_volume([file, file], [3, 2])
    expected = 2.0 * np.stack([pixel_values(PLAN, index).T for index in range(2)], axis=2)
    np.testing.assert_array_equal(image.voxels, expected)


def test_a_frame_without_a_place_is_refused(tmp_path):
    file = write_enhanced(tmp_path / "mf", [PLAN])
    dataset = dcmread(file)
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    dataset.save_as(file)
    assert code_of([file, file], [0, 1]) == "no_geometry"


def test_colour_images_are_refused(tmp_path):
    files = write_series(tmp_path, PLAN)
    for file in files:
        alter(file, SamplesPerPixel=3)
    assert code_of(files) == "bad_type"


@pytest.mark.parametrize("shown", ["MONOCHROME1", "PALETTE COLOR"])
def test_slices_whose_numbers_are_not_brightness_are_refused(tmp_path, shown):
    files = write_series(tmp_path, PLAN)
    for file in files:
        alter(file, PhotometricInterpretation=shown)
    assert code_of(files) == "bad_type"


@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
def test_a_scaling_that_is_no_number_is_refused(tmp_path, name):
    """With a comma, as some converters write it, the slices would be read without it."""
    files = write_series(tmp_path, PLAN)
    for file in files:
        alter(file, **{name: "2.5 "})
        file.write_bytes(file.read_bytes().replace(b"2.5 ", b"2,5 "))
    with pytest.raises(DataError) as caught:
        read_volume(files)
    assert (caught.value.code, caught.value.path) == ("bad_value", files[0])
    assert caught.value.message == f"{name} is '2,5', expected a number with a dot as decimal sign"


def with_private_slope(files, slope=0.02):
    for file in files:
        dataset = dcmread(file)
        dataset.RescaleSlope, dataset.RescaleIntercept = 1.0, 0.0
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", slope)
        dataset.save_as(file)


def test_phases_of_which_only_some_state_philips_own_slope_are_no_study(tmp_path):
    files = write_dynamic(tmp_path)
    for phase in ("PRE", "PVP"):
        with_private_slope(files[phase])
    (patient,) = ingest(tmp_path, IngestSettings()).patients
    with pytest.raises(DataError) as caught:
        read_study(patient.studies[0])
    error = caught.value
    assert (error.code, error.patient_id, error.study_date) == ("mixed_scale", patient.patient_id, DAY)
    assert "series 3 (PRE), 5 (PVP) state Philips' own scale slope" in error.message
    assert "series 4 (ART), 6 (DEL) do not" in error.message


def test_phases_with_philips_own_slope_and_another_image_without_are_a_study(tmp_path):
    files = write_dynamic(tmp_path)
    for phase in ("PRE", "ART", "PVP"):
        with_private_slope(files[phase])
    name = files["DEL"][0].relative_to(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        f"patient_id,study_date,contrast_phase,path\nP001,2024-01-05,OTHER,{name}\n"
    )
    (patient,) = ingest(tmp_path, IngestSettings()).patients
    assert len(read_study(patient.studies[0])) == 4


def test_check_says_that_only_some_phases_state_philips_own_slope(tmp_path, capsys, monkeypatch):
    files = write_dynamic(tmp_path)
    monkeypatch.setattr(pixels, "intensities", None)  # headers only
    assert main(["check", str(tmp_path)]) == 0
    for phase in ("PRE", "PVP"):
        with_private_slope(files[phase])
    ingested = ingest(tmp_path, IngestSettings())
    (failure,) = with_refused_scales(ingested).failures
    (patient,) = ingested.patients
    assert (failure.code, failure.patient_id, failure.study_date) == ("mixed_scale", patient.patient_id, DAY)
    assert "series 3 (PRE), 5 (PVP) state Philips' own scale slope" in failure.message
    capsys.readouterr()
    assert main(["check", str(tmp_path)]) == 1
    assert "mixed_scale" in capsys.readouterr().out
    with_private_slope(files["ART"])
    name = files["DEL"][0].relative_to(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        f"patient_id,study_date,contrast_phase,path\nP001,2024-01-05,OTHER,{name}\n"
    )
    assert not with_refused_scales(ingest(tmp_path, IngestSettings())).failures


def test_check_finds_philips_own_slope_in_frames(tmp_path):
    arterial = SeriesPlan(description="t1_vibe_fs_tra_art", time="101000")
    write_enhanced(tmp_path / "art", [arterial], private_slope=0.5)
    write_series(
        tmp_path / "portal", SeriesPlan(number=6, description="t1_vibe_fs_tra_portal", time="101045")
    )
    (failure,) = with_refused_scales(ingest(tmp_path, IngestSettings())).failures
    assert failure.code == "mixed_scale"


def test_slices_of_which_only_some_state_philips_own_slope_are_no_volume(tmp_path):
    files = write_series(tmp_path, PLAN)
    with_private_slope(files[:1])
    with pytest.raises(
        DataError, match=f"1 of {PLAN.slices} slices state Philips' own scale slope"
    ) as caught:
        read_volume(files)
    assert caught.value.code == "mixed_scale"
