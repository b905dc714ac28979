"""A folder of images and tables becomes patients, or failures that name the culprit.

Images are named by ``manifest.csv``, found in a DICOM tree, or lie in a BIDS-like tree; the kinds may be mixed, and
a line of the manifest overrides what the rules would say of a DICOM series. Headers only are read here;
`read_study` reads the voxels of one study, `read_series` those of one series.

A patient with a failure is not assessed, because an answer from half of the studies would be wrong without a sign
of it. Two failures concern something beside the studies and leave the patient in: a CT (``modality``) and a table row
that names nobody (``unknown_patient``).
"""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from mrresponse.domain import ContrastPhase, Failure, Image, Series, Study
from mrresponse.errors import DataError
from mrresponse.ingest.inputs import (
    Collected,
    FoundSeries,
    Identity,
    Ingested,
    IngestSettings,
    LeftOut,
    as_failure,
    failed_patients,
    joined,
    located,
)
from mrresponse.ingest.manifest import (
    ManifestRow,
    each_file_once,
    is_bids,
    manifest_failure,
    nifti_series,
    read_bids,
    read_manifest,
    unnamed_bids,
)
from mrresponse.ingest.patient_tables import (
    PatientTables,
    after_death,
    future_studies,
    misspelt_tables,
    read_patient_tables,
    spare_patients,
    with_tables,
)

if TYPE_CHECKING:
    from mrresponse.ingest.selection import LiverOf

_TABLES = (
    "findings.csv",
    "identities.csv",
    "manifest.csv",
    "markers.csv",
    "patients.csv",
    "treatments.csv",
)

__all__ = [
    "Identity",
    "IngestSettings",
    "Ingested",
    "LeftOut",
    "check_scale",
    "failed_patients",
    "ingest",
    "read_patient_tables",
    "read_series",
    "read_study",
]


def ingest(
    data: Path,
    settings: IngestSettings,
    *,
    key_file: Path | None = None,
    liver_of: "LiverOf | None" = None,
) -> Ingested:
    """Read a data folder: headers, and the images of series whose contrast phase the headers leave open.

    Parameters
    ----------
    data
        Folder of the inputs.
    settings
        A site's own rules.
    key_file
        Key of the pseudonyms of a DICOM tree; ``mrresponse.key`` in `data` where not given, made where absent.
    liver_of
        Finds the liver in an image, for contrast phases that only the image tells; without it no image is read.

    Raises
    ------
    DataError
        The folder has no images (``no_input``), or a table is no table (``bad_table``): nothing can be run.
    ConfigError
        The key file cannot be read or made.
    """
    if not data.is_dir():
        raise DataError(
            "data folder does not exist or is a file, expected a folder", code="no_input", path=data
        )
    tables = read_patient_tables(data)
    rows, collected = read_manifest(data)
    nifti_rows, dicom_rows = _split(rows)
    once, twice = each_file_once(nifti_rows)
    collected = joined(joined(collected, twice), _nifti(once))
    if nifti_rows:
        collected = joined(collected, Collected(notes=unnamed_bids(data, nifti_rows)))
    elif is_bids(data):
        collected = joined(collected, read_bids(data, settings))
    taken = [row.path for row in nifti_rows]
    taken += [item.series.path for item in collected.series]
    collected = joined(
        collected, _dicom(data, dicom_rows, settings, key_file or data / "mrresponse.key", liver_of, taken)
    )
    if not collected.series and not collected.failures:
        raise DataError(
            "no images found, expected a DICOM tree, a manifest.csv that names NIfTI files, or a BIDS-like tree",
            code="no_input",
            path=data,
        )
    return _assembled(collected, tables, misspelt_tables(data, _TABLES))


def read_study(study: Study) -> dict[ContrastPhase, Image]:
    """Read the images of a study, by contrast phase.

    Raises
    ------
    DataError
        The codes of `read_series`; ``mixed_scale`` where only some of the T1 series state Philips' own scale slope.
    """
    images = {}
    slopes = []
    for series in study.series:
        image, has_slope = _read(series, patient_id=study.patient_id, study_date=study.study_date)
        images[series.contrast_phase] = image
        slopes.append(has_slope)
    _refuse_mixed_scale(study, slopes)
    return images


def check_scale(study: Study) -> None:
    """Refuse, by one header of each series, a study that `read_study` would refuse for Philips' own scale slope.

    Raises
    ------
    DataError
        ``mixed_scale``.
    """
    from mrresponse.ingest.volume import state_private_slope

    _refuse_mixed_scale(study, state_private_slope(study.series))


def _refuse_mixed_scale(study: Study, has_slope: Iterable[bool | None]) -> None:
    slopes: dict[bool, list[str]] = {True: [], False: []}
    for series, stated in zip(study.series, has_slope, strict=True):
        if stated is not None and series.contrast_phase is not ContrastPhase.OTHER:
            slopes[stated].append(series.name)
    if slopes[True] and slopes[False]:
        raise DataError(
            f"series {', '.join(slopes[True])} state Philips' own scale slope (2005,100E), series "
            f"{', '.join(slopes[False])} do not, expected it in all or in none: their grey values differ in gain by an "
            "unknown factor; export the study again with its private elements",
            code="mixed_scale",
            patient_id=study.patient_id,
            study_date=study.study_date,
        )


def read_series(series: Series, *, patient_id: str, study_date: date) -> Image:
    """Read the voxels of a series in the order of its files.

    Raises
    ------
    DataError
        Where and what: the codes of `mrresponse.nifti.read_image`, of `mrresponse.ingest.volume.read_volume`, and
        ``empty`` for an image of one value.
    """
    return _read(series, patient_id=patient_id, study_date=study_date)[0]


def _read(series: Series, *, patient_id: str, study_date: date) -> tuple[Image, bool | None]:
    """Read a series, and whether Philips' own scale slope was taken out of it: ``None`` of NIfTI."""
    has_slope = None
    try:
        if series.files:
            from mrresponse.ingest.volume import read_scaled

            image, has_slope = read_scaled(series.files, series.frames)
        else:
            from mrresponse.nifti import read_image

            image = read_image(series.path)
        first = image.voxels.flat[0]
        if (image.voxels == first).all():
            raise DataError(f"all voxels are {first:g}, expected an image", code="empty", path=series.path)
    except DataError as error:
        raise located(error, patient_id=patient_id, study_date=study_date, series=series.name) from None
    return image, has_slope


def _split(rows: Sequence[ManifestRow]) -> tuple[tuple[ManifestRow, ...], tuple[ManifestRow, ...]]:
    """Part manifest rows that name NIfTI files from those that name DICOM."""
    if not rows:
        return (), ()
    from mrresponse.ingest.headers import is_dicom
    from mrresponse.nifti import is_nifti

    dicom = tuple(row for row in rows if row.path.is_dir() or (not is_nifti(row.path) and is_dicom(row.path)))
    return tuple(row for row in rows if row not in dicom), dicom


def _nifti(rows: Iterable[ManifestRow]) -> Collected:
    found = []
    failures = []
    for row in rows:
        try:
            found.append(nifti_series(row))
        except DataError as error:
            failures.append(manifest_failure(row, error))
    return Collected(series=tuple(found), failures=tuple(failures))


def _dicom(
    data: Path,
    rows: Sequence[ManifestRow],
    settings: IngestSettings,
    key_file: Path,
    liver_of: "LiverOf | None",
    taken: Iterable[Path],
) -> Collected:
    from mrresponse.ingest.dicom import read_tree

    return read_tree(data, rows, settings, key_file, liver_of, taken)


def _assembled(collected: Collected, tables: PatientTables, misspelt: tuple[str, ...]) -> Ingested:
    failures = list(collected.failures + tables.failures)
    left_out = list(collected.left_out)
    studies: list[Study] = []
    by_study: dict[tuple[str, date], list[FoundSeries]] = {}
    for found in collected.series:
        by_study.setdefault((found.patient_id, found.study_date), []).append(found)
    for (patient_id, study_date), members in by_study.items():
        try:
            kept, spare = _one_per_phase(members)
            _check_agents(kept)
        except DataError as error:
            failures.append(as_failure(located(error, patient_id=patient_id, study_date=study_date)))
            continue
        left_out.extend(spare)
        series = tuple(sorted((item.series for item in kept), key=_acquisition_order))
        studies.append(Study(patient_id=patient_id, study_date=study_date, series=series))
    patients, unknown = with_tables(studies, tables)
    failures.extend(after_death(patients))
    failed = failed_patients(failures)
    failures.extend(failure for failure in unknown if failure.patient_id not in failed)
    return Ingested(
        patients=tuple(patient for patient in patients if patient.patient_id not in failed),
        failures=tuple(sorted(failures, key=_failure_order)),
        notes=misspelt
        + collected.notes
        + tables.notes
        + spare_patients(tables, {patient_id for patient_id, _ in by_study} | failed)
        + future_studies(studies)
        + _same_but_for_case(by_study),
        left_out=tuple(left_out),
        failed_studies=tuple(study for study in studies if study.patient_id in failed),
        identities=collected.identities,
    )


def _one_per_phase(members: Sequence[FoundSeries]) -> tuple[list[FoundSeries], list[LeftOut]]:
    """Keep one series per contrast phase; further ``OTHER`` beside T1 phases are left out, all else is an error."""
    t1 = [item for item in members if item.series.contrast_phase is not ContrastPhase.OTHER]
    other = [item for item in members if item.series.contrast_phase is ContrastPhase.OTHER]
    spare = other[1:] if t1 else []
    kept = t1 + (other[:1] if t1 else other)
    phases = [item.series.contrast_phase for item in kept]
    twice = sorted({phase.value for phase in phases if phases.count(phase) > 1})
    if twice:
        count = phases.count(ContrastPhase(twice[0]))
        raise DataError(
            f"two studies on one date, or {count} series of one contrast phase: found {count} series "
            f"{twice[0]}, expected one",
            code="two_studies",
        )
    reason = "further series stated as OTHER"
    return kept, [
        LeftOut(
            patient_id=item.patient_id,
            study_date=item.study_date,
            series_number=item.series.series_number,
            description=item.series.description,
            reason=reason,
        )
        for item in spare
    ]


def _check_agents(members: Sequence[FoundSeries]) -> None:
    """Refuse a study of two contrast agents: what washout means depends on the agent."""
    agents = sorted({item.series.agent.value for item in members if item.series.agent is not None})
    if len(agents) > 1:
        raise DataError(
            f"contrast agents {' and '.join(agents)} are stated for one study, expected one",
            code="two_agents",
        )


def _acquisition_order(series: Series) -> int:
    return list(ContrastPhase).index(series.contrast_phase)


def _failure_order(failure: Failure) -> tuple[str, str, str, str]:
    return failure.patient_id, str(failure.study_date or ""), failure.series or "", failure.code


def _same_but_for_case(by_study: Iterable[tuple[str, date]]) -> tuple[str, ...]:
    groups: dict[str, set[str]] = {}
    for patient_id, _ in by_study:
        groups.setdefault(patient_id.casefold(), set()).add(patient_id)
    return tuple(
        f"patients {' and '.join(sorted(group))} are taken for different ones: their ids differ in case"
        for _, group in sorted(groups.items())
        if len(group) > 1
    )
