"""What produced a run folder, as ``run.json`` keeps it: version, settings, networks with their digests, device."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from mrresponse import __version__
from mrresponse.config import Settings, as_mapping, settings_digest
from mrresponse.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What produced a run folder, as ``run.json`` keeps it."""

    settings: Settings
    segmenter: str = ""
    device: str = ""
    model_digests: Mapping[str, str] | None = None
    seconds: Mapping[str, float] | None = None


def run_info(settings: Settings, masks: Path | None) -> RunInfo:
    """Verify what a run needs before anything is read, and say what will produce its results.

    Raises
    ------
    ConfigError
        The device does not exist here, or a setting is out of range or does not fit its model.
    ModelError
        A model is missing or altered, or needs a library that is not installed.
    """
    if masks is not None:
        if not masks.is_dir():
            raise ConfigError(f"--masks: '{masks.name}' is not a folder")
        if settings.segment.device not in ("auto", "cpu"):
            # no network runs, yet who asks for a device believes that it is there; torch is loaded for nobody else
            from mrresponse.segment.network import resolve_device

            resolve_device(settings.segment.device)
        return RunInfo(settings=settings, segmenter="mask", device="cpu")
    from mrresponse.segment.models import check_models
    from mrresponse.segment.network import resolve_device

    liver, lesions = check_models(settings.segment)
    return RunInfo(
        settings=settings,
        segmenter=f"{liver.title} + {lesions.title}",
        device=resolve_device(settings.segment.device),
        model_digests={**liver.digests, **lesions.digests},
    )


def model_identity(settings: Settings, masks: Path | None) -> str:
    """Return who segments, with the digests of the networks: what results depend on beside images and settings."""
    info = run_info(settings, masks)
    return " ".join([info.segmenter, *(info.model_digests or {}).values()])


def run_record(info: RunInfo) -> dict[str, Any]:
    return {
        "version": __version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": as_mapping(info.settings),
        "settings_id": settings_digest(info.settings),
        "segmenter": info.segmenter,
        "device": info.device,
        "models": dict(info.model_digests or {}),
        "seconds_per_step": {name: round(value, 2) for name, value in (info.seconds or {}).items()},
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "libraries": _library_versions(),
    }


def _library_versions() -> dict[str, str]:
    found = {}
    for name in ("numpy", "scipy", "torch", "monai", "SimpleITK", "nibabel", "scikit-image", "pydicom"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
