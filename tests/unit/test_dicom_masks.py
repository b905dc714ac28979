"""Segmentations and contours of other programs become masks on the grid of the series, or are refused."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import SimpleITK
from highdicom.seg import Segmentation, SegmentationTypeValues
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from mrresponse.dicom.masks import MaskRole, _role, read_masks
from mrresponse.domain import Grid, LabelMap, Series, Study
from mrresponse.errors import DataError
from mrresponse.geometry import grid_of, to_grid_order, voxel_to_world
from mrresponse.ingest import IngestSettings, ingest, read_series
from mrresponse.ingest.volume import read_volume
from mrresponse.nifti import write_label_map
from mrresponse.report import EXPORTERS
from mrresponse.segment.precomputed import given_liver
from tests.dicom_files import CORONAL, SeriesPlan, write_series
from tests.dicom_runs import finished_run

DAY = date(2024, 1, 5)


@pytest.fixture
def third_party(shared_data):
    return shared_data / "dicom" / "dcmqi_liver_seg_sr" / "data" / "segmentations"


def nrrd_mask(file, grid):
    """Read a NRRD mask with SimpleITK, on a grid of the same voxels."""
    image = SimpleITK.ReadImage(file)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    # SimpleITK's arrays are (z, y, x), and its world is LPS+
    voxels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.uint16)
    labels = LabelMap(voxels=voxels, grid=grid_of(voxels.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine))
    # A frame that the segmentation leaves out has its padding value in the NRRD file.
    return to_grid_order(labels, grid).voxels == 1


def test_a_liver_of_another_program_is_the_one_that_it_wrote_as_nrrd(third_party):
    grid = read_volume(sorted((third_party / "ct-3slice").glob("*.dcm"))).grid
    found = read_masks([third_party / "liver.dcm"], grid)
    assert set(found) == {MaskRole.LIVER}
    np.testing.assert_array_equal(
        found[MaskRole.LIVER].voxels > 0, nrrd_mask(third_party / "liver_seg.nrrd", grid)
    )


@pytest.mark.parametrize("name", ["sparse-labelmap-noppv.dcm", "sparse-labelmap-ppv5.dcm"])
def test_a_sparse_label_map_segmentation_is_read_whole(third_party, name):
    grid = read_volume(sorted((third_party / "24x38x3" / "image").glob("*.dcm"))).grid
    liver = read_masks([third_party / name], grid)[MaskRole.LIVER]
    nrrd = third_party / f"{name.removesuffix('.dcm').replace('-', '_')}_seg.nrrd"
    np.testing.assert_array_equal(liver.voxels > 0, nrrd_mask(nrrd, grid))


@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_segmentations_whose_frames_are_no_whole_bytes_are_read(third_party, size):
    grid = read_volume(sorted((third_party / size / "image").glob("*.dcm"))).grid
    liver = read_masks([third_party / size / "seg" / "label.seg"], grid)[MaskRole.LIVER]
    np.testing.assert_array_equal(
        liver.voxels > 0, nrrd_mask(third_party / size / "nrrd" / "label.nrrd", grid)
    )


def test_the_frames_of_a_multi_frame_image_are_the_slices_of_its_single_frame_twin(third_party):
    single = read_volume(sorted((third_party / "24x38x3" / "image").glob("*.dcm")))
    multi = read_volume([third_party / "24x38x3" / "multiframe" / "mf.dcm"] * 3, [0, 1, 2])
    np.testing.assert_array_equal(to_grid_order(multi, single.grid).voxels, single.voxels)


def test_segments_that_are_neither_liver_nor_lesion_are_passed_over(third_party):
    grid = read_volume(sorted((third_party / "ct-3slice").glob("*.dcm"))).grid
    assert read_masks([third_party / "partial_overlaps.dcm"], grid) == {}


def test_a_segmentation_on_another_grid_is_refused(third_party):
    grid = read_volume(sorted((third_party / "24x38x3" / "image").glob("*.dcm"))).grid
    with pytest.raises(DataError) as caught:
        read_masks([third_party / "liver.dcm"], grid)
    assert caught.value.code == "grid_mismatch"


def test_a_file_that_is_no_mask_is_refused(tmp_path, third_party):
    grid = read_volume(sorted((third_party / "24x38x3" / "image").glob("*.dcm"))).grid
    damaged = tmp_path / "lesions.dcm"
    damaged.write_bytes((third_party / "liver.dcm").read_bytes()[:2000])
    for file in (damaged, third_party / "ct-3slice" / "01.dcm"):
        with pytest.raises(DataError) as caught:
            read_masks([file], grid)
        assert caught.value.code == "bad_mask"


def structure_set(path, names, contours):
    """Write an RTSTRUCT: contours are (structure, LPS points) pairs."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = (
        "1.2.840.10008.5.1.4.1.1.481.3",
        "1.2.3",
        "RTSTRUCT",
    )
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    for number, name in enumerate(names, start=1):
        item = Dataset()
        item.ROINumber, item.ROIName = number, name
        dataset.StructureSetROISequence.append(item)
        drawn = Dataset()
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = []
        for owner, points in contours:
            if owner == name:
                contour = Dataset()
                contour.ContourGeometricType = "CLOSED_PLANAR"
                contour.ContourData = [round(float(value), 4) for value in points.ravel()]
                drawn.ContourSequence.append(contour)
        dataset.ROIContourSequence.append(drawn)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def box(grid, level, low, high):
    """A contour half a voxel around the voxels from `low` to `high` of a slice, in LPS mm."""
    (i0, j0), (i1, j1) = np.array(low) - 0.5, np.array(high) + 0.5
    corners = np.array([[i0, j0, level], [i1, j0, level], [i1, j1, level], [i0, j1, level]], dtype=float)
    return voxel_to_world(grid, corners) * [-1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    "plan", [SeriesPlan(rows=12, columns=11), SeriesPlan(rows=12, columns=11, orientation=CORONAL)]
)
def test_contours_are_filled_slice_by_slice_and_inner_ones_are_holes(tmp_path, plan):
    grid = read_volume(write_series(tmp_path / "images", plan)).grid
    contours = [
        ("Leber", box(grid, 1, (1, 1), (9, 9))),
        ("Leber", box(grid, 1, (3, 3), (5, 6))),
        ("Leber", box(grid, 2, (2, 2), (4, 4))),
        ("GTV 1", box(grid, 2, (3, 3), (4, 4))),
        ("HCC segment 8", box(grid, 0, (7, 7), (8, 9))),
        ("Spleen", box(grid, 0, (1, 1), (2, 2))),
    ]
    names = ["Leber", "GTV 1", "HCC segment 8", "Spleen"]
    found = read_masks([structure_set(tmp_path / "rt.dcm", names, contours)], grid)
    liver = np.zeros(grid.shape, dtype=np.uint16)
    liver[1:10, 1:10, 1] = 1
    liver[3:6, 3:7, 1] = 0
    liver[2:5, 2:5, 2] = 1
    lesions = np.zeros_like(liver)
    lesions[3:5, 3:5, 2] = 1
    lesions[7:9, 7:10, 0] = 2
    np.testing.assert_array_equal(found[MaskRole.LIVER].voxels, liver)
    np.testing.assert_array_equal(found[MaskRole.LESION].voxels, lesions)


def test_contours_between_the_slices_are_refused(tmp_path):
    grid = read_volume(write_series(tmp_path / "images", SeriesPlan())).grid
    file = structure_set(tmp_path / "rt.dcm", ["Liver"], [("Liver", box(grid, 1.5, (1, 1), (3, 3)))])
    with pytest.raises(DataError, match=r"0\.50 slices off"):
        read_masks([file], grid)


def drawn(tmp_path, *names, file="lesions.dcm", kind="CLOSED_PLANAR"):
    """Read structures of 3 x 3 voxels, one slice each, from one file; returns what was found by role."""
    grid = read_volume(write_series(tmp_path / "images", SeriesPlan(rows=12, columns=11))).grid
    contours = [(name, box(grid, level, (2, 2), (4, 4))) for level, name in enumerate(names)]
    path = structure_set(tmp_path / file, names, contours)
    alter_contours(path, kind)
    return read_masks([path], grid)


def alter_contours(path, kind):
    dataset = dcmread(path)
    for item in dataset.ROIContourSequence:
        for contour in item.ContourSequence:
            contour.ContourGeometricType = kind
    dataset.save_as(path)


@pytest.mark.parametrize(
    "name", ["Liver mets", "Met_1", "liver met 3", "Lésion 2", "Metástasis", "Liver single lesion"]
)
def test_lesions_are_known_by_their_usual_short_names(tmp_path, name):
    found = drawn(tmp_path, name)
    assert set(found) == {MaskRole.LESION}
    assert found[MaskRole.LESION].voxels.sum() == 9


def test_the_rest_of_the_liver_is_no_lesion(tmp_path):
    # AAPM TG-263: in the name of a structure a hyphen subtracts, Liver-GTV is the liver without the tumour.
    found = drawn(tmp_path, "GTV", "Liver-GTV", "Liver minus tumor")
    assert set(found) == {MaskRole.LESION}
    assert found[MaskRole.LESION].voxels.sum() == 9


@pytest.mark.parametrize("name", ["Segment_1", "Target 1"])
def test_a_file_of_lesions_with_nothing_but_unknown_names_does_not_say_that_there_is_none(tmp_path, name):
    with pytest.raises(DataError, match="1 of 1 segments are named neither lesion nor liver") as caught:
        drawn(tmp_path, name)
    assert caught.value.code == "bad_mask"


def test_a_file_of_lesions_with_only_a_liver_says_that_there_is_none(tmp_path):
    assert drawn(tmp_path, "Liver")[MaskRole.LESION].voxels.sum() == 0


@pytest.mark.parametrize("file", ["rt.dcm", "lesions.dcm"])
def test_a_structure_that_nobody_drew_says_nothing(tmp_path, file):
    """Planning programs make an empty GTV from a template: it would be a complete response."""
    grid = read_volume(write_series(tmp_path / "images", SeriesPlan(rows=12, columns=11))).grid
    liver = ("Liver", box(grid, 1, (1, 1), (9, 9)))
    found = read_masks([structure_set(tmp_path / file, ["Liver", "GTV"], [liver])], grid)
    # as before, what is named for the lesions and holds nothing else says that there is none
    assert (MaskRole.LESION in found) == (file == "lesions.dcm")
    unknown = ("Segment_1", box(grid, 1, (2, 2), (4, 4)))
    path = structure_set(tmp_path / file, ["Liver", "GTV", "Segment_1"], [liver, unknown])
    if file == "lesions.dcm":
        with pytest.raises(DataError, match="1 of 3 segments are named neither lesion"):
            read_masks([path], grid)
    else:
        assert set(read_masks([path], grid)) == {MaskRole.LIVER}


def test_a_viable_part_that_nobody_drew_does_not_say_that_all_is_dead(tmp_path):
    grid = read_volume(write_series(tmp_path / "images", SeriesPlan(rows=12, columns=11))).grid
    lesions = [("GTV 1", box(grid, 1, (1, 1), (4, 4))), ("GTV 2", box(grid, 1, (6, 6), (9, 9)))]
    names = ["GTV 1", "GTV 2", "viable 1", "viable 2"]
    with pytest.raises(DataError, match="2 segments named as viable have no voxel") as caught:
        read_masks([structure_set(tmp_path / "rt.dcm", names, lesions)], grid)
    assert caught.value.code == "bad_mask"
    # the lesions are given as NIfTI
    assert read_masks([structure_set(tmp_path / "rt.dcm", names[2:], [])], grid) == {}
    alive = ("viable 2", box(grid, 1, (6, 6), (7, 7)))
    found = read_masks([structure_set(tmp_path / "rt.dcm", names, [*lesions, alive])], grid)
    assert set(np.unique(found[MaskRole.VIABLE].voxels)) == {0, 2}


@pytest.mark.parametrize("name", ["non-viable tumor", "Nonenhancing part", "tumour necrosis"])
def test_what_is_not_viable_is_neither_a_viable_part_nor_a_lesion(tmp_path, name):
    grid = read_volume(write_series(tmp_path / "images", SeriesPlan(rows=12, columns=11))).grid
    whole, inner = box(grid, 1, (2, 2), (6, 6)), box(grid, 1, (3, 3), (4, 4))
    file = structure_set(tmp_path / "lesions.dcm", ["HCC", name], [("HCC", whole), (name, inner)])
    found = read_masks([file], grid)
    assert set(found) == {MaskRole.LESION}
    assert (found[MaskRole.LESION].voxels == 1).sum() == 25


@pytest.mark.parametrize("name", ["viable tumor", "non-viable tumor"])
def test_a_part_of_a_lesion_that_has_no_mask_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="viable lies in no lesion"):
        drawn(tmp_path, name, file="viable.dcm")


def test_contours_cut_out_by_keyword_are_filled_as_others(tmp_path):
    assert drawn(tmp_path, "GTV", kind="CLOSEDPLANAR_XOR")[MaskRole.LESION].voxels.sum() == 9


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR"])
def test_a_lesion_drawn_without_an_inside_is_refused(tmp_path, kind):
    with pytest.raises(DataError, match="a structure of 1 contours encloses no voxel"):
        drawn(tmp_path, "GTV", kind=kind)


def given(tmp_path, **changes):
    """A data folder with one study, a masks folder with its segmentation, and its arterial series."""
    data = tmp_path / "data"
    write_series(data, replace(SeriesPlan(rows=7, columns=9, study_date="20240105"), **changes))
    run = finished_run(data, tmp_path / "run")
    EXPORTERS["dicom-seg"](run, tmp_path / "masks")
    study = ingest(data, IngestSettings()).patients[0].studies[0]
    return study, study.series[0], tmp_path / "masks", run.folder / "masks"


def test_a_segmentation_among_the_given_masks_is_used_where_there_is_no_nifti(tmp_path):
    study, series, masks, stored = given(tmp_path)
    image = read_series(series, patient_id=study.patient_id, study_date=DAY)
    liver = given_liver(masks, study, series, image)
    assert liver is not None
    np.testing.assert_array_equal(liver.voxels, given_liver(stored, study, series, image).voxels)
    nothing = LabelMap(voxels=np.zeros(image.grid.shape, dtype=np.uint16), grid=image.grid)
    write_label_map(masks / study.patient_id / "2024-01-05" / "liver.nii.gz", nothing)
    assert given_liver(masks, study, series, image).voxels.sum() == 0


def test_of_a_fractional_segmentation_counts_what_is_likely(tmp_path, monkeypatch):
    def fractional(*, pixel_array, segmentation_type, **others):
        likely = np.where(pixel_array > 0, np.float32(0.9), np.float32(0.3))
        return Segmentation(pixel_array=likely, segmentation_type=SegmentationTypeValues.FRACTIONAL, **others)

    monkeypatch.setattr("mrresponse.report.dicom.segmentation.Segmentation", fractional)
    study, series, masks, stored = given(tmp_path)
    image = read_series(series, patient_id=study.patient_id, study_date=DAY)
    liver = given_liver(masks, study, series, image)
    assert 0 < liver.voxels.sum() < liver.voxels.size
    np.testing.assert_array_equal(liver.voxels, given_liver(stored, study, series, image).voxels)


def test_a_series_of_another_grid_has_no_liver_among_them(tmp_path):
    study, series, masks, _ = given(tmp_path)
    image = read_series(series, patient_id=study.patient_id, study_date=DAY)
    moved = image.grid.affine.copy()
    moved[0, 3] += 1.0
    other = Grid(shape=image.grid.shape, affine_rows=tuple(map(tuple, moved[:3])))
    assert given_liver(masks, study, series, replace(image, grid=other)) is None


def test_a_study_without_any_mask_says_where_it_was_looked_for(tmp_path):
    series = Series(path=tmp_path, contrast_phase="ART")
    study = Study(patient_id="P1", study_date=DAY, series=(series,))
    grid = Grid(shape=(2, 2, 2), affine_rows=((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0)))
    image = type("I", (), {"grid": grid})()
    with pytest.raises(DataError, match=r"P1/2024-01-05/liver\.nii\.gz, or a DICOM segmentation"):
        given_liver(tmp_path, study, series, image)


@pytest.mark.parametrize("label", ["Tumeur 1", "tumeurs du foie", "Tumor 1", "tumour"])
def test_a_tumour_is_a_lesion_in_french_too(label: str) -> None:
    assert _role("", label) is MaskRole.LESION
