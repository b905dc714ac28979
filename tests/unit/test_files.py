"""A file is written whole or not at all, and a lock goes with its owner."""

from pathlib import Path

import pytest

from mrresponse.files import BusyError, locked, opened_atomically, remove_parts, write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in path.parent.iterdir()] == ["table.csv"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, b"old")

    def half() -> None:
        with opened_atomically(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        half()
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]


def test_what_is_for_the_owner_only_is_so_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with opened_atomically(path, mode=0o600) as file:
        file.write(b"secret")
        (part,) = tmp_path.iterdir()
        assert part.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_parts_left_by_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / ".liver.nii.gz.ab12.part").touch()
    (tmp_path / "masks" / "liver.part").touch()
    assert remove_parts(tmp_path) == 1
    assert [one.name for one in (tmp_path / "masks").iterdir()] == ["liver.part"]


def test_a_lock_keeps_others_out_and_names_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with (
        locked(path, owner="process 7 on host a"),
        pytest.raises(BusyError, match="process 7 on host a"),
        locked(path, owner="process 8"),
    ):
        pass
    with locked(path, owner="process 8") as held:
        assert held


def test_a_shared_lock_lets_sharers_in_and_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with (
        locked(path, owner="a", shared=True),
        locked(path, owner="b", shared=True),
        pytest.raises(BusyError),
        locked(path, owner="c"),
    ):
        pass
