"""Figures of one patient: the course on one time axis, and the strip of a lesion."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mrresponse.domain import Marker, PatientResult, Response, Snapshot
from mrresponse.figures.style import DASHES, LINES, colour, new_figure, settings, shown
from mrresponse.report.lesion_table import (
    burden,
    groups_of_phases,
    leading_assessments,
    lesion_quantities,
    liver_quantity,
)
from mrresponse.report.picture import shown_first, with_own_calipers
from mrresponse.report.timeline import numbered_phases
from mrresponse.report.wording import first_reader_first, size_read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOG_FROM_RATIO = 20.0
_PHASE_LINE: dict[str, Any] = {"color": "#777777", "linewidth": 0.6, "linestyle": (0, (4, 3)), "zorder": 0}
_PHASE_COLOURS = ("#E3E9F2", "#C9D5E6")


def course(result: PatientResult) -> "Figure":
    """Draw phases, responses of liver and patient, sums of targets, every lesion, and markers on one time axis."""
    from matplotlib import rc_context
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    panels: list[tuple[float, Callable[[Axes], None]]] = [
        (1.5, partial(_responses, result=result)),
        (2.0, partial(_sums, result=result)),
        (2.0, partial(_lesions, result=result)),
    ]
    named: dict[tuple[str, str], list[Marker]] = {}
    for marker in sorted(result.patient.markers, key=lambda row: (row.name, row.unit, row.date)):
        named.setdefault((marker.name, marker.unit), []).append(marker)
    for rows in named.values():
        panels.append((1.5, partial(_marker, rows=rows)))
    with rc_context(settings()):
        figure = new_figure(174, 24.0 * sum(height for height, _ in panels))
        heights = [height for height, _ in panels]
        grid = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        grid[-1].xaxis_date()
        locator = AutoDateLocator(maxticks=8)
        grid[-1].xaxis.set_major_locator(locator)
        grid[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
        for axes, (_, draw) in zip(grid, panels, strict=True):
            draw(axes)
            for phase in numbered_phases(result):
                if phase.start_date:
                    axes.axvline(phase.start_date, **_PHASE_LINE)
        grid[0].set_title(shown(result.patient.patient_id), loc="left")
        figure.align_ylabels(list(grid))
    return figure


def _responses(axes: "Axes", result: PatientResult) -> None:
    rows = leading_assessments(result)
    last = max((row.study_date for row in result.response.assessments), default=date(2000, 1, 1))
    phases = numbered_phases(result)
    for number, phase in enumerate(phases, 1):
        start = phase.start_date or phase.baseline_date
        if start is None:
            continue
        following = phases[number].start_date if number < len(phases) else None
        end = phase.end_date or following or max(last, start + timedelta(days=28))
        tone = _PHASE_COLOURS[number % 2]
        axes.barh(2.1, _number(end) - _number(start), left=_number(start), height=0.55, color=tone)
        axes.text(_number(start), 2.1, f" {number}", va="center", ha="left")
    assessed = sorted((row for row in rows if not row.is_baseline), key=lambda row: row.study_date)
    for row, x in zip(assessed, _apart([_number(row.study_date) for row in assessed]), strict=True):
        for y, response in ((1.2, row.liver_response), (0.4, row.overall)):
            if response is not None:
                _badge(axes, x, y, response)
    axes.set_ylim(0, 2.5)
    axes.set_yticks([2.1, 1.2, 0.4], ["phase", "liver", "overall"])
    axes.tick_params(axis="both", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _apart(days: Sequence[float]) -> list[float]:
    """Move marks apart that would cover each other at the width of the figure."""
    gap = max((days[-1] - days[0]) / 22.0, 1.0) if days else 1.0
    moved: list[float] = []
    for day in days:
        moved.append(max(day, moved[-1] + gap) if moved else day)
    return moved


def _badge(axes: "Axes", x: float, y: float, response: Response) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": colour(response), "edgecolor": "none"}
    word = response.value if len(response.value) <= 4 else "non"
    ink = "white" if word in ("CR", "PR", "PD", "iCR", "iPR") else "black"
    axes.text(x, y, word, ha="center", va="center", fontsize=6.5, color=ink, bbox=box)


def _sums(axes: "Axes", result: PatientResult) -> None:
    """Draw the sums of the targets in the unit of the leading criterion; a curve ends with its phase."""
    groups = groups_of_phases(result)
    lead = leading_assessments(result)
    unit = lead[0].burden_unit if lead else "mm"
    reader = result.measured_by(lead[0]) if lead else ""
    chosen = [group for group in groups if (group[0].burden_unit, group[0].reader) == (unit, reader)]
    names = list(dict.fromkeys(group[0].criterion for group in chosen))
    for group in chosen:
        index = names.index(group[0].criterion)
        first = group is next(one for one in chosen if one[0].criterion == group[0].criterion)
        _curve(
            axes,
            [(row.study_date, burden(row)) for row in group],
            index,
            shown(group[0].criterion, 24) if first else "_same",
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"Sum of targets ({unit})")
    if names:
        axes.legend(loc="upper right")


def _lesions(axes: "Axes", result: PatientResult) -> None:
    lead = leading_assessments(result)
    leading = lead[0] if lead else None
    quantities = lesion_quantities(result, leading)
    reader = result.measured_by(lead[0]) if lead else next((row.reader for row in result.measurements), "")
    own = [row for row in result.measurements if row.reader == reader]
    for index, lesion_id in enumerate(sorted({row.lesion_id for row in own})):
        rows = sorted((row for row in own if row.lesion_id == lesion_id), key=lambda row: row.study_date)
        values = [(row.study_date, size_read(row, quantities[row.lesion_id])) for row in rows]
        _curve(axes, values, index, shown(lesion_id, 12))
    quantity = liver_quantity(result, leading)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"{quantity.name.replace('longest ', '').capitalize()}\n({quantity.unit})")
    if own:
        axes.legend(loc="upper right")


def _marker(axes: "Axes", rows: Sequence[Marker]) -> None:
    ordered = sorted(rows, key=lambda row: row.date)
    values = [row.value for row in ordered]
    _curve(axes, [(row.date, row.value) for row in ordered], 0, "_marker")
    if min(values) > 0 and max(values) / min(values) >= _LOG_FROM_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_ylabel(f"{shown(ordered[0].name, 20)}\n({shown(ordered[0].unit, 16)})")


def _curve(axes: "Axes", points: Sequence[tuple[date, float | None]], index: int, label: str) -> None:
    """Draw a curve that breaks where a value is missing."""
    days = [_number(day) for day, _ in points]
    values = np.array([np.nan if value is None else value for _, value in points], dtype=np.float64)
    axes.plot(
        days,
        values,
        color=LINES[index % len(LINES)],
        linestyle=DASHES[index % len(DASHES)],
        marker="os^Dv"[index % 5],
        markersize=3,
        label=label,
    )


def _number(day: date) -> float:
    """Give a date as matplotlib counts it, in days since 1970."""
    return float((day - date(1970, 1, 1)).days)


def lesion_strip(result: PatientResult, lesion_id: str) -> "Figure":
    """Draw a lesion at every visit in the same place of the anatomy, arterial above subtraction, with its calipers.

    Raises
    ------
    ValueError
        No picture of the lesion is stored.
    """
    from matplotlib import rc_context

    own = first_reader_first([row for row in result.measurements if row.lesion_id == lesion_id])
    # the first reader's last, so that it stands
    measured = {row.study_date: row for row in reversed(own)}
    snapshots = [
        with_own_calipers(one, measured.get(one.study_date))
        for one in result.snapshots
        if one.lesion_id == lesion_id
    ]
    if not snapshots:
        raise ValueError(f"{lesion_id}: no picture is stored")
    with rc_context(settings()):
        figure = new_figure(max(28.0 * len(snapshots), 60.0), 68.0)
        rows = figure.subplots(2, len(snapshots), squeeze=False)
        for column, snapshot in enumerate(snapshots):
            row = measured.get(snapshot.study_date)
            for line, pixels in enumerate((snapshot.pixels, snapshot.subtraction)):
                _slice(rows[line, column], snapshot, pixels)
            whole = "" if row is None or row.longest_diameter_mm is None else f"{row.longest_diameter_mm:.1f}"
            viable = (
                ""
                if row is None or row.viable_longest_diameter_mm is None
                else f"{row.viable_longest_diameter_mm:.1f}"
            )
            rows[0, column].set_title(f"{snapshot.study_date}", fontsize=7)
            rows[1, column].set_xlabel(f"{whole or '–'} / {viable or '–'} mm", fontsize=7)
        rows[0, 0].set_ylabel("arterial")
        rows[1, 0].set_ylabel("subtraction")
        figure.suptitle(
            shown(f"{result.patient.patient_id}, {lesion_id}: longest diameter / of the viable part"),
            fontsize=8,
        )
    return figure


def _slice(axes: "Axes", snapshot: Snapshot, pixels: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if pixels is None:
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes)
        return
    number = shown_first(snapshot)
    axes.imshow(pixels[number], cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    one = snapshot.slices[number]
    for outlines, ink, dash in (
        (one.outlines, "#56B4E9", "-"),
        (one.viable_outlines, "#FFB000", (0, (3, 2))),
    ):
        for outline in outlines:
            x, y = np.asarray(outline).T
            axes.plot(x, y, color=ink, linewidth=0.7, linestyle=dash)
    for caliper, ink in ((snapshot.caliper, "#56B4E9"), (snapshot.viable_caliper, "#FFB000")):
        if caliper is not None and caliper.slice_number == number:
            axes.plot(
                *zip(caliper.start, caliper.end, strict=True),
                color=ink,
                linewidth=1.0,
                marker="|",
                markersize=3,
            )
