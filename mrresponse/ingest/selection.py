"""From the DICOM slices of one patient to at most one series per contrast phase and study.

Where the rules find several volumes of one contrast phase, the choice is written too: one that the manifest states
wins; then axial before other planes, distortion-corrected before its uncorrected copy, late before early arterial;
then the last precontrast, the first delayed and the last hepatobiliary. Two arterial or two portal venous series, and
two of one time, are not chosen between: the patient fails and the message asks for a line in the manifest.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time

import numpy as np

from mrresponse.dicom.slices import stack_order
from mrresponse.domain import Agent, ContrastPhase, Failure, Image, Series, Study
from mrresponse.errors import DataError
from mrresponse.ingest.content import Appearance, appearance, content_evidence
from mrresponse.ingest.grouping import Volume, reused_uids, series_of, volumes_of
from mrresponse.ingest.headers import SliceHeader
from mrresponse.ingest.inputs import (
    Collected,
    FoundSeries,
    IngestSettings,
    LeftOut,
    as_failure,
    joined,
    located,
)
from mrresponse.ingest.manifest import ManifestRow
from mrresponse.ingest.patterns import SeriesFacts, normalised, study_agent
from mrresponse.ingest.phases import PhaseDecision, decide
from mrresponse.ingest.volume import read_volume

# Other kinds of image, or nobody says which; everything else beside MR (reports, segmentations, curves) is no image.
_OTHER_IMAGES = frozenset({"", "CT", "PT", "NM", "US", "XA", "RF", "CR", "DX", "MG", "OPT", "RG"})
_CORRECTED = frozenset({"DIS2D", "DIS3D"})

LiverOf = Callable[[Study, Series, Image], Image | None]
_LIVER_FROM = 0.5

# Precontrast images that one series repeats.
_MOST_PRECONTRAST = 2

# A stack of one direction is a volume; three directions in one series are a localiser.
_LOCALISER_DIRECTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A volume with its contrast phase."""

    volume: Volume
    contrast_phase: ContrastPhase
    reason: str

    @property
    def order(self) -> tuple[datetime, int]:
        """Place in time."""
        return self.volume.facts.acquired_at or datetime.min, self.volume.first.series_number or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides beside the headers.

    Parameters
    ----------
    stated
        Manifest rows by the images that they name.
    liver_of
        Finds the liver in a volume whose headers do not say its contrast phase, so that its image can; ``None`` where
        images are not to be read.
    """

    stated: Mapping[str, Sequence[ManifestRow]]
    settings: IngestSettings
    liver_of: LiverOf | None = None


def select_series(patient_id: str, slices: Sequence[SliceHeader], rules: Rules) -> Collected:
    """Choose the series of one patient, with every other one and every problem named."""
    collected = Collected()
    by_date: dict[date | None, list[SliceHeader]] = {}
    for item in slices:
        by_date.setdefault(item.study_date, []).append(item)
    for study_date, members in sorted(by_date.items(), key=lambda entry: str(entry[0])):
        if study_date is None:
            error = DataError(
                f"{len(members)} DICOM files without a study date, expected StudyDate in each, or a line in "
                "manifest.csv that names a file of the study",
                code="no_study_date",
                patient_id=patient_id,
                path=members[0].path,
            )
            collected = joined(collected, Collected(failures=(as_failure(error),)))
            continue
        place = _Place(patient_id=patient_id, study_date=study_date)
        collected = joined(collected, _select_study(place, members, rules))
    return collected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The study that series are chosen for."""

    patient_id: str
    study_date: date

    def left_out(self, item: SliceHeader, reason: str, *, undecided: bool = False) -> LeftOut:
        return LeftOut(
            patient_id=self.patient_id,
            study_date=self.study_date,
            series_number=item.series_number,
            description=item.facts.description,
            reason=reason,
            undecided=undecided,
            path=item.path,
            frame=item.frame,
        )

    def failure(self, message: str, code: str, item: SliceHeader | None = None) -> Failure:
        number = None if item is None or item.series_number is None else str(item.series_number)
        return Failure(
            patient_id=self.patient_id,
            study_date=self.study_date,
            series=number,
            code=code,
            message=message,
            path=None if item is None else item.path,
        )


def _select_study(place: _Place, slices: Sequence[SliceHeader], rules: Rules) -> Collected:
    resonance = [item for item in slices if item.modality == "MR"]
    others = [item for item in slices if item.modality != "MR"]
    left_out, failures = _other_modalities(place, others, alone=not resonance)
    if not resonance:
        return Collected(left_out=left_out, failures=failures)
    studies = {item.study for item in resonance}
    named = {item.study for item in resonance if item.instance in rules.stated}
    if len(studies) > 1 and len(named) != 1:
        message = (
            f"two studies on one date: found {len(studies)} MR studies, expected one, or lines in manifest.csv that "
            "name series of one of them"
        )
        return Collected(
            left_out=left_out, failures=(*failures, place.failure(message, "two_studies", resonance[0]))
        )
    if len(studies) > 1:
        reason = "another study of this date; the manifest names series of one study"
        spare = [item for item in resonance if item.study not in named]
        left_out += tuple(place.left_out(members[0], reason) for members in series_of(spare))
        resonance = [item for item in resonance if item.study in named]
    volumes = [volume for members in series_of(resonance) for volume in volumes_of(members, rules.stated)]
    chosen = _choose(place, volumes, rules, reused_uids(resonance))
    return joined(Collected(left_out=left_out, failures=failures), chosen)


def _other_modalities(
    place: _Place, slices: Sequence[SliceHeader], *, alone: bool
) -> tuple[tuple[LeftOut, ...], tuple[Failure, ...]]:
    """Leave out what is not MR; a study of nothing but another kind of image is a failure."""
    left_out = tuple(
        place.left_out(members[0], f"modality {members[0].modality or 'not stated'}, expected MR")
        for members in series_of(slices)
    )
    images = sorted({item.modality for item in slices} & _OTHER_IMAGES)
    if not alone or not images:
        return left_out, ()
    first = next(item for item in slices if item.modality in images)
    found = ", ".join(name or "not stated" for name in images)
    return left_out, (place.failure(f"modality {found}, expected MR", "modality", first),)


def _facts(volumes: Sequence[Volume]) -> list[SeriesFacts]:
    """Return what the volumes are; an agent that the manifest states for one of them is that of the study."""
    facts = [volume.facts for volume in volumes]
    stated = {row.agent for volume in volumes for row in volume.rows if row.agent is not None}
    return [replace(item, agent=min(stated)) for item in facts] if len(stated) == 1 else facts


def _decide(
    place: _Place, volumes: Sequence[Volume], facts: Sequence[SeriesFacts], rules: Rules
) -> tuple[PhaseDecision, ...]:
    """Decide by the headers, and again with what the images say where those leave a volume open."""
    stated = [volume.row.contrast_phase if volume.row else None for volume in volumes]
    decisions = decide(facts, stated, rules.settings)
    if rules.liver_of is None:
        return decisions
    seen = {
        index: found
        for index, (volume, decision) in enumerate(zip(volumes, decisions, strict=True))
        if not decision.left_out
        and decision.contrast_phase is None
        and not _no_volume(volume, decision, axial=False)
        if (found := _appearance(place, volume, rules.liver_of)) is not None
    }
    if not seen:
        return decisions
    times = {index: facts[index].acquired_at for index in seen}
    return decide(facts, stated, rules.settings, seen=content_evidence(seen, times, study_agent(facts)))


def _appearance(place: _Place, volume: Volume, liver_of: LiverOf) -> Appearance | None:
    """Read a volume and measure it around its liver; ``None`` where it cannot be read or has no liver."""
    if volume.is_multiframe:
        return None
    candidate = _Candidate(volume=volume, contrast_phase=ContrastPhase.OTHER, reason="")
    try:
        series = _series_of(candidate, None)
        image = read_volume(series.files, series.frames)
        study = Study(patient_id=place.patient_id, study_date=place.study_date, series=(series,))
        liver = liver_of(study, series, image)
    except DataError:
        return None
    return None if liver is None else appearance(image, liver.voxels >= _LIVER_FROM)


def _choose(place: _Place, volumes: Sequence[Volume], rules: Rules, reused: Mapping[str, int]) -> Collected:
    """Choose among the volumes of a study; `reused` counts the images that share a UID with another one, by series.

    Such a series lacks images: it is neither judged by those that are left nor left out as the little that they are.
    """
    broken_series = {}
    facts = _facts(volumes)
    decisions = _decide(place, volumes, facts, rules)
    left_out = []
    failures = []
    candidates: dict[ContrastPhase, list[_Candidate]] = {}
    axial = any(
        decision.contrast_phase and _is_axial(volume)
        for volume, decision in zip(volumes, decisions, strict=True)
    )
    for volume, decision in zip(volumes, decisions, strict=True):
        series = volume.first.series
        if series in reused and not decision.left_out:
            broken_series[series] = _reused_uid(place, volume, reused[series])
            continue
        reason = decision.reason if decision.left_out else _no_volume(volume, decision, axial=axial)
        if reason:
            left_out.append(place.left_out(volume.first, reason))
        elif len({row.contrast_phase for row in volume.rows}) > 1:
            failures.append(_stated_twice(place, volume))
        elif volume.is_multiframe:
            failures.append(place.failure(_MULTIFRAME, "multiframe", volume.first))
        elif decision.contrast_phase is None:
            failures.append(_unknown_phase(place, volume, decision))
            left_out.append(place.left_out(volume.first, decision.reason, undecided=True))
        else:
            candidate = _Candidate(
                volume=volume, contrast_phase=decision.contrast_phase, reason=decision.reason
            )
            candidates.setdefault(decision.contrast_phase, []).append(candidate)
    kept = []
    for phase, several in candidates.items():
        preferred, spare = _preferred(several)
        left_out += [place.left_out(candidate.volume.first, reason) for candidate, reason in spare]
        if len(preferred) > 1 and preferred[0].volume.row is None:
            failures.append(_ambiguous(place, phase, preferred))
            reason = f"one of several that look like {phase.value}"
            left_out += [place.left_out(item.volume.first, reason, undecided=True) for item in preferred]
        else:
            kept += preferred
    agent = study_agent(facts)
    found, broken = _checked(place, kept, agent)
    failures += [*broken_series.values(), *broken]
    if not found and not failures:
        reasons = ", ".join(sorted({item.reason for item in left_out}))
        message = f"none of {len(volumes)} MR series can be used ({reasons}), expected a T1 contrast phase"
        failures.append(place.failure(message, "no_usable_series"))
    return Collected(series=found, failures=tuple(failures), left_out=tuple(left_out))


_MULTIFRAME = (
    "multi-frame MR that does not say where its frames lie, expected a functional group for each frame; convert it to "
    "single-frame DICOM or NIfTI"
)


def _no_volume(volume: Volume, decision: PhaseDecision, *, axial: bool) -> str:
    """Return why slices make no volume at all, empty where they may, or where they are named as a contrast phase."""
    normals = {
        tuple(int(part) for part in np.rint(np.abs(item.geometry.normal)))
        for item in volume.slices
        if item.geometry is not None
    }
    if volume.row is None and len(normals) >= _LOCALISER_DIRECTIONS:
        return f"localiser: slices in {len(normals)} directions"
    if decision.contrast_phase is None and len(volume.slices) == 1 and not volume.is_multiframe:
        return "a single image, expected a volume"
    if decision.contrast_phase is None and axial and not _is_axial(volume):
        return "not axial; axial series of the dynamic are present"
    return ""


def _stated_twice(place: _Place, volume: Volume) -> Failure:
    phases = sorted({row.contrast_phase.value for row in volume.rows})
    places = " and ".join(row.place for row in volume.rows)
    message = f"{places} name one volume as {' and '.join(phases)}, expected one contrast phase"
    return place.failure(message, "manifest_mismatch", volume.first)


def _reused_uid(place: _Place, volume: Volume, count: int) -> Failure:
    return place.failure(
        f"{count} images of the series have the SOPInstanceUID of another image of it that lies elsewhere or was "
        "acquired at another time, expected a UID of its own for each; export the series again, or give its "
        "volumes as NIfTI",
        "reused_uid",
        volume.first,
    )


def _unknown_phase(place: _Place, volume: Volume, decision: PhaseDecision) -> Failure:
    return place.failure(
        f"contrast phase unknown: {decision.reason}; expected a line in manifest.csv that names a file of this series "
        "(`mrresponse check` shows the description)",
        "unknown_contrast_phase",
        volume.first,
    )


def _ambiguous(place: _Place, phase: ContrastPhase, candidates: Sequence[_Candidate]) -> Failure:
    numbers = ", ".join(str(candidate.volume.first.series_number) for candidate in candidates)
    return place.failure(
        f"series {numbers} all look like {phase.value}, expected one; name the right one in manifest.csv",
        "ambiguous_phase",
        candidates[0].volume.first,
    )


def _preferred(
    candidates: Sequence[_Candidate],
) -> tuple[list[_Candidate], list[tuple[_Candidate, str]]]:
    """Apply the rules of choice in turn until one is left, noting why the others go."""
    left = sorted(candidates, key=lambda candidate: candidate.order)
    spare: list[tuple[_Candidate, str]] = []
    for is_better, reason in _CHOICES:
        better = [candidate for candidate in left if is_better(candidate, left)]
        if better and len(better) < len(left):
            spare += [(candidate, reason) for candidate in left if candidate not in better]
            left = better
    return left, spare


def _is_stated(candidate: _Candidate, _: Sequence[_Candidate]) -> bool:
    return candidate.volume.row is not None


def _is_axial(volume: Volume) -> bool:
    geometry = volume.first.geometry
    return geometry is None or int(abs(geometry.normal).argmax()) == 2


def _is_corrected(candidate: _Candidate, others: Sequence[_Candidate]) -> bool:
    """Tell whether a volume is no uncorrected copy of another one of the same acquisition."""
    if _CORRECTED & set(candidate.volume.first.facts.image_type):
        return True
    return not any(
        _CORRECTED & set(other.volume.first.facts.image_type) and other.order[0] == candidate.order[0]
        for other in others
        if other is not candidate
    )


def _is_late(candidate: _Candidate, _: Sequence[_Candidate]) -> bool:
    text = normalised(candidate.volume.first.facts.description)
    late = re.search(r"\b(late|lap|lart|spae?t\w*|tard\w*)\b", text) is not None
    return candidate.contrast_phase is not ContrastPhase.ARTERIAL or late


def _have_order(candidates: Sequence[_Candidate]) -> bool:
    """Tell whether times may choose between volumes of one contrast phase.

    They cannot between volumes of one series and one time, as echoes are, and three of one series are rather a whole
    dynamic than repeated precontrast images.
    """
    by_series: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        by_series.setdefault(candidate.volume.first.series, []).append(candidate)
    for members in by_series.values():
        if len({member.order for member in members}) < len(members):
            return False
        if len(members) > _MOST_PRECONTRAST and members[0].contrast_phase is ContrastPhase.PRECONTRAST:
            return False
    return True


def _is_at_once(candidate: _Candidate, best: _Candidate) -> bool:
    """Tell whether a volume is the best one, or as good by its time, as echoes are and what is made from other images.

    Where an anonymiser took the times away, series numbers choose.
    """
    moment = candidate.order[0]
    return candidate is best or (moment == best.order[0] and moment.time() != time())


def _is_best_timed(candidate: _Candidate, others: Sequence[_Candidate]) -> bool:
    if candidate.volume.row is not None or not _have_order(others):
        return True
    match candidate.contrast_phase:
        case ContrastPhase.PRECONTRAST | ContrastPhase.HEPATOBILIARY:
            return _is_at_once(candidate, others[-1])
        case ContrastPhase.DELAYED:
            return _is_at_once(candidate, others[0])
        case _:
            return True


_CHOICES: tuple[tuple[Callable[[_Candidate, Sequence[_Candidate]], bool], str], ...] = (
    (_is_stated, "the manifest states another series of this contrast phase"),
    (
        lambda candidate, _: _is_axial(candidate.volume),
        "not axial; an axial series of this contrast phase is present",
    ),
    (_is_corrected, "not corrected for distortion; the corrected copy is present"),
    (_is_late, "early arterial; a late arterial series is present"),
    (
        _is_best_timed,
        "another series of this contrast phase is taken: last precontrast, first delayed, last hepatobiliary",
    ),
)


def _checked(
    place: _Place, candidates: Sequence[_Candidate], agent: Agent | None
) -> tuple[tuple[FoundSeries, ...], list[Failure]]:
    """Order the slices of the chosen volumes; one that makes no regular volume is a failure."""
    found = []
    failures = []
    for candidate in candidates:
        first = candidate.volume.first
        try:
            series = _series_of(candidate, agent)
        except DataError as error:
            number = "" if first.series_number is None else f"{first.series_number} "
            failures.append(
                as_failure(
                    located(
                        error,
                        patient_id=place.patient_id,
                        study_date=place.study_date,
                        series=f"{number}({candidate.contrast_phase.value})",
                    )
                )
            )
            continue
        found.append(FoundSeries(patient_id=place.patient_id, study_date=place.study_date, series=series))
    return tuple(found), failures


def _series_of(candidate: _Candidate, agent: Agent | None) -> Series:
    volume = candidate.volume
    geometry = [item.geometry for item in volume.slices if item.geometry is not None]
    if len(geometry) < len(volume.slices):
        raise DataError(
            f"{len(volume.slices) - len(geometry)} of {len(volume.slices)} slices without position, orientation or "
            "spacing, expected them in each",
            code="no_geometry",
            path=volume.first.path,
        )
    try:
        order, grid = stack_order(geometry)
    except DataError as error:
        error.path = volume.first.path
        raise
    row = volume.row
    return Series(
        path=volume.first.path.parent,
        files=tuple(volume.slices[index].path for index in order),
        frames=tuple(frame for index in order if (frame := volume.slices[index].frame) is not None),
        contrast_phase=candidate.contrast_phase,
        phase_reason=candidate.reason,
        series_number=volume.first.series_number,
        description=volume.first.facts.description,
        agent=(row.agent if row else None) or agent,
        acquired_at=volume.facts.acquired_at,
        field_strength_t=volume.first.field_strength_t,
        slice_thickness_mm=round(grid.spacing_mm[2], 2),
    )
