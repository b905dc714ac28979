"""Models of other libraries behind the same segmenter: what all their kinds have in common.

TotalSegmentator, nnU-Net v2 and MONAI bundles each have a module of their own. Each reads and checks a model without
loading it, so that a run stops before anything is done, and loads it once per process. What a model is shown are
images of one canonical grid; what it gives back is a probability there, or a mask as a probability of 0 and 1.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrresponse.domain import Certainty, ContrastPhase, Image, PreparedStudy, Series, Study
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.geometry import to_canonical, to_grid_order

if TYPE_CHECKING:
    from mrresponse.segment import LesionsOf, LiverOf, SegmentSettings

IMAGE, REFERENCE, LIVER = "image", "reference", "liver"
PHASES = tuple(phase.value for phase in ContrastPhase if phase is not ContrastPhase.OTHER)

Finder = Callable[[Sequence[Image]], Image]
"""Gives the probability on the canonical grid that its input channels share."""


class Stage(StrEnum):
    """What is looked for; the value names the settings."""

    LIVER = "liver"
    LESION = "lesion"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalSettings:
    """How what a model of another library finds is read.

    Parameters
    ----------
    labels
        Names in the model's own list of labels (or their numbers) that are what is looked for. For the liver also those
        of its lesions, where the model has them apart.
    folds
        Folds of an nnU-Net whose mean counts, as 0 or ``all``; by default every fold that is there.
    orientation
        Where the axes of an nnU-Net's training images ran to, as LPS or RAS; by default RAS where its own reader turns
        images so, else LPS.
    """

    labels: tuple[int | str, ...] = ()
    folds: tuple[int | str, ...] = ()
    orientation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLesionSettings(ExternalSettings):
    """The same for lesions, and what such a model is shown. A liver model sees one image at a time.

    Parameters
    ----------
    channels
        What each input channel is shown: a contrast phase (PRE, ART, PVP, DEL, HBP), ``reference`` (the reference
        phase) or ``liver`` (the liver probability).
    absent_as_zero
        Whether a contrast phase that a study lacks is shown as zeros, for models trained so; else its patient fails.
    """

    channels: tuple[str, ...] = ()
    absent_as_zero: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """A model that was checked.

    Parameters
    ----------
    title
        Name and version, as they stand in tables.
    digests
        SHA-256 of each file that decides what the model says, and of the description it is run by.
    suits
        How sure a lesion model must be where the settings do not say.
    """

    title: str
    digests: Mapping[str, str] = field(default_factory=dict)
    suits: Certainty = field(default_factory=Certainty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A model that was read and found usable, and how to load it."""

    identity: ModelIdentity
    channels: tuple[str, ...]
    load: Callable[[], Finder]


def liver_finder(checked: Checked) -> "LiverOf":
    """Load a checked liver model and return the function that asks it."""
    find = guarded(checked.load(), checked.identity.title)

    def liver(_study: Study, _series: Series, image: Image) -> Image:
        return to_grid_order(find([to_canonical(image)]), image.grid)

    return liver


def lesion_finder(checked: Checked, *, absent_as_zero: bool) -> "LesionsOf":
    """Load a checked lesion model and return the function that asks it."""
    find = guarded(checked.load(), checked.identity.title)

    def lesions(prepared: PreparedStudy) -> Image:
        if set(prepared.images) <= {ContrastPhase.OTHER}:
            return Image(voxels=np.zeros(prepared.grid.shape, dtype=np.float32), grid=prepared.grid)
        return find(
            [channel_image(prepared, name, absent_as_zero=absent_as_zero) for name in checked.channels]
        )

    return lesions


def guarded(find: Finder, title: str) -> Finder:
    """Return the finder with its failures as errors of one patient's data."""

    def found(channels: Sequence[Image]) -> Image:
        try:
            return find(channels)
        except DataError:
            raise
        # the broad catch: a library that is not ours may raise anything, and costs the patient only
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError":
                message = f"the graphics memory is too small for model '{title}', expected more"
                raise DataError(message, code="gpu_memory") from None
            message = f"model '{title}' ended with {cause_of(error)}, expected a probability"
            raise DataError(message, code="external_model") from error

    return found


def cause_of(error: BaseException) -> str:
    """Name the first cause of an error of another library, with the first line of what it says."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__} ({next(iter(str(error).splitlines()), '')})"


def channel_image(prepared: PreparedStudy, name: str, *, absent_as_zero: bool) -> Image:
    """Return what one input channel of a lesion model is shown.

    Raises
    ------
    DataError
        ``phase_missing`` where the study lacks the contrast phase and zeros are not wanted in its place.
    """
    if name == LIVER:
        return prepared.liver_probability
    phase = prepared.reference if name == REFERENCE else ContrastPhase(name)
    if phase in prepared.images:
        return prepared.images[phase]
    if absent_as_zero:
        return Image(voxels=np.zeros(prepared.grid.shape, dtype=np.float32), grid=prepared.grid)
    raise DataError(
        f"found no {name}, expected one for the lesion model (segment.lesion_external.absent_as_zero shows it zeros)",
        code="phase_missing",
        patient_id=prepared.study.patient_id,
        study_date=prepared.study.study_date,
    )


def chosen(settings: "SegmentSettings", stage: Stage) -> tuple[str, ExternalSettings]:
    """Return the model of a stage and the settings that go with it."""
    if stage is Stage.LIVER:
        return settings.liver_model, settings.liver_external
    return settings.lesion_model, settings.lesion_external


def checked_channels(external: ExternalSettings, count: int, title: str) -> tuple[str, ...]:
    """Return what the input channels are shown, for a model that has so many.

    Raises
    ------
    ConfigError
        Their number is another one, or a name is unknown.
    ModelError
        A liver model has more than one.
    """
    if not isinstance(external, ExternalLesionSettings):
        if count != 1:
            raise ModelError(
                f"model '{title}': has {count} input channels, expected 1: a liver model is shown one image at a time"
            )
        return (IMAGE,)
    key, known = "segment.lesion_external.channels", (*PHASES, REFERENCE, LIVER)
    unknown = next((name for name in external.channels if name not in known), None)
    if unknown is not None:
        raise ConfigError(f"{key}: found '{unknown}', expected {', '.join(known)}")
    if len(external.channels) != count:
        found = ", ".join(external.channels) or "none"
        raise ConfigError(
            f"{key}: found {found}, expected what each of the {count} of model '{title}' is shown"
        )
    return external.channels


def checked_labels(
    stage: Stage, external: ExternalSettings, available: Mapping[str, int], title: str
) -> tuple[int, ...]:
    """Return the numbers of the labels that are wanted.

    Parameters
    ----------
    available
        Number of each label of the model by its name; the background is no choice.

    Raises
    ------
    ConfigError
        No label is named, or one that the model does not have.
    """
    key = f"segment.{stage.value}_external.labels"
    offered = ", ".join(f"{name} ({number})" for name, number in available.items())
    if not external.labels:
        raise ConfigError(f"{key}: found none, expected some of model '{title}': {offered}")
    numbers = {**available, **{str(number): number for number in available.values()}}
    unknown = next((label for label in external.labels if str(label) not in numbers), None)
    if unknown is not None:
        raise ConfigError(f"{key}: found '{unknown}', expected some of model '{title}': {offered}")
    return tuple(dict.fromkeys(numbers[str(label)] for label in external.labels))


def refuse_unused(stage: Stage, external: ExternalSettings, used: Sequence[str], model: str) -> None:
    """Refuse settings that a model of this kind does not take.

    Raises
    ------
    ConfigError
        One of them is given.
    """
    for entry in fields(external):
        if entry.name not in used and getattr(external, entry.name) != entry.default:
            taken = " and ".join(used) or "none of these settings"
            raise ConfigError(
                f"segment.{stage.value}_external.{entry.name}: given, but model '{model}' takes {taken}"
            )


def require_extra(library: str, extra: str, model: str) -> None:
    """Say how to install a library that a model needs.

    Raises
    ------
    ModelError
        It is not installed.
    """
    if util.find_spec(library) is None:
        raise ModelError(
            f"model '{model}' needs {library}, which is not installed; expected: pip install 'mrresponse[{extra}]'"
        )


def digests_of(folder: Path, files: Sequence[Path], title: str) -> dict[str, str]:
    """Return the SHA-256 of each file, by the model's title and the file's place in its folder.

    Raises
    ------
    ModelError
        A file cannot be read.
    """
    found = {}
    for file in files:
        place = file.relative_to(folder).as_posix()
        try:
            state = file.stat()
            found[f"{title}: {place}"] = _sha256(file, state.st_size, state.st_mtime_ns)
        except OSError as error:
            raise ModelError(f"model '{title}': {place} cannot be read") from error
    return found


@lru_cache(maxsize=256)
def _sha256(file: Path, _size: int, _changed: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
