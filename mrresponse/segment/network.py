"""The two networks: liver probability of one image, lesion probability of one prepared study.

torch and MONAI are imported inside the functions: importing them takes seconds, and reading numbers needs neither.
A network sees a grid of its own spacing that spans the same extent as the image, so going there and back needs no
affine: averaging where the network's voxels are larger, linear interpolation where they are smaller.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from mrresponse.domain import ContrastPhase, FloatArray, Image, PreparedStudy, Series, Study
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.geometry import to_canonical, to_grid_order
from mrresponse.segment import LesionsOf, LiverOf, SegmentSettings
from mrresponse.segment.architectures import ARCHITECTURES
from mrresponse.segment.bundle import ModelCard, read_model_card, verify_weights
from mrresponse.segment.normalise import (
    LESION_INPUTS,
    near_liver,
    normalise_liver_input,
    window_lesion_input,
)
from mrresponse.segment.precision import PRECISIONS, autocast

LESION_CHANNELS = (
    ContrastPhase.PRECONTRAST,
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
)
"""Order of the lesion network's image channels; the liver probability follows as the sixth."""

_GAMMAS = (0.8, 1.0, 1.25)
_MIRRORS: Mapping[int, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {1: ((),), 2: ((), (0, 1)), 4: ((), (0,), (1,), (0, 1))}
)
"""Axes turned for each of so many views: left-right and front-back, as in training. The liver network knows the liver's
side and sees no mirror images."""

_LESION = 2
"""Class of the lesion network that is a lesion."""
_SEEN = 0.1
"""Further mirror images are looked at in the windows in which the first gives some voxel this probability of a lesion.
Where it gives less, the mean of two stays below 0.55 whatever the second says. So are a quarter to a half of them."""

_WINDOWS_AT_ONCE = 4
"""On CUDA, where one window leaves most of a card idle. On a CPU it would only take more memory."""

_STRIDE = 8
"""Three halvings inside the network: every edge of its input must be a multiple of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A loaded network and how to run it."""

    card: ModelCard
    module: Any
    device: Any
    autocast: Callable[[], AbstractContextManager[Any]]
    overlap: float
    gammas: tuple[float, ...]
    mirrors: tuple[tuple[int, ...], ...]
    window: tuple[int, int, int]
    windows_at_once: int


def liver_finder(settings: SegmentSettings) -> LiverOf:
    """Load the liver network once and return the function that asks it."""
    network = load_liver_network(settings)

    def liver(_study: Study, _series: Series, image: Image) -> Image:
        return to_grid_order(liver_probability(network, to_canonical(image)), image.grid)

    return liver


def lesion_finder(settings: SegmentSettings) -> LesionsOf:
    """Load the lesion network once and return the function that asks it."""
    network = load_lesion_network(settings)
    return lambda prepared: lesion_probability(network, prepared)


def check_settings(settings: SegmentSettings) -> None:
    """Check the settings that run networks.

    Raises
    ------
    ConfigError
        A setting is out of range, or the device does not exist here.
    """
    if not 0.0 <= settings.overlap < 1.0:
        raise ConfigError(f"segment.overlap: found {settings.overlap}, expected at least 0 and below 1")
    if not 0.0 < settings.window_share <= 1.0:
        raise ConfigError(
            f"segment.window_share: found {settings.window_share}, expected above 0 and at most 1"
        )
    if settings.lesion_views not in _MIRRORS:
        expected = ", ".join(str(number) for number in _MIRRORS)
        raise ConfigError(f"segment.lesion_views: found {settings.lesion_views}, expected one of {expected}")
    if settings.precision not in PRECISIONS:
        raise ConfigError(
            f"segment.precision: found '{settings.precision}', expected auto, bfloat16 or float32"
        )
    resolve_device(settings.device)


def checked_card(model: str) -> ModelCard:
    """Read a model's card and verify its weights, without building anything.

    Raises
    ------
    ModelError
        The model is missing, altered or of an unknown kind.
    """
    card = read_model_card(model)
    if card.architecture not in ARCHITECTURES:
        raise ModelError(
            f"model '{card.name}': unknown architecture '{card.architecture}', expected one of "
            f"{', '.join(sorted(ARCHITECTURES))}"
        )
    verify_weights(card)
    return card


def checked_lesion_card(model: str) -> ModelCard:
    """Do the same for a lesion model, whose input must be known too."""
    card = checked_card(model)
    if card.normalisation not in LESION_INPUTS:
        raise ModelError(
            f"model '{card.name}': unknown normalisation '{card.normalisation}', expected one of "
            f"{', '.join(sorted(LESION_INPUTS))}"
        )
    return card


def resolve_device(name: str) -> str:
    """Return the device to compute on; ``auto`` takes CUDA where there is one.

    Raises
    ------
    ConfigError
        The name is unknown, or CUDA is asked for where there is none.
    """
    kind, _, index = name.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (index and not (kind == "cuda" and index.isdecimal())):
        raise ConfigError(f"segment.device: found '{name}', expected auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda:0" if count else "cpu"
    if int(index or 0) >= count:
        raise ConfigError(
            f"segment.device: '{name}' asked for, found {count} CUDA device(s); "
            "use --device cpu, or install a CUDA build of torch"
        )
    return f"cuda:{int(index or 0)}"


def cuda_devices(name: str) -> tuple[str, ...]:
    """Return the CUDA devices that a device's name stands for: all for ``auto`` and ``cuda``, none on the CPU.

    Raises
    ------
    ConfigError
        The name is unknown, or CUDA is asked for where there is none.
    """
    first = resolve_device(name)
    if first == "cpu":
        return ()
    if ":" in name:
        return (first,)
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))


def load_liver_network(settings: SegmentSettings) -> Network:
    """Check and load the liver network; with ``auto`` it computes in bfloat16 where the device does."""
    return load_network(checked_card(settings.liver_model), settings)


def load_lesion_network(settings: SegmentSettings) -> Network:
    """Check and load the lesion network; with ``auto`` it computes in float32 everywhere.

    In bfloat16 a lesion near the threshold is outlined otherwise often enough to change a category
    (docs/measurement.md, "Number formats").
    """
    if settings.precision == "auto":
        settings = replace(settings, precision="float32")
    return load_network(checked_lesion_card(settings.lesion_model), settings)


def load_network(card: ModelCard, settings: SegmentSettings) -> Network:
    """Build the network of a model card and load its verified weights onto the device.

    Raises
    ------
    ModelError
        The weights do not fit the architecture.
    """
    import torch

    from mrresponse.segment.convolution import ask_onednn

    device = torch.device(resolve_device(settings.device))
    module = ARCHITECTURES[card.architecture](**card.architecture_arguments)
    try:
        state = torch.load(card.weights, map_location="cpu", weights_only=True)
        module.load_state_dict({name: value.float() for name, value in state.items()})
    except Exception as error:
        raise ModelError(
            f"model '{card.name}': its weights do not fit architecture '{card.architecture}'"
        ) from error
    module = module.to(device=device, memory_format=torch.channels_last_3d).eval()
    ask_onednn(module)
    return Network(
        card=card,
        module=module,
        device=device,
        autocast=autocast(device.type, settings.precision),
        overlap=settings.overlap,
        gammas=_GAMMAS if settings.average_views else (1.0,),
        mirrors=_MIRRORS[max(_MIRRORS) if settings.average_views else settings.lesion_views],
        window=_window(card, settings.window_share),
        windows_at_once=_WINDOWS_AT_ONCE if device.type == "cuda" else 1,
    )


def liver_probability(network: Network, image: Image) -> Image:
    """Return the liver probability of one image of any contrast, on the image's grid.

    ``image`` must be in canonical orientation: the network knows the liver's side.
    """
    views = [
        to_network_grid(
            normalise_liver_input(_bend(image.voxels, gamma))[None],
            image.grid.spacing_mm,
            network.card.spacing_mm,
        )
        for gamma in network.gammas
    ]
    probability = np.mean([_run(network, view)[1] for view in views], axis=0)
    return Image(voxels=_rounded(_resize(probability[None], image.grid.shape)[0]), grid=image.grid)


def lesion_probability(network: Network, prepared: PreparedStudy) -> Image:
    """Return the probability of a focal lesion on the grid of a prepared study.

    An absent contrast phase is a channel of zeros. Images of other contrasts (``OTHER``) are not read: a study that
    has nothing else gets a probability of 0 at once, and counts as not assessable later.
    """
    if not any(phase in prepared.images for phase in LESION_CHANNELS):
        return Image(voxels=np.zeros(prepared.grid.shape, dtype=np.float32), grid=prepared.grid)
    inside = prepared.liver.voxels > 0
    normalise = LESION_INPUTS[network.card.normalisation]
    channels = [
        normalise(prepared.images[phase].voxels, inside)
        if phase in prepared.images
        else np.zeros(inside.shape, dtype=np.float32)
        for phase in LESION_CHANNELS
    ]
    channels.append(prepared.liver_probability.voxels)
    voxels = to_network_grid(np.stack(channels), prepared.grid.spacing_mm, network.card.spacing_mm)
    if normalise is window_lesion_input:
        voxels[:-1] *= near_liver(voxels[-1], network.card.spacing_mm)
    views: list[FloatArray] = []
    for axes in network.mirrors:
        turned = tuple(1 + axis for axis in axes)
        first = np.flip(views[0], turned) if views else None
        views.append(np.flip(_run(network, np.flip(voxels, turned), first), turned))
    probability = np.mean([view[_LESION] for view in views], axis=0)
    return Image(voxels=_rounded(_resize(probability[None], prepared.grid.shape)[0]), grid=prepared.grid)


def _rounded(probability: FloatArray) -> FloatArray:
    """Round a probability to 1/4096: what is finer says nothing, and the zeros around the liver pack well."""
    rounded: FloatArray = np.round(probability * np.float32(4096)).astype(np.float32)
    return rounded / np.float32(4096)


def _run(network: Network, voxels: FloatArray, first: FloatArray | None = None) -> FloatArray:
    """Return class probabilities ``[class, i, j, k]`` of channels ``[channel, i, j, k]`` on the network's grid.

    ``first`` is what the network said of another view of these voxels; it stays in windows where that saw no lesion.
    """
    import torch
    from monai.inferers.utils import sliding_window_inference

    shape = voxels.shape[1:]
    ask = network.module
    if first is not None:
        ask = partial(_ask_where_seen, network.module, len(voxels))
        voxels = np.concatenate([voxels, np.log(np.maximum(first, np.float32(1e-6)))])
    padding = [(0, 0), *((0, -size % _STRIDE) for size in shape)]
    padded = np.pad(voxels, padding, mode="edge")
    window = [
        fitting_window(size, limit, network.overlap)
        for size, limit in zip(padded.shape[1:], network.window, strict=True)
    ]
    try:
        with torch.inference_mode(), network.autocast():
            inputs = torch.from_numpy(padded)[None].to(memory_format=torch.channels_last_3d)
            if network.device.type == "cuda":
                # out of pinned memory the card copies by itself
                inputs = inputs.pin_memory().to(network.device, non_blocking=True)
            logits = sliding_window_inference(
                inputs,
                window,
                network.windows_at_once,
                ask,
                overlap=network.overlap,
                mode="gaussian",
            )
            probability = torch.softmax(torch.as_tensor(logits).float(), dim=1)[0].cpu().numpy()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        found = (
            f"{network.windows_at_once} windows of {'x'.join(str(size) for size in window)} voxels at once"
        )
        raise DataError(
            f"the graphics memory is too small for network '{network.card.name}' with {found}; "
            "expected room for them (segment.window_share makes them smaller)",
            code="gpu_memory",
        ) from None
    result: FloatArray = probability[:, : shape[0], : shape[1], : shape[2]]
    return result


def _ask_where_seen(module: Any, channels: int, inputs: Any) -> Any:
    """Return the logits of windows (B, C, I, J, K): the network's where the log-probabilities behind its channels
    see a lesion, elsewhere these.
    """
    images, logits = inputs[:, :channels], inputs[:, channels:].clone()
    is_seen = logits[:, _LESION].amax(dim=(1, 2, 3)) >= math.log(_SEEN)
    if is_seen.any():
        logits[is_seen] = module(images[is_seen]).float()
    return logits


def _window(card: ModelCard, share: float) -> tuple[int, int, int]:
    """Return the largest patch the network is given at once, its edges multiples of what the network can halve."""
    i, j, k = (max(_STRIDE, int(size * share) // _STRIDE * _STRIDE) for size in card.window)
    return i, j, k


def fitting_window(size: int, limit: int, overlap: float) -> int:
    """Return the smallest window that covers ``size`` voxels with no more windows than ``limit`` would need.

    Windows of the full length would cover much of a volume twice where it is a little longer than they are.
    """
    if size <= limit:
        return size
    count = math.ceil((size - limit) / (limit * (1.0 - overlap))) + 1
    needed = size / (1.0 + (count - 1) * (1.0 - overlap))
    return min(limit, math.ceil(needed / _STRIDE) * _STRIDE)


def _bend(voxels: FloatArray, gamma: float) -> FloatArray:
    """Return the grey scale bent by a power; air and values below zero stay dark."""
    if gamma == 1.0:
        return voxels
    top = max(float(np.nanmax(voxels)), 1e-6)
    bent: FloatArray = np.clip(voxels / top, 0.0, None) ** np.float32(gamma) * np.float32(top)
    return bent


def to_network_grid(
    channels: FloatArray, spacing_mm: tuple[float, float, float], wanted_mm: tuple[float, float, float]
) -> FloatArray:
    """Return ``[channel, i, j, k]`` on a grid of ``wanted_mm`` that spans the same extent."""
    shape = channels.shape[1:]
    wanted = [
        max(1, round(size * have / want))
        for size, have, want in zip(shape, spacing_mm, wanted_mm, strict=True)
    ]
    averaged = tuple(min(size, want) for size, want in zip(shape, wanted, strict=True))
    return _resize(_resize(channels, averaged, mode="area"), tuple(wanted))


def _resize(channels: FloatArray, shape: tuple[int, ...], *, mode: str = "trilinear") -> FloatArray:
    """Return ``[channel, i, j, k]`` resampled to ``shape`` over the same extent."""
    import torch

    if channels.shape[1:] == shape:
        return channels
    resized = torch.nn.functional.interpolate(torch.from_numpy(channels)[None], size=shape, mode=mode)
    found: FloatArray = resized[0].numpy()
    return found
