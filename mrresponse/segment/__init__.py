"""Find the liver and the lesions: by the shipped networks, other models, or from masks that already exist."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mrresponse.domain import (
    Certainty,
    GivenLesions,
    Image,
    LabelMap,
    MaskEdit,
    MeasurementSource,
    PreparedStudy,
    Series,
    Study,
)
from mrresponse.errors import ConfigError
from mrresponse.segment.external import ExternalLesionSettings, ExternalSettings

LiverOf = Callable[[Study, Series, Image], Image | None]
LesionsOf = Callable[[PreparedStudy], Image | GivenLesions]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSettings:
    """Which masks are used and how networks run.

    Parameters
    ----------
    liver_model, lesion_model
        Name of a shipped model, or path of a model folder: of this program, of nnU-Net v2, or a MONAI bundle;
        ``totalsegmentator:total_mr``, ``totalsegmentator:total_fast_mr`` and ``totalsegmentator:liver_lesions_mr``.
    liver_external, lesion_external
        How a model of another library is fed and read.
    trust_expressions
        Whether code that comes with a model may run: the expressions of a MONAI bundle, and whatever the files of an
        nnU-Net hold beside weights.
    device
        ``auto`` (CUDA where there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision
        ``float32``, ``bfloat16``, or ``auto``: the liver network in bfloat16 on CUDA and on processors that are faster
        with it, the rest in float32. Faster, but masks of lesions differ by more than a hundredth now and then
        (docs/measurement.md).
    overlap
        Shared fraction of neighbouring windows.
    window_share
        Edges of the windows that a network is given, as a share of its model's; less takes less memory and more time.
    cpu_when_out_of_memory
        Whether a patient may go on on the CPU where the graphics memory is too small even for quarter windows.
    threads
        CPU threads of a process; 0 takes ``OMP_NUM_THREADS`` or all cores, which ``--workers`` share out.
    liver_masks
        Folder of liver masks of another program, ``<patient_id>/<study_date>/liver.nii.gz``, used instead of the liver
        network; lesions are still looked for by the lesion network.
    lesion_views
        Mirror images over which the lesion network is averaged: 1, 2 or 4. What it takes for a lesion only from one
        side is seldom one. Windows in which the first view shows nothing are not looked at again.
    average_views
        Average the networks over all views of the same image: the liver over three gamma curves, lesions over four
        mirror images. Takes three and four times as long as one view.
    """

    liver_model: str = "liver-mr"
    lesion_model: str = "lesions-mr"
    liver_external: ExternalSettings = field(default_factory=ExternalSettings)
    lesion_external: ExternalLesionSettings = field(default_factory=ExternalLesionSettings)
    trust_expressions: bool = False
    device: str = "auto"
    precision: str = "float32"
    overlap: float = 0.25
    window_share: float = 1.0
    cpu_when_out_of_memory: bool = False
    threads: int = 0
    lesion_views: int = 2
    average_views: bool = False
    liver_masks: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """Two functions that find things in images.

    Contract:

    - ``liver(study, series, image)`` returns the liver probability on the grid of ``image``, or ``None`` where it
      has no liver for that series;
    - ``lesions(prepared)`` returns the lesion probability, or labelled masks with their instances, on
      ``prepared.grid``;
    - resampling to another grid and back is their own affair; thresholds are not applied here.

    ``suits`` is how sure ``lesions`` must be where the settings do not say.
    """

    name: str
    source: MeasurementSource
    liver: LiverOf
    lesions: LesionsOf
    suits: Certainty = field(default_factory=Certainty)


def make_segmenter(settings: SegmentSettings, *, masks: Path | None = None) -> Segmenter:
    """Build the segmenter: the given masks where ``masks`` names their folder, else the models.

    Raises
    ------
    ConfigError
        The device does not exist here, a setting is out of range or does not fit its model, or the masks folder does
        not exist.
    ModelError
        A model is missing, altered, of an unknown kind, or needs a library that is not installed.
    """
    if masks is not None:
        return _precomputed_segmenter(masks)
    from mrresponse.segment.models import model_segmenter

    return model_segmenter(settings)


def with_corrected_masks(segmenter: Segmenter, masks: Sequence[MaskEdit]) -> Segmenter:
    """Return a segmenter that gives a reader's corrected liver and lesion masks where there are any."""
    if not masks:
        return segmenter
    from mrresponse.segment.precomputed import edited_lesions, given_liver

    roots = {(row.patient_id, row.study_date, row.mask): row.root for row in masks}

    def liver(study: Study, series: Series, image: Image) -> Image | None:
        root = roots.get((study.patient_id, study.study_date, "liver"))
        return (
            segmenter.liver(study, series, image) if root is None else given_liver(root, study, series, image)
        )

    def lesions(prepared: PreparedStudy) -> Image | GivenLesions:
        root = roots.get((prepared.study.patient_id, prepared.study.study_date, "lesions"))
        return segmenter.lesions(prepared) if root is None else edited_lesions(root, prepared)

    return replace(segmenter, liver=liver, lesions=lesions)


def corrected_viable(prepared: PreparedStudy, masks: Sequence[MaskEdit]) -> LabelMap | None:
    """Return a reader's corrected viable mask of a study; ``None`` where there is none."""
    from mrresponse.segment.precomputed import edited_viable

    study = prepared.study
    for row in masks:
        if (row.study_date, row.mask) == (study.study_date, "viable"):
            return edited_viable(row.root, prepared)
    return None


def lazy_liver(settings: SegmentSettings, *, masks: Path | None = None) -> LiverOf:
    """Return the ``liver`` of a segmenter; given masks are looked for, or networks loaded, when it is first called."""
    made: list[Segmenter] = []

    def liver(study: Study, series: Series, image: Image) -> Image | None:
        if not made:
            made.append(make_segmenter(settings, masks=masks))
        return made[0].liver(study, series, image)

    return liver


def _precomputed_segmenter(masks: Path) -> Segmenter:
    from mrresponse.segment.precomputed import given_lesions, given_liver, masks_root

    if not masks.is_dir():
        raise ConfigError("--masks: no such folder")
    root = masks_root(masks)
    return Segmenter(
        name="mask",
        source=MeasurementSource.MASK,
        liver=lambda study, series, image: given_liver(root, study, series, image),
        lesions=lambda prepared: given_lesions(root, prepared),
    )
