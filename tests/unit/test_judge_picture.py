"""Pictures of judged cases show the slice that tells most, with true and found outlines where they are."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet

from mrresponse.config import Settings
from mrresponse.domain import ContrastPhase, Grid, MeasurementSource
from mrresponse.evaluate import LesionComparison
from mrresponse.segment import Segmenter
from mrresponse.synthetic.judging import JudgingCase
from mrresponse.synthetic.render import RenderedStudy
from mrresponse.training.judge import Found, JudgedCase, judge_case
from mrresponse.training.judge_picture import case_picture, shown_slice, telling_cases

GRID = Grid(shape=(40, 30, 12), affine_rows=((4.0, 0, 0, 0), (0, 5.0, 0, 0), (0, 0, 5.0, 0)))


def box(*sides: slice) -> np.ndarray:
    mask = np.zeros(GRID.shape, np.bool_)
    mask[sides] = True
    return mask


LIVER = box(slice(5, 25), slice(5, 20), slice(1, 10))
SMALL = box(slice(8, 10), slice(8, 10), slice(2, 3))
LARGE = box(slice(12, 18), slice(8, 12), slice(5, 7))
LARGE[10:19, 8:12, 6] = True


def case_of(
    *lesions: np.ndarray, phases: tuple[ContrastPhase, ...] = (ContrastPhase.ARTERIAL,)
) -> JudgingCase:
    located: Any = tuple(SimpleNamespace(whole_mask=mask) for mask in lesions)
    plan: Any = SimpleNamespace(agent=None, study_date=date(2024, 1, 1))
    study = RenderedStudy(
        plan=plan,
        grid=GRID,
        images={phase: np.full(GRID.shape, 100 + n, np.int16) + 50 * LIVER for n, phase in enumerate(phases)},
        liver=LIVER,
        lesions=located,
    )
    return JudgingCase(name="unseen-7", study=study)


def found_of(*lesions: np.ndarray, liver: np.ndarray = LIVER) -> Found:
    labels = np.zeros(GRID.shape, np.uint16)
    for label, mask in enumerate(lesions, start=1):
        labels[mask] = label
    return Found(liver=liver, lesions=labels, flags=(), expected_liver_dice=0.9)


def judged_of(lesion_dice: float | None, liver_dice: float = 0.9) -> JudgedCase:
    return JudgedCase(
        case="unseen-7",
        liver_dice=liver_dice,
        liver_surface_dice_2mm=1.0,
        lesion_dice=lesion_dice,
        lesions=LesionComparison(matches=(), missed_diameters_mm=(), false_positive_diameters_mm=()),
        flags=(),
        expected_liver_dice=0.9,
    )


def test_cases_are_ordered_by_lesions_or_without_any_by_the_liver() -> None:
    cases = [judged_of(0.7), judged_of(None, 0.95), judged_of(0.0, 0.99), judged_of(0.4), judged_of(0.6)]
    assert telling_cases(cases) == {"best": 1, "worst": 2, "median": 4}
    assert telling_cases(cases[:4]) == {"best": 1, "worst": 2, "median": 3}
    assert telling_cases(cases[:2]) == {"best": 1, "worst": 0}
    assert telling_cases(cases[:1]) == {"best": 0}


def test_the_slice_is_that_of_the_largest_true_lesion_else_false_alarm_else_liver() -> None:
    far = box(slice(5, 25), slice(5, 20), slice(9, 10))
    assert shown_slice(case_of(SMALL, LARGE), found_of(far)) == 6
    assert shown_slice(case_of(), found_of(SMALL, far)) == 9
    wide = LIVER.copy()
    wide[5:30, 5:20, 4] = True
    case = case_of()
    study = RenderedStudy(
        plan=case.study.plan, grid=GRID, images=case.study.images, liver=wide, lesions=case.study.lesions
    )
    assert shown_slice(JudgingCase(name="x", study=study), found_of()) == 4


def outlines(figure: Any) -> dict[str, tuple[float, ...]]:
    """Return what the outlines of each colour enclose: left, right, lower and upper end in voxels."""
    ends = {}
    for drawn in figure.axes[0].findobj(ContourSet):
        points = np.concatenate([path.vertices for path in drawn.get_paths()])
        low, high = points.min(axis=0), points.max(axis=0)
        ends[to_hex(drawn.get_edgecolor()[0]).upper()] = (low[0], high[0], low[1], high[1])
    return ends


def test_outlines_lie_where_the_masks_are_and_the_legend_names_them() -> None:
    shifted = np.roll(LARGE, 3, axis=0)
    figure = case_picture(case_of(LARGE), found_of(shifted), judged_of(0.5), rank="worst of 100")
    legend = {
        text.get_text(): to_hex(line.get_color()).upper()
        for text, line in zip(figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True)
    }
    drawn = {name: outlines(figure)[ink] for name, ink in legend.items()}
    # voxels 10 to 18 and 8 to 11 in the slice of the largest cut; an outline runs half a voxel outside
    assert drawn["true lesion"] == (9.5, 18.5, 7.5, 11.5)
    assert drawn["found lesion"] == (12.5, 21.5, 7.5, 11.5)
    assert drawn["true liver"] == drawn["found liver"] == (4.5, 24.5, 4.5, 19.5)
    axes = figure.axes[0]
    assert axes.get_title() == "unseen-7, worst of 100: lesion Dice 0.50, liver Dice 0.90"
    assert axes.get_xlabel() == "ART, slice 7 of 12"
    # RAS: the patient's right, where the first index is high, is on the left, and the front is above
    assert axes.xaxis_inverted()
    assert not axes.yaxis_inverted()
    assert axes.get_aspect() == pytest.approx(5.0 / 4.0)


def test_nothing_found_is_said_and_a_study_without_arterial_phase_is_shown() -> None:
    phases = (ContrastPhase.PORTAL_VENOUS, ContrastPhase.DELAYED)
    nothing = found_of(liver=np.zeros_like(LIVER))
    figure = case_picture(case_of(phases=phases), nothing, judged_of(None, 0.0), rank="worst of 2")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["true liver", "found liver: none", "true lesion: none", "found lesion: none"]
    assert figure.axes[0].get_title().endswith("no lesion, liver Dice 0.00")
    assert len(outlines(figure)) == 1
    np.testing.assert_array_equal(
        np.unique(figure.axes[0].get_images()[0].get_array()), [100, 150], err_msg="of the first phase"
    )


def test_a_study_that_the_line_refuses_is_the_worst_result() -> None:
    nothing: Any = None
    blind = Segmenter(
        name="blind", source=MeasurementSource.NETWORK, liver=lambda *_: nothing, lesions=lambda _: nothing
    )
    judged = judge_case(case_of(LARGE), blind, Settings())
    assert (judged.liver_dice, judged.lesion_dice) == (0.0, 0.0)
    assert len(judged.lesions.missed_diameters_mm) == 1
    assert len(judged.flags) == 1
