"""Cheaper ways to make wide frozen rows, of which a patient has hundreds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Wide(NamedTuple):
    """A class whose rows are filled open: its defaults as endless columns, and what makes rows of columns."""

    names: frozenset[str]
    in_order: Callable[[Mapping[str, Any]], Sequence[Any]]
    defaults: Mapping[str, Iterable[Any]]
    rows: Callable[[Sequence[Any]], list[Any]]


_WIDE: dict[type, _Wide] = {}


def filled_open(cls: type[T]) -> type[T]:
    """Fill a frozen dataclass with slots before it is locked, in less than half the time.

    The constructor of a frozen dataclass goes round its own lock for every field. Here a new row is of a class without
    a lock, with the same slots, while its fields are set, and takes on its own class at last. Arguments, defaults and
    all else stay. Fields have plain defaults, no factories.
    """
    known = fields(cls)  # type: ignore[arg-type]
    names = tuple(one.name for one in known)
    open_class = type(cls.__name__, (), {"__slots__": names})
    lines = [
        f"def __init__(self, *, {', '.join(names)}):",
        "    set_past_the_lock(self, '__class__', open_class)",
        *(f"    self.{name} = {name}" for name in names),
        "    self.__class__ = cls",
        "def rows(columns):",
        "    found = []",
        "    for values in zip(*columns):",
        "        row = open_class()",
        f"        {', '.join(f'row.{name}' for name in names)} = values",
        "        row.__class__ = cls",
        "        found.append(row)",
        "    return found",
    ]
    scope: dict[str, Any] = {"set_past_the_lock": object.__setattr__, "open_class": open_class, "cls": cls}
    exec("\n".join(lines), scope)
    scope["__init__"].__kwdefaults__ = cls.__init__.__kwdefaults__
    cls.__init__ = scope["__init__"]  # type: ignore[method-assign]
    defaults = {one.name: repeat(one.default) for one in known if one.default is not MISSING}
    _WIDE[cls] = _Wide(frozenset(names), itemgetter(*names), defaults, scope["rows"])
    return cls


def rows_of(cls: type[T], same: Mapping[str, Any], **columns: Sequence[Any]) -> list[T]:
    """Return rows of a class that is ``filled_open``, made column by column in a third of the time of single rows.

    Parameters
    ----------
    same
        Fields that all rows share; a field that is not given has its default.
    columns
        The other fields, one value per row.

    Raises
    ------
    TypeError
        A field is unknown, or neither given nor has a default.
    ValueError
        Columns differ in length, or there is none.
    """
    names, in_order, defaults, rows = _WIDE[cls]
    if len(set(map(len, columns.values()))) != 1:
        raise ValueError(f"{cls.__name__}: columns differ in length: {', '.join(columns)}")
    given = dict(defaults)
    for name, value in same.items():
        given[name] = repeat(value)
    given |= columns
    try:
        fields_in_order = in_order(given)
    except KeyError:
        fields_in_order = ()
    if len(fields_in_order) != len(given):
        raise TypeError(f"{cls.__name__}: unknown or not given: {', '.join(sorted(given.keys() ^ names))}")
    return rows(fields_in_order)
