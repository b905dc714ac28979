"""Figures of a cohort: waterfall, spider, swimmer and Kaplan-Meier plots."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mrresponse.cohort import CohortFigure, SurvivalCurve, SwimmerLane
from mrresponse.domain import COURSE, Response
from mrresponse.figures.style import LINES, colour, new_figure, response_legend, settings, shown
from mrresponse.report.cohort_page import ENDPOINT_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DAYS_PER_MONTH = 30.4375
_NAMED_LANES = 60
_AT_RISK_TIMES = 7


def waterfall(cohort: CohortFigure) -> "Figure":
    """Draw the greatest change of the sum of targets from baseline, a bar for each patient."""
    from matplotlib import rc_context

    with rc_context(settings()):
        figure = new_figure(174, 90)
        axes = figure.add_subplot()
        changes = [100.0 * bar.change for bar in cohort.bars]
        colours = [colour(bar.best_overall_response) for bar in cohort.bars]
        edges = "black" if len(changes) <= 120 else "none"
        axes.bar(range(len(changes)), changes, width=0.85, color=colours, edgecolor=edges, linewidth=0.3)
        _change_axis(axes, cohort, "Greatest change from baseline (%)")
        axes.set_xticks([])
        axes.set_xlabel(f"Patients (n = {len(changes)} with a sum after the baseline, of {cohort.n})")
        best = {bar.best_overall_response for bar in cohort.bars if bar.best_overall_response}
        response_legend(axes, best, loc="upper right", title="Best overall response")
        axes.set_title(_title(cohort), loc="left")
    return figure


def spider(cohort: CohortFigure) -> "Figure":
    """Draw the change of the sum of targets from baseline over time, a line for each patient."""
    from matplotlib import rc_context

    best = {bar.patient_id: bar.best_overall_response for bar in cohort.bars}
    with rc_context(settings()):
        figure = new_figure(174, 90)
        axes = figure.add_subplot()
        for line in cohort.lines:
            axes.plot(
                np.asarray(line.days) / DAYS_PER_MONTH,
                100.0 * np.asarray(line.changes),
                color=colour(best.get(line.patient_id)),
                linewidth=1.2 if len(cohort.lines) <= 60 else 0.5,
                marker="o" if len(cohort.lines) <= 30 else None,
                markersize=2.5,
            )
        _change_axis(axes, cohort, "Change from baseline (%)")
        axes.set_xlabel("Months from the start of treatment")
        used = {best.get(line.patient_id) for line in cohort.lines}
        response_legend(
            axes,
            {word for word in used if word},
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            title="Best response",
        )
        axes.set_title(_title(cohort), loc="left")
    return figure


def swimmer(cohort: CohortFigure) -> "Figure":
    """Draw a lane for each patient from the start of treatment, in the colour of the best response."""
    from matplotlib import rc_context

    with rc_context(settings()):
        height = 34.0 + max(1.2, 4.2 if len(cohort.lanes) <= _NAMED_LANES else 1.2) * max(
            len(cohort.lanes), 4
        )
        figure = new_figure(174, min(height, 260.0))
        axes = figure.add_subplot()
        places = np.arange(len(cohort.lanes))
        ends = np.array([max(lane.end_day, 0) for lane in cohort.lanes]) / DAYS_PER_MONTH
        axes.barh(
            places,
            ends,
            height=0.7,
            color=[colour(lane.best_overall_response) for lane in cohort.lanes],
            alpha=0.8,
        )
        _lane_marks(axes, cohort.lanes)
        axes.set_ylim(len(cohort.lanes) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("Months from the start of treatment")
        if len(cohort.lanes) <= _NAMED_LANES:
            axes.set_yticks(places, [shown(lane.patient_id, 20) for lane in cohort.lanes])
        else:
            axes.set_yticks([])
            axes.set_ylabel(f"{len(cohort.lanes)} patients")
        axes.tick_params(axis="y", length=0)
        axes.set_title(_title(cohort), loc="left")
    return figure


def _lane_marks(axes: "Axes", lanes: tuple[SwimmerLane, ...]) -> None:
    """Mark what happened on each lane; its colour says the best response, the mark's name stands in the legend."""
    from matplotlib.artist import Artist
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    size = 4.5 if len(lanes) <= _NAMED_LANES else 2.0
    style: dict[str, Any] = {
        "linestyle": "none",
        "markersize": size,
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
    }
    kinds = (
        ("first response", "^", "white", [lane.response_day for lane in lanes]),
        ("progression", "X", "white", [lane.progression_day for lane in lanes]),
        ("next therapy", "|", "black", [lane.next_therapy_day for lane in lanes]),
        ("death", "s", "black", [lane.death_day for lane in lanes]),
        ("ongoing", ">", "white", [lane.end_day if lane.is_ongoing else None for lane in lanes]),
    )
    handles: list[Artist] = []
    for name, marker, fill, days in kinds:
        placed = [(day / DAYS_PER_MONTH, place) for place, day in enumerate(days) if day is not None]
        if placed:
            x, y = zip(*placed, strict=True)
            axes.plot(x, y, marker=marker, markerfacecolor=fill, clip_on=False, **style)
            handles.append(Line2D([], [], marker=marker, markerfacecolor=fill, label=name, **style))
    best = {lane.best_overall_response for lane in lanes}
    handles += [
        Patch(facecolor=colour(word), label=f"best {word.value}") for word in Response if word in best
    ]
    axes.legend(handles=handles, loc="lower right", handlelength=1.0)


def survival(curve: SurvivalCurve) -> "Figure":
    """Draw a Kaplan-Meier curve with its pointwise interval, censored patients, and the numbers at risk."""
    from matplotlib import rc_context

    with rc_context(settings()):
        figure = new_figure(112, 90)
        axes, table = figure.subplots(2, 1, height_ratios=(8, 1), sharex=True)
        months = np.asarray(curve.days) / DAYS_PER_MONTH
        percent = 100.0 * np.asarray(curve.survival)
        low, high = 100.0 * np.asarray(curve.low), 100.0 * np.asarray(curve.high)
        axes.fill_between(months, low, high, step="post", color=LINES[1], alpha=0.18, linewidth=0)
        axes.step(months, percent, where="post", color=LINES[1])
        censored = np.asarray(curve.censored_days)
        at = np.searchsorted(np.asarray(curve.days), censored, side="right") - 1
        axes.plot(censored / DAYS_PER_MONTH, percent[at], "|", color="black", markersize=5, label="censored")
        axes.set_ylim(0, 102)
        axes.set_xlim(0, max(float(months[-1]), 1.0) * 1.02)
        axes.set_ylabel(f"{ENDPOINT_WORDS[curve.endpoint.value]} (%)")
        axes.set_xlabel("Months")
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_title(_median_words(curve), loc="left", fontsize=8)
        _at_risk(table, curve)
    return figure


def _at_risk(axes: "Axes", curve: SurvivalCurve) -> None:
    from matplotlib.ticker import MaxNLocator

    last = curve.days[-1] / DAYS_PER_MONTH
    times = [
        time
        for time in MaxNLocator(_AT_RISK_TIMES, integer=True).tick_values(0.0, max(last, 1.0))
        if time <= last
    ]
    for time in times:
        place = int(np.searchsorted(np.asarray(curve.days), time * DAYS_PER_MONTH - 1e-6))
        number = curve.at_risk[place] if place < len(curve.at_risk) else 0
        axes.text(time, 0.5, str(number), ha="center", va="center")
    axes.set_xticks(times)
    axes.set_yticks([0.5], ["at risk"])
    axes.set_ylim(0, 1)
    axes.tick_params(axis="y", length=0, pad=12)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _median_words(curve: SurvivalCurve) -> str:
    def months(days: float | None) -> str:
        return "not reached" if days is None else f"{days / DAYS_PER_MONTH:.1f}"

    unit = "" if curve.median_days is None else " months"
    counts = f"n = {curve.n}, {curve.n_events} events; median {months(curve.median_days)}{unit}"
    if curve.median_low is None:
        return counts
    interval = f"{100.0 * curve.level:g} % interval"
    unit = " months" if curve.median_days is None else ""
    return f"{counts}\n({interval} {months(curve.median_low)}{unit} to {months(curve.median_high)})"


def _change_axis(axes: "Axes", cohort: CohortFigure, label: str) -> None:
    axes.axhline(0.0, color="black", linewidth=0.8)
    for threshold in (cohort.response_change, cohort.progression_change):
        if threshold is not None:
            axes.axhline(100.0 * threshold, color="black", linewidth=0.7, linestyle=(0, (5, 3)))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -105.0), max(min(high, 205.0), 30.0))
    axes.set_ylabel(label)


def _title(cohort: CohortFigure) -> str:
    group = cohort.group
    phase = "whole course" if group.treatment_phase == COURSE else group.treatment_phase
    return shown(f"{phase}, {group.criterion}, {group.basis}", 90)
