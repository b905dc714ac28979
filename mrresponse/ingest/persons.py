"""Whether the studies under one DICOM patient id are of one person.

Some anonymisers give everybody one id (``ANONYMOUS``, ``0``). Where sex or date of birth contradict each other under an
id, each study is a patient of its own, to be named in the manifest: as one patient they would make a course of nobody.

What is compared is kept as two hexadecimal digits of a digest that differs from id to id. That shows that two dates
differ, but for one pair in 256, and does not tell which they are: more than a hundred days of a century share one.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from mrresponse.dicom.elements import text
from mrresponse.tables import is_plausible

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mrresponse.ingest.headers import SliceHeader

_SEXES = ("F", "M")
# What some programs write where they have no date of birth.
_NO_BIRTH_DATE = date(1900, 1, 1)
_DIGITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Digests of what a header says of a person besides the id; empty where it says nothing."""

    sex: str = ""
    birth_date: str = ""
    name: str = ""


def person_of(dataset: "Dataset", patient: str) -> Person:
    """Return what is kept of a person; `patient` is the hash of the id."""
    sex = text(dataset, "PatientSex").upper()
    return Person(
        sex=_digest(patient, sex if sex in _SEXES else ""),
        birth_date=_digest(patient, _birth_date(text(dataset, "PatientBirthDate"))),
        name=_digest(patient, _name(text(dataset, "PatientName"))),
    )


def contradictions(headers: Iterable["SliceHeader"]) -> Mapping[str, tuple[str, ...]]:
    """Return what differs between MR images under one patient id and cannot in one person, by patient."""
    differing = {}
    for patient, persons in _persons(headers).items():
        stated = {
            "PatientSex": {person.sex for person in persons},
            "PatientBirthDate": {person.birth_date for person in persons},
        }
        names = tuple(name for name, values in stated.items() if len(values - {""}) > 1)
        if names:
            differing[patient] = names
    return differing


def differently_named(headers: Iterable["SliceHeader"]) -> Mapping[str, int]:
    """Return patients whose MR images carry several names and no date of birth to confirm them, with their number.

    Names are respelt and change, so this is worth a word and decides nothing.
    """
    counts = {}
    for patient, persons in _persons(headers).items():
        count = len({person.name for person in persons} - {""})
        if count > 1 and not all(person.birth_date for person in persons):
            counts[patient] = count
    return counts


def several_persons(differing: Sequence[str], studies: int) -> str:
    """Return the message of a failure that says what contradicts, without a value."""
    where = "within one MR study" if studies == 1 else f"between {studies} MR studies"
    return (
        f"several persons under one PatientID: found {' and '.join(differing)} that differ {where}, expected one "
        "person under one id; correct the files, or name a file of each study in manifest.csv with the "
        "patient_id of its person"
    )


def _persons(headers: Iterable["SliceHeader"]) -> Mapping[str, set[Person]]:
    """Gather what the MR images under each patient id say of the person."""
    found: dict[str, set[Person]] = {}
    for header in headers:
        if header.modality == "MR":
            found.setdefault(header.patient, set()).add(header.person)
    return found


def _digest(patient: str, value: str) -> str:
    if not value:
        return ""
    return hashlib.blake2b(f"{patient}\0{value}".encode(), digest_size=16).hexdigest()[:_DIGITS]


def _birth_date(digits: str) -> str:
    """Return a date of birth as eight digits, empty where it is none or stands for none."""
    plain = digits.replace(".", "")
    try:
        found = date(int(plain[:4]), int(plain[4:6]), int(plain[6:])) if len(plain) == 8 else None
    except ValueError:
        return ""
    return plain if found is not None and found != _NO_BIRTH_DATE and is_plausible(found) else ""


def _name(stated: str) -> str:
    """Return the words of a name in a fixed order: case, punctuation and letters beyond ASCII say nothing."""
    letters = "".join(
        one if one.isalnum() and one.isascii() else " " for one in stated.split("=")[0].casefold()
    )
    return " ".join(sorted(letters.split()))
