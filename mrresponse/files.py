"""Write a file whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write `content` to a temporary file beside `path` and move it there in one step.

    A reader sees the old file or the new one, never a part; the folder is made where it is absent. `mode` is that of
    the new file, for files that only their owner may read; by default it is what the process's mask allows.
    """

    def write(file: Path) -> None:
        file.write_bytes(content)

    replace_atomically(path, write, mode=mode)


def replace_atomically(path: Path, write: Callable[[Path], object], *, mode: int | None = None) -> None:
    """Let `write` fill a temporary file beside `path` and move it there, for libraries that write files themselves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        write(Path(temporary))
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
