"""Training examples from labelled patients, on the network's grid and normalised as inference does.

Every study is prepared by the code that prepares it in use (reference phase, registration, crop), once; a draw takes a
random patch and changes its contrast, noise, phases at hand and orientation.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional

from mrresponse.domain import ContrastPhase, FloatArray, Image, LabelMap, Series, Study
from mrresponse.errors import DataError
from mrresponse.geometry import to_canonical, to_grid_order
from mrresponse.ingest import read_series
from mrresponse.nifti import read_image, read_label_map
from mrresponse.prepare import REFERENCE_ORDER, PrepareSettings, prepare
from mrresponse.segment.network import LESION_CHANNELS, to_network_grid
from mrresponse.segment.normalise import near_liver, normalise_liver_input, window_lesion_input
from mrresponse.synthetic.examples import crop_and_warp
from mrresponse.synthetic.lesion_examples import imperfect_liver
from mrresponse.training.cases import Case, DataSettings
from mrresponse.training.losses import IGNORED

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
Mask = npt.NDArray[np.bool_]
_ANY_DATE = date(1900, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class RealCase:
    """One study on the network's grid: raw images ``[channel, i, j, k]`` and masks."""

    patient_id: str
    name: str
    images: torch.Tensor
    liver: torch.Tensor
    lesions: torch.Tensor | None
    unnamed_labels: frozenset[int] = frozenset()
    """Labels of its label map that the settings name neither as liver nor as lesion."""

    @property
    def classes(self) -> torch.Tensor:
        """0 outside, 1 liver, 2 lesion; ``IGNORED`` in the liver where lesions were not outlined."""
        if self.lesions is None:
            return torch.where(self.liver, IGNORED, 0)
        return torch.where(self.lesions, 2, self.liver.long())


def load_liver_case(case: Case, settings: DataSettings, spacing_mm: Spacing) -> RealCase:
    """Read the reference image and its liver.

    Raises
    ------
    DataError
        A file cannot be read, the mask lies on another grid, or there is no liver.
    """
    phase = _reference(case)
    image = to_canonical(_read(case, phase))
    masks = _masks(case, settings, image)
    images = to_network_grid(np.nan_to_num(image.voxels)[None], image.grid.spacing_mm, spacing_mm)
    return RealCase(
        case.patient_id,
        case.name,
        torch.from_numpy(images),
        _on_network_grid(masks.liver, image.grid.spacing_mm, spacing_mm),
        None,
        masks.unnamed_labels,
    )


def load_lesion_case(case: Case, settings: DataSettings, spacing_mm: Spacing) -> RealCase:
    """Read and align every contrast phase, cropped around the liver; an absent phase is zero.

    Raises
    ------
    DataError
        A file cannot be read, a mask lies on another grid, or there is no liver.
    """
    phases = [phase for phase in case.images if phase in LESION_CHANNELS]
    if not phases:
        raise _error(case, "no T1 contrast phase", "expected at least one of PRE, ART, PVP, DEL, HBP")
    read = {phase: _read(case, phase) for phase in phases}
    # a file of one value stands for a phase that was not acquired, as nnU-Net's users write one
    images = {phase: image for phase, image in read.items() if np.ptp(image.voxels) > 0}
    if not images:
        raise _error(case, "every image has one value only", "expected an image")
    reference = next(phase for phase in REFERENCE_ORDER if phase in images)
    masks = _masks(case, settings, to_canonical(images[reference]))
    full = to_canonical(images[reference]).grid
    given = Image(voxels=masks.liver.astype(np.float32), grid=full)
    study = Study(
        patient_id=case.patient_id,
        study_date=_ANY_DATE,
        series=tuple(
            Series(path=Path(case.name), contrast_phase=phase, phase_reason="stated") for phase in images
        ),
    )
    prepared = prepare(
        study,
        images,
        lambda _series, image: to_grid_order(given, image.grid),
        PrepareSettings(),
    )
    channels = np.stack(
        [
            prepared.images[phase].voxels if phase in prepared.images else np.zeros(prepared.grid.shape)
            for phase in LESION_CHANNELS
        ]
    ).astype(np.float32)
    have = prepared.grid.spacing_mm
    start, shape = prepared.crop_start, prepared.grid.shape
    cut = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    return RealCase(
        case.patient_id,
        case.name,
        torch.from_numpy(to_network_grid(np.nan_to_num(channels), have, spacing_mm)),
        _on_network_grid(prepared.liver.voxels > 0, have, spacing_mm),
        None if masks.lesions is None else _on_network_grid(masks.lesions[cut], have, spacing_mm),
        masks.unnamed_labels,
    )


def image_digests(case: Case) -> set[str]:
    """Return digests by which the images of a case are known again, wherever they lie and whatever they are called.

    Of the first file of a DICOM series; of the voxels of a NIfTI file, which may be packed anew. An image of one value,
    which stands for a phase that was not acquired, tells nobody; one that cannot be read is named when it is needed.
    """
    digests = set()
    for source in case.images.values():
        try:
            if isinstance(source, Series) and source.files:
                content = source.files[0].read_bytes()
            else:
                voxels = read_image(source.path if isinstance(source, Series) else source).voxels
                if np.ptp(np.nan_to_num(voxels)) == 0:
                    continue
                content = repr(voxels.shape).encode() + voxels.tobytes()
        except (DataError, OSError):
            continue
        digests.add(hashlib.sha256(content).hexdigest())
    return digests


def real_liver_examples(
    cases: Sequence[RealCase], patch_shapes: Sequence[Shape], spacing_mm: Spacing, *, seed: int, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches like those of :func:`mrresponse.synthetic.examples.liver_examples`, without end."""

    def draw(
        case: RealCase, patch: Shape, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        channels = _padded(torch.cat([case.images, case.liver[None].float()]), patch)
        image, liver = crop_and_warp(channels, patch, spacing_mm[0], rng=rng, generator=generator)
        image = _other_contrast(image, rng, generator)
        return torch.from_numpy(normalise_liver_input(image.numpy()))[None], (liver > 0.5).long()

    return _batches(cases, patch_shapes, draw, seed=seed, batch=batch)


def real_lesion_examples(
    cases: Sequence[RealCase], patch_shapes: Sequence[Shape], spacing_mm: Spacing, *, seed: int, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches like those of :func:`mrresponse.synthetic.lesion_examples.lesion_examples`, without end."""

    def draw(
        case: RealCase, patch: Shape, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images, classes = _lesion_patch(case, patch, rng)
        known_lesion = classes == 2
        liver = classes != 0
        probability = imperfect_liver(liver, known_lesion, spacing_mm, rng=rng, generator=generator)
        near = torch.from_numpy(near_liver(probability.numpy(), spacing_mm))
        channels = torch.zeros((len(LESION_CHANNELS) + 1, *patch))
        for index in _phases_at_hand(images, rng):
            image = _other_contrast(images[index], rng, generator)
            windowed = window_lesion_input(image.numpy(), (probability > 0.5).numpy())
            channels[index] = torch.from_numpy(windowed) * near
        channels[-1] = probability
        classes = torch.where(near, classes, 0)
        for axis in (0, 1):
            if rng.random() < 0.5:
                channels, classes = channels.flip(axis + 1), classes.flip(axis)
        return channels.contiguous(), classes.contiguous()

    return _batches(cases, patch_shapes, draw, seed=seed, batch=batch)


_Draw = Callable[[RealCase, Shape, np.random.Generator, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


def _batches(
    cases: Sequence[RealCase], patch_shapes: Sequence[Shape], draw: _Draw, *, seed: int, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng([seed, 307])
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
    while True:
        patch = patch_shapes[int(rng.integers(len(patch_shapes)))]
        pairs = [draw(cases[int(rng.integers(len(cases)))], patch, rng, generator) for _ in range(batch)]
        yield torch.stack([image for image, _ in pairs]), torch.stack([classes for _, classes in pairs])


def _lesion_patch(
    case: RealCase, patch: Shape, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a patch around a lesion voxel half of the time, otherwise around a liver voxel."""
    images = _padded(case.images, patch)
    classes = _padded(case.classes[None], patch)[0]
    aims = [(classes == 2).nonzero(), (classes != 0).nonzero()]
    aim = aims[0] if len(aims[0]) and rng.random() < 0.5 else aims[1]
    centre = aim[int(rng.integers(len(aim)))].numpy()
    jitter = rng.normal(0, 0.15, 3) * np.array(patch)
    room = np.array(classes.shape) - np.array(patch)
    start = np.clip((centre + jitter - np.array(patch) / 2).astype(int), 0, room)
    cut = tuple(slice(int(a), int(a) + n) for a, n in zip(start, patch, strict=True))
    return images[(slice(None), *cut)], classes[cut]


def _phases_at_hand(images: torch.Tensor, rng: np.random.Generator) -> list[int]:
    """Return the channels that are shown: all in 70 % of the draws, else a random part of them."""
    present = [index for index, image in enumerate(images) if bool(image.any())]
    if len(present) < 2 or rng.random() < 0.7:
        return present
    kept = rng.choice(len(present), int(rng.integers(1, len(present))), replace=False)
    return [present[int(index)] for index in sorted(kept)]


def _other_contrast(
    image: torch.Tensor, rng: np.random.Generator, generator: torch.Generator
) -> torch.Tensor:
    """Bend the grey scale by a gamma of .8-1.25 and add noise of up to 3 % of the bright end."""
    top = float(torch.quantile(image.flatten()[:: max(1, image.numel() // 20_000)], 0.99))
    if top <= 0:
        return image
    bent = (image / top).clamp(min=0) ** float(np.exp(rng.uniform(np.log(0.8), np.log(1.25)))) * top
    return bent + float(rng.uniform(0, 0.03)) * top * torch.randn(image.shape, generator=generator)


def _padded(channels: torch.Tensor, patch: Shape) -> torch.Tensor:
    """Extend ``[channel, i, j, k]`` with zeros so that a patch fits."""
    lacking = [max(0, want - have) for want, have in zip(patch, channels.shape[1:], strict=True)]
    sides = [(lack // 2, lack - lack // 2) for lack in lacking]
    return functional.pad(channels, [value for side in reversed(sides) for value in side])


def _reference(case: Case) -> ContrastPhase:
    return next(phase for phase in REFERENCE_ORDER if phase in case.images)


def _read(case: Case, phase: ContrastPhase) -> Image:
    source = case.images[phase]
    try:
        if isinstance(source, Series):
            return read_series(source, patient_id=case.patient_id, study_date=_ANY_DATE)
        return read_image(source)
    except DataError as error:
        raise _error(case, f"{phase.value} image: {error.message}", "expected a readable image") from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Masks:
    liver: Mask
    lesions: Mask | None
    unnamed_labels: frozenset[int] = frozenset()


def _masks(case: Case, settings: DataSettings, image: Image) -> _Masks:
    """Return liver and lesions on the grid of the reference image, in canonical order.

    Raises
    ------
    DataError
        There is no liver: an example of it would teach that the organ is background.
    """
    if case.labels is not None:
        labels = _mask_on(case, case.labels, image).voxels
        found = {int(label) for label in np.unique(labels)} - {0}
        if not found & set(settings.liver_labels):
            wanted = ", ".join(str(label) for label in settings.liver_labels)
            listed = ", ".join(str(label) for label in sorted(found)) or "none"
            raise _error(case, f"found labels {listed}", f"expected one of liver_labels ({wanted})")
        lesions = None if settings.lesion_labels is None else np.isin(labels, settings.lesion_labels)
        unnamed = frozenset(found - set(settings.liver_labels) - set(settings.lesion_labels or ()))
        liver = np.isin(labels, settings.liver_labels)
        return _Masks(liver=liver, lesions=lesions, unnamed_labels=unnamed)
    liver = _mask_on(case, case.masks["liver"], image).voxels > 0
    if not liver.any():
        raise _error(case, "mask 'liver.nii.gz' is empty", "expected a liver")
    if "lesions" not in case.masks:
        return _Masks(liver=liver, lesions=None)
    lesions = _mask_on(case, case.masks["lesions"], image).voxels > 0
    return _Masks(liver=liver | lesions, lesions=lesions)


def _mask_on(case: Case, file: Path, image: Image) -> LabelMap:
    try:
        return to_grid_order(to_canonical(read_label_map(file)), image.grid)
    except DataError as error:
        raise _error(case, f"mask '{file.name}': {error.message}") from error


def _on_network_grid(mask: Mask, have: Spacing, want: Spacing) -> torch.Tensor:
    share: FloatArray = to_network_grid(mask[None].astype(np.float32), have, want)
    return torch.from_numpy(share[0] >= 0.5)


def _error(case: Case, found: str, expected: str = "expected a readable file") -> DataError:
    return DataError(f"case '{case.name}': {found}, {expected}", code="bad_training_case")
