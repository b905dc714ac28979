"""Figures for papers: that they show the numbers, as editable text, the same every time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrresponse import cli, figures
from mrresponse.cohort import (
    CohortFigure,
    Endpoint,
    Group,
    SpiderLine,
    SurvivalCurve,
    SwimmerLane,
    WaterfallBar,
)
from mrresponse.domain import Response
from mrresponse.errors import ConfigError
from tests.reference_course import reference_course

GROUP = Group(treatment_phase="TACE", criterion="mRECIST", basis="overall", reader="A")
CURVE = SurvivalCurve(
    group=GROUP,
    endpoint=Endpoint.OVERALL_SURVIVAL,
    n=4,
    n_events=2,
    days=(0.0, 100.0, 200.0, 300.0),
    survival=(1.0, 0.75, 0.75, 0.375),
    low=(1.0, 0.3, 0.3, 0.05),
    high=(1.0, 0.95, 0.95, 0.8),
    at_risk=(4, 4, 3, 2),
    censored_days=(200.0, 300.0),
    median_days=300.0,
    median_low=100.0,
)
COHORT = CohortFigure(
    group=GROUP,
    n=3,
    response_change=-0.3,
    progression_change=0.2,
    bars=(
        WaterfallBar(patient_id="P1", change=0.25, best_overall_response=Response.PD),
        WaterfallBar(patient_id="P2", change=-0.5, best_overall_response=Response.PR),
    ),
    lines=(SpiderLine(patient_id="P2", days=(-7, 60, 120), changes=(0.0, -0.3, -0.5)),),
    lanes=(
        SwimmerLane(
            patient_id="P2", end_day=365, best_overall_response=Response.PR, response_day=60, is_ongoing=True
        ),
        SwimmerLane(
            patient_id="P1",
            end_day=200,
            best_overall_response=Response.PD,
            progression_day=50,
            death_day=200,
        ),
    ),
    curves=(CURVE,),
)


def texts(figure: Any) -> str:
    """Collect what a figure says."""
    from matplotlib.text import Text

    return "\n".join(one.get_text() for one in figure.findobj(Text))


def test_waterfall_has_a_bar_of_its_height_and_colour_for_each_patient() -> None:
    axes = figures.waterfall(COHORT).axes[0]
    assert [round(bar.get_height(), 6) for bar in axes.patches] == [25.0, -50.0]
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    levels = sorted(line.get_ydata()[0] for line in axes.lines)
    assert levels == pytest.approx([-30.0, 0.0, 20.0])


def test_spider_draws_months_and_per_cent() -> None:
    line = figures.spider(COHORT).axes[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), np.array([-7, 60, 120]) / 30.4375)
    np.testing.assert_allclose(line.get_ydata(), [0.0, -30.0, -50.0])


def test_swimmer_has_a_lane_to_the_end_and_names_its_marks() -> None:
    axes = figures.swimmer(COHORT).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([365 / 30.4375, 200 / 30.4375])
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["first response", "progression", "death", "ongoing", "best PR", "best PD"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["P2", "P1"]


def test_survival_curve_has_its_numbers_at_risk_and_median() -> None:
    words = texts(figures.survival(CURVE))
    assert "n = 4, 2 events; median 9.9 months\n(95 % interval 3.3 to not reached)" in words
    assert "Overall survival (%)" in words
    assert "(90 % interval 3.3" in texts(figures.survival(replace(CURVE, level=0.9)))
    open_median = texts(figures.survival(replace(CURVE, median_days=None)))
    assert "median not reached\n(95 % interval 3.3 months to not reached)" in open_median
    assert "interval" not in texts(figures.survival(replace(CURVE, median_low=None)))
    table = figures.survival(CURVE).axes[1]
    shown = [(round(text.get_position()[0]), text.get_text()) for text in table.texts]
    # at risk just before each time: all four until the first step at 3.3 months, then three, then two at 9.9
    assert shown[0] == (0, "4")
    assert dict(shown)[4] == "3"
    assert dict(shown)[8] == "2"


def test_course_breaks_a_curve_where_a_sum_is_missing_and_uses_a_log_scale_for_afp() -> None:
    figure = figures.course(reference_course())
    sums = figure.axes[1]
    phase_4 = next(line for line in sums.lines if len(line.get_ydata()) == 6)
    np.testing.assert_allclose(phase_4.get_ydata(), [83.0, 52.0, 31.0, np.nan, 0.0, 0.0])
    assert figure.axes[3].get_ylabel() == "AFP\n(ng/mL)"
    assert figure.axes[3].get_yscale() == "log"
    words = texts(figure).split("\n")
    assert words.count("PD") == 3
    assert words.count("NE") == 2


def test_strip_has_every_visit_with_its_numbers() -> None:
    figure = figures.lesion_strip(reference_course(), "L02")
    words = texts(figure)
    assert "2021-06-22" in words
    assert "24.0 / 22.0 mm" in words
    assert len(figure.axes) == 2 * 3
    with pytest.raises(ValueError, match="L09: no picture is stored"):
        figures.lesion_strip(reference_course(), "L09")


@pytest.mark.parametrize("file_format", figures.FORMATS)
def test_a_figure_is_written_the_same_every_time(file_format: str, tmp_path: Path) -> None:
    first = figures.save(figures.waterfall(COHORT), tmp_path / f"a.{file_format}")
    second = figures.save(figures.waterfall(COHORT), tmp_path / f"b.{file_format}")
    assert first.read_bytes() == second.read_bytes()


def test_text_stays_text_in_svg_and_embedded_truetype_in_pdf(tmp_path: Path) -> None:
    svg = figures.save(figures.waterfall(COHORT), tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ">Best overall response</text>" in svg
    pdf = figures.save(figures.waterfall(COHORT), tmp_path / "a.pdf").read_bytes()
    assert b"/Type /Font /Subtype /Type0" in pdf or b"/TrueType" in pdf
    assert b"/Type3" not in pdf


def test_another_ending_is_an_error_that_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format 'jpg': unknown, expected one of svg, pdf, png"):
        figures.save(figures.waterfall(COHORT), tmp_path / "a.jpg")


@pytest.mark.parametrize("draw", [figures.waterfall, figures.spider, figures.swimmer])
def test_an_empty_group_gives_an_empty_figure(draw: Callable[[CohortFigure], Any], tmp_path: Path) -> None:
    figures.save(draw(CohortFigure(group=GROUP, n=0)), tmp_path / "a.svg")


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    hostile = Group(treatment_phase="$\\frac{<script>&", criterion="</svg>", basis="overall", reader="A")
    svg = figures.save(figures.waterfall(CohortFigure(group=hostile, n=0)), tmp_path / "a.svg").read_text()
    assert "&lt;script&gt;&amp;" in svg
    assert svg.count("</svg>") == 1


def test_colours_of_responses_stay_apart_for_readers_without_red_or_green() -> None:
    """Distances in CIELAB after the simulation of Machado GM et al. 2009 (IEEE TVCG 15:1291), severity 1."""
    from skimage.color import rgb2lab

    from mrresponse.figures.style import COLOURS

    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    deutan = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    hexes = {COLOURS[word] for word in ("CR", "PR", "SD", "PD", "NE")}
    seen = np.array([[int(one[i : i + 2], 16) / 255 for i in (1, 3, 5)] for one in sorted(hexes)])
    linear = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
    for matrix in (np.eye(3), protan, deutan):
        light = np.clip(linear @ matrix.T, 0.0, 1.0)
        shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        lab = rgb2lab(shown[None])[0]
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
        assert apart[~np.eye(len(lab), dtype=bool)].min() > 10.0


@pytest.mark.slow
def test_a_folder_of_numbers_gives_figures_of_its_groups_and_patients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studies, measurements = (
        ["patient_id,study_date"],
        ["patient_id,lesion_id,study_date,reader,state,longest_diameter_mm"],
    )
    for patient, second in (("P1", 30.0), ("P2", 70.0)):
        for day, size in (("2020-01-01", 50.0), ("2020-03-01", second)):
            studies.append(f"{patient},{day}")
            measurements.append(f"{patient},L01,{day},A,measured,{size}")
    (tmp_path / "studies.csv").write_text("\n".join(studies) + "\n")
    (tmp_path / "measurements.csv").write_text("\n".join(measurements) + "\n")
    assert cli.main(["respond", str(tmp_path)]) == 0
    assert cli.main(["figures", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    written = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.svg")
    )
    assert f"{len(written)} figures" in capsys.readouterr().out
    assert {"P1/course.svg", "P2/course.svg"} <= set(written)
    assert sum(path.endswith("/waterfall.svg") for path in written) >= 2
    with pytest.raises(ConfigError, match="--format: 'gif' is unknown"):
        figures.write_figures(tmp_path, tmp_path / "out", file_format="gif")
