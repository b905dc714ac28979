"""Curves over a time axis, as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from mrresponse.report import svg

LETTER = 6.3
MARGIN = 50.0
RIGHT = 14.0
_TOP = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time axis of a figure."""

    first: date
    last: date
    width: float

    def x(self, day: date) -> float:
        """Place a date."""
        share = (day - self.first).days / max((self.last - self.first).days, 1)
        return MARGIN + share * (self.width - MARGIN - RIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a curve; ``value`` is ``None`` where it could not be determined."""

    day: date
    value: float | None
    words: str
    is_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The values of a chart's vertical axis; the ticks span it."""

    ticks: tuple[float, ...]
    is_log: bool = False
    height: float = 96.0
    unit: str = ""

    def y(self, value: float) -> float:
        """Place a value below the chart's heading; what lies beyond the scale sits on its edge."""
        low, high = self.ticks[0], self.ticks[-1]
        held = min(max(value, low), high)
        share = math.log(held / low) / math.log(high / low) if self.is_log else (held - low) / (high - low)
        return _TOP + (1.0 - share) * self.height

    @property
    def floor(self) -> float:
        """Give the place of the lowest tick."""
        return _TOP + self.height


def from_zero(highest: float) -> Scale:
    """Give a scale from 0 to a highest value."""
    if highest <= 0:
        return Scale(ticks=(0.0, 1.0))
    rough = max(highest, 1e-6) / 3.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough)
    return Scale(ticks=tuple(step * n for n in range(math.ceil(highest / step - 1e-9) + 1)))


def logarithmic(values: Sequence[float]) -> Scale:
    """Give a scale of powers of ten around values above 0."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    step = max(1, math.ceil((high - low) / 6))
    return Scale(ticks=tuple(10.0**power for power in range(low, high + step, step)), is_log=True)


def of_change(values: Sequence[float]) -> Scale:
    """Give a scale of per cent from -100 to at least +50 and at most +200."""
    highest = min(max(values, default=0.0), 200.0)
    step = 50.0 if highest <= 100.0 else 100.0
    top = max(1, math.ceil(highest / step - 1e-9))
    ticks = tuple(step * n for n in range(-round(100.0 / step), top + 1))
    return Scale(ticks=ticks, height=132.0, unit=" %")


def chart(
    heading: str,
    curves: Sequence[tuple[str, list[list[Point]]]],
    axis: Axis,
    scale: Scale,
    *,
    named_at_end: bool = False,
) -> tuple[Markup, float]:
    """Draw curves over the time axis and give the height they take.

    An undetermined value is a cross on the floor, a bound an open mark. Curves are named beside the heading, or each
    at its last point.
    """
    heading = svg.shortened(heading, int(axis.width / 7.6))
    parts = [svg.label(heading, 0, 12, class_="panel")]
    for tick in scale.ticks:
        y = scale.y(tick)
        style = "rule zero" if tick == 0 and scale.ticks[0] < 0 else "rule"
        parts.append(svg.line(MARGIN, y, axis.width - RIGHT, y, class_=style))
        words = f"{_tick_words(tick)}{scale.unit}"
        parts.append(svg.label(words, MARGIN - 5, y + 4, class_="tick", text_anchor="end"))
    x = len(heading) * 7.6 + 18
    for index, (name, pieces) in enumerate(curves):
        if len(curves) > 1 and not named_at_end:
            text = svg.shortened(name, 24)
            parts.append(_dot(x, 8.0, index, is_bound=False))
            parts.append(svg.label(text, x + 9, 12, class_="lane"))
            x += len(text) * LETTER + 30
        for piece in pieces:
            parts += _curve(piece, index, axis, scale)
    if named_at_end:
        parts += _end_names(curves, axis, scale)
    return Markup("").join(parts), scale.floor + 18.0


def _end_names(curves: Sequence[tuple[str, list[list[Point]]]], axis: Axis, scale: Scale) -> list[Markup]:
    """Write each curve's name at its last value, moved apart where several end together."""
    ends = []
    for index, (name, pieces) in enumerate(curves):
        known = [point for piece in pieces for point in piece if point.value is not None]
        if known and known[-1].value is not None:
            ends.append((axis.x(known[-1].day), scale.y(known[-1].value), index, name))
    ends.sort(key=lambda end: (end[0] // 40, end[1]))
    names, last_x, last_y = [], -math.inf, -math.inf
    for x, y, index, name in ends:
        low = max(y + 4.0, last_y + 12.0) if x - last_x < 40.0 else y + 4.0
        last_x, last_y = x, low
        outside = x > axis.width - RIGHT - 34.0
        place, anchor = (x - 6.0, "end") if outside else (x + 6.0, "start")
        text = svg.shortened(name, 8)
        style = f"name c{index % 4}"
        names.append(
            svg.label(text, place, low - (8.0 if outside else 0.0), class_=style, text_anchor=anchor)
        )
    return names


def _curve(piece: Sequence[Point], index: int, axis: Axis, scale: Scale) -> list[Markup]:
    parts: list[Markup] = []
    run: list[tuple[float, float]] = []
    marks: list[Markup] = []
    for point in [*piece, None]:
        if point is not None and point.value is not None:
            place = (axis.x(point.day), scale.y(point.value))
            run.append(place)
            dot = _dot(*place, index, is_bound=point.is_bound)
            marks.append(svg.element("g", svg.title(point.words), dot, class_="tip"))
            continue
        if len(run) > 1:
            parts.append(svg.element("path", d=svg.path_of(run), class_=f"curve c{index % 4}"))
        run = []
        if point is not None:
            style = f"cross c{index % 4}"
            cross = svg.label("×", axis.x(point.day), scale.floor + 4, class_=style, text_anchor="middle")
            marks.append(svg.element("g", svg.title(point.words), cross, class_="tip"))
    return parts + marks


def _dot(x: float, y: float, index: int, *, is_bound: bool) -> Markup:
    """Draw a mark whose shape, like its colour, belongs to its curve."""
    style = f"dot c{index % 4}{' open' if is_bound else ''}"
    if index % 2 == 0:
        return svg.element("circle", cx=x, cy=y, r=3.6, class_=style)
    return svg.element("rect", x=x - 3.3, y=y - 3.3, width=6.6, height=6.6, class_=style)


def _tick_words(value: float) -> str:
    """Write a tick short enough for its margin."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g} {letter}"
    return f"{value:g}"
