"""Translate third-party case files into calls of `mrresponse.respond`, row by row.

Columns become arguments and a stated convention becomes a setting. No rule, no expected value and no exception lives
here: a row whose form has no translation is not usable and says why.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Cytology,
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    Response,
    ResponseResult,
    StudyRecord,
)
from mrresponse.respond import CRITERIA, RECIST_1_1, RespondSettings, respond
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.endpoints import (
    best_overall_response,
    clinical_benefit_date,
    confirmed_best_overall_response,
    confirmed_response_date,
    days_between,
    depth_of_response,
    has_partial_after_complete,
    immune_best_overall_response,
    progression_date,
    progression_free,
    response_date,
    time_to_progression,
    until_progression,
)
from mrresponse.respond.immune import immune_overall
from mrresponse.respond.roles import ineligibility, is_malignant_node
from mrresponse.respond.rules import (
    NonTargetEvidence,
    TargetEvidence,
    decide_non_target,
    decide_target,
    overall_response,
    target_response,
)
from mrresponse.respond.settings import DayCount, PartialResponse, criteria_of
from mrresponse.respond.targets import accept, begin, judge, sum_targets
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import lesion_value
from mrresponse.typed import parse_measurement

Row = Mapping[str, Any]
DAY_0 = date(2000, 1, 1)
P = "CASE"
READER = "reader"


@dataclass(frozen=True)
class Case:
    """One row of a case file: its identity and the check to run."""

    file: str
    case_id: str
    check: Callable[[], None]


def not_usable(reason: str) -> None:
    """Say that a row cannot be used, and why."""
    pytest.skip(f"not usable: {reason}")


def cases_of(folder: Path) -> Iterator[Case]:
    """Return every row of every known file of a case folder."""
    for name, read in READERS.items():
        if (folder / name).exists():
            yield from read(folder, name)


def missing_files(folder: Path) -> tuple[str, ...]:
    """Return the known files that a folder lacks."""
    return tuple(name for name in READERS if not (folder / name).exists())


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name
    if path.suffix == ".json":
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return rows
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _each(check: Callable[[Row], None]) -> Callable[[Path, str], Iterator[Case]]:
    def read(folder: Path, name: str) -> Iterator[Case]:
        for number, row in enumerate(_rows(folder, name)):
            case_id = str(row.get("case_id") or number)
            yield Case(name, case_id, lambda row=row: check(row))  # type: ignore[misc]

    return read


def _number(text: Any) -> float | None:
    if text is None or str(text).strip().lower() in ("", "nan"):
        return None
    return float(text)


def _same(found: Any, expected: Any) -> None:
    """Compare as the files state it: null asserts nothing, ``NOT x`` differs, ``a|b`` and lists are alternatives."""
    if expected is None:
        return
    if isinstance(expected, float | int) and not isinstance(expected, bool):
        assert found == pytest.approx(expected, abs=1e-6), (found, expected)
        return
    alternatives = expected if isinstance(expected, list) else str(expected).split("|")
    if len(alternatives) == 1 and str(alternatives[0]).upper().startswith("NOT "):
        assert str(found) != str(alternatives[0])[4:].strip(), (found, expected)
        return
    assert str(found) in [str(word).strip() for word in alternatives], (found, expected)


def _convention(row: Row) -> str:
    text = row.get("convention") or ""
    return "; ".join(text) if isinstance(text, list) else str(text)


def _settings(row: Row, **changes: Any) -> RespondSettings:
    settings = RespondSettings(**changes)
    if "pd_abs_mm=5" in _convention(row):
        settings = replace(settings, mrecist_pd_abs_mm=5.0)
    params = row.get("params") or {}
    if "sustain_pr" in _convention(row) or params.get("sustain_pr"):
        settings = replace(settings, partial_response=PartialResponse.SUSTAINED)
    return settings


def _criterion(row: Row) -> Criterion:
    name = str(row["criterion"]).split(" (")[0]
    if name not in CRITERIA:
        not_usable(f"criterion {name}")
    settings = _settings(row, criteria=(name,))
    return criteria_of(settings, "course", source=MeasurementSource.READER)[0]


# --- single decisions


def check_target(row: Row) -> None:
    """Check one triple of sums."""
    found = target_response(
        _criterion(row),
        baseline=_number(row["baseline_sum_mm"]),
        nadir=_number(row["nadir_sum_mm"]),
        current=_number(row["current_sum_mm"]),
    )
    _same(found, row.get("expected") or None)
    if row.get("not_expected"):
        _same(found, f"NOT {row['not_expected']}")


WORDS = {"IR/SD": "NON-CR/NON-PD", "NONE": None, "": None}


def _word(text: str) -> Response | None:
    known = WORDS.get(text, text)
    return None if known is None else Response(known)


def check_combination(row: Row) -> None:
    """Check one line of an overall-response table."""
    target, non_target, is_new = _word(row["target"]), _word(row["nontarget"]), row["new_lesion"] == "Y"
    if row["criterion"] == "iRECIST":
        found = immune_overall(
            target,
            non_target,
            is_new=is_new,
            has_prior=row["prior_iupd"] == "Y",
            is_further=row["further_increase"] not in ("", "none", "N"),
        )
    else:
        found = overall_response(target, non_target, "definite" if is_new else "none")
    _same(found, row["expected"])


def check_immune_components(row: Row) -> None:
    """Check the overall iRECIST word of one visit from its components."""
    if not str(row["usable"]).startswith("Y"):
        not_usable(str(row["usable"]))
    found = immune_overall(
        _word(row["target"]),
        _word(row["nontarget"]),
        is_new=row["new_lesion"] == "Y",
        has_prior=False,
        is_further=False,
    )
    _same(found, row["expected_overall"])


def check_parsed(row: Row) -> None:
    """Check one typed value."""
    parsed = parse_measurement(row["input"])
    found = "invalid" if parsed.problem else "missing" if parsed.state is None else parsed.value
    _same(found, row["expected"])


# --- measured series


def _measurement(lesion: str, day: date, size: float | None, **more: Any) -> Measurement:
    state = MeasurementState.NOT_ASSESSED if size is None else MeasurementState.MEASURED
    if size == 0.0:
        state = MeasurementState.ABSENT
    values: dict[str, Any] = {
        "state": state,
        "longest_diameter_mm": size,
        "viable_longest_diameter_mm": size,
        "source": MeasurementSource.READER,
        **more,
    }
    return Measurement(patient_id=P, lesion_id=lesion, study_date=day, reader=READER, **values)


def _targets_of(visit: Row, day: date) -> list[Measurement]:
    """Return the target lesions of a visit, each an organ of its own; a sum alone is one lesion."""
    sizes = visit["lesions_mm"] if "lesions_mm" in visit else [visit.get("target_sum_mm")]
    return [_measurement(f"T{n}", day, size, organ=f"site {n}") for n, size in enumerate(sizes)]


NON_TARGET_STATES = {
    "PRESENT": MeasurementState.MEASURED,
    "ABSENT": MeasurementState.ABSENT,
    "UNEQUIVOCAL": MeasurementState.MEASURED,
}


def _run_series(row: Row, criterion: str) -> tuple[ResponseResult, list[Assessment]]:
    baseline = date.fromisoformat(row["baseline"]["date"])
    measurements = _targets_of(row["baseline"], baseline)
    findings = []
    days = [date.fromisoformat(visit["date"]) for visit in row["visits"]]
    has_non_target = any("nontarget_state" in visit for visit in row["visits"])
    if has_non_target:
        measurements.append(
            _measurement("N1", baseline, None, state=MeasurementState.MEASURED, organ="other")
        )
    for visit, day in zip(row["visits"], days, strict=True):
        measurements += _targets_of(visit, day)
        if has_non_target:
            word = visit.get("nontarget_state")
            state = NON_TARGET_STATES.get(word, MeasurementState.NOT_ASSESSED)
            measurements.append(_measurement("N1", day, None, state=state, organ="other"))
            if word == "UNEQUIVOCAL":
                findings.append(_finding(day, FindingKind.NON_TARGET, FindingStatus.PROGRESSING))
        for new in visit.get("new_lesions", ()):
            more = {"organ": "new site", "new_lesion_status": NewLesionStatus.DEFINITE}
            measurements.append(_measurement(new["id"], day, new.get("mm"), **more))
    return _respond(measurements, [baseline, *days], findings, _settings(row, criteria=(criterion,)))


def _finding(day: date, kind: FindingKind, status: FindingStatus, **more: Any) -> Finding:
    return Finding(patient_id=P, date=day, kind=kind, status=status, **more)


def _respond(
    measurements: Sequence[Measurement],
    days: Sequence[date],
    findings: Sequence[Finding],
    settings: RespondSettings,
) -> tuple[ResponseResult, list[Assessment]]:
    studies = [StudyRecord(patient_id=P, study_date=day, lesions_assessable=True) for day in days]
    result = respond(Patient(patient_id=P, findings=tuple(findings)), studies, measurements, settings)
    return result, [a for a in result.assessments if not a.is_baseline]


def check_series(row: Row) -> None:
    """Check one patient's measured series."""
    expected = row["expected"]
    if isinstance(expected, list):
        _, found = _run_series(row, "RECIST 1.1")
        for assessment, wanted in zip(found, expected, strict=True):
            _check_visit(assessment, wanted)
        return
    known = {
        "irecist",
        "recist",
        "ignored",
        "late_window_warning",
        "nontarget",
        "overall",
        "target",
        "response",
    }
    unknown = [key for key in expected if key not in known and not key.startswith("nadir_mm_at_visit")]
    if unknown:
        not_usable(f"no translation for expected {', '.join(unknown)}")
    main = "iRECIST" if "irecist" in expected else _criterion(row).name
    _, found = _run_series(row, main)
    plain = _run_series(row, "RECIST 1.1")[1] if "recist" in expected else []
    for key, words in expected.items():
        if key.startswith("nadir_mm_at_visit"):
            _same(found[int(key.removeprefix("nadir_mm_at_visit")) - 1].nadir_burden, words)
            continue
        for index, word in enumerate(words):
            _same(_said(key, found, plain, index), word)


def _said(key: str, found: Sequence[Assessment], plain: Sequence[Assessment], index: int) -> Any:
    match key:
        case "irecist" | "overall":
            return found[index].overall
        case "recist":
            return plain[index].overall
        case "ignored":
            return "early_scan_ignored" in found[index].flags
        case "late_window_warning":
            return "late_confirmation" in found[index].flags
        case "nontarget":
            return found[index].non_target
        case _:
            return found[index].target


def _check_visit(found: Assessment, wanted: Row) -> None:
    nadir, current = found.nadir_burden, found.current_burden
    percent = {
        "pct_from_baseline": found.change_from_baseline,
        "pct_from_nadir": found.change_from_nadir,
    }
    values: dict[str, Any] = {
        "sum_mm": current,
        "nadir_mm": nadir,
        "abs_from_nadir": None if current is None or nadir is None else current - nadir,
        "response": found.target,
        **{key: None if value is None else 100.0 * value for key, value in percent.items()},
    }
    for key, value in wanted.items():
        if key in values:
            _same(values[key], value)


# --- sequences of responses


def _day(visit: Row) -> date:
    return DAY_0 + timedelta(days=visit["day"]) if "day" in visit else date.fromisoformat(visit["date"])


def _reference(row: Row) -> date:
    text = row.get("reference_date")
    return DAY_0 if text is None or str(text).startswith("day") else date.fromisoformat(text)


def _sequence_settings(row: Row) -> RespondSettings:
    params = row["params"]
    settings = _settings(row)
    names = {
        "sd_min_days": "sd_min_days",
        "confirm_days": "confirm_min_days",
        "max_nr_ne": "confirm_max_not_evaluable",
    }
    changes: dict[str, Any] = {setting: params[name] for name, setting in names.items() if name in params}
    if params.get("accept_sd"):
        changes["confirm_max_stable"] = 1
    return replace(settings, **changes)


def check_sequence(row: Row) -> None:
    """Check one sequence of dated responses."""
    params = row["params"]
    if params["kind"] == "TIMEPOINT_SERIES":
        _check_timepoints(row)
        return
    visits = [(_day(visit), visit["response"]) for visit in row["visits"]]
    stop = row.get("given_pd_date")
    if params.get("truncate_after_first_pd", True):
        visits = [visit for visit in visits if stop is None or visit[0] <= date.fromisoformat(stop)]
        visits = list(until_progression(visits))
    if params["kind"] not in SEQUENCES:
        not_usable(f"no translation for kind {params['kind']}")
    for key, value in SEQUENCES[params["kind"]](row, visits, _sequence_settings(row)).items():
        if key in row["expected"]:
            wanted = row["expected"][key]
            if wanted is None:
                assert value is None, (key, value)
            else:
                _same(value, wanted)
    assert set(row["expected"]) <= {
        "bor",
        "date",
        "ibor",
        "response",
        "confirmed_response",
        "clinical_benefit",
        "kept",
        "flag",
    }


Visits = Sequence[tuple[date, str]]


def _bor(row: Row, visits: Visits, settings: RespondSettings) -> dict[str, Any]:
    params = row["params"]
    find = confirmed_best_overall_response if params["confirmation"] else best_overall_response
    best = find(visits, _reference(row), settings)
    word = best.response or ("NE" if params.get("missing_as_ne") else "MISSING")
    return {"bor": word, "date": best.study_date}


def _ibor(row: Row, visits: Visits, settings: RespondSettings) -> dict[str, Any]:
    best = immune_best_overall_response(visits, _reference(row), settings)
    return {"ibor": best.response, "date": best.study_date}


def _yes(name: str, day: date | None) -> dict[str, Any]:
    return {name: "N" if day is None else "Y", "date": day}


def _benefit(row: Row, visits: Visits, settings: RespondSettings) -> dict[str, Any]:
    words = row["params"]["values"]
    return _yes("clinical_benefit", clinical_benefit_date(visits, _reference(row), settings, words=words))


def _kept(row: Row, visits: Visits, settings: RespondSettings) -> dict[str, Any]:
    kept = until_progression(visits)
    assert [{"date": day.isoformat(), "response": word} for day, word in kept] == row["expected"]["kept"]
    return {}


SEQUENCES: dict[str, Callable[[Row, Visits, RespondSettings], dict[str, Any]]] = {
    "BOR": _bor,
    "CBOR": _bor,
    "IBOR": _ibor,
    "CONFIRMED_RESPONSE": lambda row, v, s: _yes("confirmed_response", confirmed_response_date(v, s)),
    "RESPONSE": lambda row, v, s: _yes("response", response_date(v)),
    "CLINICAL_BENEFIT": _benefit,
    "TRUNCATE_AT_FIRST_PD": _kept,
    "SIGNAL_PR_AFTER_CR": lambda row, v, s: {"flag": has_partial_after_complete(v)},
}


def _check_timepoints(row: Row) -> None:
    visits = [{**visit, "date": _day(visit).isoformat()} for visit in row["visits"]]
    baseline = {"date": DAY_0.isoformat(), "target_sum_mm": row["params"]["baseline_sum_mm"]}
    _, found = _run_series({**row, "baseline": baseline, "visits": visits}, _criterion(row).name)
    for assessment, word in zip(found, row["expected"]["timepoint"], strict=True):
        _same(assessment.overall, word)


# --- whole chains


def _first_day(text: str) -> date:
    """Read a date; a month alone is its first day, as the files state for measurements."""
    return date.fromisoformat(text if len(text) == 10 else f"{text}-01")


def check_chain(row: Row) -> None:
    """Check one subject from lesions to time to event."""
    measurements = []
    for lesion in row["lesions"]:
        more: dict[str, Any] = {
            "organ": lesion["location"],
            "is_node": lesion["location"] == "LYMPH NODE",
            "perpendicular_diameter_mm": lesion["short_axis_mm"],
        }
        if lesion["state"] is not None:
            more["state"] = NON_TARGET_STATES.get(lesion["state"], MeasurementState.NOT_ASSESSED)
        measurements.append(
            _measurement(lesion["lesion"], _first_day(lesion["date"]), lesion["longest_mm"], **more)
        )
    days = sorted({m.study_date for m in measurements})
    result, found = _respond(measurements, days, (), _settings(row, criteria=(row["criterion"],)))
    for assessment, given in zip(found, row["overall_by_visit"], strict=True):
        _same(assessment.overall, given["response"])
    by_date = {a.study_date: a for a in result.assessments}
    for wanted in row["expected"]["sum_of_diameters"]:
        if wanted["in_analysis"]:
            _check_sums(by_date[_first_day(wanted["date"])], wanted)
    assert {a.baseline_burden is not None for a in result.assessments} == {
        row["expected"]["MDIS"]["value"] == "Y"
    }
    _check_endpoints(row)


def _check_sums(found: Assessment, wanted: Row) -> None:
    _same(found.current_burden, wanted["sum_mm"])
    _same(found.baseline_burden, wanted["base_mm"])
    if not found.is_baseline:
        assert found.change_from_baseline is not None
        assert found.change_from_nadir is not None
        _same(found.nadir_burden, wanted["nadir_mm"])
        _same(100.0 * found.change_from_baseline, wanted["pchg"])
        _same(100.0 * found.change_from_nadir, wanted["pchg_nadir"])


def _check_endpoints(row: Row) -> None:
    expected, start = row["expected"], date.fromisoformat(row["reference_date"])
    settings = RespondSettings(day_count=DayCount.INCLUSIVE)
    all_visits = [(date.fromisoformat(v["date"]), v["response"]) for v in row["overall_by_visit"]]
    visits = until_progression(all_visits)
    best = best_overall_response(visits, start, settings)
    confirmed = confirmed_best_overall_response(visits, start, settings)
    answered = response_date(visits)
    benefit = clinical_benefit_date(visits, start, settings, words=("CR", "PR", "SD", "NON-CR/NON-PD"))
    values: dict[str, tuple[Any, date | None]] = {
        "BOR": (best.response, best.study_date),
        "CBOR": (confirmed.response, confirmed.study_date),
        "RSP": ("N" if answered is None else "Y", answered),
        "CB": ("N" if benefit is None else "Y", benefit),
        "LSTA": (visits[-1][1], visits[-1][0]),
    }
    for name, day in (("CRSP", confirmed_response_date(visits, settings)), ("PD", progression_date(visits))):
        values[name] = ("N" if day is None else "Y", day)
    for name, (word, day) in values.items():
        _same(word, expected[name]["value"])
        assert (day.isoformat() if day else None) == expected[name]["date"], name
    free = progression_free(visits, start, phase_end=None, death=None, settings=settings)
    _check_time(expected["PFS"], start, free.end, is_event=free.is_event, settings=settings)
    if expected["DOR"] is not None:
        assert answered is not None
        end = time_to_progression(visits, start, phase_end=None, death=None)
        _check_time(expected["DOR"], answered, end.end, is_event=end.is_event, settings=settings)


def _check_time(wanted: Row, start: date, end: date, *, is_event: bool, settings: RespondSettings) -> None:
    assert (start.isoformat(), end.isoformat()) == (wanted["start"], wanted["end"])
    assert days_between(start, end, settings.day_count) == wanted["days"]
    assert is_event is not wanted["censored"]


# --- reader series


def read_visits(folder: Path, name: str) -> Iterator[Case]:
    """Return one case per visit of every series, judged with the targets that the source chose."""
    lesions = _series_lesions(folder)
    by_series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(folder, name):
        by_series[row["case_id"]].append(row)
    for case_id, rows in by_series.items():
        targets = _series_targets(lesions.get(case_id, []), rows)
        for row in rows:
            found = targets.get(row["visitnum"])
            yield Case(
                name, f"{case_id}-{row['visitnum']}", lambda row=row, found=found: _check_row(row, found)
            )  # type: ignore[misc]


def _series_lesions(folder: Path) -> dict[str, list[dict[str, Any]]]:
    by_series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    path = folder / "series_lesions.csv"
    for row in _rows(folder, path.name) if path.exists() else ():
        by_series[row["case_id"]].append(row)
    return by_series


def _series_targets(lesions: Sequence[Row], rows: Sequence[Row]) -> dict[str, tuple[Response, float | None]]:
    """Return target response and sum by visit number, visits in order of date."""
    baseline = [row for row in lesions if row["visit"] == "BASELINE"]
    if not baseline:
        return {}
    names = tuple(row["lesion"] for row in baseline)
    settings = RespondSettings()
    state = begin(sum_targets(names, _series_visit(baseline, DAY_0), RECIST_1_1, settings))
    result = {}
    for row in sorted(rows, key=lambda row: row["date"]):
        seen = [lesion for lesion in lesions if lesion["visitnum"] == row["visitnum"]]
        visit = _series_visit(seen, date.fromisoformat(row["date"]))
        found = sum_targets(names, visit, RECIST_1_1, settings)
        judged = judge(state, found, visit, RECIST_1_1, settings)
        accept(state, judged)
        burden = judged.burden
        result[row["visitnum"]] = (judged.response, burden)
    return result


def _series_visit(lesions: Sequence[Row], day: date) -> Visit:
    measurements = {}
    for row in lesions:
        measurements[row["lesion"]] = _measurement(
            row["lesion"],
            day,
            _number(row["analysed_mm"]),
            organ=row["location"],
            is_node=row["is_node"] == "Y",
            perpendicular_diameter_mm=_number(row["analysed_mm"]),
        )
    return Visit(study_date=day, measurements=measurements)


COMPONENTS = {
    "UNEQUIVOCAL": "progressing",
    "NOT ASSESSABLE": "missing",
    "PRESENT": "present",
    "ABSENT": "gone",
}
NEW_WORDS = {"": "none", "EQUIVOCAL": "equivocal", "UNEQUIVOCAL": "definite"}


def _check_row(row: Row, found: tuple[Response, float | None] | None) -> None:
    states: dict[str, list[str]] = defaultdict(list)
    for state in filter(None, row["nontarget_states"].split("|")):
        states[COMPONENTS.get(state, "missing")].append(state)
    non_target, _ = decide_non_target(NonTargetEvidence(**{key: tuple(v) for key, v in states.items()}))
    _same(non_target if non_target is not None else "", row["expected_nontarget"] or "")
    new = max(
        (NEW_WORDS.get(word, "none") for word in row["new_lesion_states"].split("|")),
        key=list(NEW_WORDS.values()).index,
    )
    assert new == NEW_WORDS[row["expected_new_lesion"]]
    given = Response(row["expected_target"]) if row["expected_target"] else None
    _same(overall_response(given, non_target, new), row["expected_overall"])
    if not row["target_valid_recist11"].startswith("Y"):
        return
    if found is None:
        not_usable("no lesions given for this series")
        return
    response, burden = found
    _same(response, row["expected_target"])
    if row["n_target_missing"] == "0":
        _same(burden, _number(row["expected_sum_mm"]))


def read_subjects(folder: Path, name: str) -> Iterator[Case]:
    """Return one case per series: its depth of response."""
    lesions = _series_lesions(folder)
    by_series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(folder, "series_visits.csv") if (folder / "series_visits.csv").exists() else ():
        by_series[row["case_id"]].append(row)
    for row in _rows(folder, name):
        visits = by_series.get(row["case_id"], [])
        seen = lesions.get(row["case_id"], [])
        yield Case(name, row["case_id"], lambda row=row, v=visits, s=seen: _check_depth(row, v, s))  # type: ignore[misc]


def _check_depth(row: Row, visits: Sequence[Row], lesions: Sequence[Row]) -> None:
    wanted = _number(row["expected_depth_of_response_pct"])
    if wanted is None:
        not_usable("no expected value")
        return
    baseline = [row for row in lesions if row["visit"] == "BASELINE"]
    if not baseline:
        not_usable("no lesions given for this series")
    start = sum(_number(row["analysed_mm"]) or 0.0 for row in baseline)
    changes = [
        (
            date.fromisoformat(visit["date"]),
            (float(visit["expected_sum_mm"]) - start) / start,
            visit["expected_overall"],
        )
        for visit in sorted(visits, key=lambda visit: visit["date"])
        if visit["expected_sum_mm"]
    ]
    found = depth_of_response(changes)
    assert found is not None
    assert 100.0 * found == pytest.approx(wanted, abs=0.05 + 1e-9)


# --- single rules


def check_special(row: Row) -> None:
    """Check one rule by the keys of its input."""
    given = row["input"]
    for keys, check in SPECIAL:
        if keys <= set(given):
            check(row, given, row["expected"])
            return
    not_usable(f"no translation for input {', '.join(given)}")


BASELINE = date(2023, 12, 1)


def _stable_target(days: Sequence[date]) -> list[Measurement]:
    return [_measurement("T1", day, 50.0) for day in (BASELINE, *days)]


def _special_visits(row: Row, given: Row, expected: Row) -> None:
    """Check new nodules on top of a target that stays the same."""
    if given.get("target", "SD") != "SD":
        not_usable(f"target {given['target']} with new lesions")
    days = [date.fromisoformat(visit["date"]) for visit in given["visits"]]
    measurements = _stable_target(days)
    for visit, day in zip(given["visits"], days, strict=True):
        more: dict[str, Any] = {}
        if "new" in visit:
            more["new_lesion_status"] = NewLesionStatus(visit["new"].split(",")[0])
        else:
            more |= {"aphe": visit.get("aphe"), "washout": visit.get("washout")}
        measurements.append(_measurement("N1", day, float(visit.get("new_nodule_mm", 12.0)), **more))
    settings = _settings(row, criteria=(row["criterion"],))
    result, found = _respond(measurements, [BASELINE, *days], (), settings)
    for index, word in enumerate(expected.get("new_lesion", ())):
        _same(found[index].new_lesions, word)
    for index, word in enumerate(expected.get("overall", ())):
        _same(found[index].overall, word)
    if "progression_date" in expected:
        summary = next(s for s in result.summaries if s.basis == "overall")
        assert str(summary.progression_date) == str(expected["progression_date"])


def _special_node(row: Row, given: Row, expected: Row) -> None:
    criterion, settings, size = _criterion(row), _settings(row), float(given["short_axis_mm"])
    if "malignant" in expected:
        is_malignant = is_malignant_node(given["node"], size, criterion, settings)
        assert is_malignant is expected["malignant"]
    if "target_eligible" in expected:
        more = {"is_node": True, "organ": given["node"], "perpendicular_diameter_mm": size}
        why_not = ineligibility([_measurement("L1", BASELINE, size, **more)], criterion, settings)
        assert (why_not == "") is expected["target_eligible"]


def _special_fluid(row: Row, given: Row, expected: Row) -> None:
    day = BASELINE + timedelta(days=90)
    cytology = Cytology(given["cytology"]) if given["cytology"] else None
    kind = FindingKind.ASCITES if "ascites" in given["effusion"] else FindingKind.EFFUSION
    finding = _finding(day, kind, FindingStatus.NEW, cytology=cytology)
    _, found = _respond(
        _stable_target([day]), [BASELINE, day], [finding], _settings(row, criteria=(row["criterion"],))
    )
    _same(found[0].overall, expected["overall"])


def _special_lesion(row: Row, given: Row, expected: Row) -> None:
    viable = given.get("viable_mm", given["longest_mm"])
    more = {
        "viable_longest_diameter_mm": float(viable),
        "viable_state": MeasurementState.MEASURED if viable else MeasurementState.ABSENT,
        "well_delineated": given.get("well_delineated"),
        "aphe": given.get("aphe"),
        "pattern": given["lesion"],
        "previously_treated": True if "after" in given["lesion"] else None,
    }
    lesion = _measurement("L1", BASELINE, float(given["longest_mm"]), **more)
    criterion, settings = _criterion(row), _settings(row)
    why_not = ineligibility([lesion], criterion, settings)
    assert ("non-target" if why_not else "target-eligible") == expected["role"], why_not
    if "baseline_diameter_mm" in expected:
        value = lesion_value(lesion, criterion, node_normal_mm=settings.node_normal_mm)
        _same(value.value, expected["baseline_diameter_mm"])


def _judged(row: Row, names: Sequence[str], first: Sequence[Measurement], then: Sequence[Measurement]) -> Any:
    criterion, settings = _criterion(row), _settings(row)
    baseline = Visit(study_date=BASELINE, measurements={m.lesion_id: m for m in first})
    state = begin(sum_targets(names, baseline, criterion, settings))
    later = Visit(study_date=BASELINE + timedelta(days=60), measurements={m.lesion_id: m for m in then})
    found = sum_targets(names, later, criterion, settings)
    return judge(state, found, later, criterion, settings)


def _special_viable(row: Row, given: Row, expected: Row) -> None:
    names = [f"L{n}" for n in range(len(given["baseline_viable_mm"]))]
    day = BASELINE + timedelta(days=60)
    first = [
        _measurement(n, BASELINE, float(mm)) for n, mm in zip(names, given["baseline_viable_mm"], strict=True)
    ]
    sizes = zip(names, given["current_total_mm"], given["current_viable_mm"], strict=True)
    then = [
        _measurement(n, day, float(mm), viable_longest_diameter_mm=float(viable)) for n, mm, viable in sizes
    ]
    _same(_judged(row, names, first, then).response, expected["target"])


def _special_organs(row: Row, given: Row, expected: Row) -> None:
    names = [f"L{n}" for n in range(len(given["baseline"]))]
    lists = []
    for day, key in ((BASELINE, "baseline"), (BASELINE + timedelta(days=60), "current")):
        lists.append(
            [
                _measurement(
                    name,
                    day,
                    float(entry["mm"]),
                    organ=entry["organ"],
                    is_node=entry["organ"] == "node",
                    perpendicular_diameter_mm=float(entry["mm"]),
                )
                for name, entry in zip(names, given[key], strict=True)
            ]
        )
    found = _judged(row, names, *lists)
    _same(found.burden, expected.get("sum_mm"))
    _same(found.response, expected.get("target"))


def _special_partial(row: Row, given: Row, expected: Row) -> None:
    missing = tuple(f"target {n}" for n in range(given["n_assessed"], given["n_targets"]))
    evidence = TargetEvidence(
        baseline=given["baseline_sum_mm"],
        nadir=given.get("nadir_sum_mm", given["baseline_sum_mm"]),
        current=given["assessed_sum_mm"],
        missing=missing,
    )
    _same(decide_target(evidence, _criterion(row)).response, expected["target"])


def _special_state(row: Row, given: Row, expected: Row) -> None:
    if "too small" not in given["state"]:
        not_usable(f"state {given['state']}")
    lesion = _measurement("L1", BASELINE, None, state=MeasurementState.TOO_SMALL)
    _same(lesion_value(lesion, _criterion(row), node_normal_mm=10.0).value, expected["recorded_mm"])


def _special_split(row: Row, given: Row, expected: Row) -> None:
    day = BASELINE + timedelta(days=60)
    first = [_measurement("L1", BASELINE, float(given["parent_baseline_mm"]))]
    total = float(sum(given["fragments_mm"]))
    then = [_measurement("L1", day, total, state=MeasurementState.SPLIT)]
    _same(_judged(row, ["L1"], first, then).burden, expected["contribution_mm"])


def _special_merged(row: Row, given: Row, expected: Row) -> None:
    if given["separable"]:
        not_usable("separable lesions are measured each")
    day, names = BASELINE + timedelta(days=60), [f"L{n}" for n in range(len(given["previous_mm"]))]
    first = [_measurement(n, BASELINE, float(mm)) for n, mm in zip(names, given["previous_mm"], strict=True)]
    whole = float(given["merged_longest_mm"])
    then = [_measurement(names[0], day, whole, state=MeasurementState.MERGED)]
    then += [_measurement(name, day, None, state=MeasurementState.MERGED) for name in names[1:]]
    _same(_judged(row, names, first, then).burden, expected["contribution_mm"])


SPECIAL: tuple[tuple[set[str], Callable[[Row, Row, Row], None]], ...] = (
    ({"visits"}, _special_visits),
    ({"node", "short_axis_mm"}, _special_node),
    ({"effusion"}, _special_fluid),
    ({"lesion", "longest_mm"}, _special_lesion),
    ({"baseline_viable_mm", "current_total_mm", "current_viable_mm"}, _special_viable),
    ({"baseline", "current"}, _special_organs),
    ({"baseline_sum_mm", "assessed_sum_mm"}, _special_partial),
    ({"parent_baseline_mm", "fragments_mm"}, _special_split),
    ({"previous_mm", "merged_longest_mm"}, _special_merged),
    ({"state"}, _special_state),
)

READERS: dict[str, Callable[[Path, str], Iterator[Case]]] = {
    "target_rule_vectors.csv": _each(check_target),
    "tace_reader_pairs.csv": _each(check_target),
    "overall_combinations.csv": _each(check_combination),
    "irecist_components.csv": _each(check_immune_components),
    "measured_series.json": _each(check_series),
    "bor_sequences.json": _each(check_sequence),
    "chain_subjects.json": _each(check_chain),
    "series_visits.csv": read_visits,
    "series_subjects.csv": read_subjects,
    "special_rules.json": _each(check_special),
    "parse_measurement.json": _each(check_parsed),
}
