"""Find the liver and the lesions: by the shipped networks, or from masks that already exist."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mrresponse.domain import (
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

LiverOf = Callable[[Study, Series, Image], Image | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSettings:
    """Which masks are used and how networks run.

    Parameters
    ----------
    liver_model, lesion_model
        Name of a shipped model, or path of a model folder.
    device
        ``auto`` (CUDA where there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision
        ``auto`` (bfloat16 where the processor computes with it, else float32), ``bfloat16`` or ``float32``.
    overlap
        Shared fraction of neighbouring windows.
    window_share
        Edges of the windows that a network is given, as a share of its model's; less takes less memory and more time.
    cpu_when_out_of_memory
        Whether a patient may go on on the CPU where the graphics memory is too small even for quarter windows.
    threads
        CPU threads of the networks; 0 leaves the choice to torch.
    liver_masks
        Folder of liver masks of another program, ``<patient_id>/<study_date>/liver.nii.gz``, used instead of the liver
        network; lesions are still looked for by the lesion network.
    average_views
        Average the networks over several views of the same image: the liver over three gamma curves, lesions over
        four mirror images. Takes three and four times as long.
    """

    liver_model: str = "liver-mr"
    lesion_model: str = "lesions-mr"
    device: str = "auto"
    precision: str = "auto"
    overlap: float = 0.25
    window_share: float = 1.0
    cpu_when_out_of_memory: bool = False
    threads: int = 0
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
    """

    name: str
    source: MeasurementSource
    liver: LiverOf
    lesions: Callable[[PreparedStudy], Image | GivenLesions]


def make_segmenter(settings: SegmentSettings, *, masks: Path | None = None) -> Segmenter:
    """Build the segmenter: the given masks where ``masks`` names their folder, else the networks.

    Raises
    ------
    ConfigError
        The device does not exist here, a setting is out of range, or the masks folder does not exist.
    ModelError
        A model is missing, altered or of an unknown kind.
    """
    if masks is not None:
        return _precomputed_segmenter(masks)
    from mrresponse.segment.network import network_segmenter

    networks = network_segmenter(settings)
    return networks if settings.liver_masks is None else _with_given_livers(networks, settings.liver_masks)


def _with_given_livers(networks: Segmenter, folder: Path) -> Segmenter:
    from mrresponse.segment.precomputed import given_liver, masks_root

    if not folder.is_dir():
        raise ConfigError("segment.liver_masks: no such folder")
    root = masks_root(folder)
    return replace(
        networks,
        name=f"given livers + {networks.name.split(' + ')[1]}",
        liver=lambda study, series, image: given_liver(root, study, series, image),
    )


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
