"""Headers of the DICOM files below a folder, whatever the names of files and folders, zip archives included."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrresponse.domain import Failure
from mrresponse.errors import DataError
from mrresponse.ingest import archives
from mrresponse.ingest.headers import SliceHeader, is_dicom, read_headers
from mrresponse.ingest.identity import DicomPatient
from mrresponse.ingest.index import scan_index
from mrresponse.ingest.inputs import as_failure

# What is kept between runs, beside the key of the pseudonyms: as private as that.
CACHE = "mrresponse.cache"
# Tables and the key of the pseudonyms belong to the folder.
_OWN_SUFFIXES = (".csv", ".tsv", ".key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Slices and DICOM patients by hash, DICOM files that cannot be read, bad archives, count of other files."""

    headers: tuple[SliceHeader, ...]
    patients: Mapping[str, DicomPatient]
    unreadable: tuple[Path, ...] = ()
    failures: tuple[Failure, ...] = ()
    others: int = 0


def scan(roots: Iterable[Path], cache: Path, taken: Iterable[Path] = ()) -> Scan:
    """Read the headers of all files, those that `cache` does not know yet; `taken` are read elsewhere, as NIfTI."""
    known = {path.resolve() for path in taken}
    headers: list[SliceHeader] = []
    patients: dict[str, DicomPatient] = {}
    unreadable: list[Path] = []
    failures: list[Failure] = []
    others = 0
    with scan_index(cache / "scan.jsonl") as index:
        for path in _files(roots, cache, failures):
            found = index.find(path)
            if found is None:
                # Pipes and devices would never end.
                if not path.is_file():
                    continue
                if not is_dicom(path):
                    others += path.suffix not in _OWN_SUFFIXES and path.resolve() not in known
                    continue
                found = read_headers(path)
                index.keep(path, found)
            if found.is_unreadable:
                unreadable.append(path)
            if found.patient is not None:
                headers += found.slices
                patients.update({item.patient: found.patient for item in found.slices[:1]})
    return Scan(
        headers=tuple(headers),
        patients=patients,
        unreadable=tuple(unreadable),
        failures=tuple(failures),
        others=others,
    )


def _files(roots: Iterable[Path], cache: Path, failures: list[Failure]) -> Iterator[Path]:
    """Yield each file below folders and in their zip archives once, in a fixed order; bad archives become failures."""
    seen: set[Path] = set()
    for path in _below(roots):
        if path in seen:
            continue
        seen.add(path)
        if path.suffix.lower() != archives.SUFFIX:
            yield path
            continue
        try:
            yield from _below([archives.unpacked(path, cache / "unpacked")])
        except DataError as error:
            failures.append(as_failure(error))


def _below(roots: Iterable[Path]) -> Iterator[Path]:
    """Yield the files below folders; links to folders are followed once, what we keep ourselves is passed over."""
    seen: set[str] = set()
    for root in roots:
        for folder, subfolders, names in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if name != CACHE)
            for name in sorted(names):
                yield Path(folder, name)
