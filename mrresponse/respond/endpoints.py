"""Best response, confirmation and times to events from dated responses of one treatment phase.

Every function takes ``visits``: pairs of date and response, by date, already cut to the phase and, unless records
after progression are wanted, at the first progression (`until_progression`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from mrresponse.domain import Response
from mrresponse.respond.settings import DayCount, RespondSettings, ResponseEnd

Dated = tuple[date, str]
# names of their own: members of an enumeration are slow to look up
NE, INCLUSIVE = Response.NE, DayCount.INCLUSIVE

# Response-criteria section 8; ND (not done) and anything unknown rank behind NE.
RANK = ("CR", "PR", "SD", "NON-CR/NON-PD", "NED", "PD", "NE")
_RANKS = {word: rank for rank, word in enumerate(RANK)}
RESPONSES = ("CR", "PR")
ANY_RESPONSES = frozenset({*RESPONSES, "iCR", "iPR"})
STABLE = ("SD", "NON-CR/NON-PD")
IMMUNE_RANK = ("iCR", "iPR", "iSD", "NON-iCR/NON-iUPD", "NED")


@dataclass(slots=True)
class Best:
    """A best overall response and the date of the first visit that gives it; ``None`` with no visit at all."""

    response: str | None
    study_date: date | None


def until_progression(visits: Sequence[Dated], *, words: Collection[str] = ("PD",)) -> tuple[Dated, ...]:
    """Return the visits up to and including the first progression."""
    kept: list[Dated] = []
    for visit in visits:
        kept.append(visit)
        if visit[1] in words:
            break
    return tuple(kept)


def best_overall_response(visits: Sequence[Dated], start: date, settings: RespondSettings) -> Best:
    """Return the unconfirmed best overall response (Eisenhauer 2009; response-criteria section 8).

    Stable disease counts from ``sd_min_days`` after ``start`` on; earlier it is NE, and PD where PD follows.
    """
    return _best(visits, _with_minimum(visits, start, settings))


def confirmed_best_overall_response(
    visits: Sequence[Dated], start: date, settings: RespondSettings, *, is_measurable: bool = True
) -> Best:
    """Return the best overall response with complete and partial responses confirmed.

    A response is confirmed by the same or a better one at least ``confirm_min_days`` later with nothing worse and at
    most ``confirm_max_not_evaluable`` NE between. Unconfirmed it counts as stable disease from ``sd_min_days`` on,
    where no disease ``is_measurable`` as NON-CR/NON-PD.
    The date is that of the first visit of the pair (Eisenhauer 2009, table 3).
    """
    stable = "SD" if is_measurable else "NON-CR/NON-PD"
    unconfirmed = [(day, stable if word in RESPONSES else word) for day, word in visits]
    words = _with_minimum(unconfirmed, start, settings)
    for index, (_, word) in enumerate(visits):
        if word in RESPONSES:
            words[index] = _confirmed(visits, index, settings) or words[index]
    return _best(visits, words)


def _with_minimum(visits: Sequence[Dated], start: date, settings: RespondSettings) -> list[str]:
    """Return the words that the visits count as: stable disease that came too early as NE."""
    least = settings.sd_min_days
    return [NE if word in STABLE and (day - start).days < least else word for day, word in visits]


def _best(visits: Sequence[Dated], words: Sequence[str]) -> Best:
    """Return the best of the words that the visits count as, and the first visit that has it."""
    if not visits:
        return Best(response=None, study_date=None)
    ranks = [_RANKS.get(word, len(RANK)) for word in words]
    index = ranks.index(min(ranks))
    return Best(response=words[index], study_date=visits[index][0])


def _confirmed(visits: Sequence[Dated], index: int, settings: RespondSettings) -> str | None:
    """Return the response that a later visit confirms for the visit at ``index``."""
    day, word = visits[index]
    if word not in RESPONSES:
        return None
    not_evaluable = stable = 0
    complete_seen = False
    for later_day, later in visits[index + 1 :]:
        if later in RESPONSES[: RESPONSES.index(word) + 1]:
            if complete_seen and later == "PR":
                return None
            if (later_day - day).days >= settings.confirm_min_days:
                return word
            complete_seen = complete_seen or later == "CR"
        elif later == "NE":
            not_evaluable += 1
        elif later == "SD" and word == "PR":
            stable += 1
        else:
            return None
        if not_evaluable > settings.confirm_max_not_evaluable or stable > settings.confirm_max_stable:
            return None
    return None


def response_date(visits: Sequence[Dated]) -> date | None:
    """Return the date of the first complete or partial response."""
    for day, word in visits:
        if word in ANY_RESPONSES:
            return day
    return None


def confirmed_response_date(visits: Sequence[Dated], settings: RespondSettings) -> date | None:
    """Return the date of the first response that a later visit confirms."""
    return next((visits[i][0] for i in range(len(visits)) if _confirmed(visits, i, settings)), None)


def progression_date(visits: Sequence[Dated]) -> date | None:
    """Return the date of the first progression."""
    for day, word in visits:
        if word == "PD":
            return day
    return None


def clinical_benefit_date(
    visits: Sequence[Dated],
    start: date,
    settings: RespondSettings,
    *,
    words: Collection[str] = ("CR", "PR", "SD"),
) -> date | None:
    """Return the first date of a response, or of one of ``words`` at least ``sd_min_days`` after ``start``."""
    sustained = (day for day, word in visits if word in words and (day - start).days >= settings.sd_min_days)
    dates = [day for day in (next(sustained, None), response_date(visits)) if day is not None]
    return min(dates, default=None)


def has_partial_after_complete(visits: Sequence[Dated]) -> bool:
    """Tell whether a partial response follows a complete one: disease after CR is progression, or it was no CR."""
    evaluable = [word for _, word in visits if word != NE]
    return any(first == "CR" and second == "PR" for first, second in pairwise(evaluable))


def depth_of_response(changes: Sequence[tuple[date, float | None, str]]) -> float | None:
    """Return the lowest change from baseline (fraction) up to and including the first progression.

    Positive where the burden was never below baseline; ``None`` with no evaluable visit.
    """
    kept: list[float] = []
    for _, change, word in changes:
        if change is not None:
            kept.append(change)
        if word == "PD":
            break
    return min(kept, default=None)


def immune_best_overall_response(visits: Sequence[Dated], start: date, settings: RespondSettings) -> Best:
    """Return the iRECIST best response: an unconfirmed progression does not end the search (Seymour 2017)."""
    before: list[Dated] = []
    for visit in visits:
        if visit[1] == "iCPD":
            break
        before.append(visit)
    for word in IMMUNE_RANK:
        for day, found in before:
            if found == word and not (
                word in ("iSD", "NON-iCR/NON-iUPD") and (day - start).days < settings.sd_min_days
            ):
                return Best(response=word, study_date=day)
    for word in ("iCPD", "iUPD", "NE"):
        for day, found in visits:
            if found == word:
                return Best(response=word, study_date=day)
    return Best(response=NE if visits else None, study_date=visits[0][0] if visits else None)


def immune_progression_date(visits: Sequence[Dated]) -> date | None:
    """Return the date of the iUPD that is confirmed or never re-assessed to a response; ``None`` where it was reset.

    ``visits`` hold every scan; NE and ignored scans between do not matter.
    """
    pending: date | None = None
    last_unconfirmed: date | None = None
    for day, word in visits:
        if word == "iUPD":
            pending = pending or day
            last_unconfirmed = day
        elif word == "iCPD":
            return last_unconfirmed or day
        elif word not in ("NE", "ND"):
            pending = last_unconfirmed = None
    return pending


def days_between(start: date, end: date, day_count: DayCount) -> int:
    """Return the length of an interval in days."""
    return (end - start).days + (1 if day_count is INCLUSIVE else 0)


@dataclass(slots=True)
class Survival:
    """Time to an event or to censoring; ``event`` says which and why."""

    end: date
    is_event: bool
    event: str


def progression_free(
    visits: Sequence[Dated],
    start: date,
    *,
    phase_end: date | None,
    death: date | None,
    settings: RespondSettings,
) -> Survival:
    """Return progression-free survival with the censoring rules of response-criteria section 8.

    ``visits`` are cut at the first progression. A death after the next therapy began belongs to that therapy.
    """
    progression = progression_date(visits)
    if death is not None and phase_end is not None and death > phase_end:
        death = None
    end, event = (progression, "progression") if progression else (death, "death")
    if end is None:
        why = "new therapy" if phase_end is not None else "no event"
        return _censored(_last_evaluable(visits), start, why)
    gap = 0
    for _, word in reversed(visits):
        if word == "PD":
            continue
        if word != NE:
            break
        gap += 1
    if gap >= settings.missed_scans_censor:
        return _censored(_last_evaluable(visits), start, f"{gap} scans not evaluable before {event}")
    return Survival(end=end, is_event=True, event=event)


def time_to_progression(
    visits: Sequence[Dated], start: date, *, phase_end: date | None, death: date | None
) -> Survival:
    """Return the time to radiological progression; deaths are censored at the last evaluable scan (Llovet 2008)."""
    progression = progression_date(visits)
    if progression:
        return Survival(end=progression, is_event=True, event="progression")
    last = _last_evaluable(visits)
    if phase_end is not None and (death is None or death > phase_end):
        return _censored(last, start, "new therapy")
    return _censored(last, start, "death" if death else "no event")


def _last_evaluable(visits: Sequence[Dated]) -> date | None:
    """Return the date of the last visit that is neither NE nor a progression."""
    return max([day for day, word in visits if word != NE and word != "PD"], default=None)


def _censored(last: date | None, start: date, why: str) -> Survival:
    if last is None:
        return Survival(end=start, is_event=False, event=f"censored at start: no evaluable scan ({why})")
    return Survival(end=last, is_event=False, event=f"censored at last evaluable scan: {why}")


def overall_survival(start: date, *, death: date | None, last_known_alive: date | None) -> Survival | None:
    """Return the time to death of any cause; censored at the last contact, ``None`` where nothing is known."""
    if death is not None:
        return Survival(end=death, is_event=True, event="death")
    if last_known_alive is None or last_known_alive < start:
        return None
    return Survival(end=last_known_alive, is_event=False, event="censored at last contact")


def duration_of_response(
    to_progression: Survival, *, death: date | None, settings: RespondSettings
) -> Survival:
    """Return what ends a response: progression, or death where the settings say so."""
    is_death_an_end = settings.duration_of_response_end is ResponseEnd.PROGRESSION_OR_DEATH
    if is_death_an_end and not to_progression.is_event and to_progression.event.endswith("death") and death:
        return Survival(end=death, is_event=True, event="death")
    return to_progression


def has_clinical_benefit(
    best: str | None, to_progression: Survival, start: date, settings: RespondSettings
) -> bool:
    """Tell whether a response was reached, or stable disease that lasted ``clinical_benefit_days``."""
    if best in ANY_RESPONSES:
        return True
    lasted = (to_progression.end - start).days
    return best in (*STABLE, "iSD", "NON-iCR/NON-iUPD") and lasted >= settings.clinical_benefit_days
