"""Who, when and which assessment: the identifiers that tie the CDISC datasets together.

One assessment is a reader, a treatment phase and a criterion; its code (``R1-P2-MRECIST``) begins every link, because
a lesion may be target in one and non-target in another, and phases must never be mixed. The whole course is left out
where there are treatment phases: it would repeat them.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from mrresponse.domain import (
    ADJUDICATED,
    UNNAMED_READER,
    Assessment,
    Contribution,
    LesionRole,
    MeasurementSource,
    PatientResult,
    PhaseSummary,
    TreatmentPhase,
    is_single_phase,
)
from mrresponse.report.cdisc.dataset import in_ascii
from mrresponse.report.run import FinishedRun
from mrresponse.report.tidy import reference_date, study_day, visit_numbers
from mrresponse.report.wording import phases_in_order

RESTATED = "restated"
# The evaluator list is extensible; what an algorithm measured is kept apart from investigators and assessors.
ALGORITHM = "ALGORITHM"
ASSESSOR = "INDEPENDENT ASSESSOR"
ROLE_GROUPS = {LesionRole.TARGET: "TARGET", LesionRole.NON_TARGET: "NON-TARGET", LesionRole.NEW: "NEW"}
_ROLE_LETTERS = {LesionRole.TARGET: "T", LesionRole.NON_TARGET: "NT", LesionRole.NEW: "NEW"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """One reader, treatment phase and criterion of one patient, with everything that belongs to it."""

    code: str
    phase: TreatmentPhase
    period: int
    criterion: str
    reader: str
    evaluator: str
    evaluator_id: str | None
    assessments: tuple[Assessment, ...]
    contributions: Mapping[date, tuple[Contribution, ...]]
    summaries: tuple[PhaseSummary, ...]
    lesion_codes: Mapping[str, str]

    def visit_group(self, row: Assessment) -> str:
        """Return the link between the results and the response of one visit: A1 is the first, the baseline."""
        return f"{self.code}-A{self.assessments.index(row) + 1}"

    def link(self, lesion_id: str) -> str:
        """Return the link between a lesion and its results."""
        return f"{self.code}-{self.lesion_codes[lesion_id]}"

    @property
    def phase_name(self) -> str:
        """Number and name of the treatment phase."""
        return f"P{self.period} {self.phase.name}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One patient with visits and assessments."""

    study_id: str
    result: PatientResult
    reference: date
    visits: Mapping[date, int]
    groups: tuple[Group, ...]

    @property
    def subject_id(self) -> str:
        """The pseudonym."""
        return self.result.patient.patient_id

    @property
    def unique_id(self) -> str:
        """USUBJID: study and pseudonym."""
        return f"{self.study_id}-{self.subject_id}"

    def day(self, day: date) -> int:
        """Return the study day."""
        return study_day(day, self.reference)


def subjects(run: FinishedRun) -> tuple[Subject, ...]:
    """Return every patient of a run that has assessments."""
    readers = _reader_codes(run.results)
    sources = _sources(run.results)
    evaluators = _evaluator_ids(readers, sources)
    criteria = _criterion_codes(
        row.criterion for result in run.results for row in result.response.assessments
    )
    by_patient: dict[str, list[Contribution]] = {}
    for row in run.contributions:
        by_patient.setdefault(row.patient_id, []).append(row)
    found = []
    for result in run.results:
        rows = result.response.assessments
        reference = reference_date(result.patient, rows)
        if reference is None:
            continue
        found.append(
            Subject(
                study_id=run.study_id,
                result=result,
                reference=reference,
                visits=visit_numbers(rows),
                groups=_groups(
                    result,
                    by_patient.get(result.patient.patient_id, []),
                    readers,
                    evaluators,
                    criteria,
                    sources,
                ),
            )
        )
    return tuple(found)


def _groups(
    result: PatientResult,
    contributions: Sequence[Contribution],
    readers: Mapping[str, str],
    evaluators: Mapping[str, str | None],
    criteria: Mapping[str, str],
    sources: Mapping[str, set[MeasurementSource]],
) -> tuple[Group, ...]:
    rows: dict[tuple[str, str, str], list[Assessment]] = {}
    for row in result.response.assessments:
        rows.setdefault((row.treatment_phase, row.criterion, row.reader), []).append(row)
    names = phases_in_order(result.response.phases, result.response.assessments)
    kept = [name for name in names if is_single_phase(name)] or list(names)
    phases = {
        name: TreatmentPhase(patient_id=result.patient.patient_id, name=name, start_date=None)
        for name in kept
    }
    phases |= {phase.name: phase for phase in result.response.phases}
    groups = []
    for (name, criterion, reader), members in rows.items():
        if name not in kept:
            continue
        period = kept.index(name) + 1
        mine = [
            c
            for c in contributions
            if (c.treatment_phase, c.criterion, c.reader) == (name, criterion, reader)
        ]
        groups.append(
            Group(
                code=f"{readers[reader]}-P{period}-{criteria[criterion]}",
                phase=phases[name],
                period=period,
                criterion=criterion,
                reader=reader,
                evaluator=_evaluator(reader, result, sources),
                evaluator_id=evaluators[reader],
                assessments=tuple(sorted(members, key=lambda row: row.study_date)),
                contributions=_by_date(mine),
                summaries=tuple(
                    row
                    for row in result.response.summaries
                    if (row.treatment_phase, row.criterion, row.reader) == (name, criterion, reader)
                ),
                lesion_codes=_lesion_codes(mine),
            )
        )
    return tuple(groups)


def _by_date(rows: Iterable[Contribution]) -> dict[date, tuple[Contribution, ...]]:
    found: dict[date, list[Contribution]] = {}
    for row in rows:
        if row.role in ROLE_GROUPS:
            found.setdefault(row.study_date, []).append(row)
    return {day: tuple(members) for day, members in found.items()}


def _lesion_codes(rows: Iterable[Contribution]) -> dict[str, str]:
    """Number the lesions of a group within their role: T01, NT01, NEW01."""
    roles = {row.lesion_id: row.role for row in rows if row.role in ROLE_GROUPS}
    codes: dict[str, str] = {}
    for role, letters in _ROLE_LETTERS.items():
        members = sorted(lesion_id for lesion_id, its_role in roles.items() if its_role is role)
        codes |= {lesion_id: f"{letters}{number:02d}" for number, lesion_id in enumerate(members, start=1)}
    return codes


def _evaluator(reader: str, result: PatientResult, everywhere: Mapping[str, set[MeasurementSource]]) -> str:
    """Return --EVAL: who typed every number is an assessor, all else was measured by a program.

    Who saw no lesion in this patient has typed none: then the numbers of the other patients say it (``everywhere``),
    and where there are none either, a program has its name in ``model`` of the studies.
    """
    if reader == ADJUDICATED:
        return ASSESSOR
    found = _sources([result]).get(reader) or everywhere.get(reader)
    if found:
        return ASSESSOR if found == {MeasurementSource.READER} else ALGORITHM
    return ALGORITHM if any(study.model == reader for study in result.studies) else ASSESSOR


def _sources(results: Iterable[PatientResult]) -> dict[str, set[MeasurementSource]]:
    """Return where the numbers of every reader come from.

    What a person corrected in the rows of a network does not make the network a person.
    """
    found: dict[str, set[MeasurementSource]] = {}
    for result in results:
        for row in result.unedited or result.measurements:
            found.setdefault(row.reader, set()).add(row.source)
    return found


def _evaluator_ids(readers: Mapping[str, str], measured_by: Collection[str]) -> dict[str, str | None]:
    """Return --EVALID of every reader, with the reader's code where transport files would write two names alike.

    Nobody is identified where tables name no reader of a patient without lesions.
    """
    unnamed = {UNNAMED_READER} - set(measured_by)
    ids = {
        name: "ADJUDICATOR" if name == ADJUDICATED else name.upper()
        for name in readers
        if name not in unnamed
    }
    written = Counter(map(in_ascii, ids.values()))
    told_apart: dict[str, str | None] = {
        name: shown if written[in_ascii(shown)] == 1 else f"{readers[name]} {shown}"
        for name, shown in ids.items()
    }
    return told_apart | dict.fromkeys(unnamed)


def _reader_codes(results: Iterable[PatientResult]) -> dict[str, str]:
    names = sorted({row.reader for result in results for row in result.response.assessments} - {ADJUDICATED})
    return {name: f"R{number}" for number, name in enumerate(names, start=1)} | {ADJUDICATED: "ADJ"}


def _criterion_codes(names: Iterable[str]) -> dict[str, str]:
    """Shorten criteria to letters and digits, told apart by a number where that makes two alike."""
    codes: dict[str, str] = {}
    for name in sorted(set(names)):
        short = re.sub(r"[^A-Z0-9]", "", name.upper()) or "C"
        code, number = short, 2
        while code in codes.values():
            code, number = f"{short}{number}", number + 1
        codes[name] = code
    return codes
