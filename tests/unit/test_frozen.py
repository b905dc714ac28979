"""A row that is filled open is a frozen dataclass like any other."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, replace

import pytest

from mrresponse.frozen import filled_open, rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    name: str
    size: float | None = None
    flags: tuple[str, ...] = ()
    note: str


@filled_open
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    size: float | None = None
    flags: tuple[str, ...] = ()
    note: str


ROW = Row(note="n", name="L01", size=2.5)


def test_fields_have_what_was_given_or_their_default() -> None:
    assert (ROW.name, ROW.size, ROW.flags, ROW.note) == ("L01", 2.5, (), "n")
    assert asdict(ROW) == {"name": "L01", "size": 2.5, "flags": (), "note": "n"}
    assert repr(ROW) == "Row(name='L01', size=2.5, flags=(), note='n')"


def test_it_is_of_its_own_class_and_locked() -> None:
    assert type(ROW) is Row
    with pytest.raises(FrozenInstanceError):
        ROW.size = 3.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del ROW.size
    assert ROW.size == 2.5


def test_equality_hash_copies_and_pickles() -> None:
    same = Row(name="L01", size=2.5, note="n")
    assert same == ROW
    assert hash(same) == hash(ROW)
    assert replace(ROW, size=2.6) != ROW
    assert copy.copy(ROW) == copy.deepcopy(ROW) == pickle.loads(pickle.dumps(ROW)) == ROW
    assert type(replace(ROW, name="L02")) is Row


@pytest.mark.parametrize("given", [{"name": "L01"}, {"name": "L01", "note": "n", "volume": 1.0}])
def test_what_is_missing_or_unknown_is_refused_as_by_any_dataclass(given: dict[str, str]) -> None:
    for kind in (Plain, Row):
        with pytest.raises(TypeError):
            kind(**given)  # type: ignore[arg-type]


def test_rows_of_columns_are_those_of_the_constructor() -> None:
    found = rows_of(Row, {"note": "n"}, name=["L01", "L02"], size=[2.5, None])
    assert found == [ROW, Row(name="L02", note="n")]
    assert [type(row) for row in found] == [Row, Row]
    with pytest.raises(FrozenInstanceError):
        found[0].size = 3.0  # type: ignore[misc]


@pytest.mark.parametrize("given", [{"size": [1.0]}, {"name": ["L01"], "volume": [1.0]}])
def test_columns_that_are_missing_or_unknown_are_refused(given: dict[str, list[float]]) -> None:
    with pytest.raises(TypeError, match="note" if "name" not in given else "volume"):
        rows_of(Row, {"note": "n"} if "name" in given else {}, **given)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length: name, size"):
        rows_of(Row, {"note": "n"}, name=["L01", "L02"], size=[1.0])
