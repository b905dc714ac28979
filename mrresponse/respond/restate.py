"""Assessments restated by a reader: the adjudicated read beside those of the readers.

A reader's own rows stay as they are. The rows of the reader whose assessment is restated are repeated under the name
``adjudicated``, with the restated parts in place of the old ones, and everything that follows from them (best
response, dates, ``after_progression``) is derived again. Sums and changes are numbers and are not restated.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date

from mrresponse.domain import ADJUDICATED, Assessment, AuditRow, Override, PhaseSummary, Response
from mrresponse.errors import DataError
from mrresponse.respond.assess import DATED_EARLIER, Basis, BasisVisit, PhaseAssessment
from mrresponse.respond.criteria import Criterion, ProgressionCall
from mrresponse.respond.immune import EARLY_SCAN
from mrresponse.respond.newlesions import DOUBTFUL, GROWS, NEW_ORDER
from mrresponse.respond.rules import overall_response

RESTATED = "restated"
EDIT = "overrides.csv"
PARTS = ("target", "non_target", "new_lesions", "liver_response", "overall")
IMMUNE = frozenset(word for word in Response if "i" in word)
PROGRESSION = frozenset({Response.PD, Response.IUPD, Response.ICPD})

Group = tuple[str, str, str]


def overrides_by_group(
    overrides: Sequence[Override], readers: Collection[str]
) -> dict[Group, tuple[Override, ...]]:
    """Group overrides by treatment phase, criterion and the reader whose assessments they restate.

    Raises
    ------
    DataError
        ``bad_override``: an assessment restated twice, by a reader not known, or of several readers in one phase.
    """
    if not overrides:
        return {}
    if ADJUDICATED in readers:
        raise DataError(
            f"measurements: found a reader named {ADJUDICATED!r}, expected another name beside overrides: it is "
            "kept for restated assessments",
            code="reserved_name",
            patient_id=overrides[0].patient_id,
        )
    groups: dict[Group, list[Override]] = {}
    for row in overrides:
        reader = row.assessed_by or (next(iter(readers)) if len(readers) == 1 else "")
        if reader not in readers:
            found = repr(row.assessed_by) if row.assessed_by else "nothing"
            raise _refused(row, f"column assessed_by: found {found}, expected one of {', '.join(readers)}")
        groups.setdefault((row.treatment_phase, row.criterion, reader), []).append(row)
    bases: dict[tuple[str, str], str] = {}
    for (phase, criterion, reader), rows in groups.items():
        if bases.setdefault((phase, criterion), reader) != reader:
            raise _refused(
                rows[0],
                f"found assessments of {bases[phase, criterion]} and of {reader} restated in one phase under "
                f"{criterion}, expected those of one reader",
            )
        dates = [row.study_date for row in rows]
        twice = next((row for row in rows if dates.count(row.study_date) > 1), None)
        if twice is not None:
            raise _refused(twice, f"found two rows for {criterion} of this date, expected one")
    return {group: tuple(rows) for group, rows in groups.items()}


def check_used(groups: Mapping[Group, tuple[Override, ...]], assessed: Collection[Group]) -> None:
    """Refuse an override of a phase or criterion that was not assessed.

    Raises
    ------
    DataError
        ``bad_override``: no such assessments.
    """
    for group, rows in groups.items():
        if group not in assessed:
            known = sorted({f"{phase} / {criterion}" for phase, criterion, _ in assessed})
            raise _refused(
                rows[0],
                f"found treatment phase and criterion {group[0]} / {group[1]}, expected one with a baseline: "
                f"{'; '.join(known) or 'there is none'}",
            )


def restate(
    assessed: PhaseAssessment, overrides: Sequence[Override], criterion: Criterion
) -> PhaseAssessment:
    """Return a treatment phase with the restated visits in place of the old ones.

    Raises
    ------
    DataError
        ``bad_override``: no follow-up visit on that date, or a word that the criterion does not have.
    """
    by_date = {row.study_date: row for row in overrides}
    dates = [visit.study_date for visit in assessed.follow_ups]
    for row in overrides:
        if row.study_date not in dates:
            known = ", ".join(day.isoformat() for day in dates) or "none"
            raise _refused(row, f"column study_date: expected a visit after the baseline: {known}")
        _check_words(row, criterion)
    one_disease = assessed.liver is assessed.overall
    stated = [by_date.get(day) for day in dates]
    overall = _dated(_basis(assessed.overall, stated, criterion), assessed, stated)
    liver = _liver(assessed.liver, overall if one_disease else None, stated, criterion)
    return replace(
        assessed,
        overall=_moved(overall, dates, stated),
        probabilities=tuple(
            None if day in by_date else known
            for known, day in zip(assessed.probabilities, dates, strict=False)
        ),
        liver=_moved(liver, dates, stated),
    )


def restated_rows(
    rows: Sequence[Assessment], before: Sequence[Assessment], overrides: Sequence[Override]
) -> tuple[tuple[Assessment, ...], tuple[AuditRow, ...]]:
    """Say in the restated rows who restated them, and return what was changed."""
    by_date = {row.study_date: row for row in overrides}
    stated, audit = [], []
    for row, old in zip(rows, before, strict=True):
        override = by_date.get(row.study_date)
        if override is None:
            stated.append(row)
            continue
        reason = (
            f"{row.overall}: restated by {override.reader}, {override.reason}; {old.reader} had {old.reason}"
        )
        if row.dated_from is not None and row.dated_from != old.dated_from:
            reason += f"; progression is dated {row.dated_from.isoformat()}, when the lesion was first seen"
        row = replace(row, reason=reason, flags=(*row.flags, RESTATED))
        stated.append(row)
        audit += _audit(row, old, override)
    return tuple(stated), tuple(audit)


def with_settled(summaries: Sequence[PhaseSummary]) -> list[PhaseSummary]:
    """Add, for a cohort, the adjudicated read of patients that needed no adjudication.

    Where somebody's assessments of a treatment phase were restated, rates of the adjudicated read alone would rest on
    disputed patients only. A patient whose only reader was not restated, or whose readers agree on best response and
    dates, counts with that; one whose readers differ without an override does not count.
    """
    return [*summaries, *(replace(row, reader=ADJUDICATED) for row in _settled(summaries))]


def with_settled_assessments(
    summaries: Sequence[PhaseSummary], assessments: Sequence[Assessment]
) -> list[Assessment]:
    """Add, for the figures of a cohort, the assessments behind the rows that `with_settled` adds."""
    lent = {(row.patient_id, row.treatment_phase, row.criterion, row.reader) for row in _settled(summaries)}
    added = [
        replace(row, reader=ADJUDICATED)
        for row in assessments
        if (row.patient_id, row.treatment_phase, row.criterion, row.reader) in lent
    ]
    return [*assessments, *added]


def _settled(summaries: Sequence[PhaseSummary]) -> list[PhaseSummary]:
    """Return a reader's row for each patient that needed no adjudication, of the groups in which others did."""
    groups: dict[tuple[str, str, str], dict[str, list[PhaseSummary]]] = {}
    for row in summaries:
        group = groups.setdefault((row.treatment_phase, row.criterion, row.basis), {})
        group.setdefault(row.patient_id, []).append(row)
    settled = []
    for patients in groups.values():
        restated = {name for name, rows in patients.items() if any(row.reader == ADJUDICATED for row in rows)}
        if not restated:
            continue
        for name, rows in patients.items():
            if name not in restated and len({_outcome(row) for row in rows}) == 1:
                settled.append(rows[0])
    return settled


def _outcome(row: PhaseSummary) -> tuple[object, ...]:
    return (
        row.best_overall_response,
        row.confirmed_best_overall_response,
        row.response_date,
        row.progression_date,
        row.progression_free_days,
        row.event,
    )


def _audit(row: Assessment, old: Assessment, override: Override) -> list[AuditRow]:
    return [
        AuditRow(
            patient_id=row.patient_id,
            study_date=row.study_date,
            edit=EDIT,
            what=f"{part} of {old.reader}, {row.criterion}, {row.treatment_phase}",
            before=getattr(old, part) or "",
            after=getattr(row, part) or "",
            reader=override.reader,
            reason=override.reason,
            when=override.when,
        )
        for part in PARTS
        if getattr(override, part) is not None or getattr(old, part) != getattr(row, part)
    ]


def _basis(basis: Basis, overrides: Sequence[Override | None], criterion: Criterion) -> Basis:
    visits = zip(basis.visits, overrides, strict=True)
    return replace(
        basis,
        visits=tuple(_visit(visit, row, criterion) if row else visit for visit, row in visits),
    )


def _visit(visit: BasisVisit, row: Override, criterion: Criterion) -> BasisVisit:
    target = row.target or visit.target_response
    non_target = row.non_target or visit.non_target
    new_lesions = row.new_lesions or visit.new_lesions
    response = row.overall or visit.response
    if row.overall is None and (target, non_target, new_lesions) != _components(visit):
        if criterion.progression_call is ProgressionCall.CONFIRMED:
            raise _refused(row, f"column overall: found nothing, expected the response by {criterion.name}")
        response = overall_response(target, non_target, new_lesions)
    is_dated = response is visit.response and new_lesions == visit.new_lesions
    return replace(
        _said(_with_new_lesions(visit if is_dated else _undated(visit), new_lesions), response),
        target_response=target,
        non_target=non_target,
    )


def _said(visit: BasisVisit, response: Response) -> BasisVisit:
    """Return a visit with the response that a reader says: one that came too early to change anything counts then."""
    if response is visit.response:
        return visit
    return replace(visit, response=response, flags=tuple(flag for flag in visit.flags if flag != EARLY_SCAN))


def _with_new_lesions(visit: BasisVisit, word: str) -> BasisVisit:
    """Return a visit with another word of its new lesions, and the doubt that goes with it."""
    if word == visit.new_lesions:
        return visit
    doubts = {GROWS, *(f"new_lesion_{doubt}" for doubt in DOUBTFUL)}
    flags = [flag for flag in visit.flags if flag not in doubts]
    flags += [f"new_lesion_{word}"] if word in DOUBTFUL else []
    return replace(visit, new_lesions=word, flags=tuple(flags))


def _dated(basis: Basis, assessed: PhaseAssessment, overrides: Sequence[Override | None]) -> Basis:
    """Date a progression by a doubtful lesion that a reader calls definite at its first appearance.

    Where several appeared at different visits, or a finding is in doubt too, nobody knows which one is meant.
    """
    visits = list(basis.visits)
    for index, row in enumerate(overrides):
        before = assessed.overall.visits[index].new_lesions
        if row is None or row.new_lesions != "definite" or before not in DOUBTFUL:
            continue
        if visits[index].response not in PROGRESSION:
            continue
        first = {lesion.first_seen for lesion in assessed.new[index] if lesion.status in DOUBTFUL}
        is_reported = bool(assessed.findings[index].texts("equivocal", liver_only=False))
        if len(first) == 1 and not is_reported and min(first) < row.study_date:
            flags = (*visits[index].flags, DATED_EARLIER)
            visits[index] = replace(visits[index], dated_from=min(first), flags=flags)
    return replace(basis, visits=tuple(visits))


def _moved(basis: Basis, dates: Sequence[date], overrides: Sequence[Override | None]) -> Basis:
    """Date no progression by a new lesion at or before a visit at which a reader says that nothing is new."""
    is_none = [row is not None and row.new_lesions == "none" for row in overrides]
    visits = list(basis.visits)
    for index, visit in enumerate(basis.visits):
        if visit.dated_from is None:
            continue
        free = [k for k in range(index) if is_none[k] and dates[k] >= visit.dated_from]
        if free:
            later = range(free[-1] + 1, index)
            first = next((k for k in later if visits[k].new_lesions in NEW_ORDER[1:]), index)
            visits[index] = _undated(visit) if first == index else replace(visit, dated_from=dates[first])
    return replace(basis, visits=tuple(visits))


def _undated(visit: BasisVisit) -> BasisVisit:
    """Return a visit whose progression is no longer that by a lesion seen before."""
    return replace(
        visit, dated_from=None, flags=tuple([flag for flag in visit.flags if flag != DATED_EARLIER])
    )


def _components(visit: BasisVisit) -> tuple[Response | None, Response | None, str]:
    return visit.target_response, visit.non_target, visit.new_lesions


def _liver(
    liver: Basis, same: Basis | None, overrides: Sequence[Override | None], criterion: Criterion
) -> Basis:
    """Return the liver's basis: restated by its own column, or with the patient where there is no other disease.

    Its new lesions are no surer than those of the patient.
    """
    visits = []
    for index, (visit, row) in enumerate(zip(liver.visits, overrides, strict=True)):
        if same is not None:
            visit = same.visits[index]
        if row is not None and row.new_lesions and _rank(row.new_lesions) < _rank(visit.new_lesions):
            visit = _less_new(visit, row, criterion)
        if row is not None and row.liver_response is not None:
            visit = visit if row.liver_response is visit.response else _undated(visit)
            visit = _said(visit, row.liver_response)
        visits.append(visit)
    return replace(liver, visits=tuple(visits))


def _rank(word: str) -> int:
    return NEW_ORDER.index(word) if word in NEW_ORDER else 0


def _less_new(visit: BasisVisit, row: Override, criterion: Criterion) -> BasisVisit:
    """Return a visit of the liver without the new lesion that is none of the patient."""
    word = row.new_lesions or ""
    visit = _with_new_lesions(_undated(visit), word)
    if row.liver_response is not None:
        return visit
    if criterion.progression_call is ProgressionCall.CONFIRMED:
        raise _refused(
            row, f"column liver_response: found nothing, expected the response by {criterion.name}"
        )
    return replace(visit, response=overall_response(visit.target_response, visit.non_target, word))


def _check_words(row: Override, criterion: Criterion) -> None:
    is_immune = criterion.progression_call is ProgressionCall.CONFIRMED
    for part in ("target", "non_target", "liver_response", "overall"):
        word = getattr(row, part)
        if word in (None, Response.NE, Response.NED) or (word in IMMUNE) is is_immune:
            continue
        raise _refused(row, f"column {part}: found {word}, expected a response of {criterion.name}")


def _refused(row: Override, problem: str) -> DataError:
    return DataError(
        f"edits/{EDIT}, {row.treatment_phase}, {row.criterion}, reader {row.reader}: {problem}",
        code="bad_override",
        patient_id=row.patient_id,
        study_date=row.study_date,
    )
