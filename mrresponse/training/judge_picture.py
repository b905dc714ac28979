"""Pictures of judged cases: the truth and what was found, drawn on one slice of a study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrresponse.domain import BoolArray, ContrastPhase
from mrresponse.figures.style import new_figure, settings, shown
from mrresponse.synthetic.judging import JudgingCase
from mrresponse.training.judge import Found, JudgedCase, true_instances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe M, Ito K 2008, Color Universal Design: those that stand out on grey
_TRUE_LIVER, _FOUND_LIVER, _TRUE_LESION, _FOUND_LESION = "#56B4E9", "#CC79A7", "#F0E442", "#D55E00"


def telling_cases(cases: Sequence[JudgedCase]) -> dict[str, int]:
    """Return the places of the best, the median and the worst case; fewer where there are not three.

    Cases are ordered by the Dice of all lesion voxels, or of the liver where there is no lesion and none was found;
    of an even number, the lower one in the middle is the median.
    """
    ordered = sorted(range(len(cases)), key=lambda place: _score(cases[place]))
    telling: dict[str, int] = {}
    for name, rank in (("best", -1), ("worst", 0), ("median", (len(ordered) - 1) // 2)):
        if ordered[rank] not in telling.values():
            telling[name] = ordered[rank]
    return telling


def _score(case: JudgedCase) -> float:
    return case.liver_dice if case.lesion_dice is None else case.lesion_dice


def shown_slice(case: JudgingCase, found: Found) -> int:
    """Return the axial slice in which the largest true lesion is largest.

    Without one it is that of the largest lesion found, and without any lesion that of the liver.
    """
    for labels in (true_instances(case.study), found.lesions):
        if labels.any():
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            return _largest_slice(labels == sizes.argmax())
    return _largest_slice(case.study.liver)


def _largest_slice(mask: BoolArray) -> int:
    return int(np.count_nonzero(mask, axis=(0, 1)).argmax())


def case_picture(case: JudgingCase, found: Found, judged: JudgedCase, *, rank: str) -> "Figure":
    """Draw true and found outlines on a slice of the arterial, or else the first, contrast phase.

    The patient's right is on the left, as radiologists look at it.

    Parameters
    ----------
    rank
        What the title calls the case, as ``worst of 100``.
    """
    from matplotlib import rc_context
    from matplotlib.lines import Line2D

    study = case.study
    phase = ContrastPhase.ARTERIAL if ContrastPhase.ARTERIAL in study.images else next(iter(study.images))
    at = shown_slice(case, found)
    outlines = (
        ("true liver", study.liver, _TRUE_LIVER, "-"),
        ("found liver", found.liver, _FOUND_LIVER, "--"),
        ("true lesion", true_instances(study) > 0, _TRUE_LESION, "-"),
        ("found lesion", found.lesions > 0, _FOUND_LESION, "--"),
    )
    with rc_context(settings()):
        figure = new_figure(140, 128)
        axes = figure.add_subplot()
        _show_grey(axes, study.images[phase][:, :, at], study.grid.spacing_mm)
        for _, mask, ink, dash in outlines:
            # a level that nothing crosses is a warning
            if mask[:, :, at].any():
                axes.contour(
                    mask[:, :, at].T.astype(np.float32),
                    levels=[0.5],
                    colors=ink,
                    linestyles=dash,
                    linewidths=1.0,
                )
        handles = [
            Line2D([], [], color=ink, linestyle=dash, label=name if mask.any() else f"{name}: none")
            for name, mask, ink, dash in outlines
        ]
        axes.set_xlabel(f"{phase.value}, slice {at + 1} of {study.grid.shape[2]}")
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        axes.set_title(f"{shown(case.name)}, {rank}: {_dice_words(judged)}")
    return figure


def _dice_words(judged: JudgedCase) -> str:
    lesions = "no lesion" if judged.lesion_dice is None else f"lesion Dice {judged.lesion_dice:.2f}"
    return f"{lesions}, liver Dice {judged.liver_dice:.2f}"


def _show_grey(axes: "Axes", pixels: npt.NDArray[Any], spacing_mm: tuple[float, float, float]) -> None:
    low, high = np.percentile(pixels, [1.0, 99.5])
    axes.imshow(
        pixels.T, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=spacing_mm[1] / spacing_mm[0]
    )
    axes.invert_xaxis()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
