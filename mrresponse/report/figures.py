"""The picture of one measurement: the slice, the outlines and the calipers, drawn in millimetres."""

import base64
import math
from collections.abc import Sequence

from markupsafe import Markup

from mrresponse.domain import Snapshot
from mrresponse.report import svg
from mrresponse.report.snapshots import png_bytes
from mrresponse.report.wording import CONTRAST_WORDS

_TICK_PX = 3.0
_LETTER_SHARE = 0.065
_SCALE_BARS_MM = (50.0, 20.0, 10.0, 5.0)

Ends = tuple[tuple[float, float], tuple[float, float]]


def lesion_picture(snapshot: Snapshot, numbers: Sequence[tuple[str, str]], *, spoken: str) -> Markup:
    """Draw a snapshot with its outlines, calipers, date, contrast phase and a scale bar.

    ``numbers`` are the lengths of the calipers with the name of their line, ``whole`` or ``viable``;
    ``spoken`` is the picture's text alternative.
    """
    rows, columns = snapshot.pixels.shape
    row_mm, column_mm = snapshot.spacing_mm
    width, height = columns * column_mm, rows * row_mm
    data = base64.b64encode(png_bytes(snapshot)).decode("ascii")
    parts = [
        svg.title(spoken),
        svg.element(
            "image",
            href=f"data:image/png;base64,{data}",
            width=width,
            height=height,
            preserveAspectRatio="none",
        ),
    ]
    for outlines, name in ((snapshot.outlines, "whole"), (snapshot.viable_outlines, "viable")):
        for outline in outlines:
            if len(outline) > 1:
                data_path = svg.path_of([_to_mm(point, snapshot) for point in outline], closed="Z")
                parts.append(svg.element("path", d=data_path, class_=f"outline {name}"))
    if snapshot.caliper:
        parts.append(_caliper(_ends_mm(snapshot.caliper, snapshot), "whole", width))
    if snapshot.viable_caliper:
        parts.append(_caliper(_ends_mm(snapshot.viable_caliper, snapshot), "viable", width))
    parts.append(_scale_bar(width, height))
    size = width * _LETTER_SHARE
    heading = f"{snapshot.study_date} {CONTRAST_WORDS[snapshot.contrast_phase]}"
    parts.append(svg.label(heading, width * 0.03, size * 1.2, font_size=size))
    for line, (name, text) in enumerate(reversed(numbers)):
        y = height - size * (0.6 + 1.2 * line)
        parts.append(svg.label(text, width * 0.03, y, font_size=size, class_=f"number {name}"))
    box = f"0 0 {width:.2f} {height:.2f}"
    return svg.element("svg", *parts, viewBox=box, role="img", class_="picture")


def _to_mm(point: tuple[float, float], snapshot: Snapshot) -> tuple[float, float]:
    """Place a pixel coordinate, whose whole numbers are pixel centres, on the picture in millimetres."""
    row_mm, column_mm = snapshot.spacing_mm
    return (point[0] + 0.5) * column_mm, (point[1] + 0.5) * row_mm


def _ends_mm(ends: Ends, snapshot: Snapshot) -> Ends:
    return _to_mm(ends[0], snapshot), _to_mm(ends[1], snapshot)


def _caliper(ends: Ends, name: str, width: float) -> Markup:
    """Draw a distance with a short bar across each end, over a dark line that parts it from bright tissue."""
    (x1, y1), (x2, y2) = ends
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    tick = _TICK_PX * width / 150.0
    across, along = -(y2 - y1) / length * tick, (x2 - x1) / length * tick
    strokes = [svg.path_of([(x1, y1), (x2, y2)])] + [
        svg.path_of([(x - across, y - along), (x + across, y + along)]) for x, y in ends
    ]
    drawn = "".join(strokes)
    return svg.element("path", d=drawn, class_="caliper under") + svg.element(
        "path", d=drawn, class_=f"caliper {name}"
    )


def _scale_bar(width: float, height: float) -> Markup:
    bar = next((length for length in _SCALE_BARS_MM if length <= 0.4 * width), _SCALE_BARS_MM[-1])
    right, y = width * 0.97, height * 0.96
    return svg.line(right - bar, y, right, y, class_="scale") + svg.label(
        f"{bar:g} mm", right, y - height * 0.025, font_size=width * _LETTER_SHARE, text_anchor="end"
    )
