"""What a cohort's page keeps of one patient, so that no cohort needs to be held in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import quote

from mrresponse.domain import SIZES_CONTRADICT, Assessment, PatientResult, PhaseSummary, Response
from mrresponse.report.lesion_table import leading_assessments
from mrresponse.report.names import file_stem
from mrresponse.report.page_parts import (
    Category,
    all_flags,
    category,
    flag_parts,
    not_assessed,
    phase_names,
)

_REVIEW_ORDER = ("ok", "review", "do not use unedited")
# Flags of responses by which a category may be far from the truth.
_ASKING = frozenset({"new_lesion_grows", SIZES_CONTRADICT})


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSummary:
    """One line of the list of patients: the latest answer, how much is in doubt, and the rows of the figures.

    Parameters
    ----------
    review_level
        The highest of the patient's studies.
    doubts
        One sentence for each kind of flag.
    phases, assessments
        Rows for the figures of the cohort.
    """

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
    review_level: str = ""
    flags: int = 0
    not_assessed: int = 0
    doubts: Mapping[str, str] = field(default_factory=dict)
    phases: tuple[PhaseSummary, ...] = ()
    assessments: tuple[Assessment, ...] = ()

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

    @property
    def urgency(self) -> int:
        """How soon a reader should look: what must not be used unedited first, then by the number of doubts."""
        level = _REVIEW_ORDER.index(self.review_level) if self.review_level in _REVIEW_ORDER else 0
        if not _ASKING.isdisjoint(self.doubts):
            level = max(level, _REVIEW_ORDER.index("review"))
        return 1000 * level + self.flags + self.not_assessed


def summarise(result: PatientResult) -> PatientSummary:
    """Reduce a patient to one line of the list."""
    dates = sorted(
        {row.study_date for row in result.studies} | {s.study_date for s in result.patient.studies}
    )
    latest = _latest(leading_assessments(result))
    names = phase_names(result)
    levels = {study.review_level for study in result.studies}
    return PatientSummary(
        patient_id=result.patient.patient_id,
        studies=len(dates),
        first_study=dates[0] if dates else None,
        last_study=dates[-1] if dates else None,
        review_level=next((level for level in reversed(_REVIEW_ORDER) if level in levels), ""),
        flags=len(flag_parts(result)),
        not_assessed=len(not_assessed(result)),
        doubts={flag.code: flag.message for flag in reversed(all_flags(result))},
        criterion=latest.criterion if latest else "",
        treatment_phase=names.get(latest.treatment_phase, latest.treatment_phase) if latest else "",
        assessed_on=latest.study_date if latest else None,
        liver_response=latest.liver_response if latest else None,
        overall=latest.overall if latest else None,
        reason=latest.reason if latest else "no follow-up has been assessed",
        phases=result.response.summaries,
        assessments=result.response.assessments,
    )


def _latest(rows: Sequence[Assessment]) -> Assessment | None:
    return max((row for row in rows if not row.is_baseline), key=lambda row: row.study_date, default=None)
