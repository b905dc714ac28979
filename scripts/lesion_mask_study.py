"""Match and measure the same lesions in masks of four contrast phases, and draw what was matched.

``lesion_mask_study.py FOLDER --out OUT`` takes one folder per patient with masks ``segmentation_1.nii.gz`` to ``_4``,
one per contrast phase on one grid. The phases are followed as if they were studies; label values carry no identity. A
match is checked against overlap, which the tracker does not see: the body of another phase that shares most voxels.
The spread of a lesion's diameter over the phases is compared with that of the masks themselves, the spread of the
diameter of the ball of the same volume. ``OUT`` gets a picture per patient and ``masks.json``.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import Figure, at_least, publish, reported
from scipy import ndimage

from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    GivenLesions,
    Grid,
    Image,
    LabelMap,
    LesionTrack,
    PreparedStudy,
    Series,
    Study,
)
from mrresponse.geometry import to_canonical
from mrresponse.lesions import LesionSettings, find_lesions
from mrresponse.measure.lesion import Size, size_of
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.size import whole_extent
from mrresponse.nifti import read_label_map
from mrresponse.track import TrackSettings, track

LEAST_MM = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One lesion through the contrast phases: its labels and its size in each where it was found."""

    lesion_id: str
    labels: dict[int, tuple[int, ...]]
    sizes: dict[int, Size]


def main(argv: Sequence[str] | None = None) -> int:
    """Follow every patient and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and masks.json")
    chosen = parser.parse_args(argv)
    chosen.out.mkdir(parents=True, exist_ok=True)
    links = right = 0
    diameters: list[float] = []
    balls: list[float] = []
    differences: list[float] = []
    lesions = 0
    for patient in sorted(path for path in chosen.folder.iterdir() if path.is_dir()):
        studies = [read_phase(file, number) for number, file in enumerate(sorted(patient.glob("*.nii.gz")))]
        found = [followed(one, studies) for one in track(studies, TrackSettings()).tracks]
        draw(patient.name, studies, found, chosen.out / f"{patient.name}.png")
        for one in found:
            for agrees in check_links(one, studies):
                links, right = links + 1, right + agrees
            sizes = [size for size in one.sizes.values() if size.longest_mm >= LEAST_MM]
            if len(sizes) == len(studies):
                lesions += 1
                longest = np.array([size.longest_mm for size in sizes])
                ball = np.array([(6000.0 * size.volume_ml / np.pi) ** (1.0 / 3.0) for size in sizes])
                diameters.append(float(longest.std(ddof=1) / longest.mean()))
                balls.append(float(ball.std(ddof=1) / ball.mean()))
                differences.append(float(np.ptp(longest)))
        print(f"{patient.name}: {', '.join(_described(one) for one in found)}", flush=True)
    figures: list[Figure] = [
        at_least("links that agree with overlap", right / links, "", 0.98),
        reported("links", links, ""),
        reported("lesions measured in all phases", lesions, ""),
        reported("spread of the longest diameter (median SD / mean)", float(np.median(diameters)), ""),
        reported("spread of the masks (median SD / mean of the ball)", float(np.median(balls)), ""),
        reported(
            "ratio of the two, pooled",
            float(np.sqrt(np.mean(np.square(diameters)) / np.mean(np.square(balls)))),
            "",
        ),
        reported("range of the longest diameter (median)", float(np.median(differences)), "mm"),
    ]
    last = (
        f"{right} of {links} links agree with overlap; the diameters of {lesions} lesions vary by "
        f"{100 * np.median(diameters):.1f} % between phases, their masks by {100 * np.median(balls):.1f} %."
    )
    return publish(figures, chosen.out / "masks.json", last=last)


def read_phase(file: Path, number: int) -> ExaminedStudy:
    """Read one phase as a study of its own: one label for all, split into bodies by the program."""
    given = to_canonical(read_label_map(file))
    grid = given.grid
    mask = (given.voxels > 0).astype(np.uint16)
    everywhere = np.ones(grid.shape, dtype=np.uint16)
    prepared = PreparedStudy(
        study=Study(
            patient_id=file.parent.name,
            study_date=date(2024, 1, 1) + timedelta(days=number),
            series=(Series(path=file, contrast_phase=ContrastPhase.ARTERIAL),),
        ),
        grid=grid,
        native_grid=grid,
        crop_start=(0, 0, 0),
        images={},
        reference=ContrastPhase.ARTERIAL,
        liver=LabelMap(voxels=_one_ball(grid, everywhere), grid=grid),
        liver_probability=Image(voxels=everywhere.astype(np.float32), grid=grid),
    )
    found = find_lesions(prepared, GivenLesions(labels=LabelMap(voxels=mask, grid=grid)), LesionSettings())
    return ExaminedStudy(prepared=prepared, lesion_map=found)


def _one_ball(grid: Grid, everywhere: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Return a body that is the same in every phase: they lie on one grid and need no registration."""
    index = np.indices(grid.shape).reshape(3, -1).T
    away = (index - (np.asarray(grid.shape) - 1) / 2.0) * np.asarray(grid.spacing_mm)
    ball = np.linalg.norm(away, axis=1).reshape(grid.shape) <= 0.45 * min(
        np.asarray(grid.shape) * grid.spacing_mm
    )
    return np.asarray(everywhere * ball, dtype=np.uint16)


def followed(one: LesionTrack, studies: Sequence[ExaminedStudy]) -> Followed:
    """Measure a lesion in every phase that it was found in."""
    dates = [study.study_date for study in studies]
    labels = {dates.index(seen.study_date): seen.labels for seen in one.observations if seen.labels}
    sizes = {}
    for number, values in labels.items():
        voxels = studies[number].lesion_map.labels.voxels
        parts = []
        for value in values:
            i, j, k = ndimage.find_objects((voxels == value).astype(np.uint8))[0]
            parts.append(((i, j, k), np.asarray(voxels[i, j, k] == value)))
        size = size_of(studies[number].prepared, parts, whole_extent, MeasureSettings())
        assert size is not None
        sizes[number] = size
    return Followed(lesion_id=one.lesion_id, labels=labels, sizes=sizes)


def check_links(one: Followed, studies: Sequence[ExaminedStudy]) -> Iterator[bool]:
    """Tell, for every phase after the first that a lesion is in, whether its bodies overlap those before."""
    numbers = sorted(one.labels)
    for before, after in pairwise(numbers):
        earlier = np.isin(studies[before].lesion_map.labels.voxels, one.labels[before])
        now = studies[after].lesion_map.labels.voxels
        for label in one.labels[after]:
            body = now == label
            shared = np.bincount(studies[before].lesion_map.labels.voxels[body])
            shared[0:1] = 0
            best = int(shared.argmax()) if shared.size and shared.max() > 0 else 0
            yield best in one.labels[before] if best else not (body & earlier).any()


def draw(name: str, studies: Sequence[ExaminedStudy], found: Sequence[Followed], file: Path) -> None:
    """Draw, for the largest lesions, the slice of the longest diameter in every phase, a colour per lesion."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    largest = sorted(found, key=lambda one: -max(size.volume_ml for size in one.sizes.values()))[:4]
    figure, axes = plt.subplots(
        len(largest), len(studies), figsize=(3 * len(studies), 3 * len(largest)), squeeze=False
    )
    colours = plt.get_cmap("tab10")
    for row, one in enumerate(largest):
        first = one.sizes[min(one.sizes)]
        k = first.caliper.slice_index
        for column, study in enumerate(studies):
            size = one.sizes.get(column)
            k = k if size is None else size.caliper.slice_index
            plane = study.lesion_map.labels.voxels[:, :, k]
            shown = np.full((*plane.shape, 3), 0.08)
            for number, other in enumerate(found):
                if column in other.labels:
                    shown[np.isin(plane, other.labels[column])] = colours(number % 10)[:3]
            axis = axes[row][column]
            axis.imshow(np.swapaxes(shown, 0, 1), origin="lower")
            axis.set_title(
                f"{one.lesion_id} phase {column + 1}: {'-' if size is None else f'{size.longest_mm:.1f} mm'}",
                fontsize=8,
            )
            if size is not None:
                inverse = np.linalg.inv(study.prepared.grid.affine)
                ends = [inverse @ [*point, 1.0] for point in (size.caliper.start_mm, size.caliper.end_mm)]
                axis.plot([end[0] for end in ends], [end[1] for end in ends], color="white", linewidth=1)
            axis.set_axis_off()
    figure.suptitle(name)
    figure.tight_layout()
    figure.savefig(file, dpi=70)
    plt.close(figure)


def _described(one: Followed) -> str:
    sizes = "/".join(f"{size.longest_mm:.0f}" for _, size in sorted(one.sizes.items()))
    return f"{one.lesion_id} {sizes} mm"


if __name__ == "__main__":
    sys.exit(main())
