"""Labelled patients of a user: where their images and masks lie, and which patients are held out.

Three layouts are read: pairs of NIfTI files named by patterns, a ``dataset.json`` as the Medical Segmentation Decathlon
and nnU-Net write it, and this program's own data and results, whose masks a reader may have corrected.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mrresponse.domain import ContrastPhase, Series
from mrresponse.errors import ConfigError

_log = logging.getLogger(__name__)

_MOST_NAMED = 5
"""Cases that a warning names; of more it says how many there are."""


class Layout(StrEnum):
    """How the files of a data set are found."""

    PAIRS = "pairs"
    DATASET_JSON = "dataset_json"
    RESULTS = "results"


class DataSettings(BaseModel):
    """A labelled data set and its part in a training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Layout
    folder: Path
    """Folder of the data set; with ``results`` the data folder that ``mrresponse run`` was given."""
    images: str = "images/*.nii.gz"
    labels: str = "labels/*.nii.gz"
    """``pairs``: patterns below the folder; ``*`` is the name of the case and must be the same in both."""
    contrast_phase: ContrastPhase = ContrastPhase.OTHER
    """``pairs``: contrast phase of every image; the lesion network needs another one than ``OTHER``."""
    channels: dict[int, ContrastPhase] = Field(default_factory=dict)
    """``dataset_json``: contrast phase of each channel by its number; channels left out are not read. A case may lack
    the file of a channel."""
    masks: Path | None = None
    """``results``: folder of masks, ``<patient_id>/<study_date>/{liver,lesions}.nii.gz``."""
    key: Path | None = None
    """``results``: key of the DICOM pseudonyms where ``mrresponse run`` was given one; ``mrresponse.key`` in the data
    folder by default."""
    liver_labels: tuple[int, ...] = (1, 2)
    """Labels that are liver, lesions within it included."""
    lesion_labels: tuple[int, ...] | None = (2,)
    """Labels that are lesions; null where lesions are not labelled: the lesion loss then leaves these livers out."""
    patient: str = "(.*)"
    """Regular expression whose first group is the patient in a case's name; studies of a patient stay together."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of the batches that come from these patients; the others are synthetic."""
    folds: int = Field(default=5, ge=2)
    fold: int = Field(default=0, ge=0)
    """This fold's patients are never trained on; ``scripts/evaluate_model.py`` judges on them."""

    @model_validator(mode="after")
    def _labels_and_channels_agree(self) -> Self:
        outside = set(self.lesion_labels or ()) - set(self.liver_labels)
        if outside and self.layout is not Layout.RESULTS:
            raise ValueError(
                f"liver_labels lacks {_listed(outside)} of lesion_labels; expected there too, since a lesion is a part "
                "of the liver, or lesion_labels: null where lesions are not labelled"
            )
        phases = [phase for phase in self.channels.values() if phase is not ContrastPhase.OTHER]
        twice = next((phase for phase in phases if phases.count(phase) > 1), None)
        if twice is not None:
            raise ValueError(f"channels names {twice.value} twice, expected each contrast phase once")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One labelled study: an image file or series per contrast phase, and its masks on the first one's grid."""

    patient_id: str
    name: str
    images: Mapping[ContrastPhase, Path | Series]
    labels: Path | None = None
    """One label map of liver and lesions."""
    masks: Mapping[str, Path] = field(default_factory=dict)
    """Or one file each, keyed ``liver`` and ``lesions``."""


def list_cases(settings: DataSettings) -> tuple[Case, ...]:
    """Find every labelled case, sorted by name; nothing but lists is read.

    Raises
    ------
    ConfigError
        Nothing is found, a list is malformed, or a file that it names is absent.
    """
    if not settings.folder.is_dir():
        raise ConfigError(f"training.data.folder: '{settings.folder.name}' is not a folder")
    found = {
        Layout.PAIRS: _pairs,
        Layout.DATASET_JSON: _dataset_json,
        Layout.RESULTS: _results,
    }[settings.layout](settings)
    cases = tuple(sorted(found, key=lambda case: case.name))
    if not cases:
        raise ConfigError(f"training.data: no labelled case found in '{settings.folder.name}'")
    return cases


def split(cases: Iterable[Case], settings: DataSettings) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the cases to train on and those held out.

    Patients are dealt to the folds in the order of a digest of their names: the same data give the same folds.

    Raises
    ------
    ConfigError
        The fold does not exist, or one of the parts is empty.
    """
    if settings.fold >= settings.folds:
        raise ConfigError(f"training.data.fold: found {settings.fold}, expected below {settings.folds}")
    listed = tuple(cases)
    patients = sorted(
        {case.patient_id for case in listed}, key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    held_out = set(patients[settings.fold :: settings.folds])
    train = tuple(case for case in listed if case.patient_id not in held_out)
    test = tuple(case for case in listed if case.patient_id in held_out)
    if not train or not test:
        raise ConfigError(
            f"training.data: {len(patients)} patients cannot be dealt to {settings.folds} folds, "
            "expected at least one in each"
        )
    return train, test


def _patient_of(name: str, settings: DataSettings) -> str:
    try:
        match = re.search(settings.patient, name)
    except re.error as error:
        raise ConfigError(f"training.data.patient: not a regular expression ({error})") from error
    if match is None or not match.groups() or not match[1]:
        raise ConfigError(f"training.data.patient: '{settings.patient}' finds no patient in '{name}'")
    return match[1]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _warn(names: Iterable[str], what: str) -> None:
    """Say which cases are not as the others, a few by their names."""
    listed = sorted(names)
    if listed:
        more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
        _log.warning("training.data: %s: %s%s", what, ", ".join(listed[:_MOST_NAMED]), more)


def _pairs(settings: DataSettings) -> Iterator[Case]:
    images, labels = (_by_case(settings.folder, pattern) for pattern in (settings.images, settings.labels))
    _warn(images.keys() - labels.keys(), "left out, images without a label map")
    _warn(labels.keys() - images.keys(), "left out, label maps without an image")
    for name in sorted(images.keys() & labels.keys()):
        yield Case(
            patient_id=_patient_of(name, settings),
            name=name,
            images={settings.contrast_phase: images[name]},
            labels=labels[name],
        )


def _by_case(folder: Path, pattern: str) -> dict[str, Path]:
    if pattern.count("*") != 1:
        raise ConfigError(f"training.data: pattern '{pattern}' needs exactly one '*'")
    if PurePosixPath(pattern).is_absolute():
        raise ConfigError(f"training.data: pattern '{pattern}' is absolute, expected one below the folder")
    # as the paths that are found are written, without "./" and doubled strokes
    pattern = PurePosixPath(pattern).as_posix()
    before, after = pattern.split("*")
    return {
        path.relative_to(folder).as_posix()[
            len(before) : len(path.relative_to(folder).as_posix()) - len(after)
        ]: path
        for path in folder.glob(pattern)
    }


def _dataset_json(settings: DataSettings) -> Iterator[Case]:
    try:
        content = json.loads((settings.folder / "dataset.json").read_text(encoding="utf-8"))
        entries = content.get("training")
        ending = str(content.get("file_ending", ".nii.gz"))
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError("training.data: no readable dataset.json in the folder") from error
    if not settings.channels:
        raise ConfigError("training.data.channels: missing, expected the contrast phase of each channel")
    if isinstance(entries, list) and entries:
        labels = [settings.folder / str(entry["label"]) for entry in entries]
    else:
        labels = sorted((settings.folder / "labelsTr").glob(f"*{ending}"))
    lacking: dict[int, list[str]] = {number: [] for number in settings.channels}
    for label in labels:
        name = label.name.removesuffix(ending)
        files = {
            number: _channel_file(settings.folder / "imagesTr", name, number, ending)
            for number in sorted(settings.channels)
        }
        for number, file in files.items():
            if file is None:
                lacking[number].append(name)
        images = {settings.channels[number]: file for number, file in files.items() if file is not None}
        if not images:
            raise ConfigError(
                f"training.data: channel {_listed(settings.channels)} of case '{name}' is not in imagesTr"
            )
        yield Case(patient_id=_patient_of(name, settings), name=name, images=images, labels=label)
    for number, names in lacking.items():
        if labels and len(names) == len(labels):
            raise ConfigError(f"training.data.channels: no case has a channel {number} in imagesTr")
        _warn(names, f"without channel {number} ({settings.channels[number].value}), which is shown as zeros")


def _channel_file(folder: Path, name: str, number: int, ending: str) -> Path | None:
    """Return nnU-Net's ``case_0000`` where it exists, else the decathlon's ``case`` (one channel), else ``None``."""
    numbered, plain = folder / f"{name}_{number:04d}{ending}", folder / f"{name}{ending}"
    if numbered.is_file():
        return numbered
    if number == 0 and plain.is_file():
        return plain
    return None


def _results(settings: DataSettings) -> Iterator[Case]:
    from mrresponse.ingest import IngestSettings, ingest

    if settings.masks is None:
        raise ConfigError("training.data.masks: missing, expected the folder of the masks")
    if not settings.masks.is_dir():
        raise ConfigError(f"training.data.masks: '{settings.masks.name}' is not a folder")
    # an absent one would be made, and its pseudonyms would be those of no masks
    if settings.key is not None and not settings.key.is_file():
        raise ConfigError(f"training.data.key: '{settings.key.name}' is not a file")
    found = ingest(settings.folder, IngestSettings(), key_file=settings.key)
    for failure in found.failures:
        where = " ".join(str(part) for part in (failure.patient_id, failure.study_date) if part)
        _log.warning("training.data: %s cannot be used: %s", where, failure.message)
    without: list[str] = []
    for patient in found.patients:
        for study in patient.studies:
            folder = settings.masks / patient.patient_id / study.study_date.isoformat()
            masks = {name: folder / f"{name}.nii.gz" for name in ("liver", "lesions")}
            present = {name: file for name, file in masks.items() if file.is_file()}
            name = f"{patient.patient_id} {study.study_date.isoformat()}"
            if "liver" not in present:
                without.append(name)
                continue
            yield Case(
                patient_id=patient.patient_id,
                name=name,
                images={series.contrast_phase: series for series in study.series},
                masks=present,
            )
    if without and len(without) == sum(len(patient.studies) for patient in found.patients):
        raise ConfigError(
            f"training.data.masks: none of the {len(without)} studies found has a mask in '{settings.masks.name}', "
            f"the first is {without[0]}; expected <patient_id>/<study_date>/liver.nii.gz, and training.data.key where "
            "the run that named the patients had --key"
        )
    _warn(without, "left out, studies without a mask liver.nii.gz")
