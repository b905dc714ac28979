"""How all figures look, and how they are written."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mrresponse.domain import Response
from mrresponse.errors import ConfigError
from mrresponse.files import write_atomically
from mrresponse.report.wording import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")

# Okabe M, Ito K 2008, Color Universal Design; the grey is lighter than theirs, to stay apart from the green.
_BLUE, _GREEN, _GREY, _VERMILION, _PALE = "#0072B2", "#009E73", "#B4B4B4", "#D55E00", "#EDEDED"
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "CR": _BLUE,
        "NED": _BLUE,
        "PR": _GREEN,
        "SD": _GREY,
        "NON-CR/NON-PD": _GREY,
        "NON-CR/NON-UPD": _GREY,
        "PD": _VERMILION,
        "UPD": _VERMILION,
        "CPD": _VERMILION,
        "NE": _PALE,
    }
)
LINES = ("#000000", _BLUE, _VERMILION, _GREEN, "#CC79A7", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 2, 1, 2)))

# 7 to 8 points at the width of two columns, as journals ask for; text stays text in SVG and PDF.
_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mrresponse",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
}
_PNG_DPI = 300


def settings() -> dict[str, Any]:
    """Give the matplotlib settings of all figures, with the first of the fonts that this machine has."""
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in _SETTINGS["font.sans-serif"] if name in known]  # type: ignore[attr-defined]
    return _SETTINGS | {"font.sans-serif": fonts or ["DejaVu Sans"]}


def new_figure(width_mm: float, height_mm: float) -> "Figure":
    """Make an empty figure of a size in print."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_mm / 25.4, height_mm / 25.4))


def colour(response: Response | None) -> str:
    """Give the colour of a response."""
    return _PALE if response is None else COLOURS.get(response.value.removeprefix("i"), _GREY)


def response_legend(axes: "Axes", words: "set[Response]", **where: Any) -> None:
    """Name the colours that a plot uses."""
    from matplotlib.patches import Patch

    shown = [word for word in Response if word in words]
    handles = [Patch(facecolor=colour(word), edgecolor="black", linewidth=0.4) for word in shown]
    if handles:
        axes.legend(handles, [word.value for word in shown], handlelength=1.0, **where)


def shown(text: str, letters: int = 60) -> str:
    """Make a text fit for a figure: no control characters, and not longer than so many letters."""
    text = plain(text)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure in the format of the file's ending; the same figure gives the same bytes.

    Raises
    ------
    ConfigError
        The ending is none of ``svg``, ``pdf`` and ``png``.
    """
    file_format = path.suffix.removeprefix(".").lower()
    if file_format not in FORMATS:
        raise ConfigError(f"format '{file_format}': unknown, expected one of {', '.join(FORMATS)}")
    from matplotlib import rc_context

    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}
    buffer = io.BytesIO()
    with rc_context(settings()):
        figure.savefig(buffer, format=file_format, dpi=_PNG_DPI, metadata=undated[file_format])
    write_atomically(path, buffer.getvalue())
    return path
