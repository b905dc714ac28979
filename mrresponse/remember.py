"""A segmenter that remembers: what a network said is kept, and the network is not asked the same again.

The key is a digest of the very voxels the network would be shown, and of the network. So no list of settings has to be
right: whatever changes what the network sees asks it anew, and nothing else does.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from mrresponse.domain import GivenLesions, Image, LabelMap, PreparedStudy, Series, Study
from mrresponse.resume import read_arrays, write_arrays
from mrresponse.segment import Segmenter

Answer = TypeVar("Answer", bound=Image | GivenLesions | None)


def remembered(segmenter: Segmenter, folder: Path, *, model: str) -> Segmenter:
    """Return the same segmenter with a memory in `folder`.

    Parameters
    ----------
    model
        What the answers depend on beside the images: the networks' digests and how they are run.
    """

    def liver(study: Study, series: Series, image: Image) -> Image | None:
        name = f"liver-{series.contrast_phase.value}"
        key = _digest(model, image)
        return _recalled(
            _file(folder, study, name), key, image, lambda: segmenter.liver(study, series, image)
        )

    def lesions(prepared: PreparedStudy) -> Image | GivenLesions:
        images = [prepared.images[phase] for phase in sorted(prepared.images)]
        key = _digest(
            f"{model} {' '.join(sorted(prepared.images))}",
            *images,
            prepared.liver,
            prepared.liver_probability,
        )
        file = _file(folder, prepared.study, "lesions")
        return _recalled(file, key, prepared.liver_probability, lambda: segmenter.lesions(prepared))

    return replace(segmenter, liver=liver, lesions=lesions)


def _recalled(file: Path, key: str, like: Image, ask: Callable[[], Answer]) -> Image | Answer:
    """Return what the file holds under this key; otherwise ask, and keep a probability in place of an older one."""
    kept = read_arrays(file)
    if "probability" in kept and "key" in kept and kept["key"].tobytes() == key.encode():
        return Image(voxels=kept["probability"], grid=like.grid)
    answer = ask()
    if isinstance(answer, Image):
        as_bytes = np.frombuffer(key.encode(), dtype=np.uint8)
        write_arrays(file, {"key": as_bytes, "probability": answer.voxels}, packed=True)
    return answer


def _file(folder: Path, study: Study, name: str) -> Path:
    return folder / study.patient_id / f"{study.study_date.isoformat()}-{name}.npz"


def _digest(what: str, *images: Image | LabelMap) -> str:
    digest = hashlib.sha256(what.encode())
    for image in images:
        digest.update(repr((image.grid.shape, image.grid.affine_rows)).encode())
        digest.update(np.ascontiguousarray(image.voxels).tobytes())
    return digest.hexdigest()
