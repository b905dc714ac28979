"""Zip archives of a PACS export, unpacked once into a private folder.

A member is written under a number of ours, never under its own name, so none can leave the folder it is unpacked to.
What an archive says of its size is checked before a byte is written, and what it holds against what it said.
"""

import hashlib
import shutil
import zipfile
from pathlib import Path

from mrresponse.errors import DataError
from mrresponse.files import waited_for

SUFFIX = ".zip"
# A whole archive of one patient's years of MRI is below 20 GB; more members than that is no export of images.
_MOST_BYTES = 50 * 1024**3
_MOST_MEMBERS = 200_000
# Deflate reaches 1032:1 at most, MR images 2:1 to 4:1; an archive of empty images stays below this size.
_BOMB_RATIO, _BOMB_BYTES = 200, 1024**3
_BLOCK = 1024**2
_DONE = "complete"


def unpacked(archive: Path, folder: Path) -> Path:
    """Return the folder with the members of an archive, unpacked below `folder` where it is not yet.

    Raises
    ------
    DataError
        ``bad_archive``: no zip archive, damaged, encrypted, of an absurd size, or no room for its content.
    """
    stat = archive.stat()
    mark = f"{archive.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    target = folder / hashlib.blake2b(mark.encode(), digest_size=12).hexdigest()
    if (target / _DONE).exists():
        return target / "files"
    # beside its final place, and moved there when it is whole
    own = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            _check(members, folder, archive)
            # other commands, as the parts of a divided run, may want the same archive at the same time
            with waited_for(folder / f"{target.name}.lock"):
                if not (target / _DONE).exists():
                    _unpack(opened, members, own, target)
    # zlib.error and its relatives of other methods have no common base but Exception's children below.
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise _bad(f"cannot be unpacked ({type(error).__name__})", archive) from None
    except Exception as error:
        if type(error).__name__ in ("error", "LZMAError"):
            raise _bad("is damaged", archive) from None
        raise
    return target / "files"


def _unpack(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], own: Path, target: Path) -> None:
    # what a killed command left
    for leftover in (own, target):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        (own / "files").mkdir(mode=0o700, parents=True)
        for number, member in enumerate(members):
            _copy(opened, member, own / "files" / f"{number:06d}")
        (own / _DONE).touch()
        own.replace(target)
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise


def _check(members: list[zipfile.ZipInfo], folder: Path, archive: Path) -> None:
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if len(members) > _MOST_MEMBERS:
        raise _bad(f"holds {len(members)} files, expected at most {_MOST_MEMBERS}", archive)
    if total > _MOST_BYTES or (total > _BOMB_BYTES and total > _BOMB_RATIO * max(packed, 1)):
        raise _bad(f"would unpack to {total / 1e9:.0f} GB, expected images", archive)
    if any(member.flag_bits & 1 for member in members):
        raise _bad("is encrypted", archive)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    room = shutil.disk_usage(folder).free
    if total > room:
        raise _bad(f"needs {total / 1e9:.1f} GB, found {room / 1e9:.1f} GB of room", archive)


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    written = 0
    with opened.open(member) as source, target.open("wb") as file:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > member.file_size:
                raise zipfile.BadZipFile
            file.write(block)


def _bad(found: str, archive: Path) -> DataError:
    return DataError(
        f"a zip archive {found}; expected an unencrypted archive of DICOM files (--show-paths names it)",
        code="bad_archive",
        path=archive,
    )
