"""What every lesion gives to every assessment: the sums of ``assessments.csv`` taken apart.

The values are those of the rules (`target_values`, `lesion_value`), so the targets of a visit add up to its burden
wherever that is evaluable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mrresponse.domain import (
    ADJUDICATED,
    Assessment,
    Contribution,
    LesionRole,
    Measurement,
    Patient,
    ResponseResult,
    StudyRecord,
)
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.newlesions import new_lesions_through
from mrresponse.respond.restate import overrides_by_group
from mrresponse.respond.settings import RespondSettings, criteria_of
from mrresponse.respond.targets import target_values
from mrresponse.respond.timeline import Visit, reader_visits, source_of
from mrresponse.respond.values import LesionValue, is_viable_part, lesion_value, quantity_name

Group = tuple[str, str, str]


def contributions(
    patient: Patient,
    studies: Sequence[StudyRecord],
    measurements: Sequence[Measurement],
    response: ResponseResult,
    settings: RespondSettings,
) -> tuple[Contribution, ...]:
    """Return a row for every lesion with a role at every visit of an assessment, targets first.

    A new lesion has rows from the first visit on at which it was looked at.
    """
    readers = sorted({row.reader for row in measurements})
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
    groups: dict[Group, list[Assessment]] = {}
    for row in response.assessments:
        groups.setdefault((row.treatment_phase, row.criterion, row.reader), []).append(row)
    found: list[Contribution] = []
    for (phase, name, reader), rows in groups.items():
        measured_by = restated.get((phase, name), reader) if reader == ADJUDICATED else reader
        roles = _roles(response, (phase, name, reader))
        if measured_by not in visits or not roles:
            continue
        source = source_of(measurements, measured_by)
        criterion = next(one for one in criteria_of(settings, phase, source=source) if one.name == name)
        dated = [(row, visits[measured_by][row.study_date]) for row in rows]
        known = {lesion_id for lesion_id, role in roles.items() if role is not LesionRole.NEW}
        later = [visit for row, visit in dated if not row.is_baseline]
        statuses = {
            (visit.study_date, lesion.lesion_id): lesion.status
            for visit, lesions in zip(
                later, new_lesions_through(known, later, criterion, settings), strict=True
            )
            for lesion in lesions
        }
        for row, visit in dated:
            for one in _at_visit(row, visit, roles, criterion, settings):
                status = statuses.get((one.study_date, one.lesion_id), "")
                found.append(replace(one, new_lesion_status=status, source=source))
    return tuple(found)


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
        if m is None and role in (LesionRole.NEW, LesionRole.EXCLUDED):
            continue
        value = values.get(lesion_id) or _other_value(m, visit, criterion, settings)
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
                is_normal=value.is_gone,
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
