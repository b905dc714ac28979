"""The patient page and the list of patients: self-contained HTML files that ask nothing of a network."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrresponse import __version__
from mrresponse.domain import Assessment, Failure, Marker, PatientResult, Response
from mrresponse.files import write_atomically
from mrresponse.report.names import file_stem
from mrresponse.report.page_lesions import lesion_parts
from mrresponse.report.page_parts import (
    Category,
    category,
    course_note,
    flag_parts,
    headlines,
    not_assessed,
    phase_names,
    phase_parts,
)
from mrresponse.report.timeline import finding_words, leading_assessments, numbered_phases, timeline
from mrresponse.report.wording import plain

_WIDE, _NARROW = 1040.0, 350.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSummary:
    """One line of the list of patients: the latest answer and how much of it is in doubt."""

    patient_id: str
    studies: int
    first_study: date | None
    last_study: date | None
    criterion: str = ""
    treatment_phase: str = ""
    assessed_on: date | None = None
    liver_response: Response | None = None
    overall: Response | None = None
    reason: str = ""
    flags: int = 0
    not_assessed: int = 0

    @property
    def liver(self) -> Category:
        """The liver's response with its colour."""
        return category(self.liver_response)

    @property
    def whole(self) -> Category:
        """The overall response with its colour."""
        return category(self.overall)

    @property
    def link(self) -> str:
        """Address of the patient's page beside the list."""
        return quote(f"{file_stem(self.patient_id)}.html")


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
            numbered=list(enumerate(numbered_phases(result), 1)),
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
            script=_script("patient.js"),
        )
    )


def write_report(result: PatientResult, folder: Path) -> Path:
    """Write a patient's page into the ``report`` folder of a run and give its path."""
    path = folder / f"{file_stem(result.patient.patient_id)}.html"
    write_atomically(path, patient_page(result).encode("utf-8", "replace"))
    return path


def summarise(result: PatientResult) -> PatientSummary:
    """Reduce a patient to one line of the list, so that no cohort needs to be held in memory."""
    patient_id = result.patient.patient_id
    dates = sorted(
        {row.study_date for row in result.studies} | {s.study_date for s in result.patient.studies}
    )
    latest = _latest(leading_assessments(result))
    names = phase_names(result)
    summary = PatientSummary(
        patient_id=patient_id,
        studies=len(dates),
        first_study=dates[0] if dates else None,
        last_study=dates[-1] if dates else None,
        flags=len(flag_parts(result)),
        not_assessed=len(not_assessed(result)),
        criterion=latest.criterion if latest else "",
        treatment_phase=names.get(latest.treatment_phase, latest.treatment_phase) if latest else "",
        assessed_on=latest.study_date if latest else None,
        liver_response=latest.liver_response if latest else None,
        overall=latest.overall if latest else None,
        reason=latest.reason if latest else "no follow-up has been assessed",
    )
    return summary


def _latest(rows: Sequence[Assessment]) -> Assessment | None:
    return max((row for row in rows if not row.is_baseline), key=lambda row: row.study_date, default=None)


def write_index(
    summaries: Sequence[PatientSummary], folder: Path, *, failures: Sequence[Failure] = ()
) -> Path:
    """Write ``index.html`` beside the patients' pages: failures, then patients, the most doubtful first."""
    path = folder / "index.html"
    ordered = sorted(summaries, key=lambda s: (-(s.flags + s.not_assessed), s.patient_id))
    page = (
        _environment()
        .get_template("index.html.j2")
        .render(
            patients=ordered,
            failures=failures,
            in_doubt=sum(1 for s in summaries if s.flags or s.not_assessed),
            version=__version__,
            script=_script("cohort.js"),
        )
    )
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def _marker_rows(markers: Sequence[Marker]) -> list[tuple[Marker, str]]:
    ordered = sorted(markers, key=lambda row: (row.name, row.date))
    return [(row, f"{row.qualifier}{row.value:g} {row.unit}") for row in ordered]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """A page's own script, and its fingerprint: the page lets no other one run."""

    text: Markup
    hash: str


@cache
def _script(name: str) -> _Script:
    text = resources.files("mrresponse.report").joinpath("templates", name).read_text(encoding="utf-8")
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
