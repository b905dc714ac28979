"""What a run wrote down while it worked: JSON lines, one file per run and one per failed patient.

A line has ``time``, ``level``, ``step``, ``event``, and ``patient_id`` where it concerns one. Only this program's own
messages are taken, which name pseudonyms; those of libraries may repeat a header or a path. Of an unforeseen error
the file gets the kind and the places in the code, and ``private/`` the whole text.
"""

import json
import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

_PROGRAM = "mrresponse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line; ``private`` is for the folder of that name."""

    time: str
    level: str
    step: str
    event: str
    patient_id: str | None = None
    private: str = ""


@contextmanager
def collected(patient_id: str | None = None) -> Iterator[list[Entry]]:
    """Collect what is logged in this block by this thread's program; the list fills while the block runs."""
    entries: list[Entry] = []
    handler = _Collector(entries, patient_id)
    logger = logging.getLogger(_PROGRAM)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield entries
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def append(file: Path, entries: Iterable[Entry]) -> None:
    """Add lines to a journal; the folder is made where it is absent."""
    lines = [_line(entry) for entry in entries]
    if not lines:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.writelines(lines)


def entry(event: str, *, level: str = "INFO", patient_id: str | None = None) -> Entry:
    """Make a line about the batch itself."""
    return Entry(time=_now(), level=level, step="batch", event=event, patient_id=patient_id)


def log_fault(logger: logging.Logger, words: str, error: BaseException) -> None:
    """Log an unforeseen error: its kind and the places in the code for all, its text for ``private/`` only."""
    whole = "".join(traceback.format_exception(error))
    logger.error("%s at %s", words, _places(error.__traceback__), extra={"private": whole})


class _Collector(logging.Handler):
    def __init__(self, entries: list[Entry], patient_id: str | None) -> None:
        super().__init__(level=logging.INFO)
        self._entries = entries
        self._patient_id = patient_id

    def emit(self, record: logging.LogRecord) -> None:
        self._entries.append(
            Entry(
                time=_now(),
                level=record.levelname,
                step=record.name.removeprefix(f"{_PROGRAM}."),
                event=record.getMessage(),
                patient_id=self._patient_id,
                private=getattr(record, "private", ""),
            )
        )


def _places(trace: TracebackType | None) -> str:
    """Say where in the code an error arose, without the values that were at work there."""
    return " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(trace))
    )


def _line(one: Entry) -> str:
    shown = {name: value for name, value in asdict(one).items() if name != "private" and value is not None}
    return json.dumps(shown, ensure_ascii=False) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
