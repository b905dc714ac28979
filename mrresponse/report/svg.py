"""Small pieces of inline SVG; every text is escaped here and nowhere else."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from mrresponse.report.wording import plain


def element(name: str, *children: Markup, **attributes: object) -> Markup:
    """Write one element; ``class_`` becomes ``class``, ``_`` in a name ``-``; ``None`` is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{''.join(children)}</{name}>")


def label(text: str, x: float, y: float, **attributes: object) -> Markup:
    """Write a line of text, its direction kept to itself."""
    return element("text", escape(plain(text)), x=x, y=y, **attributes)


def title(text: str) -> Markup:
    """Write the tooltip and spoken name of the element around it."""
    return element("title", escape(plain(text)))


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    """Draw a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def path_of(points: Sequence[tuple[float, float]], *, closed: str = "") -> str:
    """Give the path data through points; ``closed`` is ``Z`` for an outline."""
    return "M" + "L".join(f"{_value(x)},{_value(y)}" for x, y in points) + closed


def shortened(text: str, letters: int) -> str:
    """Cut a text to a number of letters, showing that it was cut."""
    return text if len(text) <= letters else text[: max(letters - 1, 1)] + "…"


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
