"""Pseudonyms for DICOM patients.

A patient is called by the name that a manifest line or ``identities.csv`` gives; without one by ``P-`` and ten
characters of a keyed hash (HMAC-SHA256 of the DICOM patient id and its issuer). The 32-byte key stays with the user:
with the key the same patient gets the same pseudonym again, without it a pseudonym cannot be traced back by trying ids.
"""

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrresponse.errors import ConfigError, DataError
from mrresponse.ingest.inputs import Identity, check_id
from mrresponse.ingest.patient_tables import column_notes
from mrresponse.tables import parse_rows

IDENTITIES = "identities.csv"
_KEY_BYTES = 32
_NAME_CHARACTERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomPatient:
    """Who a DICOM header says it is about; lives only until the pseudonym is known."""

    identifier: str
    issuer: str = ""


def read_identities(data: Path) -> Mapping[str, str]:
    """Return the pseudonyms that ``identities.csv`` gives, by DICOM patient id.

    Raises
    ------
    DataError
        ``bad_table``: no table, a bad pseudonym, or two pseudonyms for one id. Messages do not repeat an id.
    """
    path = data / IDENTITIES
    given: dict[str, str] = {}
    if not path.exists():
        return given
    for number, row in parse_rows(path, Identity):
        if isinstance(row, DataError):
            raise DataError(
                f"{path.name} row {number}: found an empty or bad cell, expected dicom_patient_id and patient_id",
                code="bad_table",
                path=path,
            )
        name = check_id(row.patient_id, f"{path.name} row {number}")
        identifier = row.dicom_patient_id.strip()
        if given.setdefault(identifier, name) != name:
            raise DataError(
                f"{path.name} row {number}: found a second pseudonym for one DICOM patient, expected one",
                code="bad_table",
                path=path,
            )
    return given


def identity_notes(data: Path, identifiers: Collection[str]) -> tuple[str, ...]:
    """Return notes on ``identities.csv``: columns that are not used, and rows whose DICOM patient is not in the data.

    The list may be that of a whole hospital, but a typing error would leave a patient under another pseudonym. Rows are
    named by number and pseudonym, never by the DICOM id.

    Raises
    ------
    DataError
        ``bad_table``: the file is no table.
    """
    path = data / IDENTITIES
    if not path.exists():
        return ()
    spare = [
        f"row {number} ({row.patient_id.strip()})"
        for number, row in parse_rows(path, Identity)
        if isinstance(row, Identity) and row.dicom_patient_id.strip() not in identifiers
    ]
    found = (f"{path.name}: no DICOM patient in the data has the id of {', '.join(spare)}",) if spare else ()
    return (*column_notes(path, Identity), *found)


def overruled(patients: Mapping[str, DicomPatient], stated: Mapping[str, str], data: Path) -> tuple[str, ...]:
    """Return a note for each name of ``identities.csv`` that gives way to another one of the manifest.

    Raises
    ------
    DataError
        ``bad_table`` for ``identities.csv``.
    """
    listed = read_identities(data)
    pairs = {(listed.get(patients[key].identifier, name), name) for key, name in stated.items()}
    return tuple(
        f"manifest.csv says {name} of a DICOM patient whom {IDENTITIES} calls {other}; {name} is taken"
        for other, name in sorted(pairs)
        if other != name
    )


def name_patients(
    patients: Mapping[str, DicomPatient], stated: Mapping[str, str], data: Path, key_file: Path
) -> Mapping[str, str]:
    """Return a pseudonym for every DICOM patient, by the key it has in `patients`.

    Parameters
    ----------
    patients
        DICOM patients, by any key.
    stated
        Names that manifest lines give, by the same keys.
    data, key_file
        Where ``identities.csv`` may lie, and the key of the hash.

    Raises
    ------
    DataError
        ``bad_table`` for ``identities.csv``; ``pseudonym_collision`` where two patients would get one pseudonym by
        the hash.
    ConfigError
        The key file cannot be read or made.
    """
    listed = read_identities(data)
    names = {key: stated.get(key) or listed.get(patient.identifier, "") for key, patient in patients.items()}
    unnamed = [key for key in sorted(patients) if not names[key]]
    taken = set(names.values())
    secret = _key(key_file) if unnamed else b""
    for key in unnamed:
        name = pseudonym(patients[key], secret)
        if name in taken:
            raise DataError(
                f"two DICOM patients get the pseudonym {name}, expected different ones; name them in identities.csv",
                code="pseudonym_collision",
                patient_id=name,
            )
        taken.add(name)
        names[key] = name
    return names


def pseudonym(patient: DicomPatient, key: bytes) -> str:
    """Return the keyed pseudonym of a DICOM patient: ``P-`` and ten characters, 50 bits."""
    message = f"{patient.identifier}\0{patient.issuer}".encode()
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return "P-" + base64.b32encode(digest).decode("ascii")[:_NAME_CHARACTERS]


def _key(path: Path) -> bytes:
    """Read the key, made where absent; of several processes that make it at once, one wins and all use its key."""
    try:
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"key_file: {path} cannot be read or written ({error.strerror}); expected a {_KEY_BYTES}-byte file for "
            "pseudonyms, give one with --key-file or list pseudonyms in identities.csv"
        ) from None
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"key_file: {path} has {len(key)} bytes, expected {_KEY_BYTES}")
    return key


def _make_key(path: Path) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        os.unlink(temporary)
