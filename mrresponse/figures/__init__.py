"""Figures for papers: the plots of the pages as SVG, PDF or PNG, safe for colour-blind readers, their text editable.

Each function gives a matplotlib figure, which can be changed before `save` writes it. matplotlib is loaded when the
first figure is drawn.
"""

from mrresponse.figures.cohort import spider, survival, swimmer, waterfall
from mrresponse.figures.patient import course, lesion_strip
from mrresponse.figures.style import FORMATS, save
from mrresponse.figures.write import write_figures

__all__ = [
    "FORMATS",
    "course",
    "lesion_strip",
    "save",
    "spider",
    "survival",
    "swimmer",
    "waterfall",
    "write_figures",
]
