"""What a run has finished, so that it can go on where it was stopped: the folder ``resume/`` of a run.

Three kinds of things are kept, each written whole or not at all, each under a key over everything it depends on:

- ``studies/``: an examined study, until its patient is finished (or for good, where the run is told so);
- ``patients/``: the rows of a finished patient. Its first line holds two keys: that of what came from images, and
  that of the responses, which depend on more. Where only the second is another one, no image is read again;
- ``networks/``: what a network said, under a key over the very voxels it was shown (see `remembered`).

A key never covers the device or the number of threads: a run may go on on another machine. Files of the input count
by name, size and time of change, as ``make`` counts them. A file here that cannot be read is as good as absent.
The folder holds no source path and may be deleted; what failed is kept beside the paths, under ``private/``.
"""

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from mrresponse import __version__
from mrresponse.config import Settings, as_mapping
from mrresponse.domain import (
    Agent,
    AuditRow,
    ContrastPhase,
    ExaminedStudy,
    Failure,
    Flag,
    Grid,
    Image,
    LabelMap,
    Lesion,
    LesionMap,
    LesionTrack,
    Measurement,
    MeasurementSource,
    Patient,
    PatientEdits,
    PatientResult,
    PreparedStudy,
    RegistrationRecord,
    ResponseResult,
    Study,
    StudyRecord,
)
from mrresponse.files import opened_atomically, write_atomically
from mrresponse.measure import local_treatment_starts
from mrresponse.segment.precomputed import masks_root

_log = logging.getLogger(__name__)

# what makes no difference to the numbers, or only one within the tolerance that is stated for devices
_WITHOUT_EFFECT = frozenset({"device", "threads", "cpu_when_out_of_memory"})
# before the phase, in the name of the array with the voxels that it shows
_FIELD = "field_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Over everything that a patient's rows depend on: those from images, and those of the responses."""

    images: str
    response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A patient's result without its pictures, which have files of their own."""

    patient: Patient
    studies: tuple[StudyRecord, ...] = ()
    tracks: tuple[LesionTrack, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    unedited: tuple[Measurement, ...] = ()
    response: ResponseResult = field(default_factory=ResponseResult)
    flags: tuple[Flag, ...] = ()
    registrations: tuple[RegistrationRecord, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredStudy:
    """An examined study without its voxels."""

    key: str
    grid: Grid
    native_grid: Grid
    crop_start: tuple[int, int, int]
    phases: tuple[ContrastPhase, ...]
    reference: ContrastPhase
    expected_liver_dice: float
    agent: Agent | None
    prepared_flags: tuple[Flag, ...]
    registrations: tuple[RegistrationRecord, ...]
    lesions: tuple[Lesion, ...]
    source: MeasurementSource
    not_assessable: str | None
    flags: tuple[Flag, ...]


def study_key(study: Study, settings: Settings, model: str, masks: Path | None) -> str:
    """Return the key of one examined study.

    Parameters
    ----------
    model
        Who segments: the networks with their digests, or given masks.
    masks
        Folder of given masks that holds one folder per patient.
    """
    steps = (settings.prepare, settings.segment, settings.lesions, settings.quality)
    livers = settings.segment.liver_masks
    folder = masks if masks is not None or livers is None else masks_root(livers)
    given = (
        [] if folder is None else sorted((folder / study.patient_id / study.study_date.isoformat()).glob("*"))
    )
    series = [
        [one.contrast_phase.value, one.agent, one.frames, *map(_state, one.files or (one.path,))]
        for one in study.series
    ]
    return _digest(
        __version__,
        model,
        study.study_date.isoformat(),
        series,
        list(map(_state, given)),
        [effective(step) for step in steps],
    )


def patient_keys(
    patient: Patient, settings: Settings, model: str, masks: Path | None, edited_masks: Iterable[Path] = ()
) -> Keys:
    """Return the keys of a patient; `edited_masks` are the masks that readers corrected."""
    studies = [study_key(study, settings, model, masks) for study in patient.studies]
    plain = _numbers_only(patient)
    # of the edits, masks and identities change what is measured; numbers and decisions are worked in afterwards
    identities = tuple(row for row in plain.edits.lesions if row.same_as)
    edits = _adapter(PatientEdits).dump_python(
        PatientEdits(masks=plain.edits.masks, lesions=identities), mode="json"
    )
    # a thin rim counts or not by whether the lesion was treated locally before
    treated = [day.isoformat() for day in local_treatment_starts(patient.treatments)]
    images = _digest(
        studies,
        [effective(step) for step in (settings.track, settings.measure)],
        edits,
        treated,
        list(map(_state, edited_masks)),
    )
    tables = _adapter(Patient).dump_python(plain, mode="json")
    return Keys(images=images, response=_digest(images, tables, effective(settings.respond)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeFolder:
    """The folder ``resume/`` of a run, and ``private/failures/`` beside it."""

    path: Path
    failures: Path

    def recall_study(self, study: Study, key: str) -> ExaminedStudy | None:
        """Return a study that was examined before under this key."""
        arrays = read_arrays(self._study_file(study))
        try:
            stored: _StoredStudy = _adapter(_StoredStudy).validate_json(arrays["description"].tobytes())
            return _examined(study, stored, arrays) if stored.key == key else None
        except (ValueError, KeyError):
            return None

    def keep_study(self, examined: ExaminedStudy, key: str) -> None:
        """Keep an examined study, as it is, until it is dropped."""
        description = _adapter(_StoredStudy).dump_json(_stored_study(examined, key))
        arrays = _arrays(examined) | {"description": np.frombuffer(description, dtype=np.uint8)}
        write_arrays(self._study_file(examined.prepared.study), arrays)

    def drop_studies(self, patient_id: str) -> None:
        """Remove a patient's examined studies, which the finished patient does not need."""
        folder = self.path / "studies" / patient_id
        for file in folder.glob("*.npz"):
            file.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def keys(self, patient_id: str) -> Keys | None:
        """Return the keys under which a patient was finished."""
        try:
            with self._patient_file(patient_id).open("rb") as file:
                return Keys(**json.loads(file.readline()))
        except (OSError, ValueError, TypeError):
            return None

    def recall_patient(self, patient_id: str) -> PatientResult | None:
        """Return a finished patient, without pictures."""
        try:
            content = self._patient_file(patient_id).read_bytes().partition(b"\n")[2]
            stored: _Stored = _adapter(_Stored).validate_json(content)
        except (OSError, ValueError):
            return None
        return PatientResult(**_parts(stored))

    def keep_patient(self, result: PatientResult, keys: Keys) -> None:
        """Keep a finished patient's rows; an earlier failure is forgotten."""
        stored = _Stored(**{**_parts(result), "patient": _numbers_only(result.patient)})
        head = json.dumps(asdict(keys)).encode()
        patient_id = result.patient.patient_id
        write_atomically(
            self._patient_file(patient_id), head + b"\n" + _adapter(_Stored).dump_json(stored) + b"\n"
        )
        self._failure_file(patient_id).unlink(missing_ok=True)

    def patient_ids(self) -> frozenset[str]:
        """Return everybody who was worked on: finished, failed or begun."""
        files = (*(self.path / "patients").glob("*.json"), *self.failures.glob("*.json"))
        return frozenset(
            [*(file.stem for file in files), *(one.name for one in (self.path / "studies").glob("*"))]
        )

    def drop_patient(self, patient_id: str) -> None:
        """Remove all that is kept of a patient but for what the networks said."""
        self.forget_patient(patient_id)
        self._failure_file(patient_id).unlink(missing_ok=True)
        self.drop_studies(patient_id)

    def forget_patient(self, patient_id: str) -> None:
        """Let a patient count as not finished."""
        self._patient_file(patient_id).unlink(missing_ok=True)

    def recall_failure(self, patient_id: str, keys: Keys | None = None) -> Failure | None:
        """Return how a patient failed before; with `keys`, only if what it failed on has not changed since."""
        try:
            head, _, content = self._failure_file(patient_id).read_bytes().partition(b"\n")
            failure: Failure = _adapter(Failure).validate_json(content)
            before = Keys(**json.loads(head))
        except (OSError, ValueError, TypeError):
            return None
        same_images = keys is None or before.images == keys.images
        same_numbers = keys is None or failure.step == "images" or before.response == keys.response
        return failure if same_images and same_numbers else None

    def keep_failure(self, failure: Failure, keys: Keys) -> None:
        """Keep how a patient failed; where that was in its images, rows it had before are forgotten."""
        head = json.dumps(asdict(keys)).encode()
        content = _adapter(Failure).dump_json(failure)
        write_atomically(self._failure_file(failure.patient_id), head + b"\n" + content + b"\n", mode=0o600)
        if failure.step == "images":
            self.forget_patient(failure.patient_id)

    def _study_file(self, study: Study) -> Path:
        return self.path / "studies" / study.patient_id / f"{study.study_date.isoformat()}.npz"

    def _patient_file(self, patient_id: str) -> Path:
        return self.path / "patients" / f"{patient_id}.json"

    def _failure_file(self, patient_id: str) -> Path:
        return self.failures / f"{patient_id}.json"


class StoredResults(Sequence[PatientResult]):
    """Finished patients in the order given, each read when it is asked for: a cohort of any size in little memory.

    They come without pictures. A patient whose file has gone raises ``KeyError``.
    """

    def __init__(self, folder: ResumeFolder, patient_ids: Sequence[str]) -> None:
        self._folder = folder
        self._patient_ids = tuple(patient_ids)

    def __len__(self) -> int:
        return len(self._patient_ids)

    @overload
    def __getitem__(self, index: int) -> PatientResult: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredResults": ...
    def __getitem__(self, index: int | slice) -> "PatientResult | StoredResults":
        if isinstance(index, slice):
            return StoredResults(self._folder, self._patient_ids[index])
        result = self._folder.recall_patient(self._patient_ids[index])
        if result is None:
            raise KeyError(self._patient_ids[index])
        return result

    def __iter__(self) -> Iterator[PatientResult]:
        return (self[index] for index in range(len(self)))


def failure_to_json(failure: Failure) -> Any:
    """Return a failure, path and all, as plain values for JSON."""
    return _adapter(Failure).dump_python(failure, mode="json")


def failure_from_json(content: Any) -> Failure:
    """Return the failure that was written so."""
    failure: Failure = _adapter(Failure).validate_python(content)
    return failure


def _parts(result: "PatientResult | _Stored") -> dict[str, Any]:
    """Return what is kept of a patient's result by its name."""
    return {part.name: getattr(result, part.name) for part in fields(_Stored)}


def _numbers_only(patient: Patient) -> Patient:
    """Return a patient without its series and the place of its edits, and so without source paths."""
    edits = replace(
        patient.edits,
        masks=tuple(replace(row, root=Path()) for row in patient.edits.masks),
        earlier_tracks=(),
    )
    studies = tuple(replace(study, series=()) for study in patient.studies)
    return replace(patient, studies=studies, edits=edits)


def _state(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        return file.name, -1, -1
    return file.name, found.st_size, found.st_mtime_ns


def effective(settings: Any) -> dict[str, Any]:
    """Return the settings of a step without those that make no difference to its numbers."""
    return {name: value for name, value in as_mapping(settings).items() if name not in _WITHOUT_EFFECT}


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _adapter(kind: type) -> Any:
    # pydantic takes a moment to load, and reading tables of numbers does not need it
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _stored_study(examined: ExaminedStudy, key: str) -> _StoredStudy:
    prepared, found = examined.prepared, examined.lesion_map
    return _StoredStudy(
        key=key,
        grid=prepared.grid,
        native_grid=prepared.native_grid,
        crop_start=prepared.crop_start,
        phases=tuple(prepared.images),
        reference=prepared.reference,
        expected_liver_dice=prepared.expected_liver_dice,
        agent=prepared.agent,
        prepared_flags=prepared.flags,
        registrations=prepared.registrations,
        lesions=found.lesions,
        source=found.source,
        not_assessable=found.not_assessable,
        flags=examined.flags,
    )


def _arrays(examined: ExaminedStudy) -> dict[str, Any]:
    prepared, found = examined.prepared, examined.lesion_map
    volumes: dict[str, Image | LabelMap | None] = {
        **{f"image_{phase.value}": image for phase, image in prepared.images.items()},
        "liver": prepared.liver,
        "liver_probability": prepared.liver_probability,
        "lesions": found.labels,
        "viable": found.viable,
    }
    present = {name: volume for name, volume in volumes.items() if volume is not None}
    if any(volume.grid != prepared.grid for volume in present.values()):
        raise ValueError("an examined study lies on one grid")
    fields = {f"{_FIELD}{phase.value}": seen for phase, seen in prepared.fields.items()}
    return fields | {name: volume.voxels for name, volume in present.items()}


def _examined(study: Study, stored: _StoredStudy, arrays: Any) -> ExaminedStudy:
    grid = stored.grid
    prepared = PreparedStudy(
        study=study,
        grid=grid,
        native_grid=stored.native_grid,
        crop_start=stored.crop_start,
        images={phase: Image(voxels=arrays[f"image_{phase.value}"], grid=grid) for phase in stored.phases},
        reference=stored.reference,
        liver=LabelMap(voxels=arrays["liver"], grid=grid),
        liver_probability=Image(voxels=arrays["liver_probability"], grid=grid),
        expected_liver_dice=stored.expected_liver_dice,
        agent=stored.agent,
        flags=stored.prepared_flags,
        registrations=stored.registrations,
        fields={
            phase: arrays[f"{_FIELD}{phase.value}"]
            for phase in stored.phases
            if f"{_FIELD}{phase.value}" in arrays
        },
    )
    found = LesionMap(
        labels=LabelMap(voxels=arrays["lesions"], grid=grid),
        lesions=stored.lesions,
        source=stored.source,
        viable=LabelMap(voxels=arrays["viable"], grid=grid) if "viable" in arrays else None,
        not_assessable=stored.not_assessable,
    )
    return ExaminedStudy(prepared=prepared, lesion_map=found, flags=stored.flags)


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file by name; none where there is no such file, or a damaged one."""
    try:
        # opened here: numpy leaves a damaged file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], *, packed: bool = False) -> None:
    """Write arrays under their names, whole or not at all; `packed` where they are mostly zero."""
    with opened_atomically(path) as file:
        (np.savez_compressed if packed else np.savez)(file, allow_pickle=False, **arrays)
