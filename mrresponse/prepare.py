"""One study on one grid: liver found, contrast phases in register, cropped around the liver."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import ndimage

from mrresponse.domain import (
    BoolArray,
    ContrastPhase,
    Flag,
    FloatArray,
    Image,
    LabelMap,
    PreparedStudy,
    RegistrationRecord,
    Series,
    Study,
)
from mrresponse.errors import DataError
from mrresponse.geometry import (
    bounding_box,
    crop,
    dilate,
    erode,
    field_of_view,
    grow_box,
    largest_piece,
    margin_voxels,
    resample_image,
    to_canonical,
)
from mrresponse.registration import FixedLiver, Registration, RegistrationSettings, register_phases

# Arterial first: the best reference of those that Raab 2025 compared, and the phase viability is read from.
REFERENCE_ORDER = (
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
    ContrastPhase.PRECONTRAST,
    ContrastPhase.OTHER,
)

LiverOf = Callable[[Series, Image], Image | None]


class LiverPhases(StrEnum):
    """In which contrast phases the liver is looked for."""

    REFERENCE = "reference"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """How a study is brought onto one grid.

    Parameters
    ----------
    liver_phases
        ``reference`` looks for the liver once, ``all`` in every contrast phase; the mean then counts, of those in
        register that show the place.
    liver_threshold
        Probability from which a voxel is liver.
    edge_mm, edge_contrast
        Half width of the neighbourhood in which the border of a network's liver follows the image, and the contrast,
        as a fraction of the liver's signal, from which an edge counts there; 0 mm leaves the border where the large
        voxels of the network put it. Slices thicker than twice the half width are taken each by itself.
    closing_mm
        Gaps up to twice this width are closed in the liver of a network; a given mask is left as it is.
    margin_mm
        What is kept around the liver.
    least_cross_phase_dice, least_main_share
        Below these the livers of two phases, or the pieces of one, disagree too much: a flag.
    """

    liver_phases: LiverPhases = LiverPhases.REFERENCE
    liver_threshold: float = 0.5
    edge_mm: float = 2.5
    edge_contrast: float = 0.05
    closing_mm: float = 3.0
    margin_mm: float = 20.0
    least_cross_phase_dice: float = 0.85
    least_main_share: float = 0.95
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)


def prepare(
    study: Study,
    images: Mapping[ContrastPhase, Image],
    liver_of: LiverOf,
    settings: PrepareSettings,
    *,
    phases_at_once: int = 1,
) -> PreparedStudy:
    """Find the liver, crop around it, and bring the T1 contrast phases into register.

    Parameters
    ----------
    images
        One image per contrast phase, in the order of its file.
    liver_of
        Gives the liver probability on the grid that went in, or ``None`` where it has none for that series.
    phases_at_once
        Contrast phases brought into register at the same time; it makes no difference to the result.

    Raises
    ------
    DataError
        ``no_image`` without any image, ``no_liver`` where no liver is found in the reference phase.
    """
    reference = next((phase for phase in REFERENCE_ORDER if phase in images), None)
    if reference is None:
        raise _error(study, None, "found no image, expected at least one series", "no_image")
    native = images[reference]
    probability = liver_of(_series(study, reference), native)
    if probability is None:
        raise _error(study, reference, "found no liver mask for the reference series", "no_liver")
    fixed, probability = to_canonical(native), to_canonical(probability)
    raw = probability.voxels >= settings.liver_threshold
    box = bounding_box(_main_pieces(raw, settings) if _is_given(probability) else largest_piece(raw))
    if box is None:
        raise _error(study, reference, "found no liver, expected one in the reference series", "no_liver")
    flags = [] if _main_share(raw) >= settings.least_main_share else [_fragments(study, reference, raw)]
    expected = expected_dice(probability.voxels, raw)
    box = grow_box(box, fixed.grid.shape, margin_voxels(fixed.grid.spacing_mm, settings.margin_mm))
    (i, j, k) = box
    start, shape = (i[0], j[0], k[0]), (i[1] - i[0], j[1] - j[0], k[1] - k[0])
    whole = fixed
    fixed, probability = crop(fixed, start, shape), crop(probability, start, shape)
    liver = _liver(probability, fixed, settings)

    others = [phase for phase in REFERENCE_ORDER if phase in images and phase is not reference]
    others = [phase for phase in others if phase is not ContrastPhase.OTHER]
    moving = {phase: to_canonical(images[phase]) for phase in others}
    target = FixedLiver.of(fixed, liver, settings.registration)
    # each phase by itself: the result does not depend on which of them is first
    with ThreadPoolExecutor(max_workers=phases_at_once) as pool:
        found = list(pool.map(lambda image: _onto(fixed, target, image), moving.values()))
    registrations = {phase: one for phase, (one, _, _) in zip(others, found, strict=True)}
    aligned = {phase: image for phase, (_, image, _) in zip(others, found, strict=True)}
    fields = {reference: field_of_view(whole, fixed.grid)}
    fields |= {phase: seen for phase, (_, _, seen) in zip(others, found, strict=True)}
    flags += [_rejected(study, phase, one) for phase, one in registrations.items() if not one.accepted]
    if settings.liver_phases is LiverPhases.ALL:
        seen = _other_livers(study, images, liver_of, registrations, fixed)
        flags += _disagreements(study, liver, seen, fields, settings)
        probability = _mean(probability, seen, fields)
        liver = _liver(probability, fixed, settings)
    return PreparedStudy(
        study=study,
        grid=fixed.grid,
        native_grid=native.grid,
        crop_start=start,
        images={reference: fixed, **aligned},
        reference=reference,
        liver=liver,
        liver_probability=probability,
        expected_liver_dice=expected,
        agent=next((series.agent for series in study.series if series.agent is not None), None),
        flags=tuple(flags),
        registrations=tuple(_record(study, reference, phase, one) for phase, one in registrations.items()),
        fields={phase: seen for phase, seen in fields.items() if not seen.all()},
    )


def _onto(fixed: Image, target: FixedLiver | None, image: Image) -> tuple[Registration, Image, BoolArray]:
    """Return how a phase is moved, the phase on the fixed grid, and what it shows of that grid."""
    registration = register_phases(image, target)
    moved = resample_image(image, fixed.grid, transform=registration.transform)
    return registration, moved, field_of_view(image, fixed.grid, transform=registration.transform)


def _record(
    study: Study, reference: ContrastPhase, phase: ContrastPhase, registration: Registration
) -> RegistrationRecord:
    return RegistrationRecord(
        patient_id=study.patient_id,
        study_date=study.study_date,
        moving=phase.value,
        fixed=reference.value,
        accepted=registration.accepted,
        measure="mutual information in the liver (nats)",
        similarity_before=round(registration.similarity_before, 4),
        similarity_after=round(registration.similarity_after, 4),
        reason=registration.reason,
    )


def _series(study: Study, phase: ContrastPhase) -> Series:
    return next(series for series in study.series if series.contrast_phase is phase)


def _liver(probability: Image, image: Image, settings: PrepareSettings) -> LabelMap:
    """Largest piece, along the edges of the image, filled and closed; a mask given as 0 and 1 is believed as it is."""
    mask = probability.voxels >= settings.liver_threshold
    if not _is_given(probability):
        spacing_mm = probability.grid.spacing_mm
        mask = _along_edges(probability, image, settings) >= settings.liver_threshold
        grown = dilate(largest_piece(mask), spacing_mm, settings.closing_mm)
        mask = ndimage.binary_fill_holes(erode(grown, spacing_mm, settings.closing_mm))
    return LabelMap(voxels=mask.astype(np.uint16), grid=probability.grid)


def _along_edges(probability: Image, image: Image, settings: PrepareSettings) -> FloatArray:
    """Return the probability as the guided filter draws it: near an edge of the image it changes where the image does.

    In every neighbourhood the probability is the straight line of the signal that fits it best (He, Sun and Tang, IEEE
    TPAMI 2013, doi 10.1109/TPAMI.2012.213). Where there is no edge it is smoothed and no more.
    """
    reach = [round(settings.edge_mm / step) for step in probability.grid.spacing_mm]
    found = probability.voxels
    level = float(np.median(image.voxels[found >= settings.liver_threshold]))
    if not any(reach) or level <= 0:
        return found
    # far off the liver's own signal it does not matter how far
    signal: FloatArray = np.clip(image.voxels / np.float32(level) - 1, -1, 1)

    def mean(voxels: FloatArray) -> FloatArray:
        size = [2 * steps + 1 for steps in reach]
        averaged: FloatArray = ndimage.uniform_filter(voxels, size=size, mode="nearest")
        return averaged

    middle, base = mean(signal), mean(found)
    spread: FloatArray = mean(signal * signal) - middle * middle
    slope: FloatArray = (mean(signal * found) - middle * base) / (spread + settings.edge_contrast**2)
    drawn: FloatArray = mean(slope) * signal + mean(base - slope * middle)
    return drawn


def _is_given(probability: Image) -> bool:
    return bool(np.isin(probability.voxels, (0.0, 1.0)).all())


def _main_pieces(mask: BoolArray, settings: PrepareSettings) -> BoolArray:
    """Return the pieces of a given mask that are more than specks: without one of them it would be flagged."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    is_main = (sizes >= (1.0 - settings.least_main_share) * sizes.sum()) & (sizes > 0)
    return np.asarray((is_main | (sizes == sizes.max()))[pieces] & mask)


def _main_share(mask: BoolArray) -> float:
    return float(largest_piece(mask).sum()) / max(float(mask.sum()), 1.0)


def expected_dice(probability: FloatArray, mask: BoolArray) -> float:
    """Return the Dice of a mask with the truth that the probability of every voxel lets expect.

    Twice the expected overlap over the expected sum of both volumes. Shapes are equal; 1 for a mask given as 0 and 1.
    """
    total = float(probability.sum(dtype=np.float64)) + float(mask.sum())
    return 2.0 * float(probability[mask].sum(dtype=np.float64)) / total if total > 0 else 1.0


def _other_livers(
    study: Study,
    images: Mapping[ContrastPhase, Image],
    liver_of: LiverOf,
    registrations: Mapping[ContrastPhase, Registration],
    fixed: Image,
) -> dict[ContrastPhase, FloatArray]:
    """Find the liver in the other phases and bring it to the reference; one that is not in register says nothing."""
    seen = {}
    for phase, registration in registrations.items():
        if not registration.accepted:
            continue
        liver = liver_of(_series(study, phase), images[phase])
        if liver is not None:
            there = to_canonical(liver)
            seen[phase] = resample_image(there, fixed.grid, transform=registration.transform).voxels
    return seen


def _mean(
    probability: Image, seen: Mapping[ContrastPhase, FloatArray], fields: Mapping[ContrastPhase, BoolArray]
) -> Image:
    """Return the mean probability over the phases that show each voxel; the reference shows all of them."""
    total = probability.voxels.copy()
    count = np.ones_like(total)
    for phase, voxels in seen.items():
        total += np.where(fields[phase], voxels, 0)
        count += fields[phase]
    return Image(voxels=total / count, grid=probability.grid)


def _disagreements(
    study: Study,
    liver: LabelMap,
    seen: Mapping[ContrastPhase, FloatArray],
    fields: Mapping[ContrastPhase, BoolArray],
    settings: PrepareSettings,
) -> list[Flag]:
    """Flag the phases whose liver overlaps too little with the reference's, where they show it."""
    flags = []
    for phase, probability in seen.items():
        one = (liver.voxels > 0) & fields[phase]
        other = (probability >= settings.liver_threshold) & fields[phase]
        dice = 2.0 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)
        if dice < settings.least_cross_phase_dice:
            message = f"liver in {phase.value} and reference overlap with Dice {dice:.2f}"
            expected = f"expected at least {settings.least_cross_phase_dice:.2f}"
            flags.append(_flag(study, "cross_phase_dice", f"{message}, {expected}"))
    return flags


def _fragments(study: Study, phase: ContrastPhase, mask: BoolArray) -> Flag:
    share = 100.0 * _main_share(mask)
    return _flag(study, "fragments", f"largest piece is {share:.0f} % of the liver found in {phase.value}")


def _rejected(study: Study, phase: ContrastPhase, registration: Registration) -> Flag:
    message = f"{phase.value} was left where it is: {registration.reason}"
    return _flag(study, "registration_rejected", message)


def _flag(study: Study, code: str, message: str) -> Flag:
    return Flag(patient_id=study.patient_id, study_date=study.study_date, code=code, message=message)


def _error(study: Study, phase: ContrastPhase | None, message: str, code: str) -> DataError:
    series = None if phase is None else _series(study, phase).name
    return DataError(
        message, code=code, patient_id=study.patient_id, study_date=study.study_date, series=series
    )
