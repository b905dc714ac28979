"""Which model finds the liver and which finds the lesions: each is chosen by itself."""

from collections.abc import Callable
from pathlib import Path

from mrresponse.domain import Image, MeasurementSource, Series, Study
from mrresponse.errors import ConfigError
from mrresponse.segment import (
    LesionsOf,
    LiverOf,
    Segmenter,
    SegmentSettings,
    external,
    foreign_bundle,
    network,
    nnunet,
    total_segmentator,
)
from mrresponse.segment.bundle import ModelCard
from mrresponse.segment.external import Checked, ModelIdentity, Stage
from mrresponse.segment.precomputed import given_liver, masks_root

Check = Callable[[SegmentSettings, Stage], Checked]


def check_models(settings: SegmentSettings) -> tuple[ModelIdentity, ModelIdentity]:
    """Read and verify the models of both stages and the settings that run them, without building anything.

    Raises
    ------
    ConfigError
        A setting is out of range or does not fit its model, or the device does not exist here.
    ModelError
        A model is missing, altered, of an unknown kind, or needs a library that is not installed.
    """
    network.check_settings(settings)
    return _liver_identity(settings), _lesion_identity(settings)


def model_segmenter(settings: SegmentSettings) -> Segmenter:
    """Load the models of both stages once and return them as a segmenter.

    Raises
    ------
    ConfigError, ModelError
        As `check_models`.
    """
    liver, lesion = check_models(settings)
    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    return Segmenter(
        name=f"{liver.title} + {lesion.title}",
        source=MeasurementSource.NETWORK,
        liver=_liver_finder(settings),
        lesions=_lesion_finder(settings),
        suits=lesion.suits,
    )


def _liver_identity(settings: SegmentSettings) -> ModelIdentity:
    if settings.liver_masks is not None:
        if not settings.liver_masks.is_dir():
            raise ConfigError("segment.liver_masks: no such folder")
        return ModelIdentity(title="given livers")
    check = _external_check(settings.liver_model)
    if check is not None:
        return check(settings, Stage.LIVER).identity
    external.refuse_unused(Stage.LIVER, settings.liver_external, (), settings.liver_model)
    return _identity(network.checked_card(settings.liver_model))


def _lesion_identity(settings: SegmentSettings) -> ModelIdentity:
    check = _external_check(settings.lesion_model)
    if check is not None:
        return check(settings, Stage.LESION).identity
    external.refuse_unused(Stage.LESION, settings.lesion_external, (), settings.lesion_model)
    return _identity(network.checked_lesion_card(settings.lesion_model))


def _liver_finder(settings: SegmentSettings) -> LiverOf:
    if settings.liver_masks is not None:
        return _given_livers(settings.liver_masks)
    check = _external_check(settings.liver_model)
    if check is None:
        return network.liver_finder(settings)
    return external.liver_finder(check(settings, Stage.LIVER))


def _lesion_finder(settings: SegmentSettings) -> LesionsOf:
    check = _external_check(settings.lesion_model)
    if check is None:
        return network.lesion_finder(settings)
    absent_as_zero = settings.lesion_external.absent_as_zero
    return external.lesion_finder(check(settings, Stage.LESION), absent_as_zero=absent_as_zero)


def _external_check(model: str) -> Check | None:
    """Return how a model of another library is read; ``None`` for one of this program."""
    if model.startswith(total_segmentator.PREFIX):
        return total_segmentator.check
    folder = Path(model)
    if nnunet.is_trained_model(folder):
        return nnunet.check
    return foreign_bundle.check if foreign_bundle.is_bundle(folder) else None


def _identity(card: ModelCard) -> ModelIdentity:
    digests = {card.title: card.sha256, f"{card.title} description": card.description_digest}
    return ModelIdentity(title=card.title, digests=digests, suits=card.certainty)


def _given_livers(folder: Path) -> LiverOf:
    root = masks_root(folder)

    def liver(study: Study, series: Series, image: Image) -> Image | None:
        return given_liver(root, study, series, image)

    return liver
