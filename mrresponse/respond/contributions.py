"""What every lesion gives to every assessment: the sums of ``assessments.csv`` taken apart.

The values are those of the rules (`target_values`, `lesion_value`), so the targets of a visit add up to its burden
wherever that is evaluable.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from mrresponse.domain import (
    ADJUDICATED,
    Assessment,
    Contribution,
    LesionRole,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    ResponseResult,
    StudyRecord,
)
from mrresponse.errors import DataError
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.findings import finding_name, findings_through, known_before
from mrresponse.respond.newlesions import new_lesions_through
from mrresponse.respond.restate import overrides_by_group
from mrresponse.respond.settings import RespondSettings, criteria_of
from mrresponse.respond.targets import target_values
from mrresponse.respond.timeline import Visit, reader_visits, source_of
from mrresponse.respond.values import LesionValue, is_viable_part, lesion_value, quantity_name

Group = tuple[str, str, str]
FINDING = "finding"
_NEW_STATUSES = {"new": "definite", "equivocal": "equivocal"}


def contributions(
    patient: Patient,
    studies: Sequence[StudyRecord],
    measurements: Sequence[Measurement],
    response: ResponseResult,
    settings: RespondSettings,
) -> tuple[Contribution, ...]:
    """Return a row for every lesion with a role at every visit of an assessment, targets first.

    A new lesion has rows from the first visit on at which it was looked at, without a number where it was not measured
    but counts as new still. Findings that enter the overall response have rows under their name, with ``finding`` for a
    quantity and no value.

    Raises
    ------
    DataError
        ``stale_assessments``: a visit or an override that an assessment rests on is not there any more.
    """
    # a reader who saw no lesion has assessments and no measurements
    readers = sorted({row.reader for row in response.assessments} - {ADJUDICATED})
    restated = {
        (phase, criterion): reader
        for phase, criterion, reader in overrides_by_group(patient.edits.overrides, readers)
    }
    visits = {
        reader: {
            visit.study_date: visit
            for visit in reader_visits(patient, studies, measurements, reader, settings)
        }
        for reader in readers
    }
    starts = {phase.name: phase.start_date for phase in response.phases}
    groups: dict[Group, list[Assessment]] = {}
    for row in response.assessments:
        groups.setdefault((row.treatment_phase, row.criterion, row.reader), []).append(row)
    found: list[Contribution] = []
    for (phase, name, reader), rows in groups.items():
        measured_by = restated.get((phase, name), "") if reader == ADJUDICATED else reader
        dates = visits.get(measured_by, {}).keys()
        gone = next((row for row in rows if row.study_date not in dates), None)
        if gone is not None:
            raise stale(gone)
        roles = _roles(response, (phase, name, reader))
        if not roles and not patient.findings:
            continue
        source = source_of(measurements, measured_by)
        criterion = next(one for one in criteria_of(settings, phase, source=source) if one.name == name)
        dated = [(row, visits[measured_by][row.study_date]) for row in rows]
        known = {lesion_id for lesion_id, role in roles.items() if role is not LesionRole.NEW}
        later = [visit for row, visit in dated if not row.is_baseline]
        rejected = visits[measured_by][rows[0].study_date].rejected
        statuses = {
            (visit.study_date, lesion.lesion_id): lesion.status
            for visit, lesions in zip(
                later,
                new_lesions_through(known, later, criterion, settings, rejected=rejected),
                strict=True,
            )
            for lesion in lesions
        }
        for row, visit in dated:
            for one in _at_visit(row, visit, roles, criterion, settings):
                status = statuses.get((one.study_date, one.lesion_id), "")
                if one.role is LesionRole.NEW and one.state is None and status in ("", "none"):
                    continue
                found.append(replace(one, new_lesion_status=status, source=source))
        found += _findings(patient, dated, visits[measured_by].values(), starts[phase], criterion, settings)
    return tuple(found)


def stale(row: Assessment) -> DataError:
    """Return the error of an assessment that rests on other tables than those that are there."""
    return DataError(
        f"{row.criterion}, {row.treatment_phase}, reader {row.reader}: found other measurements, findings or edits "
        "than this assessment rests on; `mrresponse respond DIR` assesses again",
        code="stale_assessments",
        patient_id=row.patient_id,
        study_date=row.study_date,
    )


def _findings(
    patient: Patient,
    dated: Sequence[tuple[Assessment, Visit]],
    visits: Iterable[Visit],
    start: date | None,
    criterion: Criterion,
    settings: RespondSettings,
) -> list[Contribution]:
    """Return rows for what readers reported beside the lesions: non-target at baseline, new afterwards."""
    baseline = next((visit.study_date for row, visit in dated if row.is_baseline), None)
    if baseline is None or not patient.findings:
        return []
    before = max(baseline, start or baseline)
    known = known_before(sorted((v for v in visits if v.study_date <= before), key=_day), criterion, settings)
    later = [(row, visit) for row, visit in dated if not row.is_baseline]
    said = findings_through(known, [visit for _, visit in later], criterion, settings)
    sites = {finding_name(finding): finding.site for finding in patient.findings}
    roles = {finding_name(finding): LesionRole.NON_TARGET for finding in known.values()}
    first = next(row for row, _ in dated if row.is_baseline)
    found = [_finding(first, name, role, sites, ("present", "")) for name, role in roles.items()]
    spelled = {name.lower(): name for name in roles}
    for (row, _), at_visit in zip(later, said, strict=True):
        for entry in at_visit.entries:
            # a site may be spelled otherwise from visit to visit
            name = spelled.setdefault(entry.name.lower(), entry.name)
            is_new = entry.component in _NEW_STATUSES
            role = roles.setdefault(name, LesionRole.NEW if is_new else LesionRole.NON_TARGET)
            found.append(_finding(row, name, role, sites, (entry.component, entry.text)))
    return found


def _finding(
    row: Assessment, name: str, role: LesionRole, sites: Mapping[str, str], said: tuple[str, str]
) -> Contribution:
    component, text = said
    states = {"missing": MeasurementState.NOT_ASSESSED, "gone": MeasurementState.ABSENT}
    return Contribution(
        patient_id=row.patient_id,
        treatment_phase=row.treatment_phase,
        criterion=row.criterion,
        reader=row.reader,
        study_date=row.study_date,
        lesion_id=name,
        role=role,
        is_baseline=row.is_baseline,
        organ=sites[name],
        quantity=FINDING,
        unit=row.burden_unit,
        note=text,
        is_normal=component == "gone",
        state=states.get(component, MeasurementState.MEASURED),
        new_lesion_status=_NEW_STATUSES.get(component, "") if role is LesionRole.NEW else "",
        source=MeasurementSource.READER,
    )


def _day(visit: Visit) -> date:
    return visit.study_date


def _roles(response: ResponseResult, group: Group) -> dict[str, LesionRole]:
    order = list(LesionRole)
    mine = [row for row in response.roles if (row.treatment_phase, row.criterion, row.reader) == group]
    mine.sort(key=lambda row: (order.index(row.role), row.lesion_id))
    return {row.lesion_id: row.role for row in mine}


def _at_visit(
    row: Assessment,
    visit: Visit,
    roles: Mapping[str, LesionRole],
    criterion: Criterion,
    settings: RespondSettings,
) -> list[Contribution]:
    targets = [lesion_id for lesion_id, role in roles.items() if role is LesionRole.TARGET]
    values: dict[str, LesionValue] = target_values(targets, visit, criterion, settings)
    found = []
    for lesion_id, role in roles.items():
        m = visit.measurements.get(lesion_id)
        if m is None and role is LesionRole.EXCLUDED:
            continue
        value = values.get(lesion_id) or _other_value(m, visit, criterion, settings)
        is_gone = value.is_gone
        if role is LesionRole.NON_TARGET:
            # non-targets are judged by diameters under criteria of areas and volumes too
            is_gone = _other_value(m, visit, criterion.by_diameter, settings).is_gone
        found.append(
            Contribution(
                patient_id=row.patient_id,
                treatment_phase=row.treatment_phase,
                criterion=row.criterion,
                reader=row.reader,
                study_date=row.study_date,
                lesion_id=lesion_id,
                role=role,
                is_baseline=row.is_baseline,
                organ=m.organ if m else "",
                is_node=m.is_node if m else False,
                quantity=quantity_name(m, criterion),
                value=value.value,
                unit=criterion.unit,
                note=value.note,
                is_normal=is_gone,
                is_viable_part=m is not None and is_viable_part(m, criterion),
                state=m.state if m else None,
            )
        )
    return found


def _other_value(
    m: Measurement | None, visit: Visit, criterion: Criterion, settings: RespondSettings
) -> LesionValue:
    if visit.unread:
        return LesionValue(None, visit.unread)
    return lesion_value(m, criterion, node_normal_mm=settings.node_normal_mm)
