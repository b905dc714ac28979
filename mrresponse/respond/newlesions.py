"""Lesions that were not there at baseline: how sure it is that they are new disease, visit by visit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date

from mrresponse.domain import LIVER, Measurement, MeasurementSource, NewLesionStatus
from mrresponse.respond.criteria import Criterion, NewLesionRule
from mrresponse.respond.roles import is_malignant_node
from mrresponse.respond.rules import is_below, number, reaches
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import (
    TOO_SMALL,
    is_benign,
    is_liver,
    is_seen,
    lesion_is_gone,
    lesion_value,
    short_axis_mm,
)
from mrresponse.typed import counted_with, is_merged_away

NEW_ORDER = ("none", "candidate", "equivocal", "definite")
DOUBTFUL = ("candidate", "equivocal")
GROWS = "new_lesion_grows"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLesion:
    """One new lesion at one visit; ``first_seen`` is its first appearance as disease in the treatment phase.

    ``grown`` gives its diameters in mm when first seen and now, where it is doubtful whether it is new and it has
    grown by as much as makes a new nodule definite: it may have been there at baseline, overlooked. ``counted`` is what
    it would give to the sum of the non-targets then and now; ``None`` is not known. A reader's own word that it is
    doubtful stands: then it has not grown, and gives no more than it gave.
    """

    lesion_id: str
    status: str
    why: str
    first_seen: date
    is_liver: bool
    measurement: Measurement | None = None
    grown: tuple[float, float] | None = None
    counted: tuple[float | None, float | None] = (None, None)

    @property
    def text(self) -> str:
        """How a reason names it."""
        return f"{self.lesion_id} first seen {self.first_seen.isoformat()} ({self.why})"


@dataclass(slots=True)
class _Followed:
    first: Measurement
    # gone, or a node of normal size: what is seen next is its first appearance
    is_over: bool = False
    was_definite: bool = False
    # where it was too small to measure, the most that it can have had: growth is then a lower bound
    first_mm: float | None = None
    first_counted: float | None = None
    is_bound: bool = False
    # its diameter when it was measured last, and what merged into it: such a jump is no growth
    last_mm: float | None = None
    joined: set[str] = field(default_factory=set)
    status: str = "none"
    why: str = ""


def new_lesions_through(
    known: Collection[str],
    visits: Sequence[Visit],
    criterion: Criterion,
    settings: RespondSettings,
    *,
    rejected: Collection[str] = (),
) -> tuple[tuple[NewLesion, ...], ...]:
    """Return the new lesions of each follow-up visit, as they were known at that visit.

    ``known`` are the lesions of the baseline. A lesion once definite stays so while it is seen or cannot be judged;
    one that is shown to be gone is new no longer. What was rejected, before these visits (``rejected``) or at one of
    them, stays rejected until another word is said of it.
    """
    followed: dict[str, _Followed] = {}
    result: list[tuple[NewLesion, ...]] = []
    for visit in visits:
        for lesion_id, seen in visit.measurements.items():
            if lesion_id not in known and is_seen(seen):
                one = followed.setdefault(
                    lesion_id, _Followed(first=seen, why=REJECTED if lesion_id in rejected else "")
                )
                _note_appearance(one, seen, criterion, settings)
                _leave_out_merger(one, seen, visit)
            elif lesion_id in followed and lesion_is_gone(seen):
                followed[lesion_id].is_over = True
        if visit.unread:
            result.append(())
            continue
        found = []
        for lesion_id, lesion in followed.items():
            m = visit.measurements.get(lesion_id)
            is_judged = lesion_id in visit.judged
            lesion.status, lesion.why = _status(lesion, m, criterion, settings, is_judged=is_judged)
            lesion.was_definite = lesion.was_definite or lesion.status == "definite"
            grown = None if is_judged else _doubtful_growth(lesion, m, settings)
            then, now = lesion.first_counted, _counted(m, criterion, settings)
            if is_judged and lesion.status in DOUBTFUL and then is not None and now is not None:
                now = min(then, now)
            least = "at least " if lesion.is_bound else ""
            by = f", grown by {least}{number(grown[1] - grown[0])} mm since first seen" if grown else ""
            found.append(
                NewLesion(
                    lesion_id=lesion_id,
                    status=lesion.status,
                    why=f"{lesion.why}{by}",
                    first_seen=lesion.first.study_date,
                    is_liver=is_liver(lesion.first),
                    measurement=m,
                    grown=grown,
                    counted=(then, now),
                )
            )
        result.append(tuple(found))
    return tuple(result)


def _note_appearance(
    lesion: _Followed, seen: Measurement, criterion: Criterion, settings: RespondSettings
) -> None:
    """Begin anew with a doubtful lesion that was gone, and with a node that is no longer of normal size."""
    is_normal = seen.is_node and _node_status(seen, criterion, settings)[0] == "none"
    if lesion.is_over and not is_normal and not lesion.was_definite:
        lesion.first, lesion.first_mm, lesion.last_mm = seen, None, None
    lesion.is_over = is_normal
    if lesion.first_mm is None:
        lesion.is_bound = seen.state is TOO_SMALL and seen.longest_diameter_mm is None
        lesion.first_mm = criterion.by_diameter.too_small if lesion.is_bound else _diameter_mm(seen)
        lesion.first_counted = _counted(seen, criterion, settings)


def _leave_out_merger(lesion: _Followed, seen: Measurement, visit: Visit) -> None:
    """Count growth from as much more as a lesion gained when another one merged into it."""
    size = _diameter_mm(seen)
    if size is None:
        return
    joined = {
        name
        for name, m in visit.measurements.items()
        if is_merged_away(m) and counted_with(m, visit.measurements) == seen.lesion_id
    }
    # at its first appearance it is as large as it is
    before = lesion.last_mm if lesion.last_mm is not None else lesion.first_mm
    if joined - lesion.joined and lesion.first_mm is not None and before is not None and size > before:
        lesion.first_mm = round(lesion.first_mm + size - before, 6)
    lesion.joined |= joined
    lesion.last_mm = size


def new_lesion_word(statuses: Collection[str], *, is_read: bool) -> str:
    """Return the word of a visit: that of its surest new lesion; not assessed where nothing was read."""
    word = max(statuses, key=NEW_ORDER.index, default="none")
    return "not assessed" if word == "none" and not is_read else word


def hcc_nodule_status(
    diameter_mm: float,
    *,
    has_hcc_pattern: bool,
    growth_mm: float,
    is_bound: bool,
    settings: RespondSettings,
) -> tuple[str, str]:
    """Return the status of a new hepatic nodule and why (Lencioni & Llovet 2010; response-criteria section 4.4).

    ``is_bound`` where it was too small to measure at first: it has grown by ``growth_mm`` at least.
    """
    least = settings.new_lesion_min_mm
    if is_below(diameter_mm, least):
        return "equivocal", f"{number(diameter_mm)} mm < {number(least)} mm"
    if has_hcc_pattern:
        return (
            "definite",
            f"{number(diameter_mm)} mm >= {number(least)} mm, arterial enhancement with washout",
        )
    if reaches(growth_mm, settings.new_lesion_growth_mm):
        by = f"by at least {number(growth_mm)}" if is_bound else f"by {number(growth_mm)}"
        return "definite", f"{number(diameter_mm)} mm, grown {by} mm since first seen"
    return "equivocal", f"{number(diameter_mm)} mm without arterial enhancement and washout"


def _status(
    lesion: _Followed,
    m: Measurement | None,
    criterion: Criterion,
    settings: RespondSettings,
    *,
    is_judged: bool,
) -> tuple[str, str]:
    if m is not None and _is_rejected(lesion, m):
        return "none", REJECTED
    if m is not None and lesion_is_gone(m):
        return "none", "gone"
    if m is None or not is_seen(m):
        return lesion.status, lesion.why or "not assessed"
    if lesion.status == "definite":
        return lesion.status, lesion.why
    return _judged(lesion, m, criterion, settings, is_judged=is_judged)


def _is_rejected(lesion: _Followed, m: Measurement) -> bool:
    stated = m.new_lesion_status
    return stated is NewLesionStatus.REJECTED or (stated is None and lesion.why == REJECTED)


def _judged(
    lesion: _Followed, m: Measurement, criterion: Criterion, settings: RespondSettings, *, is_judged: bool
) -> tuple[str, str]:
    stated = m.new_lesion_status
    if stated is NewLesionStatus.DEFINITE:
        return "definite", _why_definite(m, is_judged=is_judged)
    if is_benign(m):
        return "none", f"benign pattern ({m.pattern})"
    if stated is not None and (is_judged or m.source is MeasurementSource.READER):
        return stated.value, f"{_size(m)}stated {stated.value}"
    if m.source is MeasurementSource.NETWORK:
        word = (stated or NewLesionStatus.CANDIDATE).value
        return word, f"{_size(m)}found by the network"
    if m.is_node:
        return _node_status(m, criterion, settings)
    size, first = m.longest_diameter_mm, lesion.first_mm
    growth = size - first if size is not None and first is not None else None
    if criterion.new_lesion_rule is NewLesionRule.HCC_PATTERN and m.organ == LIVER:
        if size is None or growth is None:
            return "equivocal", "no longest diameter given"
        pattern = stated is None and m.aphe is True and m.washout is True
        return hcc_nodule_status(
            size, has_hcc_pattern=pattern, growth_mm=growth, is_bound=lesion.is_bound, settings=settings
        )
    if stated is None or (growth is not None and reaches(growth, settings.new_lesion_growth_mm)):
        return "definite", f"{_size(m)}not there at baseline"
    return stated.value, f"{_size(m)}stated {stated.value}"


def _why_definite(m: Measurement, *, is_judged: bool) -> str:
    """Say what makes a lesion definite: a word, or what its images show."""
    if is_judged or m.source is MeasurementSource.READER or not m.new_lesion_reason:
        return f"{_size(m)}stated definite"
    return f"by its images: {m.new_lesion_reason.replace('; ', ', ')}"


def _doubtful_growth(
    lesion: _Followed, m: Measurement | None, settings: RespondSettings
) -> tuple[float, float] | None:
    """Give from and to what a lesion has grown that stays doubtful, as a network's whose place was not seen before."""
    if m is None or lesion.status not in DOUBTFUL:
        return None
    size, first = _diameter_mm(m), lesion.first_mm
    if not is_seen(m) or size is None or first is None or is_below(size, settings.new_lesion_min_mm):
        return None
    return (first, size) if reaches(size - first, settings.new_lesion_growth_mm) else None


def _diameter_mm(m: Measurement) -> float | None:
    """Return the diameter by which a lesion grows: of a node its short axis."""
    return short_axis_mm(m) if m.is_node else m.longest_diameter_mm


def _counted(m: Measurement | None, criterion: Criterion, settings: RespondSettings) -> float | None:
    """Return what a lesion gives to a sum of non-targets: under a viable criterion its enhancing part."""
    return lesion_value(m, criterion.by_diameter, node_normal_mm=settings.node_normal_mm).value


def _node_status(m: Measurement, criterion: Criterion, settings: RespondSettings) -> tuple[str, str]:
    axis = short_axis_mm(m)
    if axis is None:
        return "equivocal", "node without a short axis"
    if not is_malignant_node(m.organ, axis, criterion, settings):
        return "none", f"normal node, short axis {number(axis)} mm"
    if reaches(axis, criterion.min_target_node_mm):
        return "definite", f"node, short axis {number(axis)} mm"
    return "equivocal", f"node, short axis {number(axis)} mm < {number(criterion.min_target_node_mm)} mm"


def _size(m: Measurement) -> str:
    return f"{number(m.longest_diameter_mm)} mm, " if m.longest_diameter_mm is not None else ""
