"""What a patient page says, as values: sentences and cells ready for the template, nothing decided here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from mrresponse.domain import (
    COURSE,
    MISSING_STATES,
    Assessment,
    Flag,
    MeasurementState,
    PatientResult,
    PhaseSummary,
    Response,
    TreatmentPhase,
    viewed_phase,
)
from mrresponse.report.lesion_table import (
    assessment_groups,
    burden,
    groups_of_phases,
    leading_assessments,
    liver_quantity,
)
from mrresponse.report.timeline import given, numbered_phases, response_class
from mrresponse.report.wording import (
    STATE_WORDS,
    amount,
    phases_in_order,
    signed_percent,
)

# The four probabilities of a row are stored to four digits: together they may miss 1 by this much.
_SHARES_ROUNDED = 3e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A response and the name of its colour."""

    word: str
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """The probability of one category."""

    category: Category
    share: float

    @property
    def words(self) -> str:
        """Write it in per cent; what is neither certain nor impossible is not rounded to look so."""
        if 0.0 < self.share < 0.005:
            return "< 1 %"
        return "> 99 %" if 0.995 < self.share < 1.0 else f"{100.0 * self.share:.0f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One line of a response table."""

    day: date
    timepoint: str
    liver: Category
    overall: Category
    burden: str
    baseline: str
    nadir: str
    from_baseline: str
    from_nadir: str
    components: str
    reason: str
    probabilities: tuple[Chance, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionPart:
    """One criterion and reader in one treatment phase."""

    criterion: str
    reader: str
    quantity: str
    best: tuple[str, ...]
    visits: tuple[Visit, ...]


JUDGED_FROM_FIRST = "judged from the first baseline, not stopped by a new therapy"
JUDGED_FROM_SESSION = "what followed this session, judged from the last study before it"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePart:
    """One treatment phase with its assessments; what has no ``number`` is folded, and says how it is ``judged``."""

    number: int | None
    name: str
    given: str
    dates: str
    baseline: str
    judged: str
    criteria: tuple[CriterionPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something that was not assessable or is doubtful."""

    what: str
    dates: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The latest answer under one criterion."""

    criterion: str
    day: date
    phase: str
    liver: Category
    overall: Category
    reason: str


def category(response: Response | None) -> Category:
    """Give a response its colour."""
    return Category(word="–" if response is None else response.value, style=response_class(response))


def phase_names(result: PatientResult) -> dict[str, str]:
    """Name the phases as the page does: numbered in order of their start."""
    names = {
        phase.name: phase.name if phase.name.lower() == f"phase {n}" else f"phase {n}: {phase.name}"
        for n, phase in enumerate(numbered_phases(result), 1)
    }
    return names | {COURSE: "whole course"}


def headlines(result: PatientResult) -> tuple[Headline, ...]:
    """Give the latest response per criterion and reader, leaving out baselines and the whole course."""
    names = phase_names(result)
    latest: dict[tuple[str, str], Assessment] = {}
    own = groups_of_phases(result)
    for group in own:
        for row in group:
            key = (row.criterion, row.reader)
            if not row.is_baseline and (key not in latest or row.study_date >= latest[key].study_date):
                latest[key] = row
    readers = {reader for _, reader in latest}
    return tuple(
        Headline(
            criterion=criterion if len(readers) == 1 else f"{criterion}, {reader}",
            day=row.study_date,
            phase=names.get(row.treatment_phase, row.treatment_phase),
            liver=category(row.liver_response),
            overall=category(row.overall),
            reason=row.reason,
        )
        for (criterion, reader), row in latest.items()
    )


def phase_parts(result: PatientResult) -> tuple[PhasePart, ...]:
    """Give the response tables of every treatment phase, the whole course last."""
    known = {phase.name: phase for phase in result.response.phases}
    numbers = {phase.name: n for n, phase in enumerate(numbered_phases(result), 1)}
    groups = assessment_groups(result)
    return tuple(
        PhasePart(
            number=numbers.get(name),
            name="Whole course" if name == COURSE and name not in numbers else name,
            given=given(result, name),
            dates=_phase_dates(known.get(name)),
            baseline=_baseline_words(known.get(name)),
            judged=JUDGED_FROM_FIRST if viewed_phase(name) == name else JUDGED_FROM_SESSION,
            criteria=tuple(
                _criterion_part(result, group) for group in groups if group[0].treatment_phase == name
            ),
        )
        for name in phases_in_order(result.response.phases, result.response.assessments)
    )


def _phase_dates(phase: TreatmentPhase | None) -> str:
    if phase is None or phase.start_date is None:
        return ""
    return f"{phase.start_date} to {phase.end_date}" if phase.end_date else f"from {phase.start_date}"


def _baseline_words(phase: TreatmentPhase | None) -> str:
    """Name the baseline study; its reason stands in the tables, and here where there is no such study."""
    if phase is None:
        return ""
    if phase.baseline_date:
        return f"Baseline study {phase.baseline_date}"
    return f"No baseline study: {phase.baseline_reason}" if phase.baseline_reason else "No baseline study"


def _criterion_part(result: PatientResult, group: Sequence[Assessment]) -> CriterionPart:
    first = group[0]
    key = (first.treatment_phase, first.criterion, first.reader)
    summaries = [
        row for row in result.response.summaries if (row.treatment_phase, row.criterion, row.reader) == key
    ]
    return CriterionPart(
        criterion=first.criterion,
        reader=first.reader,
        quantity=liver_quantity(result, first).name,
        best=tuple(_best_words(row) for row in summaries),
        visits=tuple(_visit(row) for row in group),
    )


def _best_words(row: PhaseSummary) -> str:
    best = row.best_overall_response.value if row.best_overall_response else "none yet"
    words = [f"{row.basis}: best response {best}"]
    if row.confirmed_best_overall_response:
        words.append(f"confirmed {row.confirmed_best_overall_response.value}")
    if row.response_date:
        words.append(f"response on {row.response_date}")
    if row.progression_date:
        words.append(f"progression on {row.progression_date}")
    if row.duration_of_response_days is not None:
        words.append(f"duration of response {row.duration_of_response_days} days")
    if row.depth_of_response is not None:
        words.append(f"greatest change {signed_percent(row.depth_of_response)}")
    return ", ".join(words)


def _visit(row: Assessment) -> Visit:
    components = [
        f"targets {row.target}" if row.target else "",
        f"non-targets {row.non_target}" if row.non_target else "",
        f"new lesions: {row.new_lesions}" if row.new_lesions else "",
    ]
    given = (
        (Response.CR, row.p_cr),
        (Response.PR, row.p_pr),
        (Response.SD, row.p_sd),
        (Response.PD, row.p_pd),
    )
    known = [(word, share) for word, share in given if share is not None]
    unjudged = 1.0 - sum(share for _, share in known)
    if known and unjudged > _SHARES_ROUNDED:
        known.append((Response.NE, unjudged))
    timepoint = "baseline" if row.is_baseline else "after progression" if row.after_progression else ""
    return Visit(
        day=row.study_date,
        timepoint=timepoint,
        liver=category(row.liver_response),
        overall=category(row.overall),
        burden=amount(burden(row), row.burden_unit),
        baseline=amount(row.baseline_burden, row.burden_unit),
        nadir="–" if row.is_baseline else amount(row.nadir_burden, row.burden_unit),
        from_baseline=_change_words(row.change_from_baseline, row.baseline_burden),
        from_nadir=_change_words(row.change_from_nadir, row.nadir_burden),
        components=" · ".join(part for part in components if part),
        reason=row.reason or ("Baseline of this phase." if row.is_baseline else "No reason was stored."),
        probabilities=tuple(Chance(category=category(word), share=share) for word, share in known),
        flags=row.flags,
    )


def _change_words(change: float | None, reference: float | None) -> str:
    return "no share" if change is None and reference == 0 else signed_percent(change)


def not_assessed(result: PatientResult) -> tuple[Doubt, ...]:
    """List what could not be assessed and why, one line per thing and reason."""
    rows: list[tuple[str, str, date]] = []
    # Of several readers one may have measured what another could not.
    readers = {row.reader for row in result.measurements} | {
        row.reader for row in result.response.assessments
    }
    is_one = len(readers) < 2
    for study in result.studies:
        if study.lesions_assessable is False:
            rows.append(("all lesions", study.reason or "no reason stored", study.study_date))
    for row in result.measurements:
        by = "" if is_one else f", read by {row.reader}"
        if row.state in MISSING_STATES:
            rows.append(
                (
                    f"{row.lesion_id}, {STATE_WORDS[row.state]}{by}",
                    row.reason or "no reason stored",
                    row.study_date,
                )
            )
        elif row.viable_state is MeasurementState.NOT_ASSESSED:
            rows.append(
                (f"{row.lesion_id}, viable part{by}", row.viable_reason or "no reason stored", row.study_date)
            )
    names = phase_names(result)
    for assessment in result.response.assessments:
        if Response.NE in (assessment.liver_response, assessment.overall):
            phase = names.get(assessment.treatment_phase, assessment.treatment_phase)
            by = "" if is_one else f", read by {assessment.reader}"
            rows.append(
                (f"{assessment.criterion}, {phase}{by}: NE", assessment.reason, assessment.study_date)
            )
    return _gathered(rows)


def all_flags(result: PatientResult) -> tuple[Flag, ...]:
    """Gather the doubts of both halves, each once, in order of date."""
    unique = {_flag_key(flag): flag for flag in [*result.flags, *result.response.flags]}
    return tuple(unique[key] for key in sorted(unique))


def _flag_key(flag: Flag) -> tuple[str, str, str, str]:
    return (str(flag.study_date or ""), flag.lesion_id or "", flag.code, flag.message)


def flag_parts(result: PatientResult) -> tuple[Doubt, ...]:
    """List the flags, those that say the same of several studies together."""
    doubts: dict[tuple[str, str], list[str]] = {}
    for flag in all_flags(result):
        what = f"{flag.lesion_id}: {flag.code}" if flag.lesion_id else flag.code
        doubts.setdefault((what, flag.message), []).append(str(flag.study_date or "all studies"))
    return tuple(
        Doubt(what=what, why=why, dates=", ".join(dict.fromkeys(dates)))
        for (what, why), dates in doubts.items()
    )


def _gathered(rows: Iterable[tuple[str, str, date]]) -> tuple[Doubt, ...]:
    together: dict[tuple[str, str], set[date]] = {}
    for what, why, day in rows:
        together.setdefault((what, why), set()).add(day)
    return tuple(
        Doubt(what=what, why=why, dates=", ".join(str(day) for day in sorted(days)))
        for (what, why), days in together.items()
    )


def course_note(result: PatientResult) -> str:
    """Say which criteria and readers the timeline's marks show."""
    shown = dict.fromkeys((row.criterion, row.reader) for row in leading_assessments(result))
    return "; ".join(f"{criterion}, read by {reader}" for criterion, reader in shown)
