"""A tree of files is scanned once; archives stay inside their folder; nothing of an absurd size is taken."""

import os
import shutil
import stat
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom import dcmread

from mrresponse.domain import Grid, Image
from mrresponse.errors import DataError
from mrresponse.ingest import IngestSettings, archives, headers, index, ingest
from mrresponse.ingest.archives import unpacked
from mrresponse.ingest.headers import read_headers
from mrresponse.ingest.quick import quick_header
from mrresponse.ingest.tree import CACHE, scan
from mrresponse.nifti import write_image
from tests.dicom_files import SeriesPlan, write_dynamic, write_series

PLAIN = IngestSettings()


@pytest.fixture
def small_index(monkeypatch):
    """Keep an index of trees as small as those of the tests."""
    monkeypatch.setattr(index, "_SMALLEST", 2)


def count_reads(monkeypatch):
    read = []

    def counting(path):
        read.append(path)
        return read_headers(path)

    monkeypatch.setattr("mrresponse.ingest.tree.read_headers", counting)
    return read


def test_a_second_scan_reads_only_what_has_changed(tmp_path, monkeypatch, small_index):
    files = write_series(tmp_path / "data", SeriesPlan(slices=6))
    first = scan([tmp_path / "data"], tmp_path / "cache")
    read = count_reads(monkeypatch)
    assert scan([tmp_path / "data"], tmp_path / "cache") == first
    assert read == []
    dataset = dcmread(files[2])
    dataset.SeriesDescription = "another description"
    dataset.save_as(files[2])
    again = scan([tmp_path / "data"], tmp_path / "cache")
    assert read == [files[2]]
    assert sum(item.facts.description == "another description" for item in again.headers) == 1


def test_a_scan_that_was_broken_off_goes_on_where_it_stopped(tmp_path, monkeypatch, small_index):
    files = write_series(tmp_path / "data", SeriesPlan(slices=7))

    def breaks(path):
        if path == sorted(files)[5]:
            raise KeyboardInterrupt
        return read_headers(path)

    monkeypatch.setattr("mrresponse.ingest.tree.read_headers", breaks)
    with pytest.raises(KeyboardInterrupt):
        scan([tmp_path / "data"], tmp_path / "cache")
    kept = tmp_path / "cache" / "scan.jsonl"
    kept.write_bytes(kept.read_bytes()[:-10])
    read = count_reads(monkeypatch)
    assert len(scan([tmp_path / "data"], tmp_path / "cache").headers) == 7
    assert len(read) < 5
    assert len(scan([tmp_path / "data"], tmp_path / "cache").headers) == 7


def test_the_index_is_for_its_owner_only_and_of_another_format_begun_anew(tmp_path, small_index):
    write_series(tmp_path / "data", SeriesPlan(slices=6))
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "scan.jsonl").write_text("of an older version\n{}\n")
    (cache / "scan.jsonl").chmod(0o600)
    scan([tmp_path / "data"], cache)
    assert stat.S_IMODE((cache / "scan.jsonl").stat().st_mode) == 0o600
    assert (cache / "scan.jsonl").read_bytes().startswith(index._head())


def test_where_no_index_can_be_kept_headers_are_read_each_time(tmp_path, small_index):
    write_series(tmp_path / "data", SeriesPlan(slices=6))
    (tmp_path / "cache").write_text("a file in the way")
    assert len(scan([tmp_path / "data"], tmp_path / "cache").headers) == 6


def test_a_small_tree_leaves_nothing_but_the_key(tmp_path):
    write_dynamic(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    ingest(tmp_path, PLAIN)
    assert {path.name for path in tmp_path.iterdir()} - before == {"mrresponse.key"}


def test_the_quick_reader_says_the_same_as_pydicom(tmp_path, monkeypatch):
    installed = Path(pydicom.data.__file__).parent / "test_files"
    files = [*write_series(tmp_path, SeriesPlan()), *sorted(installed.rglob("*.dcm"))]
    tags = headers._tags()
    quick = [path for path in files if quick_header(path, tags) is not None]
    assert len(quick) > 40
    fast = [read_headers(path) for path in quick]
    monkeypatch.setattr(headers, "quick_header", lambda path, wanted: None)
    assert fast == [read_headers(path) for path in quick]


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_a_zip_archive_is_read_like_the_folder_it_holds(tmp_path):
    write_dynamic(tmp_path / "tree")
    files = sorted((tmp_path / "tree").rglob("IM*"))
    data = tmp_path / "data"
    data.mkdir()
    zipped(data / "export.zip", [(f"a/{number}", file.read_bytes()) for number, file in enumerate(files)])
    found = ingest(data, PLAIN)
    assert found.failures == ()
    assert [item.contrast_phase.value for item in found.patients[0].studies[0].series] == [
        "PRE", "ART", "PVP", "DEL",
    ]  # fmt: skip
    assert stat.S_IMODE((data / CACHE / "unpacked").stat().st_mode) == 0o700
    assert ingest(data, PLAIN).patients == found.patients


def test_no_member_leaves_the_folder_it_is_unpacked_to(tmp_path):
    names = ("../../outside", "/tmp/absolute", "..\\..\\windows", "a/./../../b")
    archive = zipped(tmp_path / "x.zip", [(name, b"content") for name in names])
    before = set(tmp_path.rglob("*"))
    files = unpacked(archive, tmp_path / "cache")
    assert sorted(path.name for path in files.iterdir()) == [f"{number:06d}" for number in range(4)]
    new = set(tmp_path.rglob("*")) - before
    assert all((tmp_path / "cache") in (path, *path.parents) for path in new)


def test_a_bomb_is_refused_before_a_byte_is_written(tmp_path):
    archive = zipped(tmp_path / "x.zip", [("a", b"0" * 1000)])
    content = bytearray(archive.read_bytes())
    size = (1000).to_bytes(4, "little")
    at = content.index(b"PK\x01\x02")
    content[content.index(size, at) : content.index(size, at) + 4] = (4_000_000_000).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"would unpack to 4 GB") as caught:
        unpacked(archive, tmp_path / "cache")
    assert caught.value.code == "bad_archive"
    assert not (tmp_path / "cache").exists()


def test_a_member_longer_than_it_says_is_refused(tmp_path):
    archive = zipped(tmp_path / "x.zip", [("a", bytes(range(250)) * 4)])
    content = bytearray(archive.read_bytes())
    size = (1000).to_bytes(4, "little")
    at = content.index(b"PK\x01\x02")
    content[content.index(size, at) : content.index(size, at) + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DataError, match="zip archive"):
        unpacked(archive, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").rglob("*")] == [".lock"]


def test_commands_at_the_same_time_unpack_an_archive_once(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "x.zip", [(str(number), bytes([number])) for number in range(20)])
    copied = []

    def slowly(opened, member, target):
        copied.append(target)
        time.sleep(0.005)
        target.write_bytes(opened.read(member))

    monkeypatch.setattr(archives, "_copy", slowly)
    # what a killed command left of the same archive
    unpacked(archive, tmp_path / "cache").parent.rename(tmp_path / "whole")
    left = tmp_path / "cache" / next((tmp_path / "cache").glob("*.lock")).stem
    (left / "files").mkdir(parents=True)
    (left / "files" / "000003").write_bytes(b"")
    copied.clear()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: unpacked(archive, tmp_path / "cache"), range(4)))
    assert len(copied) == 20
    assert set(found) == {left / "files"}
    assert [file.read_bytes() for file in sorted(found[0].iterdir())] == [bytes([n]) for n in range(20)]


@pytest.mark.parametrize("spoil", ["cut", "no zip", "flipped"])
def test_a_damaged_archive_is_one_failure_and_the_rest_is_read(tmp_path, spoil):
    write_dynamic(tmp_path / "good")
    archive = zipped(tmp_path / "bad.zip", [("a", bytes(range(256)) * 40)])
    content = archive.read_bytes()
    spoiled = {
        "cut": content[: len(content) // 2],
        "no zip": b"hello",
        "flipped": content[:60] + bytes([content[60] ^ 255]) + content[61:],
    }
    archive.write_bytes(spoiled[spoil])
    found = ingest(tmp_path, PLAIN)
    assert [failure.code for failure in found.failures] == ["bad_archive"]
    assert len(found.patients) == 1


def test_a_bids_like_tree_beside_dicom_is_read_too(tmp_path):
    write_dynamic(tmp_path / "DICOM")
    grid = Grid(shape=(3, 4, 5), affine_rows=tuple(map(tuple, np.diag([2.0, 2.0, 3.0, 1.0])[:3])))
    file = tmp_path / "sub-01" / "ses-20240105" / "anat" / "sub-01_ses-20240105_ce-ART_T1w.nii.gz"
    write_image(file, Image(voxels=np.arange(60, dtype=np.float32).reshape(3, 4, 5), grid=grid))
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert len(found.patients) == 2
    assert not [note for note in found.notes if "not DICOM" in note]


def test_nifti_files_of_the_manifest_are_not_among_the_files_passed_over(tmp_path):
    write_dynamic(tmp_path / "DICOM")
    grid = Grid(shape=(3, 4, 5), affine_rows=tuple(map(tuple, np.diag([2.0, 2.0, 3.0, 1.0])[:3])))
    write_image(tmp_path / "a" / "art.nii.gz", Image(voxels=np.ones((3, 4, 5), np.float32), grid=grid))
    (tmp_path / "letter.pdf").write_text("%PDF")
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path\nP9,2024-01-05,ART,DICOM/../a/art.nii.gz\n"
    )
    found = ingest(tmp_path, PLAIN)
    assert (len(found.patients), found.failures) == (2, ())
    assert [note for note in found.notes if "not DICOM" in note] == [
        "1 file is not DICOM and was passed over"
    ]


def test_a_folder_that_links_to_itself_is_read_once(tmp_path):
    write_dynamic(tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    found = ingest(tmp_path, PLAIN)
    assert all(len(series.files) == 4 for series in found.patients[0].studies[0].series)


def test_pipes_and_broken_links_are_passed_over(tmp_path):
    write_dynamic(tmp_path / "a")
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "nowhere")
    assert ingest(tmp_path, PLAIN).failures == ()


def test_a_copied_tree_is_known_by_its_new_place_only(tmp_path, small_index):
    write_series(tmp_path / "data", SeriesPlan(slices=6))
    scan([tmp_path / "data"], tmp_path / "cache")
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert {item.path.parent.name for item in scan([tmp_path / "moved"], tmp_path / "cache").headers} == {
        "moved"
    }
