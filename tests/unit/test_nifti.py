"""Volumes survive the way to NIfTI and back; files that cannot be believed are refused with a reason."""

import gzip
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrresponse.domain import Grid, Image, LabelMap
from mrresponse.errors import DataError
from mrresponse.nifti import (
    is_nifti,
    read_grid,
    read_image,
    read_label_map,
    write_image,
    write_label_map,
)

# LAS, as many scanners' files are: i runs to the left. Quarters are exact in float32.
ROWS = ((-1.5, 0.0, 0.0, 90.25), (0.0, 1.25, 0.0, -120.5), (0.0, 0.0, 3.0, 40.0))
GRID = Grid(shape=(4, 5, 3), affine_rows=ROWS)
VOXELS = np.arange(60, dtype=np.float32).reshape(4, 5, 3) - 7.25


def save(path: Path, data, affine=None, **header) -> Path:
    image = nibabel.Nifti1Image(data, GRID.affine if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.path == path
    assert path.name not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_an_image_comes_back_exactly(tmp_path, name):
    write_image(tmp_path / name, Image(voxels=VOXELS, grid=GRID))
    image = read_image(tmp_path / name)
    assert image.grid == GRID
    assert image.voxels.dtype == np.float32
    np.testing.assert_array_equal(image.voxels, VOXELS)


def test_labels_come_back_exactly(tmp_path):
    labels = np.zeros(GRID.shape, dtype=np.uint16)
    labels[1, 2, 0], labels[3, 4, 2] = 65535, 300
    write_label_map(tmp_path / "m.nii.gz", LabelMap(voxels=labels, grid=GRID))
    read = read_label_map(tmp_path / "m.nii.gz")
    assert (read.grid, read.voxels.dtype) == (GRID, np.uint16)
    np.testing.assert_array_equal(read.voxels, labels)


@settings(max_examples=25)
@given(st.tuples(*[st.floats(-1, 1)] * 3), st.tuples(*[st.floats(0.3, 12)] * 3))
def test_a_grid_that_was_read_stays_the_same_when_written_again(tmp_path_factory, turn, spacing):
    folder = tmp_path_factory.mktemp("grid")
    x, y, z = turn
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.linalg.solve(np.eye(3) + skew, np.eye(3) - skew)  # Cayley: a rotation from three numbers
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    first = read_image(save(folder / "a.nii", VOXELS, affine))
    np.testing.assert_allclose(first.grid.spacing_mm, spacing, rtol=1e-5)
    write_image(folder / "b.nii.gz", first)
    assert read_grid(folder / "b.nii.gz") == first.grid


def test_the_same_content_gives_the_same_bytes_and_names_nobody(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / name, Image(voxels=VOXELS, grid=GRID))
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"  # time of compression
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert [bytes(header[name].item()) for name in ("descrip", "db_name", "aux_file", "intent_name")] == [
        b""
    ] * 4


def test_nibabel_sees_the_same_image(tmp_path):
    write_image(tmp_path / "a.nii.gz", Image(voxels=VOXELS, grid=GRID))
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), VOXELS)
    np.testing.assert_array_equal(image.affine, GRID.affine)
    assert image.header.get_zooms() == (1.5, 1.25, 3.0)


def test_stored_integers_are_scaled(tmp_path):
    path = tmp_path / "scaled.nii"
    image = nibabel.Nifti1Image(np.full((4, 5, 3), 3, dtype=np.int16), GRID.affine)
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2.0, -1.0], dtype="<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    assert read_image(path).voxels[0, 0, 0] == 5.0


def save_scaled(path, slope, intercept):
    """Write voxels of 3 with a scaling in the header."""
    nibabel.save(nibabel.Nifti1Image(np.full((4, 5, 3), 3, dtype=np.int16), GRID.affine), path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, intercept], dtype="<f4").tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("scaling", [(0.0, 0.0), (0.0, 7.0), (0.0, np.nan), (np.nan, np.nan), (np.nan, 0.0)])
def test_stored_values_without_a_slope_are_as_they_are(tmp_path, scaling):
    path = save_scaled(tmp_path / "a.nii", *scaling)
    assert read_image(path).voxels[0, 0, 0] == 3.0
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(), read_image(path).voxels)


@pytest.mark.parametrize(
    "scaling", [(2.0, np.nan), (1.0, np.nan), (2.0, np.inf), (np.nan, 7.0), (np.inf, 0.0), (-np.inf, np.nan)]
)
def test_a_scaling_that_is_stated_by_half_is_refused(tmp_path, scaling):
    path = save_scaled(tmp_path / "a.nii", *scaling)
    for read in (read_grid, read_image, read_label_map):
        with pytest.raises(DataError, match=r"scl_slope and scl_inter") as caught:
            read(path)
        assert caught.value.code == "not_finite"


def test_a_big_endian_file_and_a_fourth_axis_of_one_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    data = np.arange(60, dtype=np.int16).reshape(4, 5, 3, 1)
    nibabel.save(nibabel.Nifti1Image(data, GRID.affine, header), tmp_path / "big.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "big.nii").voxels, data[..., 0])


def test_nifti_2_is_read(tmp_path):
    nibabel.save(nibabel.Nifti2Image(VOXELS, GRID.affine), tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "two.nii.gz").voxels, VOXELS)
    assert is_nifti(tmp_path / "two.nii.gz")


@pytest.mark.parametrize("keep", [3, 200, 352, 0.5, 0.98])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_truncated_file_is_refused(tmp_path, name, keep):
    noise = np.random.default_rng(1).normal(size=(20, 20, 20)).astype(np.float32)
    save(tmp_path / name, noise)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: keep if keep > 1 else int(len(content) * keep)])
    assert code_of(tmp_path / name) == "truncated"


def test_a_compressed_file_with_a_wrong_sum_is_refused(tmp_path):
    content = bytearray(gzip.compress(save(tmp_path / "a.nii", VOXELS).read_bytes()))
    content[-5] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert code_of(tmp_path / "a.nii.gz") == "truncated"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_number_are_refused(tmp_path, value):
    data = VOXELS.copy()
    data[1, 1, 1] = value
    assert code_of(save(tmp_path / "a.nii.gz", data)) == "not_finite"


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3, 2), (1, 5, 3)])
def test_what_is_no_volume_is_refused(tmp_path, shape):
    assert code_of(save(tmp_path / "a.nii.gz", np.ones(shape, dtype=np.float32))) == "not_3d"


@pytest.mark.parametrize("spacing", [0.0, -3.0, np.nan, 1e-4, 4000.0])
def test_an_impossible_spacing_is_refused(tmp_path, spacing):
    path = save(tmp_path / "a.nii", VOXELS)
    content = bytearray(path.read_bytes())
    content[88:92] = np.array([spacing], dtype="<f4").tobytes()  # pixdim of the third axis
    content[320:324] = np.array([spacing], dtype="<f4").tobytes()  # the same in the matrix
    path.write_bytes(content)
    assert code_of(path) == "bad_spacing"


def test_parallel_axes_are_refused(tmp_path):
    path = save(tmp_path / "a.nii", VOXELS)
    content = bytearray(path.read_bytes())
    content[280:328] = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype="<f4").tobytes()
    path.write_bytes(content)
    assert code_of(path) == "bad_spacing"


def test_a_file_that_states_no_orientation_is_refused(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, None)
    nibabel.save(image, tmp_path / "a.nii")
    assert code_of(tmp_path / "a.nii") == "no_orientation"


def save_with_forms(path, sform, qform, spacing):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((4, 5, 6))
    header.set_qform(qform, code=1)
    header.set_sform(sform, code=2)
    header["pixdim"][1:4] = spacing
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path.write_bytes(header.binaryblock + b"\0" * 4 + np.arange(120, dtype=np.float32).tobytes())


@pytest.mark.parametrize(
    ("sform", "code"),
    [
        # an atlas twice as large along the slices; left for right; axes exchanged
        (np.diag([1.5, 1.5, 6.0, 1.0]), "bad_spacing"),
        (np.diag([-1.5, 1.5, 3.0, 1.0]), "no_orientation"),
        (np.array([[0, 1.5, 0, 0], [1.5, 0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1.0]]), "no_orientation"),
    ],
)
def test_two_matrices_that_contradict_each_other_are_refused(tmp_path, sform, code):
    save_with_forms(tmp_path / "x.nii", sform, np.diag([1.5, 1.5, 3.0, 1.0]), (1.5, 1.5, 3.0))
    for read in (read_grid, read_image, read_label_map):
        with pytest.raises(DataError) as caught:
            read(tmp_path / "x.nii")
        assert caught.value.code == code


# slices 3 mm apart along the normal, each 1 mm further to the front: 3.162 mm from one to the next
TILTED = np.array([[1.5, 0, 0, 7.0], [0, 1.5, 1.0, 8.0], [0, 0, 3.0, 9.0], [0, 0, 0, 1.0]])
SPACING = (1.5, 1.5, 3.162)


def turned(degrees, shift=(0.0, 0.0, 0.0)):
    """Return a matrix of SPACING turned about the first axis, and moved."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) * SPACING
    matrix[:3, 3] = np.add((7.0, 8.0, 9.0), shift)
    return matrix


def test_matrices_that_differ_by_a_shear_or_rounding_are_the_sforms(tmp_path):
    # rows and columns kept, the normal for the slices; the nearest perpendicular directions, as nibabel writes
    left, _, right = np.linalg.svd(TILTED[:3, :3] / np.linalg.norm(TILTED[:3, :3], axis=0))
    nearest = TILTED.copy()
    nearest[:3, :3] = left @ right * SPACING
    for qform in (turned(0), nearest, turned(0, (0.3, -0.3, 0.3))):
        save_with_forms(tmp_path / "x.nii", TILTED, qform, SPACING)
        np.testing.assert_array_equal(read_grid(tmp_path / "x.nii").affine, TILTED)
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0]) @ TILTED
    save_with_forms(tmp_path / "x.nii", mirrored, np.diag([-1.0, 1.0, 1.0, 1.0]) @ turned(0), SPACING)
    np.testing.assert_array_equal(read_grid(tmp_path / "x.nii").affine, mirrored)


@pytest.mark.parametrize(
    ("sform", "qform", "apart"),
    [
        # by the middle of a turn that used to be accepted; by little; by a shift alone; sheared and turned
        (turned(45), turned(0), r"12\.9 mm"),
        (turned(5), turned(0), r"1\.5 mm"),
        (turned(0), turned(0, (1.5, 0, 0)), r"1\.5 mm"),
        (TILTED, turned(30), r"8\.8 mm"),
        (TILTED, turned(0, (np.nan, 0, 0)), "nan mm"),
    ],
)
def test_matrices_that_place_a_corner_elsewhere_are_refused(tmp_path, sform, qform, apart):
    save_with_forms(tmp_path / "x.nii", sform, qform, SPACING)
    with pytest.raises(DataError, match=f"corner of the volume {apart} apart") as caught:
        read_grid(tmp_path / "x.nii")
    assert caught.value.code == "no_orientation"
    # either of them alone is believed
    for name, code in (("qform_code", 252), ("sform_code", 254)):
        content = bytearray((tmp_path / "x.nii").read_bytes())
        content[code : code + 2] = b"\0\0"
        (tmp_path / name).write_bytes(content)
        if np.isfinite(qform).all():
            read_grid(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_complex_and_colour_voxels_are_refused(tmp_path, dtype):
    assert code_of(save(tmp_path / "a.nii.gz", np.zeros((4, 5, 3), dtype=dtype))) == "bad_type"


def test_absurd_dimensions_are_refused_before_memory_is_taken(tmp_path):
    path = save(tmp_path / "a.nii", VOXELS)
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], dtype="<i2").tobytes()
    path.write_bytes(content)
    assert code_of(path) == "too_large"


def header_of(path, shape, offset=352.0):
    """Return a header that claims float32 voxels of a shape."""
    write_image(path, Image(voxels=VOXELS, grid=GRID))
    header = bytearray(path.read_bytes()[:352])
    header[42:48] = np.array(shape, "<i2").tobytes()
    header[108:112] = np.array([offset], "<f4").tobytes()
    return bytes(header)


def test_a_small_file_that_unpacks_to_something_huge_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    start = header_of(tmp_path / "small.nii", (500, 500, 500))
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(start)
        for _ in range(500):
            file.write(bytes(1_000_000))
    began = time.monotonic()
    assert code_of(path) == "too_large"
    assert time.monotonic() - began < 1


def test_what_follows_the_voxels_of_a_packed_file_is_not_read_for_ever(tmp_path):
    path = tmp_path / "tail.nii.gz"
    write_image(tmp_path / "small.nii", Image(voxels=VOXELS, grid=GRID))
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write((tmp_path / "small.nii").read_bytes())
        for _ in range(40):
            file.write(bytes(1 << 20))
    assert code_of(path) == "too_large"


@pytest.mark.parametrize("offset", [-1.0, 12.0, 1e9, np.inf, np.nan])
def test_voxels_that_begin_nowhere_are_refused(tmp_path, offset):
    path = tmp_path / "offset.nii"
    path.write_bytes(header_of(tmp_path / "small.nii", (4, 5, 3), offset) + bytes(4 * 60))
    assert code_of(path) == "unreadable"


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    (tmp_path / "text.nii").write_text("this is no image, it is a letter to the editor")
    assert code_of(tmp_path / "absent.nii.gz") == "unreadable"
    assert code_of(tmp_path / "text.nii") == "unreadable"
    assert not is_nifti(tmp_path / "text.csv")


def test_a_mask_of_ones_that_nibabel_stored_as_255_is_read(tmp_path):
    data = np.zeros((4, 5, 3), dtype=np.float32)
    data[2, 2, 2] = 1.0
    image = nibabel.Nifti1Image(data, np.diag([1.5, 1.5, 3.0, 1.0]))
    image.set_data_dtype(np.uint8)
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert np.dtype(nibabel.load(tmp_path / "a.nii.gz").dataobj.dtype) == np.uint8
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nii.gz").voxels, data)


@pytest.mark.parametrize("value", [0.5, -1.0, 65536.0, np.nan])
def test_a_mask_of_anything_but_whole_labels_is_refused(tmp_path, value):
    data = np.zeros((4, 5, 3), dtype=np.float32)
    data[2, 2, 2] = value
    with pytest.raises(DataError) as caught:
        read_label_map(save(tmp_path / "a.nii.gz", data))
    assert caught.value.code == "bad_label"


def test_real_volumes_are_read(shared_data):
    path = shared_data / "real" / "chaos_mr_t2" / "image_1.nii.gz"
    image = read_image(path)
    assert image.grid.shape == (256, 256, 37)
    assert nibabel.aff2axcodes(image.grid.affine) == ("L", "A", "S")
    np.testing.assert_allclose(image.grid.spacing_mm, (1.25, 1.25, 7.7), rtol=1e-6)
    np.testing.assert_array_equal(image.voxels, nibabel.load(path).get_fdata(dtype=np.float32))
