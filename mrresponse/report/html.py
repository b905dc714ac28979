"""The patient page and the list of patients: self-contained HTML files that ask nothing of a network."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrresponse import __version__
from mrresponse.cohort import CohortFigure
from mrresponse.domain import Failure, Marker, PatientResult
from mrresponse.files import write_atomically
from mrresponse.report.cohort_page import doubt_counts, figure_data, group_name, sort_rank
from mrresponse.report.events import finding_words
from mrresponse.report.names import file_stem
from mrresponse.report.page_lesions import lesion_parts
from mrresponse.report.page_parts import (
    course_note,
    flag_parts,
    headlines,
    not_assessed,
    phase_parts,
)
from mrresponse.report.summary import PatientSummary
from mrresponse.report.timeline import given, numbered_phases, timeline
from mrresponse.report.wording import marker_words, plain

_WIDE, _NARROW = 1040.0, 350.0


def patient_page(result: PatientResult) -> str:
    """Write a patient's page: course, responses with their reasons, pictures, doubts, and what was done."""
    patient = result.patient
    dates = sorted({row.study_date for row in result.studies} | {row.study_date for row in patient.studies})
    return (
        _environment()
        .get_template("patient.html.j2")
        .render(
            patient=patient,
            dates=dates,
            headlines=headlines(result),
            timeline_wide=timeline(result, width=_WIDE),
            timeline_narrow=timeline(result, width=_NARROW),
            course_note=course_note(result),
            numbered=[
                (number, phase, given(result, phase.name))
                for number, phase in enumerate(numbered_phases(result), 1)
            ],
            phases=phase_parts(result),
            lesions=lesion_parts(result),
            not_assessed=not_assessed(result),
            flags=flag_parts(result),
            findings=[(row, finding_words(row)) for row in patient.findings],
            markers=_marker_rows(patient.markers),
            studies=result.studies,
            readers=sorted({row.reader for row in result.measurements}),
            models=sorted({row.model for row in result.studies if row.model}),
            settings_ids=sorted({row.settings_id for row in result.response.assessments if row.settings_id}),
            version=__version__,
            script=_script("tip.js", "patient.js"),
        )
    )


def write_report(result: PatientResult, folder: Path) -> Path:
    """Write a patient's page into the ``report`` folder of a run and give its path."""
    path = folder / f"{file_stem(result.patient.patient_id)}.html"
    write_atomically(path, patient_page(result).encode("utf-8", "replace"))
    return path


def write_index(
    summaries: Sequence[PatientSummary],
    folder: Path,
    *,
    failures: Sequence[Failure] = (),
    figures: Sequence[CohortFigure] = (),
) -> Path:
    """Write ``index.html`` beside the patients' pages: who needs review, the figures, and all patients.

    A group of one patient has no figure here: the patient's own page shows more.
    """
    path = folder / "index.html"
    figures = [figure for figure in figures if figure.n > 1]
    ordered = sorted(summaries, key=lambda summary: (-summary.urgency, summary.patient_id))
    page = (
        _environment()
        .get_template("cohort.html.j2")
        .render(
            patients=ordered,
            failures=failures,
            doubtful=[summary for summary in ordered if summary.urgency],
            doubt_counts=doubt_counts(ordered),
            groups=[group_name(figure) for figure in figures],
            data=figure_data(figures, ordered),
            sort_rank=sort_rank,
            version=__version__,
            script=_script("tip.js", "cohort.js"),
        )
    )
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def _marker_rows(markers: Sequence[Marker]) -> list[tuple[Marker, str]]:
    ordered = sorted(markers, key=lambda row: (row.name, row.date))
    return [(row, marker_words(row)) for row in ordered]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """A page's own script, and its fingerprint: the page lets no other one run."""

    text: Markup
    hash: str


@cache
def _script(*names: str) -> _Script:
    templates = resources.files("mrresponse.report") / "templates"
    text = "".join((templates / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return _Script(text=Markup(text), hash=f"sha256-{digest}")


@cache
def _environment() -> Environment:
    """Build the template environment: everything is escaped, a missing value is an error."""
    return Environment(
        loader=PackageLoader("mrresponse.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
