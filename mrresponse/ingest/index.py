"""What the headers of a large tree said, kept so that they are read once.

The index is a file of JSON lines beside the key of the pseudonyms, readable by the owner only: it holds DICOM patient
ids, as the key's folder may. A file whose size or time of change differs is read again. Lines are written as headers
are read, so a scan that was broken off goes on where it stopped; a half-written last line is passed over.

`check` and `run` share it, which is why it lies beside the key and not in the ``private`` folder of one run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from mrresponse.ingest.headers import FileHeaders

# Rises whenever what is kept of a header changes.
_FORMAT = 5
# Below this a scan takes a second or two and needs no index.
_SMALLEST = 1500
_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One file of the tree: what it was when it was read, and what was kept of its headers."""

    path: str
    size: int
    changed_ns: int
    headers: FileHeaders


_LINE = TypeAdapter(_Line)


@dataclass(slots=True)
class ScanIndex:
    """Headers read before, by file, and the file that new ones are added to once they are many."""

    path: Path
    known: dict[str, _Line] = field(default_factory=dict)
    _new: list[_Line] = field(default_factory=list)
    _file: IO[bytes] | None = None

    def find(self, path: Path) -> FileHeaders | None:
        """Return what is known of a file that has not changed since."""
        line = self.known.get(str(path))
        if line is None:
            return None
        stat = path.stat()
        same = (stat.st_size, stat.st_mtime_ns) == (line.size, line.changed_ns)
        return line.headers if same else None

    def keep(self, path: Path, headers: FileHeaders) -> None:
        """Remember what a file said; written out once there are enough such files."""
        stat = path.stat()
        self._new.append(
            _Line(path=str(path), size=stat.st_size, changed_ns=stat.st_mtime_ns, headers=headers)
        )
        if len(self._new) >= _SMALLEST:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._file = _opened(self.path)
        if self._file is not None:
            self._file.write(b"".join(_LINE.dump_json(line) + b"\n" for line in self._new))
            self._file.flush()
        self._new.clear()


@contextmanager
def scan_index(path: Path) -> Iterator[ScanIndex]:
    """Open the index of a tree; where it cannot be written, nothing is kept and every header is read each time."""
    index = ScanIndex(path=path, known=_read(path))
    try:
        yield index
    finally:
        if index._file is not None or index.known:
            index._flush()
        if index._file is not None:
            index._file.close()


def _read(path: Path) -> dict[str, _Line]:
    known: dict[str, _Line] = {}
    try:
        with path.open("rb") as file:
            if file.readline() != _head():
                return known
            for text in file:
                try:
                    line = _LINE.validate_json(text)
                except ValidationError:
                    continue
                known[line.path] = line
    except OSError:
        return {}
    return known


def _opened(path: Path) -> IO[bytes] | None:
    """Open the index for adding lines; begun anew where it is of another format."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = _head_of(path) != _head()
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if fresh else os.O_APPEND)
        file = os.fdopen(os.open(path, flags, _MODE), "wb")
        # A line that was broken off ends here, so that the next one stands by itself.
        file.write(_head() if fresh else b"\n")
    except OSError:
        return None
    return file


def _head_of(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.readline()


def _head() -> bytes:
    return b"mrresponse scan %d\n" % _FORMAT
