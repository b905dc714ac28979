"""ADaM of a run: response (ADRS), measurements (ADTR) and times to events (ADTTE).

Parameters and their values follow the practice of admiralonco. One treatment phase is one ``APERIOD`` and ``APHASE``;
criterion (``RSCAT``), evaluator and ``BASIS`` (the liver alone or overall) tell parameters of one name apart: an
analysis picks one of each. Dates are numeric SAS dates; ``ADY`` counts from the first treatment.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from mrresponse.domain import Assessment, Contribution, LesionRole, PhaseSummary, Response
from mrresponse.report.cdisc.dataset import Dataset, Row, Value, Variable, in_percent
from mrresponse.report.cdisc.keys import Group, Subject, subjects
from mrresponse.report.run import FinishedRun

MISSING = "MISSING"
# Best to worst, MISSING last; NED (no disease at all) has no number.
RESPONSE_VALUES = {"CR": 1, "PR": 2, "SD": 3, "NON-CR/NON-PD": 4, "PD": 5, "NE": 6, MISSING: 7}
IMMUNE_VALUES = {
    "iCR": 1,
    "iPR": 2,
    "iSD": 3,
    "NON-iCR/NON-iUPD": 4,
    "iUPD": 5,
    "iCPD": 6,
    "NE": 7,
    MISSING: 8,
}
RESPONDED = frozenset({"CR", "PR", "iCR", "iPR"})
STABLE = frozenset({"SD", "NON-CR/NON-PD"})
PROGRESSED = frozenset({"PD", "iCPD"})
PROGRESSIVE = PROGRESSED | {"iUPD"}
EARLY_SCAN = "early_scan_ignored"
_OVERALL = "overall"
_SIZES = {
    "mm": ("LDIAM", "Longest Diameter (mm)"),
    "mm2": ("AREA", "Area (mm2)"),
    "mL": ("VOL", "Volume (mL)"),
}
_NODE = ("NLDIAM", "Short Axis of Node (mm)")
_SUMS = {
    "mm": ("SDIAM", "Sum of Diameters (mm)"),
    "mm2": ("SAREA", "Sum of Areas (mm2)"),
    "mL": ("SVOL", "Sum of Volumes (mL)"),
}

_KEYS = (
    Variable(name="STUDYID", label="Study Identifier"),
    Variable(name="USUBJID", label="Unique Subject Identifier"),
    Variable(name="SUBJID", label="Subject Identifier for the Study"),
    Variable(name="ASEQ", label="Analysis Sequence Number", kind=float),
    Variable(name="APERIOD", label="Period", kind=float),
    Variable(name="APHASE", label="Phase"),
    Variable(name="RSCAT", label="Category for Assessment"),
    Variable(name="RSEVAL", label="Evaluator"),
    Variable(name="RSEVALID", label="Evaluator Identifier"),
    Variable(name="BASIS", label="Disease That Was Assessed"),
    Variable(name="PARAMCD", label="Parameter Code"),
    Variable(name="PARAM", label="Parameter"),
)
_ADRS = (
    *_KEYS,
    Variable(name="AVISIT", label="Analysis Visit"),
    Variable(name="AVISITN", label="Analysis Visit (N)", kind=float),
    Variable(name="ADT", label="Analysis Date", kind=date),
    Variable(name="ADY", label="Analysis Relative Day", kind=float),
    Variable(name="AVAL", label="Analysis Value", kind=float),
    Variable(name="AVALC", label="Analysis Value (C)"),
    Variable(name="ANL01FL", label="Analysis Flag 01"),
)
_ADTR = (
    *_KEYS,
    Variable(name="TRSPID", label="Sponsor-Defined Identifier"),
    Variable(name="VIABFL", label="Viable (Enhancing) Part Only Flag"),
    Variable(name="AVISIT", label="Analysis Visit"),
    Variable(name="AVISITN", label="Analysis Visit (N)", kind=float),
    Variable(name="ADT", label="Analysis Date", kind=date),
    Variable(name="ADY", label="Analysis Relative Day", kind=float),
    Variable(name="AVAL", label="Analysis Value", kind=float),
    Variable(name="BASE", label="Baseline Value", kind=float),
    Variable(name="CHG", label="Change from Baseline", kind=float),
    Variable(name="PCHG", label="Percent Change from Baseline", kind=float),
    Variable(name="NADIR", label="Nadir", kind=float),
    Variable(name="CHGNAD", label="Change from Nadir", kind=float),
    Variable(name="PCHGNAD", label="Percent Change from Nadir", kind=float),
    Variable(name="ABLFL", label="Baseline Record Flag"),
    Variable(name="PDFL", label="Progressive Disease Flag"),
    Variable(name="ANL01FL", label="Analysis Flag 01"),
)
_ADTTE = (
    *_KEYS,
    Variable(name="STARTDT", label="Time-to-Event Origin Date for Subject", kind=date),
    Variable(name="ADT", label="Analysis Date", kind=date),
    Variable(name="AVAL", label="Analysis Value", kind=float),
    Variable(name="AVALU", label="Analysis Value Unit"),
    Variable(name="CNSR", label="Censor", kind=float),
    Variable(name="EVNTDESC", label="Event or Censoring Description"),
    Variable(name="CNSDTDSC", label="Censor Date Description"),
)


def adam_datasets(run: FinishedRun) -> tuple[Dataset, ...]:
    """Return ADRS, ADTR and ADTTE of a run."""
    everyone = subjects(run)
    first_day, least_days = _first_day(run.record), _least_days(run.record)
    adrs = [
        _numbered(one, [row for group in one.groups for row in _adrs(one, group, least_days)])
        for one in everyone
    ]
    adtr = [
        _numbered(one, [row for group in one.groups for row in _adtr(one, group, least_days)])
        for one in everyone
    ]
    adtte = [
        _numbered(one, [row for group in one.groups for row in _adtte(group, first_day)]) for one in everyone
    ]
    return (
        Dataset(name="ADRS", label="Response Analysis Dataset", variables=_ADRS, rows=_joined(adrs)),
        Dataset(name="ADTR", label="Tumor Results Analysis Dataset", variables=_ADTR, rows=_joined(adtr)),
        Dataset(name="ADTTE", label="Time-to-Event Analysis Dataset", variables=_ADTTE, rows=_joined(adtte)),
    )


def _joined(parts: list[list[Row]]) -> tuple[Row, ...]:
    return tuple(row for part in parts for row in part)


def _numbered(subject: Subject, rows: list[Row]) -> list[Row]:
    return [
        {
            "STUDYID": subject.study_id,
            "USUBJID": subject.unique_id,
            "SUBJID": subject.subject_id,
            "ASEQ": number,
            **row,
        }
        for number, row in enumerate(rows, start=1)
    ]


def _of(group: Group, basis: str) -> Row:
    return {
        "APERIOD": group.period,
        "APHASE": group.phase.name,
        "RSCAT": group.criterion,
        "RSEVAL": group.evaluator,
        "RSEVALID": group.evaluator_id,
        "BASIS": basis.upper(),
    }


def _visit(subject: Subject, row: Assessment) -> Row:
    number = subject.visits[row.study_date]
    return {
        "AVISIT": "BASELINE" if row.is_baseline else f"VISIT {number}",
        "AVISITN": number,
        "ADT": row.study_date,
        "ADY": subject.day(row.study_date),
    }


def _adrs(subject: Subject, group: Group, least_days: float) -> Iterator[Row]:
    values = IMMUNE_VALUES if _is_immune(group) else RESPONSE_VALUES
    scans = _scans(subject, group)
    for summary in group.summaries:
        shared = _of(group, summary.basis)
        followed = [row for row in group.assessments if not row.is_baseline]
        early = _early_scans(followed, summary.basis, least_days)
        counted = [
            row
            for row in _counted(followed, summary)
            if row.study_date not in early
            and (row.study_date in scans or _said(row, summary.basis) is not Response.NE)
        ]
        days = {row.study_date for row in counted}
        for row in followed:
            yield {
                **shared,
                **_parameter("OVR", "Overall Response by Visit"),
                **_visit(subject, row),
                **_word(_said(row, summary.basis) or MISSING, values),
                "ANL01FL": "Y" if row.study_date in days else None,
            }
        parameters = [
            *_best(summary, followed, values),
            *_last(counted, summary.basis, values),
            *_patient(subject, group, summary.basis),
        ]
        for parameter in parameters:
            day = parameter.get("ADT")
            yield {
                **shared,
                **parameter,
                "ADY": subject.day(day) if isinstance(day, date) else None,
                "ANL01FL": "Y",
            }


def _said(row: Assessment, basis: str) -> Response | None:
    return row.overall if basis == _OVERALL else row.liver_response


def _counted(rows: Sequence[Assessment], summary: PhaseSummary) -> list[Assessment]:
    """Return the follow-ups that enter the best response: of the patient, those not marked as past the progression.

    Disease elsewhere may progress while the liver responds, so the liver has its own. What was said from the date of a
    progression on, and before the visit that called it, was said while the lesion was in doubt.
    """
    if summary.basis == _OVERALL:
        return [row for row in rows if not row.after_progression]
    first = next((n for n, row in enumerate(rows, start=1) if row.liver_response in PROGRESSED), len(rows))
    since = summary.progression_date
    if since is None:
        return list(rows[:first])
    called = next(
        (row.study_date for row in rows if row.study_date >= since and row.liver_response in PROGRESSIVE),
        since,
    )
    return [row for row in rows[:first] if row.study_date < since or row.study_date >= called]


def _scans(subject: Subject, group: Group) -> set[date]:
    """Return the dates with images; one with findings alone that decide nothing enters no best response."""
    result = subject.result
    reader = result.measured_by(group.assessments[0])
    return {
        *(study.study_date for study in result.studies),
        *(study.study_date for study in result.patient.studies),
        *(row.study_date for row in result.measurements if row.reader == reader),
    }


def _early_scans(rows: Sequence[Assessment], basis: str, least_days: float) -> set[date]:
    """Return the scans that came too early after an unconfirmed progression of a basis and so changed nothing.

    The flag of a row does not say of which basis it is: of one that has no such progression it is not.
    """
    early: set[date] = set()
    since: date | None = None
    for row in rows:
        word = _said(row, basis)
        if word is Response.IUPD:
            is_soon = since is not None and (row.study_date - since).days < least_days
            if is_soon and EARLY_SCAN in row.flags:
                early.add(row.study_date)
            since = since or row.study_date
        elif word is not Response.NE:
            since = None
    return early


def _best(summary: PhaseSummary, rows: Sequence[Assessment], values: Mapping[str, int]) -> Iterator[Row]:
    """Yield the parameters of a phase: progression, response, best response and clinical benefit.

    A progression under iRECIST was confirmed, or it was not and stands all the same: each has its parameter.
    """
    best = summary.best_overall_response or MISSING
    confirmed = summary.confirmed_best_overall_response or MISSING
    if values is IMMUNE_VALUES:
        yield _yes_no("IRSP", "iRECIST Response", summary.response_date is not None, summary.response_date)
        yield {**_parameter("IBOR", "iRECIST Best Overall Response"), **_word(best, values)}
        is_confirmed = any(_said(row, summary.basis) is Response.ICPD for row in rows)
        for code, name, is_it in (
            ("ICPD", "iRECIST Confirmed Progression", is_confirmed),
            ("IUPD", "iRECIST Unconfirmed Progression", not is_confirmed),
        ):
            day = summary.progression_date if is_it else None
            yield _yes_no(code, name, day is not None, day)
        yield from _benefit("ICB", "iRECIST Clinical Benefit", summary.clinical_benefit)
        return
    yield _yes_no("PD", "Progressive Disease", summary.progression_date is not None, summary.progression_date)
    yield _yes_no("RSP", "Response", summary.response_date is not None, summary.response_date)
    yield _yes_no("CRSP", "Confirmed Response", confirmed in RESPONDED, None)
    yield {**_parameter("BOR", "Best Overall Response"), **_word(best, values)}
    yield {**_parameter("CBOR", "Confirmed Best Overall Response"), **_word(confirmed, values)}
    yield _yes_no("BCP", "Best Overall Response of CR/PR", best in RESPONDED, None)
    yield _yes_no("CBCP", "Confirmed Best Overall Response of CR/PR", confirmed in RESPONDED, None)
    yield from _benefit("CB", "Clinical Benefit", summary.clinical_benefit)
    benefit = summary.clinical_benefit
    if benefit is not None:
        sustained = confirmed in RESPONDED or (benefit and confirmed in STABLE)
        yield _yes_no("CCB", "Confirmed Clinical Benefit", sustained, None)


def _last(rows: list[Assessment], basis: str, values: Mapping[str, int]) -> Iterator[Row]:
    """Yield the last assessment."""
    if rows:
        yield {
            **_parameter("LSTA", "Last Disease Assessment"),
            "ADT": rows[-1].study_date,
            **_word(_said(rows[-1], basis) or MISSING, values),
        }


def _patient(subject: Subject, group: Group, basis: str) -> Iterator[Row]:
    baseline = next((row for row in group.assessments if row.is_baseline), None)
    if baseline is not None and "no_baseline" not in baseline.flags:
        measurable = baseline.baseline_burden is not None
        if basis != _OVERALL:
            targets = group.contributions.get(baseline.study_date, ())
            measurable = any(map(_is_liver_target, targets))
        yield _yes_no("MDIS", "Measurable Disease at Baseline", measurable, baseline.study_date)
    death = subject.result.patient.death_date
    yield _yes_no("DEATH", "Death", death is not None, death)


def _is_liver_target(lesion: Contribution) -> bool:
    return lesion.role is LesionRole.TARGET and lesion.organ == "liver" and not lesion.is_node


def _benefit(code: str, name: str, benefit: bool | None) -> Iterator[Row]:
    if benefit is not None:
        yield _yes_no(code, name, benefit, None)


def _adtr(subject: Subject, group: Group, least_days: float) -> Iterator[Row]:
    base: dict[str, float | None] = {}
    ends = [one.progression_date for one in group.summaries if one.basis == _OVERALL]
    last = next((day for day in ends if day is not None), date.max)
    early = _early_scans([row for row in group.assessments if not row.is_baseline], _OVERALL, least_days)
    for row in group.assessments:
        # what counts for the depth of the response: up to the date of the progression
        counts = "Y" if row.study_date <= last and row.study_date not in early else None
        shared: Row = {
            **_of(group, _OVERALL),
            **_visit(subject, row),
            "ABLFL": "Y" if row.is_baseline else None,
        }
        for lesion in group.contributions.get(row.study_date, ()):
            if lesion.role is not LesionRole.TARGET or lesion.value is None:
                continue
            if row.is_baseline:
                base[lesion.lesion_id] = lesion.value
            yield {
                **shared,
                **_lesion_parameter(lesion, group),
                "TRSPID": lesion.lesion_id,
                "VIABFL": "Y" if lesion.is_viable_part else None,
                **_changes(lesion.value, base.get(lesion.lesion_id), is_baseline=row.is_baseline),
                "ANL01FL": counts,
            }
        if any(code.startswith("T") for code in group.lesion_codes.values()):
            yield {**shared, **_parameter(*_SUMS[row.burden_unit]), **_sum_values(row, counts)}


def _lesion_parameter(lesion: Contribution, group: Group) -> Row:
    code, name = _NODE if lesion.is_node and lesion.unit == "mm" else _SIZES[lesion.unit]
    number = int(group.lesion_codes[lesion.lesion_id].removeprefix("T"))
    return _parameter(f"{code}{number}", f"Target Lesion {number}: {name}")


def _changes(value: float, base: float | None, *, is_baseline: bool) -> Row:
    if base is None:
        return {"AVAL": value}
    change = round(value - base, 6)
    if is_baseline:
        return {"AVAL": value, "BASE": base}
    return {"AVAL": value, "BASE": base, "CHG": change, "PCHG": in_percent(change / base) if base else None}


def _sum_values(row: Assessment, counts: str | None) -> Row:
    values: dict[str, Value] = {"AVAL": row.current_burden, "BASE": row.baseline_burden}
    if row.is_baseline:
        return {**values, "ANL01FL": "Y"}
    values["NADIR"] = row.nadir_burden
    values["PDFL"] = "Y" if row.target in ("PD", "iUPD", "iCPD") else None
    if row.current_burden is None:
        return values
    if row.baseline_burden is not None:
        values["CHG"] = round(row.current_burden - row.baseline_burden, 6)
    if row.nadir_burden is not None:
        values["CHGNAD"] = round(row.current_burden - row.nadir_burden, 6)
    values["PCHG"] = None if row.change_from_baseline is None else in_percent(row.change_from_baseline)
    values["PCHGNAD"] = None if row.change_from_nadir is None else in_percent(row.change_from_nadir)
    return {**values, "ANL01FL": counts}


@dataclass(frozen=True, slots=True)
class _Time:
    """A time to an event as a phase has it; ``said`` names the event or the censoring."""

    code: str
    name: str
    start: date | None
    days: int | None
    is_event: bool | None
    said: str


def _adtte(group: Group, first_day: int) -> Iterator[Row]:
    for summary in group.summaries:
        for time in _times(summary):
            if time.start is None or time.days is None or time.is_event is None:
                continue
            yield {
                **_of(group, summary.basis),
                **_parameter(time.code, time.name),
                **_time_values(time.start, time.days - first_day, time.is_event, time.said),
            }


def _times(summary: PhaseSummary) -> Iterator[_Time]:
    start, progression = summary.start_date, summary.progression_date
    free, _, to_progression = summary.event.partition("; time to progression ")
    yield _Time(
        "PFS",
        "Progression-Free Survival",
        start,
        summary.progression_free_days,
        summary.progression_free_event,
        free,
    )
    said = "progression" if progression is not None else to_progression or free
    yield _Time(
        "TTP", "Time to Progression", start, summary.time_to_progression_days, progression is not None, said
    )
    answered = summary.duration_of_response_event
    ended = "death" if answered and progression is None else "progression" if answered else said
    yield _Time(
        "RSD",
        "Duration of Response",
        summary.response_date,
        summary.duration_of_response_days,
        answered,
        ended,
    )
    died = summary.overall_survival_event
    alive = "death" if died else "censored at last date known alive: no event"
    yield _Time("OS", "Overall Survival", start, summary.overall_survival_days, died, alive)


def _time_values(start: date, days: int, is_event: bool, said: str) -> Row:
    """Return a time to an event; the day of the start counts as the first (end - start + 1)."""
    end = start + timedelta(days=days)
    where, _, why = said.removeprefix("censored at ").partition(": ")
    return {
        "STARTDT": start,
        "ADT": end,
        "AVAL": (end - start).days + 1,
        "AVALU": "DAYS",
        "CNSR": 0 if is_event else 1,
        "EVNTDESC": said.upper() if is_event else f"CENSORED: {why.upper()}",
        "CNSDTDSC": None if is_event else where.upper(),
    }


def _first_day(record: Mapping[str, object]) -> int:
    """Return what the run's own durations count for the first day: 0, or 1 where the settings count it in."""
    settings = record.get("settings")
    respond = settings.get("respond", {}) if isinstance(settings, Mapping) else {}
    return 1 if respond.get("day_count") == "inclusive" else 0


def _least_days(record: Mapping[str, object]) -> float:
    """Return how many days after an unconfirmed progression a scan counts again; any that is flagged, if not known."""
    settings = record.get("settings")
    respond = settings.get("respond", {}) if isinstance(settings, Mapping) else {}
    least = respond.get("irecist_confirm_min_days")
    tolerance = respond.get("irecist_confirm_tolerance_days")
    return math.inf if least is None or tolerance is None else least - tolerance


def _is_immune(group: Group) -> bool:
    words = {str(row.overall) for row in group.assessments} | {
        str(row.best_overall_response) for row in group.summaries
    }
    return group.criterion.lower().startswith("irecist") or not words.isdisjoint(
        set(IMMUNE_VALUES) - {"NE", MISSING}
    )


def _parameter(code: str, name: str) -> Row:
    return {"PARAMCD": code, "PARAM": name}


def _word(word: str, values: Mapping[str, int]) -> Row:
    return {"AVALC": str(word), "AVAL": values.get(str(word))}


def _yes_no(code: str, name: str, answer: bool, day: date | None) -> Row:
    return {**_parameter(code, name), "AVALC": "Y" if answer else "N", "AVAL": 1 if answer else 0, "ADT": day}
