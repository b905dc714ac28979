"""Pictures of measurements on disk."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from mrresponse.domain import ContrastPhase, PicturedSlice, Snapshot
from mrresponse.errors import DataError
from mrresponse.report import read_snapshots, write_snapshot
from mrresponse.report.names import file_stem
from mrresponse.report.snapshots import write_snapshots
from tests.reference_course import reference_course

DRAWN = [field.name for field in fields(Snapshot) if field.name not in ("pixels", "subtraction")]


def same(first: Snapshot, second: Snapshot) -> bool:
    subtractions = (first.subtraction, second.subtraction)
    both = all(one is None for one in subtractions) or np.array_equal(*subtractions)
    return (
        np.array_equal(first.pixels, second.pixels)
        and both
        and all(getattr(first, name) == getattr(second, name) for name in DRAWN)
    )


def test_pictures_come_back_as_they_were(tmp_path: Path) -> None:
    snapshots = reference_course().snapshots
    for snapshot in snapshots:
        write_snapshot(tmp_path, snapshot)
    back = read_snapshots(tmp_path)
    assert len(back) == len(snapshots) == 16
    assert all(same(a, b) for a, b in zip(snapshots, back, strict=True))
    assert not back[0].pixels.flags.writeable


def test_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    snapshot = reference_course().snapshots[0]
    first, second = write_snapshot(tmp_path / "a", snapshot), write_snapshot(tmp_path / "b", snapshot)
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_bytes() == second.with_suffix(".json").read_bytes()


def test_picture_without_anything_drawn_and_with_unequal_pixels_comes_back(tmp_path: Path) -> None:
    bare = replace(
        reference_course().snapshots[0],
        pixels=np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        subtraction=None,
        spacing_mm=(2.0, 1.5),
        slices=(PicturedSlice(slice_index=7, step=None, offset_mm=-1.5),),
        caliper=None,
        viable_caliper=None,
    )
    write_snapshot(tmp_path, bare)
    assert same(read_snapshots(tmp_path)[0], bare)


def test_pictures_of_an_earlier_run_are_gone_once_there_are_others(tmp_path: Path) -> None:
    first, second, *_ = reference_course().snapshots
    stranger = replace(first, patient_id="another")
    later = replace(first, contrast_phase=ContrastPhase.DELAYED)
    write_snapshots(tmp_path, "another", [stranger])
    write_snapshots(tmp_path, first.patient_id, [first, second])
    write_snapshots(tmp_path, first.patient_id, [later])
    (found,) = read_snapshots(tmp_path, first.patient_id)
    assert same(found, later)
    assert len(list(tmp_path.rglob("*.png"))) == 2
    assert len(read_snapshots(tmp_path, "another")) == 1


def test_one_patients_pictures_are_read_alone_and_none_where_there_are_none(tmp_path: Path) -> None:
    snapshot = reference_course().snapshots[0]
    write_snapshot(tmp_path, snapshot)
    write_snapshot(tmp_path, replace(snapshot, patient_id="P2"))
    assert [s.patient_id for s in read_snapshots(tmp_path, "P2")] == ["P2"]
    assert read_snapshots(tmp_path, "P3") == ()
    assert read_snapshots(tmp_path / "nowhere") == ()


def test_damaged_description_is_named(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, reference_course().snapshots[0]).with_suffix(".json")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"L01_2020-06-07_ART\.json") as caught:
        read_snapshots(tmp_path)
    assert caught.value.code == "bad_snapshot"


@pytest.mark.parametrize(
    "hostile", ["../../etc", "..", ".", "", "a/b", "<script>", "W" * 300, "😀" * 90, "a\x00b"]
)
def test_hostile_name_stays_one_file_inside_its_folder(hostile: str, tmp_path: Path) -> None:
    snapshot = replace(reference_course().snapshots[0], patient_id=hostile)
    path = write_snapshot(tmp_path, snapshot)
    assert path.resolve().parent.parent == tmp_path.resolve()
    assert read_snapshots(tmp_path, hostile)[0].patient_id == hostile


def test_names_that_differ_only_in_hostile_letters_stay_apart() -> None:
    assert file_stem("a/b") != file_stem("a?b")
    assert file_stem("HCC-COURSE_1.2") == "HCC-COURSE_1.2"
