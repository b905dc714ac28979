"""Write a file whole or not at all, and one writer at a time."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

_PART = ".part"


class BusyError(Exception):
    """Somebody else holds the lock; the message says who, as they wrote it."""


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write `content` to a temporary file beside `path` and move it there in one step.

    A reader sees the old file or the new one, never a part, also after a loss of power; the folder is made where it is
    absent. `mode` is that of the new file, for files that only their owner may read; by default it is what the
    process's mask allows.
    """
    with opened_atomically(path, mode=mode) as file:
        file.write(content)


def replace_atomically(path: Path, write: Callable[[Path], object], *, mode: int | None = None) -> None:
    """Let `write` fill a temporary file beside `path` and move it there, for libraries that write files themselves."""
    with opened_atomically(path, mode=mode) as file:
        write(Path(str(file.name)))


@contextmanager
def opened_atomically(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends without an error, for tables of any length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
    try:
        os.close(handle)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            # without it a loss of power may leave the new name with nothing behind it
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> int:
    """Remove the temporary files that killed writers left below a folder; return how many there were."""
    parts = [path for path in folder.rglob(f".*{_PART}") if path.is_file()]
    for path in parts:
        path.unlink(missing_ok=True)
    return len(parts)


@contextmanager
def locked(path: Path, *, owner: str, shared: bool = False) -> Iterator[bool]:
    """Hold a lock until the block ends or the process dies, however it dies.

    The kernel keeps the lock (``flock``), so a crash leaves none behind; the file says who took it last.

    Yields
    ------
    bool
        False where the file system cannot lock files.

    Raises
    ------
    BusyError
        Somebody else holds it; with `shared`, somebody who does not share it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(_owner(file)) from None
        except OSError:
            yield False
            return
        _write_owner(file, owner)
        yield True


@contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Hold a lock until the block ends or the process dies; wait for it while somebody else holds it.

    Where the file system cannot lock files there is nothing to wait for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _owner(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "unknown"


def _write_owner(file: TextIO, owner: str) -> None:
    # owners of a shared lock overwrite each other's name; any of them is an answer
    file.truncate(0)
    file.write(f"{owner}\n")
    file.flush()


def _sync_folder(folder: Path) -> None:
    """Make a rename last; some network file systems cannot, and say so."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
