"""The pictures of one lesion at one visit: slices with outlines and calipers, drawn in millimetres.

All slices of a visit are one image whose part outside the frame is not shown; stepping moves it. What is drawn on a
slice is a group that is shown with it.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from mrresponse.domain import DrawnCaliper, Measurement, PicturedSlice, PixelPoint, Snapshot
from mrresponse.report import svg
from mrresponse.report.snapshots import Pixels, jpeg_bytes
from mrresponse.report.wording import CONTRAST_SHORT

_TICK_SHARE = 0.02
_LETTER_SHARE = 0.07
_SCALE_BARS_MM = (50.0, 20.0, 10.0, 5.0)


def lesion_pictures(
    snapshot: Snapshot, lengths: Sequence[tuple[str, float]], *, key: str, spoken: str
) -> tuple[Markup, ...]:
    """Draw the contrast phase of a snapshot and, where there is one, its subtraction.

    Parameters
    ----------
    lengths
        Name (``whole`` or ``viable``) and length of each caliper to draw.
    key
        Name of this visit's drawings, unique on the page.
    spoken
        Text alternative of the pictures.
    """
    shown = shown_first(snapshot)
    drawn = svg.element("g", *_drawings(snapshot, lengths, shown), id=f"d{key}")
    contrast = CONTRAST_SHORT[snapshot.contrast_phase]
    pictures = [_picture(snapshot, snapshot.pixels, drawn, contrast, f"{spoken}, {contrast}")]
    if snapshot.subtraction is not None:
        again = svg.element("use", href=f"#d{key}")
        label = "arterial − precontrast"
        pictures.append(_picture(snapshot, snapshot.subtraction, again, label, f"{spoken}, {label}"))
    return tuple(pictures)


def with_own_calipers(snapshot: Snapshot, row: Measurement | None) -> Snapshot:
    """Return a snapshot with the calipers of the numbers that stand now: one that a reader typed was not drawn."""
    if row is None:
        return snapshot
    return replace(
        snapshot,
        caliper=snapshot.caliper if row.caliper else None,
        viable_caliper=snapshot.viable_caliper if row.viable_caliper else None,
    )


def shown_first(snapshot: Snapshot) -> int:
    """Give the number of the slice at the anatomical place, or nearest to it."""
    slices = snapshot.slices
    return min(range(len(slices)), key=lambda n: (slices[n].step is None, abs(slices[n].step or 0)))


def _picture(snapshot: Snapshot, pixels: Pixels, drawn: Markup, label: str, spoken: str) -> Markup:
    width, height = _size_mm(snapshot)
    data = base64.b64encode(jpeg_bytes(pixels)).decode("ascii")
    size = width * _LETTER_SHARE
    image = svg.element(
        "image",
        href=f"data:image/jpeg;base64,{data}",
        y=-height * shown_first(snapshot),
        width=width,
        height=height * len(snapshot.slices),
        preserveAspectRatio="none",
    )
    return svg.element(
        "svg",
        svg.title(spoken),
        image,
        drawn,
        _scale_bar(width, height),
        svg.label(label, width * 0.03, size * 1.2, font_size=size),
        viewBox=f"0 0 {width:.2f} {height:.2f}",
        data_height=round(height, 2),
        role="img",
        class_="picture",
    )


def _drawings(snapshot: Snapshot, lengths: Sequence[tuple[str, float]], shown: int) -> list[Markup]:
    parts = []
    for number, one in enumerate(snapshot.slices):
        style = "slice on" if number == shown else "slice"
        parts.append(svg.element("g", *_outlines(one, snapshot), data_n=number, class_=style))
    for line, (name, length) in enumerate(reversed(lengths)):
        caliper = snapshot.viable_caliper if name == "viable" else snapshot.caliper
        if caliper is not None:
            parts.append(_caliper(caliper, snapshot, name, (length, line), shown))
    return parts


def _outlines(one: PicturedSlice, snapshot: Snapshot) -> list[Markup]:
    """Draw each kind of outline of a slice as one path."""
    kinds = (
        ("reference", one.reference_outlines),
        ("whole", one.outlines),
        ("viable", one.viable_outlines),
    )
    return [
        svg.element(
            "path",
            d="".join(
                svg.path_of([_to_mm(point, snapshot) for point in outline], closed="Z")
                for outline in outlines
            ),
            class_=f"outline {name}",
        )
        for name, outlines in kinds
        if outlines
    ]


def _caliper(
    caliper: DrawnCaliper, snapshot: Snapshot, name: str, number: tuple[float, int], shown: int
) -> Markup:
    """Draw a distance with a short bar across each end, and its length in the picture's corner.

    On other slices than its own it is faint, and its number says how far off it lies.
    """
    length_mm, line = number
    width, height = _size_mm(snapshot)
    (x1, y1), (x2, y2) = _to_mm(caliper.start, snapshot), _to_mm(caliper.end, snapshot)
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    tick = _TICK_SHARE * width
    across, along = -(y2 - y1) / length * tick, (x2 - x1) / length * tick
    strokes = [svg.path_of([(x1, y1), (x2, y2)])] + [
        svg.path_of([(x - across, y - along), (x + across, y + along)]) for x, y in ((x1, y1), (x2, y2))
    ]
    drawn = "".join(strokes)
    size = width * _LETTER_SHARE
    offset = snapshot.slices[caliper.slice_number].offset_mm
    return svg.element(
        "g",
        svg.element("path", d=drawn, class_="caliper under"),
        svg.element("path", d=drawn, class_=f"caliper {name}"),
        svg.label(
            f"{length_mm:.1f} mm",
            width * 0.03,
            height - size * (0.6 + 1.2 * line),
            font_size=size,
            class_=f"number {name}",
        ),
        data_n=caliper.slice_number,
        data_offset=offset,
        class_="measure" if caliper.slice_number == shown else "measure off",
    )


def _size_mm(snapshot: Snapshot) -> tuple[float, float]:
    _, rows, columns = snapshot.pixels.shape
    row_mm, column_mm = snapshot.spacing_mm
    return columns * column_mm, rows * row_mm


def _to_mm(point: PixelPoint, snapshot: Snapshot) -> PixelPoint:
    """Place a pixel coordinate, whose whole numbers are pixel centres, on the picture in millimetres."""
    row_mm, column_mm = snapshot.spacing_mm
    return (point[0] + 0.5) * column_mm, (point[1] + 0.5) * row_mm


def _scale_bar(width: float, height: float) -> Markup:
    bar = next((length for length in _SCALE_BARS_MM if length <= 0.35 * width), _SCALE_BARS_MM[-1])
    right, y = width * 0.97, height * 0.96
    return svg.line(right - bar, y, right, y, class_="scale") + svg.label(
        f"{bar:g} mm", right, y - height * 0.025, font_size=width * _LETTER_SHARE, text_anchor="end"
    )
