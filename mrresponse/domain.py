"""The nouns of the program: one frozen value per stage of the line.

World coordinates are RAS+ millimetres, voxel arrays are indexed ``[i, j, k]``. ``None`` means unknown or not
evaluable; it is never written as 0 or NaN. Units end a field's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrresponse.frozen import filled_open

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]
Point = tuple[float, float, float]

ADJUDICATED = "adjudicated"
"""Reader of the assessments that were restated."""
UNNAMED_READER = "none"
"""Reader of a patient without a measurement where neither tables nor studies name one."""
PixelPoint = tuple[float, float]


class ContrastPhase(StrEnum):
    """When, after the contrast agent, an image was taken; ``OTHER`` is stated by the user (T2, DWI)."""

    PRECONTRAST = "PRE"
    ARTERIAL = "ART"
    PORTAL_VENOUS = "PVP"
    DELAYED = "DEL"
    HEPATOBILIARY = "HBP"
    OTHER = "OTHER"


class Agent(StrEnum):
    """Contrast agent."""

    EXTRACELLULAR = "extracellular"
    GADOXETATE = "gadoxetate"


class Response(StrEnum):
    """Words of a response, for a component, a visit or a treatment phase."""

    CR = "CR"
    PR = "PR"
    SD = "SD"
    PD = "PD"
    NE = "NE"
    NON_CR_NON_PD = "NON-CR/NON-PD"
    NED = "NED"
    ICR = "iCR"
    IPR = "iPR"
    ISD = "iSD"
    IUPD = "iUPD"
    ICPD = "iCPD"
    NON_ICR_NON_IUPD = "NON-iCR/NON-iUPD"


class LesionRole(StrEnum):
    """What a lesion is to one assessment; excluded: seen, and no disease (benign, normal node, merged away)."""

    TARGET = "target"
    NON_TARGET = "non_target"
    NEW = "new"
    EXCLUDED = "excluded"


class MeasurementState(StrEnum):
    """What the numbers of a measurement, or their absence, mean."""

    MEASURED = "measured"
    TOO_SMALL = "too_small"
    ABSENT = "absent"
    NOT_FOUND = "not_found"
    NOT_ASSESSED = "not_assessed"
    MERGED = "merged"
    SPLIT = "split"


SEEN_STATES = frozenset(
    {
        MeasurementState.MEASURED,
        MeasurementState.TOO_SMALL,
        MeasurementState.MERGED,
        MeasurementState.SPLIT,
    }
)
"""Of a lesion that is there."""
MISSING_STATES = frozenset({MeasurementState.NOT_FOUND, MeasurementState.NOT_ASSESSED})
"""Of a lesion of which nothing is known: neither that it is there nor that it is gone."""
WHOLE_SIZES = ("longest_diameter_mm", "perpendicular_diameter_mm", "volume_ml")
"""Columns of a measurement."""
VIABLE_SIZES = (
    "viable_longest_diameter_mm",
    "viable_perpendicular_diameter_mm",
    "viable_volume_ml",
)
"""The same of the viable part."""
LIVER = "liver"
"""The organ of a lesion, where nothing else is said."""
SIZES_CONTRADICT = "sizes_contradict"
"""The flag of a part that is larger than its whole, after a reader typed one of the two."""
CYST_LIKE = "cyst-like"
HAEMANGIOMA_LIKE = "haemangioma-like"
PERFUSION_LIKE = "perfusion-like"
"""Patterns of lesions that are no tumour, as measurements name them."""


class NewLesionStatus(StrEnum):
    """How sure it is that a lesion is new."""

    CANDIDATE = "candidate"
    EQUIVOCAL = "equivocal"
    DEFINITE = "definite"
    REJECTED = "rejected"


class TrackEvent(StrEnum):
    """What happened to a lesion at one study."""

    FIRST = "first"
    MATCHED = "matched"
    SPLIT = "split"
    MERGED = "merged"
    NEW = "new"
    REAPPEARED = "reappeared"
    NOT_FOUND = "not_found"
    ABSENT = "absent"
    OUTSIDE = "outside"


class MeasurementSource(StrEnum):
    """Where a number comes from."""

    NETWORK = "network"
    MASK = "mask"
    READER = "reader"


class TreatmentKind(StrEnum):
    """Kind of one treatment."""

    SYSTEMIC = "systemic"
    LOCOREGIONAL = "locoregional"
    RADIOTHERAPY = "radiotherapy"
    SURGERY = "surgery"
    OBSERVATION = "observation"
    OTHER = "other"


class FindingKind(StrEnum):
    """What a reader saw that the liver images do not carry."""

    EXTRAHEPATIC_LESION = "extrahepatic_lesion"
    LYMPH_NODE = "lymph_node"
    VEIN_THROMBUS = "vein_thrombus"
    EFFUSION = "effusion"
    ASCITES = "ascites"
    NON_TARGET = "non_target"
    OTHER = "other"


class FindingStatus(StrEnum):
    """State of a finding at its date."""

    PRESENT = "present"
    NEW = "new"
    PROGRESSING = "progressing"
    STABLE = "stable"
    GONE = "gone"


class Cytology(StrEnum):
    """Result of cytology of an effusion."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NONE = "none"


class MarkerOutcome(StrEnum):
    """What a marker did over a treatment phase; not evaluable where its baseline is low or a bound leaves it open."""

    RESPONSE = "response"
    NO_RESPONSE = "no_response"
    NOT_EVALUABLE = "not_evaluable"


class Affects(StrEnum):
    """Which response a finding enters."""

    LIVER = "liver"
    OVERALL = "overall"
    BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sample positions of a volume.

    Parameters
    ----------
    shape
        Voxels along ``(i, j, k)``.
    affine_rows
        Upper three rows of the voxel-to-world matrix, RAS+ mm.
    """

    shape: tuple[int, int, int]
    affine_rows: tuple[tuple[float, ...], ...]

    @cached_property
    def affine(self) -> npt.NDArray[np.float64]:
        """4 x 4 voxel-to-world matrix."""
        return np.vstack([np.asarray(self.affine_rows, dtype=np.float64), [0.0, 0.0, 0.0, 1.0]])

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along ``(i, j, k)``."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """Intensities or probabilities, float32 ``[i, j, k]``."""

    voxels: FloatArray
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMap:
    """Whole-number labels, uint16 ``[i, j, k]``; 0 is background."""

    voxels: LabelArray
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One acquired volume, known by its header only.

    Parameters
    ----------
    path
        NIfTI file, or folder of the DICOM series.
    files
        DICOM slices from the first to the last position; empty for NIfTI.
    frames
        Frame of each slice in its file, counted from 0, where the files are multi-frame; otherwise empty.
    contrast_phase, phase_reason
        The contrast phase the series was taken for, and why.
    """

    path: Path
    files: tuple[Path, ...] = ()
    frames: tuple[int, ...] = ()
    contrast_phase: ContrastPhase
    phase_reason: str = "manifest"
    series_number: int | None = None
    description: str = ""
    agent: Agent | None = None
    acquired_at: datetime | None = None
    field_strength_t: float | None = None
    slice_thickness_mm: float | None = None

    @property
    def name(self) -> str:
        """How messages name the series: its number where there is one, and its contrast phase."""
        number = "" if self.series_number is None else f"{self.series_number} "
        return f"{number}({self.contrast_phase.value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One imaging visit; ``series`` is empty where only numbers are known."""

    patient_id: str
    study_date: date
    series: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """One row of ``treatments.csv``; rows of one ``treatment_phase`` make a course."""

    patient_id: str
    treatment_phase: str
    name: str
    kind: TreatmentKind
    start_date: date
    end_date: date | None = None
    details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """One laboratory value; ``qualifier`` is ``<`` or ``>`` where the assay gave only a bound."""

    patient_id: str
    date: date
    name: str
    value: float
    unit: str
    qualifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a reader saw outside the measured lesions; what it ``affects``, if not stated, follows from its kind."""

    patient_id: str
    date: date
    kind: FindingKind
    status: FindingStatus
    site: str = ""
    size_mm: float | None = None
    cytology: Cytology | None = None
    affects: Affects | None = None
    author: str = ""
    note: str = ""

    @property
    def is_of_liver(self) -> bool:
        """Tell whether it enters the liver's own response, as thrombus and non-targets of the liver do by default."""
        if self.affects is not None:
            return self.affects is not Affects.OVERALL
        in_liver = not self.site.strip() or LIVER in self.site.lower()
        return self.kind is FindingKind.VEIN_THROMBUS or (self.kind is FindingKind.NON_TARGET and in_liver)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One row of ``edits/overrides.csv``: an assessment as `reader` restates it; ``None`` leaves a part as it was.

    ``assessed_by`` is the reader whose assessment it is; empty where there is only one.
    """

    patient_id: str
    treatment_phase: str
    criterion: str
    study_date: date
    reader: str
    reason: str
    assessed_by: str = ""
    target: Response | None = None
    non_target: Response | None = None
    new_lesions: str | None = None
    liver_response: Response | None = None
    overall: Response | None = None
    when: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementEdit:
    """One row of ``edits/measurements.csv``: numbers of one lesion and study as `reader` measured them.

    ``None`` leaves a number as it was. ``state`` and ``viable_state`` follow from what was typed and are ``None``
    where nothing was typed of the whole lesion or of its viable part. ``assessed_by`` is the reader whose numbers they
    replace; empty where only one measured the lesion.
    """

    patient_id: str
    lesion_id: str
    study_date: date
    reader: str
    reason: str
    assessed_by: str = ""
    longest_diameter_mm: float | None = None
    perpendicular_diameter_mm: float | None = None
    volume_ml: float | None = None
    viable_longest_diameter_mm: float | None = None
    viable_perpendicular_diameter_mm: float | None = None
    viable_volume_ml: float | None = None
    well_delineated: bool | None = None
    previously_treated: bool | None = None
    state: MeasurementState | None = None
    viable_state: MeasurementState | None = None
    when: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionEdit:
    """One row of ``edits/lesions.csv``: what `reader` decided about one lesion.

    ``role`` holds in ``treatment_phase``, or in every one where that is empty. ``same_as`` is the lesion that this
    one is, seen at other studies or as a fragment.
    """

    patient_id: str
    lesion_id: str
    reader: str
    reason: str
    treatment_phase: str = ""
    role: LesionRole | None = None
    new_lesion_status: NewLesionStatus | None = None
    same_as: str = ""
    when: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskEdit:
    """A corrected mask of one study, ``liver``, ``lesions`` or ``viable``, below ``edits/masks``.

    ``sha256`` is that of its file.
    """

    patient_id: str
    study_date: date
    mask: str
    reader: str = ""
    reason: str = ""
    root: Path
    when: date | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientEdits:
    """What readers corrected about one person; edits win over what the program found.

    ``earlier_tracks`` are those of the run before, so that a lesion keeps the id that the edits call it by.
    """

    overrides: tuple[Override, ...] = ()
    measurements: tuple[MeasurementEdit, ...] = ()
    lesions: tuple[LesionEdit, ...] = ()
    masks: tuple[MaskEdit, ...] = ()
    earlier_tracks: "tuple[LesionTrack, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row of ``audit.csv``: what a reader's edit changed; ``edit`` is the file of ``edits/`` that says so.

    ``sha256`` is that of a corrected mask's file, so that it can be told whether the mask that lies there now was used.
    """

    patient_id: str
    study_date: date | None = None
    lesion_id: str | None = None
    edit: str
    what: str
    before: str = ""
    after: str = ""
    reader: str = ""
    reason: str = ""
    when: date | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Everything handed over about one person, sorted by date."""

    patient_id: str
    studies: tuple[Study, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    markers: tuple[Marker, ...] = ()
    findings: tuple[Finding, ...] = ()
    death_date: date | None = None
    last_contact_date: date | None = None
    edits: PatientEdits = field(default_factory=PatientEdits)

    def __post_init__(self) -> None:
        dates = [study.study_date for study in self.studies]
        if dates != sorted(set(dates)):
            raise ValueError(f"{self.patient_id}: studies must be sorted by date, one per date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A stated doubt; it changes no number. ``step`` is ``images`` or ``response``, where the doubt arose."""

    patient_id: str
    study_date: date | None
    lesion_id: str | None = None
    code: str
    message: str
    step: str = "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRecord:
    """One row of ``registrations.csv``: how an image was brought onto another, and how well.

    ``moving`` and ``fixed`` are contrast phases of one study, or dates of two. ``measure`` names the similarity.
    """

    patient_id: str
    study_date: date
    moving: str
    fixed: str
    accepted: bool
    measure: str
    similarity_before: float
    similarity_after: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedStudy:
    """Images of one study on one grid: the native grid of the reference phase, cropped around the liver.

    Parameters
    ----------
    grid
        Grid of every image here.
    native_grid, crop_start
        Full grid of the reference series, and the voxel of it that is voxel (0, 0, 0) here.
    images
        The T1 contrast phases present, registered to the reference; ``OTHER`` only as the sole image.
    reference
        Contrast phase whose grid this is.
    liver, liver_probability
        The liver on ``grid``; the probability is that of the network, or 0 and 1 for a given mask.
    expected_liver_dice
        Dice with the truth that the probabilities in the reference phase let expect; 1 for a given mask.
    agent
        Contrast agent, where known.
    registrations
        How each of the other contrast phases was brought onto the reference.
    fields
        The voxels in the field of view of a phase; a phase that is not named shows all of them. Elsewhere its image
        is 0, or fades to it.
    """

    study: Study
    grid: Grid
    native_grid: Grid
    crop_start: tuple[int, int, int]
    images: Mapping[ContrastPhase, Image]
    reference: ContrastPhase
    liver: LabelMap
    liver_probability: Image
    expected_liver_dice: float = 1.0
    agent: Agent | None = None
    flags: tuple[Flag, ...] = ()
    registrations: tuple[RegistrationRecord, ...] = ()
    fields: Mapping[ContrastPhase, BoolArray] = field(default_factory=dict)

    @property
    def reference_series(self) -> Series:
        """The series of the reference phase."""
        return next(series for series in self.study.series if series.contrast_phase is self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One lesion at one date; ``label`` indexes the lesion map it was found in."""

    label: int
    centroid_mm: Point
    volume_ml: float
    bounding_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    mean_probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """How sure a network must be before there is a lesion.

    ``threshold`` is the probability from which a voxel may belong to one; ``least_peak`` and ``least_mean`` are the
    highest and the mean probability that a lesion of such voxels must reach. ``outline`` is the probability from which
    a voxel of it lies within its outline.
    """

    threshold: float = 0.5
    least_peak: float = 0.7
    least_mean: float = 0.5
    outline: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionMap:
    """The individual lesions of one study, largest first.

    ``not_assessable`` gives the reason where lesions were not looked for; ``lesions`` is then empty and means
    nothing. ``viable`` is a given mask of viable voxels with their lesion's label; ``None`` where it is to be
    derived from the images. ``viable_outside`` counts the voxels of that mask that lie in no lesion and were left out.
    """

    labels: LabelMap
    lesions: tuple[Lesion, ...]
    source: MeasurementSource
    viable: LabelMap | None = None
    viable_outside: int = 0
    not_assessable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenLesions:
    """Lesion masks that already exist, on the grid of the prepared study, with their instance labels."""

    labels: LabelMap
    viable: LabelMap | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExaminedStudy:
    """All that is known of one study before it is compared with others."""

    prepared: PreparedStudy
    lesion_map: LesionMap
    flags: tuple[Flag, ...] = ()

    @property
    def study_date(self) -> date:
        """Date of the study."""
        return self.prepared.study.study_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A lesion track at one study.

    ``labels`` index that study's lesion map: several are fragments, none means not found, gone, outside the
    field of view, or not looked for. ``place_mm`` is where the lesion is expected in that study's world.
    ``was_liver_before`` belongs to a new lesion: whether its place, looked at again, was like liver in every
    earlier study; ``None`` where that cannot be said.
    """

    study_date: date
    event: TrackEvent
    labels: tuple[int, ...] = ()
    place_mm: Point | None = None
    radius_mm: float | None = None
    evidence: str = ""
    was_liver_before: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTrack:
    """The same lesion through time, one observation per study from its first on.

    ``places_mm`` follow one point of the anatomy, the middle of the lesion where it was first seen, through every
    study in which lesions could be assessed, those before it included; known only while images are at hand.
    ``same_as`` is the lesion that a reader says it is; it is then measured there.
    """

    patient_id: str
    lesion_id: str
    observations: tuple[Observation, ...]
    merged_into: str | None = None
    places_mm: tuple[tuple[date, Point], ...] = field(default=(), compare=False)
    same_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caliper:
    """A drawn distance: slice index ``k`` in the native grid and two end points in world mm."""

    slice_index: int
    start_mm: Point
    end_mm: Point


@filled_open
@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One lesion at one study by one reader; ``state`` says what each number or its absence means.

    Lengths are rounded to 0.1 mm and volumes to 0.001 mL. The networks are a reader, named by their model. Weighted
    volumes count a voxel on the border by its share of lesion (`mrresponse.measure.partial_volume`); ``None`` where the
    border does not stand out enough for that. No criterion uses them.
    """

    patient_id: str
    lesion_id: str
    study_date: date
    reader: str
    state: MeasurementState
    reason: str = ""
    organ: str = LIVER
    is_node: bool = False
    longest_diameter_mm: float | None = None
    perpendicular_diameter_mm: float | None = None
    viable_longest_diameter_mm: float | None = None
    viable_perpendicular_diameter_mm: float | None = None
    volume_ml: float | None = None
    viable_volume_ml: float | None = None
    weighted_volume_ml: float | None = None
    viable_weighted_volume_ml: float | None = None
    longest_diameter_mm_sd: float | None = None
    perpendicular_diameter_mm_sd: float | None = None
    viable_longest_diameter_mm_sd: float | None = None
    viable_perpendicular_diameter_mm_sd: float | None = None
    volume_ml_sd: float | None = None
    viable_volume_ml_sd: float | None = None
    viable_state: MeasurementState | None = None
    viable_reason: str = ""
    caliper: Caliper | None = None
    perpendicular_caliper: Caliper | None = None
    viable_caliper: Caliper | None = None
    viable_perpendicular_caliper: Caliper | None = None
    aphe: bool | None = None
    washout: bool | None = None
    pattern: str | None = None
    well_delineated: bool | None = None
    previously_treated: bool | None = None
    new_lesion_status: NewLesionStatus | None = None
    new_lesion_reason: str = ""
    slice_thickness_mm: float | None = None
    source: MeasurementSource = MeasurementSource.NETWORK


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturedSlice:
    """One slice of a snapshot and what is outlined on it, in pixels ``(column, row)``.

    Parameters
    ----------
    slice_index
        Third index in the native grid of the reference series, as a caliper's.
    step
        How many steps head-ward of the anatomical place it lies, the same number at every visit; ``None`` for a
        slice that is shown only because a caliper lies on it.
    offset_mm
        How far head-ward of the anatomical place it lies.
    reference_outlines
        Liver that lesions are compared with to tell what is viable.
    """

    slice_index: int
    step: int | None
    offset_mm: float
    outlines: tuple[tuple[PixelPoint, ...], ...] = ()
    viable_outlines: tuple[tuple[PixelPoint, ...], ...] = ()
    reference_outlines: tuple[tuple[PixelPoint, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCaliper:
    """A caliper on a snapshot: the number of its slice there, and its ends in pixels ``(column, row)``."""

    slice_number: int
    start: PixelPoint
    end: PixelPoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The pictures that show a lesion at one study: 8-bit pixels ``[slice, row, column]`` and what is drawn on them.

    The same place of the anatomy is in the middle at every study, at the same magnification.

    Parameters
    ----------
    contrast_phase
        Of ``pixels``, whose grey is scaled to the liver of the same study.
    subtraction
        The same slices of the arterial less the precontrast image, where there are both.
    spacing_mm
        Between rows and between columns.
    slices
        One for each of ``pixels``, from the feet up.
    """

    patient_id: str
    lesion_id: str
    study_date: date
    contrast_phase: ContrastPhase
    pixels: npt.NDArray[np.uint8]
    subtraction: npt.NDArray[np.uint8] | None = None
    spacing_mm: tuple[float, float]
    slices: tuple[PicturedSlice, ...]
    caliper: DrawnCaliper | None = None
    viable_caliper: DrawnCaliper | None = None


COURSE = "course"
"""Name of what spans all treatment phases, or stands for them where no treatment is known."""
SESSION_BASELINE = "session_baseline"
"""Stands in the name of a secondary view, after the phase that it shows and before the number of its session."""


def viewed_phase(name: str) -> str:
    """Return the name of the treatment phase that a secondary view shows; a phase shows itself."""
    phase, separator, number = name.rpartition(f" {SESSION_BASELINE} ")
    return phase if separator and number.isdecimal() else name


def is_single_phase(name: str) -> bool:
    """Tell whether a name is that of one treatment phase: not the whole course, and no secondary view."""
    return name != COURSE and viewed_phase(name) == name


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentPhase:
    """A course under one therapy with its own baseline, nadir and roles."""

    patient_id: str
    name: str
    start_date: date | None
    end_date: date | None = None
    baseline_date: date | None = None
    baseline_reason: str = ""


@filled_open
@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One row of ``assessments.csv``: enough to redo the decision by hand."""

    patient_id: str
    treatment_phase: str
    criterion: str
    study_date: date
    reader: str
    is_baseline: bool = False
    baseline_burden: float | None = None
    nadir_burden: float | None = None
    current_burden: float | None = None
    burden_unit: str = "mm"
    change_from_baseline: float | None = None
    change_from_nadir: float | None = None
    liver_change_from_baseline: float | None = None
    target: Response | None = None
    non_target: Response | None = None
    new_lesions: str | None = None
    liver_response: Response | None = None
    overall: Response | None = None
    reason: str = ""
    p_cr: float | None = None
    p_pr: float | None = None
    p_sd: float | None = None
    p_pd: float | None = None
    dated_from: date | None = None
    after_progression: bool = False
    flags: tuple[str, ...] = ()
    settings_id: str = ""


@filled_open
@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecord:
    """Why a lesion is target, non-target or new in one treatment phase under one criterion, and what is read of it."""

    patient_id: str
    treatment_phase: str
    criterion: str
    reader: str
    lesion_id: str
    role: LesionRole
    reason: str
    quantity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementVisit:
    """One visit as two readers assessed it; a difference is that of the second from the first reader."""

    patient_id: str
    treatment_phase: str
    criterion: str
    study_date: date
    reader_1: str
    reader_2: str
    overall_1: Response | None = None
    overall_2: Response | None = None
    burden_1: float | None = None
    burden_2: float | None = None
    burden_mean: float | None = None
    burden_difference: float | None = None
    burden_unit: str = "mm"


@filled_open
@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one lesion gives to one assessment: a row of the tidy lesion table.

    ``value`` is what the criterion reads, in ``unit``; a missing one is ``None`` and ``note`` says why. ``is_normal``
    is a lesion that is gone, or a node of normal size. ``new_lesion_status`` is what the rules made of a new lesion
    at this visit: definite, equivocal, candidate or none.
    """

    patient_id: str
    treatment_phase: str
    criterion: str
    reader: str
    study_date: date
    lesion_id: str
    role: LesionRole
    is_baseline: bool = False
    organ: str = LIVER
    is_node: bool = False
    quantity: str
    value: float | None = None
    unit: str
    note: str = ""
    is_normal: bool = False
    is_viable_part: bool = False
    state: MeasurementState | None = None
    new_lesion_status: str = ""
    source: MeasurementSource | None = None


@filled_open
@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSummary:
    """One row of ``phases.csv``: a treatment phase under one criterion, on the liver's or the overall response."""

    patient_id: str
    treatment_phase: str
    criterion: str
    basis: str
    reader: str
    start_date: date | None = None
    end_date: date | None = None
    baseline_date: date | None = None
    best_overall_response: Response | None = None
    confirmed_best_overall_response: Response | None = None
    response_date: date | None = None
    progression_date: date | None = None
    duration_of_response_days: int | None = None
    duration_of_response_event: bool | None = None
    time_to_progression_days: int | None = None
    progression_free_days: int | None = None
    progression_free_event: bool | None = None
    event: str = ""
    stable_disease_days: int | None = None
    clinical_benefit: bool | None = None
    overall_survival_days: int | None = None
    overall_survival_event: bool | None = None
    depth_of_response: float | None = None
    early_change: float | None = None
    early_shrinkage: bool | None = None
    growth_rate_before_percent_per_month: float | None = None
    growth_rate_percent_per_month: float | None = None
    doubling_time_days: float | None = None
    hyperprogression: bool | None = None
    afp_baseline_ng_ml: float | None = None
    afp_nadir_ng_ml: float | None = None
    afp_change: float | None = None
    afp_days_above_limit: int | None = None
    afp_response: MarkerOutcome | None = None
    afp_discordant: bool | None = None
    pivka_ii_baseline_mau_ml: float | None = None
    pivka_ii_nadir_mau_ml: float | None = None
    pivka_ii_change: float | None = None
    pivka_ii_days_above_limit: int | None = None
    pivka_ii_response: MarkerOutcome | None = None
    pivka_ii_discordant: bool | None = None
    settings_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerSummary:
    """One row of ``marker_responses.csv``: a laboratory marker over one treatment phase.

    Values are in ``unit``. A value that the assay gave only as a bound stands as that bound; ``is_bounded`` says that
    the change is then no exact figure.
    """

    patient_id: str
    treatment_phase: str
    marker: str
    unit: str
    baseline_date: date | None = None
    baseline_value: float | None = None
    nadir_date: date | None = None
    nadir_value: float | None = None
    last_date: date | None = None
    last_value: float | None = None
    change_to_nadir: float | None = None
    is_bounded: bool = False
    days_above_limit: int | None = None
    response: MarkerOutcome | None = None
    reason: str = ""
    settings_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseResult:
    """What the numbers half concludes for one patient."""

    phases: tuple[TreatmentPhase, ...] = ()
    roles: tuple[RoleRecord, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    summaries: tuple[PhaseSummary, ...] = ()
    markers: tuple[MarkerSummary, ...] = ()
    flags: tuple[Flag, ...] = ()
    audit: tuple[AuditRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """One row of ``studies.csv``; a scan made ``for_symptoms`` that were new is one outside of the schedule."""

    patient_id: str
    study_date: date
    contrast_phases: tuple[ContrastPhase, ...] = ()
    agent: Agent | None = None
    field_strength_t: float | None = None
    slice_thickness_mm: float | None = None
    reference_phase: ContrastPhase | None = None
    model: str = ""
    review_level: str = ""
    liver_volume_ml: float | None = None
    lesions_assessable: bool | None = None
    reason: str = ""
    for_symptoms: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientResult:
    """One patient, from images to responses; ``audit`` is what edits changed before the responses.

    ``unedited`` are the measurements as they were before readers' numbers and decisions were worked in.
    """

    patient: Patient
    studies: tuple[StudyRecord, ...] = ()
    tracks: tuple[LesionTrack, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    unedited: tuple[Measurement, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    response: ResponseResult = field(default_factory=ResponseResult)
    flags: tuple[Flag, ...] = ()
    registrations: tuple[RegistrationRecord, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def measured_by(self, row: Assessment | RoleRecord) -> str:
        """Return the reader whose numbers a row rests on: of an adjudicated one, the reader who was restated."""
        if row.reader != ADJUDICATED:
            return row.reader
        readers = {one.reader for one in self.measurements}
        for override in self.patient.edits.overrides:
            if (override.treatment_phase, override.criterion) == (row.treatment_phase, row.criterion):
                return override.assessed_by or next(iter(readers), row.reader)
        return row.reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A patient that could not be assessed; ``path`` goes to ``private/`` only.

    ``step`` is ``images`` or ``response``: whether its images or its tables of numbers could not be used.
    """

    patient_id: str
    study_date: date | None = None
    series: str | None = None
    code: str
    message: str
    path: Path | None = None
    step: str = "images"


Outcome = PatientResult | Failure
