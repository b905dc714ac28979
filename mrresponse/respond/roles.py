"""Which lesion is target, non-target or no disease at the baseline of a treatment phase, and why."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from operator import attrgetter

from mrresponse.domain import LIVER, PERFUSION_LIKE, LesionEdit, LesionRole, Measurement
from mrresponse.errors import DataError
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.rules import exceeds, has_grown, is_below, number, reaches
from mrresponse.respond.settings import RespondSettings, TreatedLesions
from mrresponse.respond.values import (
    LesionValue,
    VisitValues,
    is_benign,
    is_infiltrative,
    is_porta_hepatis,
    is_seen,
    is_thrombus,
    is_viable_part,
    lesion_is_gone,
    lesion_value,
    organ_of,
    quantity_name,
    short_axis_mm,
)
from mrresponse.typed import is_merged_away

TARGET, NON_TARGET = LesionRole.TARGET, LesionRole.NON_TARGET


@dataclass(slots=True)
class Role:
    """Role of one lesion; ``role`` ``None`` means that it is no disease of this treatment phase.

    A lesion that ``may_be_new`` was gone, a normal node, a change of perfusion or rejected at baseline: what is seen of
    it later is new.
    """

    lesion_id: str
    role: LesionRole | None
    reason: str
    may_be_new: bool = False
    is_benign: bool = False


@dataclass(slots=True)
class KnownLesion:
    """A lesion that is known at a baseline study, and what holds of it under every criterion.

    ``settled`` is its role where no criterion has to be asked; ``is_thrombus``, ``is_vague`` (not well delineated)
    and ``treated`` (why a treatment before speaks against it) decide whether it may be a target.
    """

    lesion_id: str
    history: Sequence[Measurement]
    current: Measurement | None
    settled: Role | None
    is_thrombus: bool
    is_vague: bool
    treated: str


# A lesion that may be a target: its value below 0, so that the largest comes first, its name, organ, and the reason.
_Candidate = tuple[float, str, str, str]


def known_lesions(
    histories: Mapping[str, Sequence[Measurement]],
    baseline: date,
    settings: RespondSettings,
    *,
    rejected: Collection[str],
) -> tuple[KnownLesion, ...]:
    """Return the lesions known at a baseline study, by name.

    ``histories`` holds each lesion's measurements up to and including the baseline, by date; ``rejected`` are those
    that a reader rejected by then.
    """
    found = []
    for lesion_id, history in sorted(histories.items()):
        last = history[-1]
        current = last if last.study_date == baseline else None
        settled = (
            Role(lesion_id, None, "rejected", may_be_new=True)
            if lesion_id in rejected
            else _role_without_measurement(lesion_id, history, current)
        )
        if settled is None and _is_always_benign(history):
            settled = _benign(lesion_id, history)
        found.append(_known(lesion_id, history, current, settled, settings))
    return tuple(found)


def _known(
    lesion_id: str,
    history: Sequence[Measurement],
    current: Measurement | None,
    settled: Role | None,
    settings: RespondSettings,
) -> KnownLesion:
    last = history[-1]
    is_vague = last.well_delineated is False or is_infiltrative(last)
    treated = _treated_ineligibility(history, settings)
    return KnownLesion(lesion_id, history, current, settled, is_thrombus(last), is_vague, treated)


def select_roles(
    lesions: Sequence[KnownLesion],
    values: VisitValues,
    criterion: Criterion,
    settings: RespondSettings,
    stated: Mapping[str, LesionEdit] | None = None,
) -> tuple[Role, ...]:
    """Choose targets and non-targets among the lesions known at a baseline study, by name.

    ``values`` are those of the baseline under the criterion. The largest eligible lesions become targets within the
    criterion's limits; every other lesion is a non-target with the reason; lesions that are gone, normal nodes, benign
    lesions and those that a reader rejected are no disease. Sources: response-criteria sections 2.1 and 4.1.
    ``stated`` are the roles that a reader set, by lesion: they win, targets among them count towards the limits, and
    the rest is chosen by the rules.
    """
    stated = stated or {}
    roles: list[Role] = []
    candidates: list[_Candidate] = []
    taken: list[str] = []
    for lesion in lesions:
        lesion_id, last = lesion.lesion_id, lesion.history[-1]
        if lesion_id in stated:
            role = _stated_role(stated[lesion_id], lesion.current, criterion, settings)
            roles.append(role)
            if role.role is TARGET:
                taken.append(organ_of(last))
            continue
        settled = lesion.settled or (_normal_node(last, criterion, settings) if last.is_node else None)
        if settled is not None:
            roles.append(settled)
            continue
        value = values.of(lesion_id)
        reason = _ineligibility(lesion, value, criterion, settings)
        if reason:
            roles.append(Role(lesion_id, NON_TARGET, reason))
        else:
            candidates.append(_candidate(last, value, criterion))
    roles += _choose(candidates, criterion, taken)
    return tuple(sorted(roles, key=attrgetter("lesion_id")))


def _stated_role(
    edit: LesionEdit, current: Measurement | None, criterion: Criterion, settings: RespondSettings
) -> Role:
    role = None if edit.role is LesionRole.EXCLUDED else edit.role
    value = None
    if current is not None and is_seen(current):
        value = lesion_value(current, criterion, node_normal_mm=settings.node_normal_mm).value
    if role is LesionRole.TARGET and value is None:
        raise DataError(
            f"lesions.csv, {edit.lesion_id}, reader {edit.reader}: found role target, expected another one: the "
            f"lesion has no {quantity_name(current, criterion)} at the baseline",
            code="bad_edit",
            patient_id=edit.patient_id,
        )
    return Role(lesion_id=edit.lesion_id, role=role, reason=f"set by {edit.reader}: {edit.reason}")


def stated_roles(edits: Sequence[LesionEdit], treatment_phase: str) -> dict[str, LesionEdit]:
    """Return, by lesion, the roles that readers set in a treatment phase; one set for this phase wins."""
    general = {row.lesion_id: row for row in edits if row.role and not row.treatment_phase}
    own = {row.lesion_id: row for row in edits if row.role and row.treatment_phase == treatment_phase}
    return general | own


def check_roles_used(
    edits: Sequence[LesionEdit], known: Mapping[str, Collection[str]], measured: Collection[str]
) -> None:
    """Refuse a role that would be without effect.

    Parameters
    ----------
    known
        The lesions known at the baselines of each treatment phase; none where it has no baseline.
    measured
        All lesions, at whatever study.

    Raises
    ------
    DataError
        ``bad_edit``: of a treatment phase that is not there, or of a lesion that no baseline knows.
    """
    for row in edits:
        if row.role is None:
            continue
        if row.treatment_phase and row.treatment_phase not in known:
            raise _unused(
                row, f"found treatment phase {row.treatment_phase!r}, expected one of {', '.join(known)}"
            )
        own = [known[row.treatment_phase]] if row.treatment_phase else list(known.values())
        if row.lesion_id in measured and any(own) and not any(row.lesion_id in names for names in own):
            raise _unused(
                row,
                f"found role {row.role}, expected new_lesion_status: the lesion is not known at "
                f"{'the' if row.treatment_phase else 'a'} baseline",
            )


def _unused(row: LesionEdit, problem: str) -> DataError:
    return DataError(
        f"lesions.csv, {row.lesion_id}, reader {row.reader}: {problem}",
        code="bad_edit",
        patient_id=row.patient_id,
    )


def ineligibility(history: Sequence[Measurement], criterion: Criterion, settings: RespondSettings) -> str:
    """Return why the lesion last measured in ``history`` may not be a target, or nothing where it may."""
    value = lesion_value(history[-1], criterion, node_normal_mm=settings.node_normal_mm)
    lesion = _known(history[-1].lesion_id, history, history[-1], None, settings)
    return _ineligibility(lesion, value, criterion, settings)


def _ineligibility(
    lesion: KnownLesion, value: LesionValue, criterion: Criterion, settings: RespondSettings
) -> str:
    m = lesion.history[-1]
    if lesion.is_thrombus:
        return "tumour in a vein is not measurable"
    if value.value is None:
        return value.note
    if m.is_node:
        return _node_ineligibility(m, criterion)
    if m.longest_diameter_mm is None:
        return f"longest diameter not given ({value.note or m.state.value})"
    least = criterion.min_target_mm
    if m.slice_thickness_mm is not None and exceeds(m.slice_thickness_mm, settings.thick_slice_mm):
        least = max(least, 2.0 * m.slice_thickness_mm)
    if is_below(m.longest_diameter_mm, least):
        return f"longest diameter {number(m.longest_diameter_mm)} mm < {number(least)} mm"
    if lesion.is_vague:
        return "not well delineated"
    if is_viable_part(m, criterion):
        reason = _viable_ineligibility(m, value.value, value.note, criterion)
    else:
        reason = lesion.treated
    if not reason and is_below(value.value, criterion.min_target_quantity):
        name = quantity_name(m, criterion)
        reason = f"{name} {number(value.value)} {criterion.unit} < {criterion.min_target_quantity}"
    return reason


def is_malignant_node(site: str, short_axis: float, criterion: Criterion, settings: RespondSettings) -> bool:
    """Tell whether a node is disease: from 10 mm, at the porta hepatis under liver criteria from 20 mm."""
    if criterion.is_viable and is_porta_hepatis(site):
        return reaches(short_axis, settings.porta_hepatis_node_mm)
    return reaches(short_axis, settings.node_normal_mm)


def _role_without_measurement(
    lesion_id: str, history: Sequence[Measurement], current: Measurement | None
) -> Role | None:
    """Return the role of a lesion that is not measured at the baseline; ``None`` where it is."""
    if current is not None and is_seen(current):
        if is_merged_away(current):
            return Role(lesion_id=lesion_id, role=None, reason="measured with the lesion it merged into")
        return None
    shown = [m for m in history if is_seen(m) or lesion_is_gone(m)]
    if shown and lesion_is_gone(shown[-1]):
        return Role(lesion_id=lesion_id, role=None, reason="absent at baseline", may_be_new=True)
    if _is_always_benign(history):
        return _benign(lesion_id, history)
    if current is None:
        return Role(
            lesion_id=lesion_id,
            role=LesionRole.NON_TARGET,
            reason=f"known from {history[-1].study_date.isoformat()}, no measurement at baseline",
        )
    why = current.reason or current.state.value.replace("_", " ")
    return Role(lesion_id=lesion_id, role=LesionRole.NON_TARGET, reason=f"not measured at baseline: {why}")


def _normal_node(m: Measurement, criterion: Criterion, settings: RespondSettings) -> Role | None:
    axis = short_axis_mm(m)
    if axis is None or is_malignant_node(m.organ, axis, criterion, settings):
        return None
    reason = f"normal node: short axis {number(axis)} mm"
    return Role(lesion_id=m.lesion_id, role=None, reason=reason, may_be_new=True)


def _is_always_benign(history: Sequence[Measurement]) -> bool:
    seen = [m for m in history if is_seen(m)]
    return bool(seen) and all(is_benign(m) for m in seen)


def _benign(lesion_id: str, history: Sequence[Measurement]) -> Role:
    pattern = next(m.pattern for m in reversed(history) if is_seen(m))
    reason = f"benign pattern ({pattern}): not eligible, not counted as disease"
    # a tumour may be bright in the arterial phase alone for a time; one that shows itself later must not stay unseen
    may_be_new = pattern == PERFUSION_LIKE
    return Role(lesion_id=lesion_id, role=None, reason=reason, may_be_new=may_be_new, is_benign=True)


def _node_ineligibility(m: Measurement, criterion: Criterion) -> str:
    axis = short_axis_mm(m)
    if axis is None:
        return "short axis not given"
    if is_below(axis, criterion.min_target_node_mm):
        return f"node with short axis {number(axis)} mm < {number(criterion.min_target_node_mm)} mm"
    return ""


def _viable_ineligibility(m: Measurement, value: float, note: str, criterion: Criterion) -> str:
    if note.startswith("viable part too small"):
        return note
    viable = value if criterion.is_length else m.viable_longest_diameter_mm
    if viable is None:
        return "viable diameter not given"
    if viable == 0.0:
        return "no arterial enhancement"
    if is_below(viable, criterion.min_target_mm):
        return f"viable diameter {number(viable)} mm < {number(criterion.min_target_mm)} mm"
    return ""


def _treated_ineligibility(history: Sequence[Measurement], settings: RespondSettings) -> str:
    m = history[-1]
    if m.previously_treated is not True or settings.treated_lesions is TreatedLesions.ALWAYS:
        return ""
    if settings.treated_lesions is TreatedLesions.IF_PROGRESSING and _is_growing(history, settings):
        return ""
    return "treated before, progression since then not shown"


def _is_growing(history: Sequence[Measurement], settings: RespondSettings) -> bool:
    treated = [m.longest_diameter_mm for m in history if m.previously_treated and m.longest_diameter_mm]
    if len(treated) < 2:
        return False
    least, last = min(treated[:-1]), treated[-1]
    increase, floor_mm = settings.non_target_guide_increase, settings.non_target_guide_floor_mm
    return has_grown(least, last, by_share=increase, by_mm=floor_mm)


@cache
def _at_least(bound_mm: float) -> str:
    return f" >= {number(bound_mm)} mm"


def _candidate(m: Measurement, worth: LesionValue, criterion: Criterion) -> _Candidate:
    value = worth.value or 0.0
    least = criterion.min_target_node_mm if m.is_node else criterion.min_target_mm
    bound = _at_least(least) if criterion.is_length else ""
    reason = f"{quantity_name(m, criterion)} {number(value)} {criterion.unit}{bound}"
    return -value, m.lesion_id, organ_of(m), reason


def _choose(candidates: Sequence[_Candidate], criterion: Criterion, taken: Sequence[str]) -> list[Role]:
    """Take the largest within the limits; ``taken`` are the organs of the targets that a reader set."""
    chosen = list(taken)
    most, most_in_liver = criterion.max_targets, criterion.max_liver_targets
    roles = []
    for _, lesion_id, organ, reason in sorted(candidates):
        limit = criterion.max_targets_per_organ
        if organ == LIVER and most_in_liver is not None:
            limit = most_in_liver
        full = ""
        if most is not None and len(chosen) >= most:
            full = f"the limit of {most} targets is reached"
        elif limit is not None and chosen.count(organ) >= limit:
            full = f"the limit of {limit} targets in the {organ.replace('_', ' ')} is reached"
        if full:
            roles.append(Role(lesion_id, NON_TARGET, f"{reason}; {full}"))
        else:
            chosen.append(organ)
            roles.append(Role(lesion_id, TARGET, reason))
    return roles
