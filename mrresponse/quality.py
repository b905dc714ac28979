"""Doubts about a study, as flags; they change no number.

Thresholds: quality rules of the model specification (liver volume, position, homogeneity, gain, arterial timing).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from mrresponse.domain import (
    BoolArray,
    ContrastPhase,
    ExaminedStudy,
    Flag,
    FloatArray,
    LesionMap,
    LesionTrack,
    MeasurementSource,
    Observation,
    PreparedStudy,
    RegistrationRecord,
    Series,
    TrackEvent,
)
from mrresponse.geometry import bounding_box, box_slices, canonical_grid, dilate, pieces_of, world_to_voxel

# Breathing moves the edge of the volume by a few mm, which at the dome of the liver is a hundredth of it.
_LEAST_SHOWN = 0.98

# So many voxels, and so large a share, of a given viable mask may lie beside the lesions: a slip of the brush.
_VIABLE_SLIP = 8
_VIABLE_SLIP_SHARE = 0.01

# One of these asks for a review, two forbid unedited use. What is merely missing is said, but is no doubt about
# what is there.
REVIEW_CODES = frozenset(
    {
        "registration_rejected",
        "cross_phase_dice",
        "fragments",
        "liver_doubtful",
        "liver_volume",
        "liver_at_edge",
        "not_axial",
        "inhomogeneous",
        "gain",
        "mistimed_arterial",
        "low_snr",
        "lesion_outside_liver",
    }
)

_NOTHING_FOUND = "no_lesion_found"
_ONLY_VESSEL = "only_vessel_enhances"
_IN_PIECES = "lesion_in_pieces"
_VIABLE_OUTSIDE = "viable_outside_lesions"
_NOT_REGISTERED = "studies_not_registered"
_MAY_BE_KNOWN = "new_beside_missing"
# These ask for a look, and are no doubt about the images.
_LOOK_CODES = frozenset(
    {_NOTHING_FOUND, _ONLY_VESSEL, _IN_PIECES, _VIABLE_OUTSIDE, _NOT_REGISTERED, _MAY_BE_KNOWN}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """From where a study is doubtful.

    Parameters
    ----------
    least_liver_ml, largest_liver_ml
        Plausible volume of a liver.
    least_liver_dice
        Below this a network's outline of the liver is doubtful. It is the Dice with the truth that its probabilities
        let expect (:func:`expected_liver_dice`); in 30 ordinary synthetic studies the shipped network expects 0.92 to
        0.954.
    fat_dice_loss
        How much less right a network's liver is, where fat is not suppressed, than its probabilities let expect. Of
        120 stress studies of seeds of their own the 12 without fat suppression are 0.024 less right with the shipped
        network, 0.019 and 0.033 with the two before it.
    largest_variation
        Standard deviation over mean of the liver without its lesions, in the reference phase.
    least_gain, largest_gain
        Plausible ratio of unenhanced tissue in a contrast phase and before contrast.
    least_arterial
        Enhancement of the brightest vessels in ART, in units of liver before contrast.
    largest_arterial_liver
        Enhancement of the liver in ART as a share of that in PVP. Late arterial it is about a quarter (signal model:
        0.24 of 0.93), in the portal venous phase 1: above the middle, ART was taken too late.
    largest_noise
        Standard deviation of the noise over the mean of the liver in the reference phase.
    largest_bright_share
        Share of the tissue outside the liver that is brighter than 1.3 times the liver before contrast: with fat
        suppression next to nothing is.
    slice_ratio
        Slices of two studies that differ by more than this factor are not the same technique. Pixels larger than slices
        by more than it were not taken in the axial plane.
    known_mm, known_size_ratio
        A new lesion that lies so near to where one is expected that is missing in the same study, and is larger or
        smaller by no more than this factor, may be that lesion: in the worst twentieth of a liver, two studies are
        brought together to 5 to 21 mm.
    """

    least_liver_ml: float = 600.0
    largest_liver_ml: float = 3500.0
    least_liver_dice: float = 0.915
    fat_dice_loss: float = 0.025
    largest_variation: float = 0.25
    least_gain: float = 0.8
    largest_gain: float = 1.25
    least_arterial: float = 1.0
    largest_arterial_liver: float = 0.6
    largest_noise: float = 0.06
    largest_bright_share: float = 0.1
    slice_ratio: float = 1.5
    liver_margin_mm: float = 5.0
    known_mm: float = 30.0
    known_size_ratio: float = 2.0


def check_quality(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> tuple[Flag, ...]:
    """Collect the doubts about one study, those of its preparation first."""
    flags = list(prepared.flags)
    around = _around_liver(prepared)
    bright = _bright_share(prepared, around)
    found = [
        *_outline_doubts(prepared, bright, settings),
        *_liver_doubts(prepared, lesion_map, settings),
        *_signal_doubts(prepared, around, settings),
        *_noise_doubts(prepared, lesion_map, settings),
        *_fat_doubts(bright, settings),
        *_lesion_doubts(prepared, lesion_map, settings),
        *_viable_doubts(lesion_map),
        *_missing(prepared),
        *_cut(prepared),
    ]
    study = prepared.study
    flags += [
        Flag(patient_id=study.patient_id, study_date=study.study_date, code=code, message=message)
        for code, message in found
    ]
    return tuple(flags)


def with_nothing_found(studies: Sequence[ExaminedStudy]) -> list[ExaminedStudy]:
    """Flag the studies before the first lesion, where a network found none: one that it missed there is nowhere else.

    Where one was found before, its place is looked at again, and the measurement says whether its absence is shown.
    """
    flagged = []
    is_first = True
    for study in studies:
        found = study.lesion_map
        is_first = is_first and not found.lesions
        if is_first and found.source is MeasurementSource.NETWORK and found.not_assessable is None:
            own = study.prepared.study
            flag = Flag(
                patient_id=own.patient_id,
                study_date=own.study_date,
                code=_NOTHING_FOUND,
                message="the network found no lesion, in this study or before: see that there is none",
            )
            study = replace(study, flags=(*study.flags, flag))
        flagged.append(study)
    return flagged


def with_only_vessels(
    studies: Sequence[ExaminedStudy], emptied: Sequence[Collection[int]], tracks: Sequence[LesionTrack]
) -> list[ExaminedStudy]:
    """Flag the lesions in which all that enhances was taken for a vessel along the edge.

    ``emptied`` has their labels, study by study: on them rests that nothing viable is left.
    """
    message = "all that enhances was taken for a vessel along the edge: see that nothing viable is left"
    return _with_flagged(
        studies, tracks, _ONLY_VESSEL, [dict.fromkeys(labels, message) for labels in emptied]
    )


def with_lesions_in_pieces(
    studies: Sequence[ExaminedStudy], tracks: Sequence[LesionTrack]
) -> list[ExaminedStudy]:
    """Flag the lesions of which one label of a given mask lies in pieces that do not touch.

    Pieces that lie apart are measured as fragments of one lesion, as RECIST 1.1 has it for one that split. Whether they
    are that, or several lesions under one label, or one of which a slice was left out, only a reader can say.
    """
    said = [
        {
            label: f"label {label} lies in {count} pieces that do not touch: they are measured as fragments of one "
            "lesion, their diameters added, those between which one slice is left out as one piece; see that they are "
            "one lesion: if not, each needs a label of its own"
            for label, count in _pieces(study).items()
            if count > 1
        }
        for study in studies
    ]
    return _with_flagged(studies, tracks, _IN_PIECES, said)


def _with_flagged(
    studies: Sequence[ExaminedStudy],
    tracks: Sequence[LesionTrack],
    code: str,
    said: Sequence[Mapping[int, str]],
) -> list[ExaminedStudy]:
    """Flag lesions by their labels: ``said`` has, study by study, what is to be said of a label; once of a lesion."""
    flagged = []
    for study, messages in zip(studies, said, strict=True):
        flags = [
            Flag(
                patient_id=track.patient_id,
                study_date=study.study_date,
                lesion_id=track.lesion_id,
                code=code,
                message=message,
            )
            for track in tracks
            for seen in track.observations
            if seen.study_date == study.study_date
            for message in dict.fromkeys(messages[label] for label in seen.labels if label in messages)
        ]
        flagged.append(replace(study, flags=(*study.flags, *flags)) if flags else study)
    return flagged


def _pieces(study: ExaminedStudy) -> dict[int, int]:
    """Count the pieces of every label of a given mask; what a network found hangs together."""
    found = study.lesion_map
    if found.source is not MeasurementSource.MASK:
        return {}
    return {
        lesion.label: pieces_of(
            found.labels.voxels[box_slices(lesion.bounding_box)] == lesion.label,
            found.labels.grid.voxel_volume_ml,
        )
        for lesion in found.lesions
    }


def with_unregistered(
    studies: Sequence[ExaminedStudy],
    tracks: Sequence[LesionTrack],
    registrations: Sequence[RegistrationRecord],
) -> list[ExaminedStudy]:
    """Flag the studies in which a lesion is matched, or by a given mask absent or new, though its place is not known.

    ``registrations`` are those between studies. A given mask is believed where it has nothing; but where the
    registration with an earlier study was refused, the lesion that is missing and the one that is new may be the same,
    and those that were matched may be two. What a network lacks or has besides is `not_found` or no more than equivocal
    there, and says why; a match is asked about once, where the lesion is seen again.
    """
    refused = {row.study_date: row for row in registrations if not row.accepted}
    flagged = []
    for number, study in enumerate(studies):
        absent = new = matched = 0
        is_given = study.lesion_map.source is MeasurementSource.MASK
        reasons: list[str] = []
        for track in tracks:
            seen = [one for one in track.observations if one.study_date <= study.study_date]
            if not seen or seen[-1].study_date != study.study_date:
                continue
            before = [one.study_date for one in seen[:-1] if one.labels]
            if before and (seen[-1].labels or (is_given and seen[-1].event is TrackEvent.ABSENT)):
                since = max(before)
            elif is_given and seen[-1].event is TrackEvent.NEW:
                # it is new in respect of a study before in which lesions could be assessed
                since = next(one.study_date for one in studies if one.lesion_map.not_assessable is None)
            else:
                continue
            between = [
                refused[one.study_date]
                for one in studies[: number + 1]
                if one.study_date > since and one.study_date in refused
            ]
            if between:
                absent += seen[-1].event is TrackEvent.ABSENT
                new += seen[-1].event is TrackEvent.NEW
                matched += bool(before and seen[-1].labels)
                reasons += [f"{row.fixed} and {row.moving}: {row.reason}" for row in between]
        if reasons:
            count = f"{matched} lesion{'s' * (matched != 1)} matched"
            found = f"{count}, {absent} called absent and {new} called new" if is_given else count
            why = "; ".join(dict.fromkeys(reasons))
            flag = Flag(
                patient_id=study.prepared.study.patient_id,
                study_date=study.study_date,
                code=_NOT_REGISTERED,
                message=f"{found} across studies that could not be brought together ({why}): see whether those that "
                "were matched are the same lesions, and whether one that is absent and one that is new are",
            )
            study = replace(study, flags=(*study.flags, flag))
        flagged.append(study)
    return flagged


def with_new_beside_missing(
    studies: Sequence[ExaminedStudy], tracks: Sequence[LesionTrack], settings: QualitySettings
) -> list[ExaminedStudy]:
    """Flag the new lesions that lie near to where one is expected that is missing in the same study.

    A new lesion is progression and one that is gone a response; were the two the same, neither would be true.
    """
    said = []
    for study in studies:
        seen = [
            (track, one)
            for track in tracks
            for one in track.observations
            if one.study_date == study.study_date
        ]
        missing = [
            (track.lesion_id, one)
            for track, one in seen
            if one.event in (TrackEvent.ABSENT, TrackEvent.NOT_FOUND) and not one.labels
        ]
        messages: dict[int, str] = {}
        for _, new in seen:
            near = [
                (distance, name)
                for name, lost in missing
                if (distance := _distance_if_alike(new, lost, settings)) is not None
            ]
            if new.event is TrackEvent.NEW and near:
                distance, name = min(near)
                message = (
                    f"new {distance:.0f} mm from where {name} is expected, which is missing in this study: see whether "
                    "they are one lesion, and if so say it in edits/lesions.csv"
                )
                messages |= dict.fromkeys(new.labels, message)
        said.append(messages)
    return _with_flagged(studies, tracks, _MAY_BE_KNOWN, said)


def _distance_if_alike(new: Observation, lost: Observation, settings: QualitySettings) -> float | None:
    """Return how far a new lesion lies from a missing one, in mm; ``None`` where they are no likely pair."""
    if new.place_mm is None or lost.place_mm is None or not new.radius_mm or not lost.radius_mm:
        return None
    smaller, larger = sorted((new.radius_mm, lost.radius_mm))
    distance = float(np.linalg.norm(np.subtract(new.place_mm, lost.place_mm)))
    is_likely = distance <= settings.known_mm and larger <= settings.known_size_ratio * smaller
    return distance if is_likely else None


def check_technique(studies: Sequence[ExaminedStudy], settings: QualitySettings) -> tuple[Flag, ...]:
    """Flag every study whose technique differs from that of the study before: their sizes may not compare.

    RECIST 1.1 (Eisenhauer 2009) asks for the same technique at every visit. Compared are the contrast agent, the field
    strength, the slices, the phase that is measured on, the contrast phases, the timing of the arterial phase and the
    suppression of fat; what is not known of both is not compared.
    """
    flags = []
    for before, after in pairwise(studies):
        for what in _differences(before, after, settings):
            study = after.prepared.study
            message = f"since {before.study_date.isoformat()}: {what}"
            flags.append(
                Flag(
                    patient_id=study.patient_id,
                    study_date=study.study_date,
                    code="technique_differs",
                    message=message,
                )
            )
    return tuple(flags)


def _differences(before: ExaminedStudy, after: ExaminedStudy, settings: QualitySettings) -> Iterator[str]:
    one, other = before.prepared, after.prepared
    if one.agent is not None and other.agent is not None and one.agent is not other.agent:
        yield f"contrast agent {one.agent.value} -> {other.agent.value}"
    fields = [_reference_series(study).field_strength_t for study in (one, other)]
    if fields[0] is not None and fields[1] is not None and round(fields[0], 1) != round(fields[1], 1):
        yield f"field strength {fields[0]:g} -> {fields[1]:g} T"
    thin, thick = sorted(study.grid.spacing_mm[2] for study in (one, other))
    if thick > settings.slice_ratio * thin:
        yield f"slices {one.grid.spacing_mm[2]:.1f} -> {other.grid.spacing_mm[2]:.1f} mm apart"
    if one.reference is not other.reference:
        yield f"measured on {one.reference.value} -> {other.reference.value}"
    missing, added = set(one.images) - set(other.images), set(other.images) - set(one.images)
    if missing or added:
        changes = [f"without {phase}" for phase in sorted(missing)] + [
            f"with {phase}" for phase in sorted(added)
        ]
        yield f"contrast phases: {', '.join(changes)}"
    pre, art = ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL
    for code, name, needed in (
        ("mistimed_arterial", "timing of the arterial phase", {pre, art}),
        ("fat_not_suppressed", "fat suppression", {pre}),
    ):
        if not needed <= one.images.keys() & other.images.keys():
            continue
        if _has(before, code) is not _has(after, code):
            words = ("doubtful", "sound") if _has(before, code) else ("sound", "doubtful")
            yield f"{name}: {' -> '.join(words)}"


def _cut(prepared: PreparedStudy) -> Iterator[tuple[str, str]]:
    """Name the phases that show a part of the liver only: what lies beyond is not judged in them."""
    liver = prepared.liver.voxels > 0
    for phase, seen in prepared.fields.items():
        share = float(seen[liver].mean()) if liver.any() else 1.0
        if share < _LEAST_SHOWN:
            found = f"{phase} shows {100 * share:.0f} % of the liver, expected all of it"
            yield "phase_cut", f"{found}: slices are missing at its ends, or it was planned otherwise"


def _has(study: ExaminedStudy, code: str) -> bool:
    return any(flag.code == code for flag in study.flags)


def _reference_series(prepared: PreparedStudy) -> Series:
    return next(one for one in prepared.study.series if one.contrast_phase is prepared.reference)


def review_level(flags: Iterable[Flag]) -> str:
    """Say how much care the result of a study needs: ``ok``, ``review`` or ``do not use unedited``."""
    codes = [flag.code for flag in flags]
    hits = sum(code in REVIEW_CODES for code in codes)
    if hits == 0 and not _LOOK_CODES.isdisjoint(codes):
        return "review"
    return ("ok", "review", "do not use unedited")[min(hits, 2)]


def expected_liver_dice(prepared: PreparedStudy, settings: QualitySettings) -> float:
    """Return the Dice with the truth that may be expected of the liver: 1 for a given mask.

    A network does not see from its own probabilities that images without fat suppression mislead it.
    """
    return _expected_dice(prepared, _bright_share(prepared, _around_liver(prepared)), settings)


def _expected_dice(prepared: PreparedStudy, bright: float | None, settings: QualitySettings) -> float:
    found = prepared.expected_liver_dice
    is_misled = found < 1.0 and bright is not None and bright > settings.largest_bright_share
    return found - settings.fat_dice_loss if is_misled else found


def _outline_doubts(
    prepared: PreparedStudy, bright: float | None, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    expected = _expected_dice(prepared, bright, settings)
    if expected < settings.least_liver_dice:
        where = "" if expected == prepared.expected_liver_dice else ", in images without fat suppression,"
        found = f"by its own probabilities the liver found in {prepared.reference.value}{where} is right with Dice"
        yield "liver_doubtful", f"{found} {expected:.3f}, expected at least {settings.least_liver_dice:.3f}"


def _around_liver(prepared: PreparedStudy) -> BoolArray:
    """Return what lies farther than a centimetre from the liver."""
    return ~dilate(prepared.liver.voxels > 0, prepared.grid.spacing_mm, 10.0)


def _liver_doubts(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    liver = prepared.liver.voxels > 0
    volume_ml = float(liver.sum()) * prepared.grid.voxel_volume_ml
    if not settings.least_liver_ml <= volume_ml <= settings.largest_liver_ml:
        expected = f"expected {settings.least_liver_ml:.0f} to {settings.largest_liver_ml:.0f} mL"
        yield "liver_volume", f"liver volume {volume_ml:.0f} mL, {expected}"
    # a liver mask may leave lesions out
    if _is_at_edge(prepared, liver | (lesion_map.labels.voxels > 0)):
        yield "liver_at_edge", "the liver reaches the edge of the volume and may be cut off"
    *pixel, between = prepared.grid.spacing_mm
    if max(pixel) > settings.slice_ratio * between:
        found = (
            f"pixels of {pixel[0]:.1f} x {pixel[1]:.1f} mm in the axial plane, in which sizes are measured"
        )
        yield "not_axial", f"{found}: the slices were taken in another plane"
    values = prepared.images[prepared.reference].voxels[liver & (lesion_map.labels.voxels == 0)]
    if values.size:
        variation = float(values.std()) / max(float(values.mean()), 1e-6)
        if variation > settings.largest_variation:
            found = f"SD / mean of the liver {variation:.2f} in {prepared.reference.value}"
            yield "inhomogeneous", f"{found}, expected at most {settings.largest_variation:.2f}"


def _is_at_edge(prepared: PreparedStudy, liver: BoolArray) -> bool:
    full = canonical_grid(prepared.native_grid).shape
    for axis, (start, count) in enumerate(zip(prepared.crop_start, full, strict=True)):
        layers = np.moveaxis(liver, axis, 0)
        if start == 0 and layers[0].any():
            return True
        if start + len(layers) == count and layers[-1].any():
            return True
    shown = prepared.fields.get(prepared.reference)
    planes = None if shown is None else bounding_box(shown)
    if planes is None:
        return False
    # slices that were blanked or filled up with zeros were not acquired
    first, stop = planes[2]
    is_cut_below = first > 0 and bool(liver[..., : first + 1].any())
    return is_cut_below or (stop < liver.shape[2] and bool(liver[..., stop - 1 :].any()))


def _signal_doubts(
    prepared: PreparedStudy, around: BoolArray, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    before = prepared.images.get(ContrastPhase.PRECONTRAST)
    arterial = prepared.images.get(ContrastPhase.ARTERIAL)
    if before is None or arterial is None:
        return
    shown = _shown_by(prepared, ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL)
    liver = (prepared.liver.voxels > 0) & shown
    unit = float(np.median(before.voxels[liver])) if liver.any() else 0.0
    if unit <= 0:
        return
    gain = _unenhanced_ratio((arterial.voxels, before.voxels), around, unit, prepared.grid.voxel_volume_ml)
    if gain is not None and not settings.least_gain <= gain <= settings.largest_gain:
        expected = f"expected {settings.least_gain:.2f} to {settings.largest_gain:.2f}"
        yield "gain", f"unenhanced tissue in ART is {gain:.2f} times that in PRE, {expected}"
    enhancement = np.percentile(((arterial.voxels / (gain or 1.0) - before.voxels) / unit)[shown], 99.5)
    if enhancement < settings.least_arterial:
        found = f"brightest vessels enhance by {enhancement:.1f} times the liver in ART"
        yield "mistimed_arterial", f"{found}, expected at least {settings.least_arterial:.1f}"
    elif (
        late := _arterial_share(prepared, gain or 1.0)
    ) is not None and late > settings.largest_arterial_liver:
        found = f"the liver enhances in ART by {late:.2f} of its enhancement in PVP"
        yield (
            "mistimed_arterial",
            f"{found}, expected at most {settings.largest_arterial_liver:.2f}: too late",
        )


def _shown_by(prepared: PreparedStudy, *phases: ContrastPhase) -> BoolArray:
    """Return the voxels in the field of view of all these phases."""
    shown = np.ones(prepared.grid.shape, dtype=bool)
    for phase in phases:
        if phase in prepared.fields:
            shown &= prepared.fields[phase]
    return shown


def _arterial_share(prepared: PreparedStudy, gain: float) -> float | None:
    """Return the liver's enhancement in ART over that in PVP; ``None`` where PVP is missing or hardly enhances."""
    if ContrastPhase.PORTAL_VENOUS not in prepared.images:
        return None
    phases = (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS)
    liver = (prepared.liver.voxels > 0) & _shown_by(prepared, *phases)
    if not liver.any():
        return None
    before, arterial, portal = (float(np.median(prepared.images[phase].voxels[liver])) for phase in phases)
    portal -= before
    # below a fifth of the signal before contrast there is no enhancement to take a share of
    return (arterial / gain - before) / portal if portal > 0.2 * before else None


def _noise_doubts(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    """Estimate the noise from second differences along a row, of which a smooth signal leaves nothing.

    Only the reference phase is judged: the others were interpolated, which averages noise away.
    """
    values = prepared.images[prepared.reference].voxels
    inside = (prepared.liver.voxels > 0) & (lesion_map.labels.voxels == 0)
    row = inside[2:] & inside[1:-1] & inside[:-2]
    if not row.any():
        return
    bend = (values[2:] - 2.0 * values[1:-1] + values[:-2])[row]
    # 1.4826: SD over median absolute deviation of a normal distribution; sqrt(6): SD of the difference over noise
    noise = 1.4826 * float(np.median(np.abs(bend - np.median(bend)))) / float(np.sqrt(6.0))
    share = noise / max(float(values[inside].mean()), 1e-6)
    if share > settings.largest_noise:
        found = f"noise is {share:.2f} of the liver's signal in {prepared.reference.value}"
        yield "low_snr", f"{found}, expected at most {settings.largest_noise:.2f}"


def _fat_doubts(bright: float | None, settings: QualitySettings) -> Iterator[tuple[str, str]]:
    if bright is not None and bright > settings.largest_bright_share:
        found = f"{100 * bright:.0f} % of the tissue around the liver is brighter than it before contrast"
        yield "fat_not_suppressed", f"{found}: fat suppression failed or was not used"


def _bright_share(prepared: PreparedStudy, around: BoolArray) -> float | None:
    """Return the share of tissue outside the liver brighter than 1.3 times the liver before contrast."""
    before = prepared.images.get(ContrastPhase.PRECONTRAST)
    liver = prepared.liver.voxels > 0
    if before is None or not liver.any():
        return None
    unit = float(np.median(before.voxels[liver]))
    tissue = around & (before.voxels > 0.2 * unit)
    if unit <= 0 or not tissue.any():
        return None
    return float((before.voxels[tissue] > 1.3 * unit).mean())


def _unenhanced_ratio(
    images: tuple[FloatArray, FloatArray], around: BoolArray, unit: float, voxel_ml: float
) -> float | None:
    """Estimate the ratio of two ``images``, ART over PRE, of tissue that does not enhance: the lower quartile.

    Fat, muscle and bowel content make up most of what lies around the liver and hardly enhance in ART; vessels,
    spleen and kidneys lie in the upper part of the distribution.
    """
    # in-plane averages: of single noisy voxels the lower quartile would be too low
    arterial, before = (ndimage.uniform_filter(image, size=(3, 3, 1)) for image in images)
    tissue = around & (before > 0.2 * unit) & (before < 1.5 * unit)
    if int(tissue.sum()) * voxel_ml < 20.0:
        return None
    return float(np.percentile(arterial[tissue] / before[tissue], 25.0))


def _lesion_doubts(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    if not lesion_map.lesions:
        return
    places = np.rint(world_to_voxel(prepared.grid, [lesion.centroid_mm for lesion in lesion_map.lesions]))
    index = np.clip(places.astype(int), 0, np.asarray(prepared.grid.shape) - 1)
    liver = prepared.liver.voxels > 0
    if liver[tuple(index.T)].all():
        return
    near = dilate(liver, prepared.grid.spacing_mm, settings.liver_margin_mm)
    for lesion, is_near in zip(lesion_map.lesions, near[tuple(index.T)], strict=True):
        if not is_near:
            where = ", ".join(f"{value:.0f}" for value in lesion.centroid_mm)
            yield "lesion_outside_liver", f"lesion at ({where}) mm lies outside the liver"


def _viable_doubts(lesion_map: LesionMap) -> Iterator[tuple[str, str]]:
    """Say how much of a given viable mask lies in no lesion: it is not counted."""
    outside = lesion_map.viable_outside
    if lesion_map.viable is None or outside <= _VIABLE_SLIP:
        return
    share = outside / (outside + np.count_nonzero(lesion_map.viable.voxels))
    if share > _VIABLE_SLIP_SHARE:
        volume_ml = outside * lesion_map.labels.grid.voxel_volume_ml
        found = f"{100 * share:.0f} % of the viable voxels ({volume_ml:.2f} mL) lie in no lesion and are not counted"
        yield _VIABLE_OUTSIDE, f"mask 'viable': {found}; expected viable tumour within lesions"


def _missing(prepared: PreparedStudy) -> Iterator[tuple[str, str]]:
    present = set(prepared.images)
    if present <= {ContrastPhase.OTHER}:
        yield "missing_phases", "no T1 contrast phase: lesions cannot be assessed"
        return
    lacking = [
        phase.value for phase in (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL) if phase not in present
    ]
    if not present & {ContrastPhase.PORTAL_VENOUS, ContrastPhase.DELAYED}:
        lacking.append("PVP or DEL")
    if lacking:
        yield "missing_phases", f"missing: {', '.join(lacking)}"
