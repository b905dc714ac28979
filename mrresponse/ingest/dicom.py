"""A DICOM tree becomes studies: files are grouped by what their headers say, patients get their pseudonyms.

A line of the manifest names one file of a series, or a folder that holds one series; it then stands for all files below
the data folder with the same series UID, and its patient id becomes the pseudonym of that DICOM patient.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from mrresponse.domain import Failure
from mrresponse.ingest.headers import NO_STUDY, SliceHeader
from mrresponse.ingest.identity import DicomPatient, identity_notes, name_patients, overruled
from mrresponse.ingest.inputs import UNNAMED, Collected, Identity, IngestSettings
from mrresponse.ingest.manifest import ManifestRow, manifest_mismatch
from mrresponse.ingest.persons import (
    contradictions,
    differently_named,
    several_persons,
)
from mrresponse.ingest.selection import LiverOf, Rules, select_series
from mrresponse.ingest.tree import CACHE, scan

# Patient, study and date of images of a study that began the day before.
_Midnight = tuple[str, str, date]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixed:
    """A DICOM patient whose studies contradict each other in `differing`, and each of them as a patient."""

    patient: str
    differing: tuple[str, ...]
    studies: tuple[str, ...]


def read_tree(
    data: Path,
    rows: Sequence[ManifestRow],
    settings: IngestSettings,
    key_file: Path,
    liver_of: LiverOf | None = None,
    taken: Iterable[Path] = (),
) -> Collected:
    """Read the DICOM series below a folder and those that manifest rows name; `taken` are files of other readers.

    Raises
    ------
    DataError, ConfigError
        As `mrresponse.ingest.identity.name_patients`: nothing can be run.
    """
    outside = [row.path for row in rows if not row.path.is_relative_to(data)]
    roots = [data, *(path if path.is_dir() else path.parent for path in outside)]
    found = scan(roots, key_file.parent / CACHE, taken)
    begun = _over_midnight(found.headers)
    scanned = tuple(_begun(header, begun) for header in found.headers)
    scanned, mixed = _apart(scanned, found.patients)
    patients = {
        **found.patients,
        **{key: found.patients[one.patient] for one in mixed for key in one.studies},
    }
    stated, names, dates, failures = _stated(rows, scanned)
    headers = tuple(_dated(header, dates) for header in scanned)
    nameless = _nameless(headers, patients, names)
    failures += [_no_patient_id(header) for header in nameless.values()]
    passed_over = _passed_over(mixed, headers, names)
    named = {
        key: patient for key, patient in patients.items() if key not in nameless and key not in passed_over
    }
    names_by_patient = name_patients(named, names, data, key_file)
    rules = Rules(stated=stated, settings=settings, liver_of=liver_of)
    collected = [
        select_series(name, slices, rules) for name, slices in _by_patient(headers, names_by_patient)
    ]
    failures += [*found.failures, *(_unreadable(path) for path in found.unreadable)]
    failures += [failure for one in mixed for failure in _several_persons(one, names, names_by_patient)]
    # Without DICOM in the tree every folder holds files of another kind; with it they deserve a word.
    count = (
        "1 file is not DICOM and was" if found.others == 1 else f"{found.others} files are not DICOM and were"
    )
    notes = (f"{count} passed over",) if headers and found.others else ()
    return Collected(
        series=tuple(item for part in collected for item in part.series),
        failures=(*failures, *(item for part in collected for item in part.failures)),
        left_out=tuple(item for part in collected for item in part.left_out),
        notes=(
            *notes,
            *overruled(patients, names, data),
            *_midnight_notes(begun, names_by_patient),
            *identity_notes(data, {patient.identifier for patient in patients.values()}),
            *_alike({key: named[key] for key in found.patients if key in named}, names_by_patient),
            *_differently_named(headers, names_by_patient),
            *_said_to_be_one(headers, mixed, names),
        ),
        identities=tuple(
            Identity(dicom_patient_id=patients[key].identifier, patient_id=name)
            for key, name in sorted(names_by_patient.items(), key=lambda item: item[1])
        ),
    )


def _stated(
    rows: Sequence[ManifestRow], headers: Sequence[SliceHeader]
) -> tuple[Mapping[str, Sequence[ManifestRow]], Mapping[str, str], Mapping[str, date], list[Failure]]:
    """Return manifest rows by the images they name, the names they give to patients, and what contradicts.

    The dates are those of the studies that rows name; only a study without one of its own needs it.
    """
    by_image: dict[str, list[ManifestRow]] = {}
    names: dict[str, str] = {}
    dates: dict[str, date] = {}
    failures = []
    for row in rows:
        named = [header for header in headers if _is_named(header, row)]
        reason = _contradiction(row, named, names, dates)
        if reason:
            failures.append(manifest_mismatch(row, reason))
        elif named:
            names[named[0].patient] = row.patient_id
            dates[named[0].study] = row.study_date
            for header in named:
                by_image.setdefault(header.instance, []).append(row)
    return by_image, names, dates, failures


def _apart(
    headers: Sequence[SliceHeader], patients: Mapping[str, DicomPatient]
) -> tuple[tuple[SliceHeader, ...], list[_Mixed]]:
    """Make each study a patient of its own where those under one id cannot be of one person."""
    differing = {
        patient: names for patient, names in contradictions(headers).items() if patients[patient].identifier
    }
    found: dict[str, dict[str, None]] = {patient: {} for patient in differing}
    apart = []
    for header in headers:
        item = _on_its_own(header) if header.patient in differing else header
        if item is not header:
            found[header.patient][item.patient] = None
        apart.append(item)
    return tuple(apart), [
        _Mixed(patient=patient, differing=differing[patient], studies=tuple(studies))
        for patient, studies in found.items()
    ]


def _on_its_own(header: SliceHeader) -> SliceHeader:
    """Return an MR slice as one of a patient with this study only; others, which are not assessed, as they are."""
    if header.modality != "MR":
        return header
    # without a UID of the study, as some anonymisers leave it, nothing says what belongs together
    study = header.series if header.study == NO_STUDY else header.study
    return replace(header, patient=f"{header.patient}/{study}/{header.study_date or ''}")


def _passed_over(
    mixed: Iterable[_Mixed], headers: Iterable[SliceHeader], names: Mapping[str, str]
) -> set[str]:
    """Return patients that get no name: studies of nobody knows whom, and an id whose studies all are somebody's."""
    used = {header.patient for header in headers}
    spare: set[str] = set()
    for one in mixed:
        unnamed = [key for key in one.studies if key not in names]
        spare.update(unnamed)
        if not unnamed and one.patient not in used:
            spare.add(one.patient)
    return spare


def _several_persons(mixed: _Mixed, stated: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Failure]:
    """Fail the patient, and each whom the manifest names for some of the studies: another one may be theirs too."""
    if all(key in stated for key in mixed.studies):
        return
    named = {stated[key] for key in mixed.studies if key in stated}
    for name in sorted({names[mixed.patient], *named}):
        yield Failure(
            patient_id=name,
            code="several_persons",
            message=several_persons(mixed.differing, len(mixed.studies)),
        )


def _said_to_be_one(
    headers: Iterable[SliceHeader], mixed: Iterable[_Mixed], stated: Mapping[str, str]
) -> list[str]:
    """Note the patients to whom the manifest gives studies that contradict each other."""
    given = {key: f"{one.patient} {stated[key]}" for one in mixed for key in one.studies if key in stated}
    differing = contradictions(
        replace(header, patient=given[header.patient]) for header in headers if header.patient in given
    )
    return sorted(
        f"{patient.split()[1]}: studies differ in {' and '.join(names)}; taken for one person, as manifest.csv says"
        for patient, names in differing.items()
    )


def _differently_named(headers: Iterable[SliceHeader], names: Mapping[str, str]) -> list[str]:
    return sorted(
        f"{names[patient]}: {count} different PatientName under one PatientID, and no PatientBirthDate that confirms "
        "them; taken for one person"
        for patient, count in differently_named(headers).items()
        if patient in names
    )


def _over_midnight(headers: Iterable[SliceHeader]) -> Mapping[_Midnight, date]:
    """Return the date on which a DICOM study began, by patient, study and the date after it that some images state.

    A study has one date, that of its beginning (PS3.3 C.7.2.1), but some scanners change it at midnight. Dates further
    apart under one study UID are different visits whose UIDs an anonymiser made alike; without a UID nothing is one.
    """
    found: dict[tuple[str, str], set[date]] = {}
    for header in headers:
        if header.modality == "MR" and header.study != NO_STUDY and header.study_date is not None:
            found.setdefault((header.patient, header.study), set()).add(header.study_date)
    begun: dict[_Midnight, date] = {}
    for (patient, study), dates in found.items():
        for day in sorted(dates):
            before = day - timedelta(days=1)
            if before in dates and (patient, study, before) not in begun:
                begun[patient, study, day] = before
    return begun


def _begun(header: SliceHeader, begun: Mapping[_Midnight, date]) -> SliceHeader:
    """Give a slice the date on which its study began, where that went over midnight."""
    if header.study_date is None:
        return header
    day = begun.get((header.patient, header.study, header.study_date))
    return header if day is None else replace(header, study_date=day)


def _midnight_notes(begun: Mapping[_Midnight, date], names: Mapping[str, str]) -> Iterator[str]:
    for (patient, _, later), day in sorted(
        begun.items(), key=lambda item: (names.get(item[0][0], ""), item[1])
    ):
        if patient in names:
            yield (
                f"{names[patient]} {day}: images of this DICOM study state {later}; taken for one study over "
                f"midnight, of {day}"
            )


def _dated(header: SliceHeader, dates: Mapping[str, date]) -> SliceHeader:
    """Give a slice without a study date, as some anonymisers leave it, the one that the manifest states."""
    if header.study_date is not None or header.study not in dates:
        return header
    return replace(header, study_date=dates[header.study])


def _is_named(header: SliceHeader, row: ManifestRow) -> bool:
    if row.frame is not None and row.frame - 1 != header.frame:
        return False
    return header.path == row.path or row.path in header.path.parents


def _contradiction(
    row: ManifestRow, named: Sequence[SliceHeader], names: Mapping[str, str], dates: Mapping[str, date]
) -> str | None:
    if not named:
        what = "image" if row.frame is None else f"frame {row.frame}"
        return f"found no readable DICOM {what} at the path, expected a file or the folder of one series"
    if len({header.series for header in named}) > 1:
        return "the folder holds several series, expected one; name one file of the series instead"
    first = named[0]
    if first.study_date not in (row.study_date, None):
        return f"the DICOM study has study date {first.study_date}, the manifest {row.study_date}"
    if dates.get(first.study, row.study_date) != row.study_date:
        return f"the DICOM study is of {dates[first.study]} in another row, expected one study_date"
    if names.get(first.patient, row.patient_id) != row.patient_id:
        return f"the DICOM patient is {names[first.patient]} in another row, expected one patient_id"
    return None


def _by_patient(
    headers: Sequence[SliceHeader], names: Mapping[str, str]
) -> Iterator[tuple[str, tuple[SliceHeader, ...]]]:
    groups: dict[str, list[SliceHeader]] = {}
    for header in headers:
        if header.patient in names:
            groups.setdefault(names[header.patient], []).append(header)
    for name in sorted(groups):
        yield name, tuple(groups[name])


def _alike(patients: Mapping[str, DicomPatient], names: Mapping[str, str]) -> list[str]:
    """Return a note for each group of patients whose ids look like one, written in several ways."""
    groups: dict[str, set[str]] = {}
    for key, patient in patients.items():
        groups.setdefault("".join(patient.identifier.casefold().split()), set()).add(names[key])
    return [
        f"patients {' and '.join(sorted(group))}: their DICOM patient ids differ only in case, blanks or issuer; if "
        "they are one person, give their ids one patient_id in identities.csv"
        for _, group in sorted(groups.items())
        if len(group) > 1
    ]


def _nameless(
    headers: Sequence[SliceHeader], patients: Mapping[str, DicomPatient], stated: Mapping[str, str]
) -> Mapping[str, SliceHeader]:
    """Return a header of each DICOM patient without an id that no manifest line names."""
    return {
        header.patient: header
        for header in reversed(headers)
        if not patients[header.patient].identifier and header.patient not in stated
    }


def _no_patient_id(header: SliceHeader) -> Failure:
    return Failure(
        patient_id=UNNAMED,
        study_date=header.study_date,
        code="no_patient_id",
        message="DICOM files without a patient id, expected one, or a line in manifest.csv that names a file",
        path=header.path,
    )


def _unreadable(path: Path) -> Failure:
    return Failure(
        patient_id=UNNAMED,
        code="unreadable",
        message="a DICOM file cannot be read, expected a complete header (--show-paths names the file)",
        path=path,
    )
