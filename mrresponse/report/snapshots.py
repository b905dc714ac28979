"""Pictures of measurements on disk: a PNG of the bare pixels and a JSON file of what is drawn on them."""

import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from mrresponse.domain import ContrastPhase, Snapshot
from mrresponse.errors import DataError
from mrresponse.files import write_atomically
from mrresponse.report.names import file_stem


def png_bytes(snapshot: Snapshot) -> bytes:
    """Encode the bare pixels as an 8-bit grey PNG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(snapshot.pixels, dtype=np.uint8)).save(
        buffer, format="PNG", compress_level=9
    )
    return buffer.getvalue()


def write_snapshot(folder: Path, snapshot: Snapshot) -> Path:
    """Write one picture and its description, and give the picture's path.

    ``folder`` is the ``snapshots`` folder of a run; the picture becomes
    ``<patient_id>/<lesion_id>_<date>_<contrast phase>.png`` in it, with a ``.json`` beside it. The description
    goes last: a picture without one is not read.
    """
    stem = (
        f"{file_stem(snapshot.lesion_id)}_{snapshot.study_date.isoformat()}_{snapshot.contrast_phase.value}"
    )
    path = folder / file_stem(snapshot.patient_id) / f"{stem}.png"
    described = {
        "patient_id": snapshot.patient_id,
        "lesion_id": snapshot.lesion_id,
        "study_date": snapshot.study_date.isoformat(),
        "contrast_phase": snapshot.contrast_phase.value,
        "spacing_mm": snapshot.spacing_mm,
        "outlines": snapshot.outlines,
        "viable_outlines": snapshot.viable_outlines,
        "caliper": snapshot.caliper,
        "viable_caliper": snapshot.viable_caliper,
    }
    write_atomically(path, png_bytes(snapshot))
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    write_atomically(path.with_suffix(".json"), text.encode("utf-8", "surrogatepass"))
    return path


def read_snapshots(folder: Path, patient_id: str | None = None) -> tuple[Snapshot, ...]:
    """Read the pictures in the ``snapshots`` folder of a run: all, or those of one patient.

    Raises
    ------
    DataError
        Code ``bad_snapshot``: a description that cannot be read, or one without its picture.
    """
    name = "*" if patient_id is None else file_stem(patient_id)
    snapshots = [_read(path) for path in sorted(folder.glob(f"{name}/*.json"))]
    return tuple(sorted(snapshots, key=lambda s: (s.patient_id, s.lesion_id, s.study_date, s.contrast_phase)))


def _read(path: Path) -> Snapshot:
    try:
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        with Picture.open(path.with_suffix(".png")) as picture:
            pixels = np.array(picture.convert("L"), dtype=np.uint8)
        snapshot = _snapshot(described, pixels)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"snapshot {path.name}: {type(error).__name__}; expected a description and its PNG as a run writes them",
            code="bad_snapshot",
            path=path,
        ) from error
    pixels.flags.writeable = False
    return replace(snapshot, pixels=pixels)


def _snapshot(described: dict[str, Any], pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Snapshot:
    rows, columns = described["spacing_mm"]
    return Snapshot(
        patient_id=described["patient_id"],
        lesion_id=described["lesion_id"],
        study_date=date.fromisoformat(described["study_date"]),
        contrast_phase=ContrastPhase(described["contrast_phase"]),
        pixels=pixels,
        spacing_mm=(float(rows), float(columns)),
        outlines=tuple(_points(outline) for outline in described["outlines"]),
        viable_outlines=tuple(_points(outline) for outline in described["viable_outlines"]),
        caliper=_ends(described["caliper"]),
        viable_caliper=_ends(described["viable_caliper"]),
    )


def _points(pairs: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(column), float(row)) for column, row in pairs)


def _ends(pairs: list[list[float]] | None) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if pairs is None:
        return None
    start, end = _points(pairs)
    return start, end
