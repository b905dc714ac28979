"""Masks that already exist: another program's, a phantom's truth, or a reader's corrections.

Layout and meaning are those of ``masks/<patient_id>/<study_date>/{liver,lesions,viable}.nii.gz``. What is not there as
NIfTI is looked for in the DICOM segmentations and structure sets of the same folder.
"""

from pathlib import Path

import numpy as np

from mrresponse.dicom.masks import MaskRole, is_mask_file, read_masks
from mrresponse.domain import GivenLesions, Grid, Image, LabelMap, PreparedStudy, Series, Study
from mrresponse.errors import DataError
from mrresponse.geometry import canonical_grid, crop, to_grid_order
from mrresponse.nifti import read_label_map


def masks_root(folder: Path) -> Path:
    """Return the folder that holds one folder per patient: ``folder`` itself, or its ``masks``."""
    return folder / "masks" if (folder / "masks").is_dir() else folder


def given_liver(root: Path, study: Study, series: Series, image: Image) -> Image | None:
    """Read the liver mask of a study as a probability of 0 or 1 on the grid of ``image``.

    Returns ``None`` where the mask lies on another grid than this series: a mask belongs to the reference phase.

    Raises
    ------
    DataError
        The study has no liver mask.
    """
    try:
        liver = _read_mask(root, study, "liver", image.grid)
        aligned = None if liver is None else to_grid_order(liver, image.grid)
    except DataError as error:
        if error.code != "grid_mismatch":
            raise
        return None
    if aligned is None:
        raise _missing(study, "liver")
    return Image(voxels=(aligned.voxels > 0).astype(np.float32), grid=image.grid)


def given_lesions(root: Path, prepared: PreparedStudy) -> GivenLesions:
    """Read the lesion mask, and the viable mask where there is one, on the grid of the prepared study.

    Raises
    ------
    DataError
        There is no lesion mask, or it lies on another grid than the reference contrast phase.
    """
    study = prepared.study
    lesions = _read_mask(root, study, "lesions", prepared.native_grid)
    if lesions is None:
        raise _missing(study, "lesions")
    viable = _read_mask(root, study, "viable", prepared.native_grid)
    return GivenLesions(
        labels=_on_prepared_grid(lesions, prepared, "lesions"),
        viable=None if viable is None else _on_prepared_grid(viable, prepared, "viable"),
    )


def edited_lesions(root: Path, prepared: PreparedStudy) -> GivenLesions:
    """Read a corrected lesion mask without a viable one: what is viable in it is another edit, or derived."""
    lesions = _read_mask(root, prepared.study, "lesions", prepared.native_grid)
    if lesions is None:
        raise _missing(prepared.study, "lesions")
    return GivenLesions(labels=_on_prepared_grid(lesions, prepared, "lesions"))


def edited_viable(root: Path, prepared: PreparedStudy) -> LabelMap:
    """Read a corrected viable mask on the grid of the prepared study."""
    viable = _read_mask(root, prepared.study, "viable", prepared.native_grid)
    if viable is None:
        raise _missing(prepared.study, "viable")
    return _on_prepared_grid(viable, prepared, "viable")


def _on_prepared_grid(mask: LabelMap, prepared: PreparedStudy, name: str) -> LabelMap:
    try:
        native = to_grid_order(mask, canonical_grid(prepared.native_grid))
    except DataError as error:
        raise DataError(
            f"mask '{name}' does not lie on the grid of the {prepared.reference.value} series: {error.message}",
            code="grid_mismatch",
            patient_id=prepared.study.patient_id,
            study_date=prepared.study.study_date,
        ) from error
    cropped = crop(native, prepared.crop_start, prepared.grid.shape)
    lost = np.count_nonzero(native.voxels) - np.count_nonzero(cropped.voxels)
    if lost:
        raise DataError(
            f"mask '{name}' has {lost} voxels far outside the liver mask; "
            "expected every lesion in or near the liver",
            code="mask_outside_liver",
            patient_id=prepared.study.patient_id,
            study_date=prepared.study.study_date,
        )
    return cropped


def _read_mask(root: Path, study: Study, name: str, grid: Grid) -> LabelMap | None:
    folder = root / study.patient_id / study.study_date.isoformat()
    file = folder / f"{name}.nii.gz"
    try:
        if file.is_file():
            return read_label_map(file)
        objects = [path for path in sorted(folder.glob("*")) if is_mask_file(path)]
        return read_masks(objects, grid).get(MaskRole(name)) if objects else None
    except DataError as error:
        raise DataError(
            f"mask '{name}': {error.message}",
            code=error.code,
            patient_id=study.patient_id,
            study_date=study.study_date,
            path=error.path or file,
        ) from error


def _missing(study: Study, name: str) -> DataError:
    return DataError(
        f"no mask '{name}.nii.gz' among the given masks; expected "
        f"{study.patient_id}/{study.study_date.isoformat()}/{name}.nii.gz, or a DICOM segmentation with it there",
        code="mask_missing",
        patient_id=study.patient_id,
        study_date=study.study_date,
    )
