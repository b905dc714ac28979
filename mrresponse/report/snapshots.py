"""Pictures of measurements on disk: a PNG of the bare pixels and a JSON file of what is drawn on them.

The PNG has the slices of a snapshot below each other, from the feet up; the subtraction, where there is one, stands
to their right.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from mrresponse.domain import ContrastPhase, DrawnCaliper, PicturedSlice, PixelPoint, Snapshot
from mrresponse.errors import DataError
from mrresponse.files import write_atomically
from mrresponse.report.names import file_stem

Pixels = npt.NDArray[np.uint8]

# Of 95: hardly told from the stored picture by eye, at a fifth of its size.
_PAGE_QUALITY = 82


def jpeg_bytes(pixels: Pixels) -> bytes:
    """Encode slices ``[slice, row, column]`` below each other for a page; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    _picture(pixels).save(buffer, format="JPEG", quality=_PAGE_QUALITY, optimize=True)
    return buffer.getvalue()


def write_snapshot(folder: Path, snapshot: Snapshot) -> Path:
    """Write the pictures of one lesion at one study with their description, and give the picture file's path.

    ``folder`` is the ``snapshots`` folder of a run; the file becomes
    ``<patient_id>/<lesion_id>_<date>_<contrast phase>.png`` in it, with a ``.json`` beside it. The description
    goes last: a picture without one is not read.
    """
    stem = (
        f"{file_stem(snapshot.lesion_id)}_{snapshot.study_date.isoformat()}_{snapshot.contrast_phase.value}"
    )
    path = folder / file_stem(snapshot.patient_id) / f"{stem}.png"
    columns = [snapshot.pixels] if snapshot.subtraction is None else [snapshot.pixels, snapshot.subtraction]
    buffer = io.BytesIO()
    _picture(np.concatenate(columns, axis=2)).save(buffer, format="PNG")
    described = {
        "patient_id": snapshot.patient_id,
        "lesion_id": snapshot.lesion_id,
        "study_date": snapshot.study_date.isoformat(),
        "contrast_phase": snapshot.contrast_phase.value,
        "has_subtraction": snapshot.subtraction is not None,
        "spacing_mm": snapshot.spacing_mm,
        "slices": [asdict(one) for one in snapshot.slices],
        "caliper": snapshot.caliper and asdict(snapshot.caliper),
        "viable_caliper": snapshot.viable_caliper and asdict(snapshot.viable_caliper),
    }
    write_atomically(path, buffer.getvalue())
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    write_atomically(path.with_suffix(".json"), text.encode("utf-8", "surrogatepass"))
    return path


def write_snapshots(folder: Path, patient_id: str, snapshots: Iterable[Snapshot]) -> None:
    """Write all pictures of a patient and take away those of before: other lesions, studies or contrast phases."""
    written = {write_snapshot(folder, snapshot) for snapshot in snapshots}
    for described in (folder / file_stem(patient_id)).glob("*.json"):
        if described.with_suffix(".png") not in written:
            described.unlink()
            described.with_suffix(".png").unlink(missing_ok=True)


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


def _picture(pixels: Pixels) -> Picture.Image:
    slices, rows, columns = pixels.shape
    return Picture.fromarray(np.ascontiguousarray(pixels).reshape(slices * rows, columns))


def _read(path: Path) -> Snapshot:
    try:
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        with Picture.open(path.with_suffix(".png")) as picture:
            pixels = np.array(picture.convert("L"), dtype=np.uint8)
        return _snapshot(described, pixels)
    except (OSError, ValueError, KeyError, TypeError, Picture.DecompressionBombError) as error:
        raise DataError(
            f"snapshot {path.name}: {type(error).__name__}; expected a description and its PNG as a run writes them",
            code="bad_snapshot",
            path=path,
        ) from error


def _snapshot(described: dict[str, Any], pixels: Pixels) -> Snapshot:
    slices = tuple(_slice(one) for one in described["slices"])
    halves = 2 if described["has_subtraction"] else 1
    stacked = pixels.reshape(len(slices), -1, pixels.shape[1])
    shown = [np.ascontiguousarray(half) for half in np.split(stacked, halves, axis=2)]
    for half in shown:
        half.flags.writeable = False
    rows, columns = described["spacing_mm"]
    bare = Snapshot(
        patient_id=described["patient_id"],
        lesion_id=described["lesion_id"],
        study_date=date.fromisoformat(described["study_date"]),
        contrast_phase=ContrastPhase(described["contrast_phase"]),
        pixels=shown[0],
        spacing_mm=(float(rows), float(columns)),
        slices=slices,
        caliper=_caliper(described["caliper"]),
        viable_caliper=_caliper(described["viable_caliper"]),
    )
    return replace(bare, subtraction=shown[1]) if halves == 2 else bare


def _slice(one: dict[str, Any]) -> PicturedSlice:
    return PicturedSlice(
        slice_index=int(one["slice_index"]),
        step=None if one["step"] is None else int(one["step"]),
        offset_mm=float(one["offset_mm"]),
        outlines=tuple(map(_points, one["outlines"])),
        viable_outlines=tuple(map(_points, one["viable_outlines"])),
        reference_outlines=tuple(map(_points, one["reference_outlines"])),
    )


def _points(pairs: list[list[float]]) -> tuple[PixelPoint, ...]:
    return tuple((float(column), float(row)) for column, row in pairs)


def _caliper(one: dict[str, Any] | None) -> DrawnCaliper | None:
    if one is None:
        return None
    start, end = _points([one["start"], one["end"]])
    return DrawnCaliper(slice_number=int(one["slice_number"]), start=start, end=end)
