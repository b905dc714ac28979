"""A study's masks as one DICOM SEG: the liver, a segment per lesion, and one for its viable part."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from mrresponse import __version__
from mrresponse.domain import BoolArray, LesionTrack
from mrresponse.errors import DataError
from mrresponse.geometry import to_grid_order
from mrresponse.nifti import read_label_map
from mrresponse.report.dicom.codes import ABNORMAL, ANATOMICAL, LESION, LIVER
from mrresponse.report.dicom.source import SourceSeries, derived_uid

MAKER = "mrresponse"
_SERIES_NUMBER = 9001
_CONTENT_LABEL = "LIVER_LESIONS"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """One segment: voxels on the grid of the source, and the lesion that it belongs to."""

    label: str
    mask: BoolArray
    lesion_id: str | None = None
    is_viable: bool = False

    @property
    def masks(self) -> frozenset[str]:
        """Names of the masks that shape it: the viable part lies within the lesion."""
        if self.lesion_id is None:
            return frozenset({"liver"})
        return frozenset({"lesions", "viable"} if self.is_viable else {"lesions"})


def read_segments(masks: Path, source: SourceSeries, tracks: Sequence[LesionTrack]) -> tuple[Segment, ...]:
    """Read the masks of a study: the liver, then each lesion seen there and its viable part.

    Raises
    ------
    DataError
        ``mask_missing``, or a mask lies on another grid than the source images.
    """
    labels = {name: _read(masks, name, source) for name in ("liver", "lesions", "viable")}
    liver, lesions, viable = labels["liver"], labels["lesions"], labels["viable"]
    if liver is None:
        raise DataError(
            "no liver mask in the run folder, expected one",
            code="mask_missing",
            patient_id=source.patient_id,
            study_date=source.study_date,
        )
    segments = [Segment(label="Liver", mask=liver > 0)]
    for track, own in _seen(tracks, source):
        if lesions is None:
            continue
        whole = np.isin(lesions, own)
        alive = np.zeros_like(whole) if viable is None else np.isin(viable, own)
        segments.append(Segment(label=f"Lesion {track}", mask=whole, lesion_id=track))
        if alive.any():
            segments.append(
                Segment(label=f"Lesion {track} viable part", mask=alive, lesion_id=track, is_viable=True)
            )
    return tuple(segment for segment in segments if segment.mask.any())


def lesion_uid(source: SourceSeries, lesion_id: str, first_study: str) -> str:
    """Return the tracking UID of a lesion, the same at every visit: of the patient's first study and its name."""
    return str(derived_uid("lesion", source.patient_id, first_study, lesion_id))


def segmentation(
    source: SourceSeries,
    segments: Sequence[Segment],
    *,
    first_study: str,
    algorithm: str | None,
    corrected: Collection[str] = (),
) -> Segmentation:
    """Make the DICOM SEG of a study.

    Parameters
    ----------
    first_study
        UID of the patient's first study, which the tracking UIDs hang on.
    algorithm
        Name of the networks that drew the masks, ``None`` for given masks.
    corrected
        Names of the masks that a reader corrected.
    """
    digest = hashlib.blake2b(digest_size=16)
    for segment in segments:
        digest.update(segment.label.encode() + np.packbits(segment.mask).tobytes())
    content = digest.hexdigest()
    frames = np.stack([segment.mask.transpose(2, 1, 0) for segment in segments], axis=-1)
    return Segmentation(
        source_images=list(source.headers),
        pixel_array=frames.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=list(_descriptions(source, segments, first_study, (algorithm, corrected))),
        series_instance_uid=derived_uid("seg series", source.study, content),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=derived_uid("seg", source.study, content),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        device_serial_number="1",
        content_label=_CONTENT_LABEL,
        content_description="Liver, lesions and their viable parts",
        series_description="Liver lesions, segmented",
        **_frame_places(source),
    )


def _read(
    folder: Path, name: str, source: SourceSeries
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]] | None:
    file = folder / f"{name}.nii.gz"
    return to_grid_order(read_label_map(file), source.grid).voxels if file.is_file() else None


def _seen(tracks: Sequence[LesionTrack], source: SourceSeries) -> Iterator[tuple[str, tuple[int, ...]]]:
    for track in tracks:
        for seen in track.observations:
            if seen.study_date == source.study_date and seen.labels:
                yield track.lesion_id, seen.labels


def _descriptions(
    source: SourceSeries,
    segments: Sequence[Segment],
    first_study: str,
    made_by: tuple[str | None, Collection[str]],
) -> Iterator[SegmentDescription]:
    algorithm, corrected = made_by
    for number, segment in enumerate(segments, start=1):
        lesion = segment.lesion_id
        yield SegmentDescription(
            segment_number=number,
            segment_label=segment.label,
            segmented_property_category=ANATOMICAL if lesion is None else ABNORMAL,
            segmented_property_type=LIVER if lesion is None else LESION,
            anatomic_regions=None if lesion is None else [LIVER],
            tracking_id=lesion,
            tracking_uid=None if lesion is None else lesion_uid(source, lesion, first_study),
            **_maker(algorithm, is_corrected=not segment.masks.isdisjoint(corrected)),
        )


def _maker(algorithm: str | None, *, is_corrected: bool) -> Mapping[str, object]:
    """Return who drew a segment: a person, an algorithm, or an algorithm whose outline a person corrected."""
    if algorithm is None:
        return {"algorithm_type": SegmentAlgorithmTypeValues.MANUAL}
    types = SegmentAlgorithmTypeValues
    return {
        "algorithm_type": types.SEMIAUTOMATIC if is_corrected else types.AUTOMATIC,
        "algorithm_identification": highdicom.AlgorithmIdentificationSequence(
            name=algorithm[:64], family=codes.cid7162.ArtificialIntelligence, version=__version__
        ),
    }


def _frame_places(source: SourceSeries) -> Mapping[str, object]:
    """Return where the frames lie where they are some of a multi-frame file."""
    if not source.frames:
        return {}
    header = source.headers[0]
    shared = header.SharedFunctionalGroupsSequence[0]
    own = [header.PerFrameFunctionalGroupsSequence[frame] for frame in source.frames]

    def place(name: str) -> Dataset:
        return (own[0].get(name) or shared.get(name))[0]

    measures, turned = place("PixelMeasuresSequence"), place("PlaneOrientationSequence")
    return {
        "plane_positions": [
            highdicom.PlanePositionSequence(
                coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
                image_position=item.PlanePositionSequence[0].ImagePositionPatient,
            )
            for item in own
        ],
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=measures.PixelSpacing,
            slice_thickness=measures.SliceThickness,
            spacing_between_slices=measures.get("SpacingBetweenSlices"),
        ),
        "plane_orientation": highdicom.PlaneOrientationSequence(
            coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
            image_orientation=turned.ImageOrientationPatient,
        ),
    }
