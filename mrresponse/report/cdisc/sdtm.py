"""SDTM of a run: tumours (TU), their results (TR), disease response (RS) and what TR has no variable for (SUPPTR).

SDTMIG 3.4, with the examples of its TU, TR and RS chapters. Decisions where the guide leaves them open:

- A row of TU stands for a lesion in one assessment (reader, treatment phase, criterion), identified at the phase's
  baseline, or where it was first seen; ``TUSPID`` is the lesion's own name, the same everywhere.
- Sums and changes are in TR because the reading system supplies them; nothing is derived here.
- The list of ``TRTESTCD`` has no code for a sum of areas or of volumes, nor ``RSTESTCD`` one for the liver alone:
  ``SUMAREA``, ``SUMVOL`` and ``LIVRESP`` extend them.
- The diameter, area or volume of the enhancing part alone carries ``VIABFL`` in SUPPTR, and so does the state of a
  tumour that is there but has no enhancing part.
- ``--ACPTFL`` is ``Y`` only for a response that a reader restated: an acceptance comes from a person, never from here.
"""

from collections.abc import Callable, Iterator
from datetime import date

from mrresponse.domain import (
    SEEN_STATES,
    Assessment,
    Contribution,
    LesionRole,
    Measurement,
    MeasurementState,
    TrackEvent,
)
from mrresponse.report.cdisc.dataset import Dataset, Row, Value, Variable, in_percent, number_text
from mrresponse.report.cdisc.keys import RESTATED, ROLE_GROUPS, Group, Subject, subjects
from mrresponse.report.run import FinishedRun
from mrresponse.typed import counted_with, fragments_measured

TOO_SMALL = "too small to measure"
# A lesion that is counted as part of another one: its own 0 is no absence.
_MERGED_NOTE = "measured with"
_METHOD = "MRI"
_SIZE_TESTS = {
    "mm": ("LDIAM", "Longest Diameter"),
    "mm2": ("AREA", "Area"),
    "mL": ("VOLUME", "Volume"),
}
_NODE_TEST = ("LPERP", "Longest Perpendicular")
_SUM_TESTS = {
    "mm": ("SUMDIAM", "Sum of Diameter"),
    "mm2": ("SUMAREA", "Sum of Areas"),
    "mL": ("SUMVOL", "Sum of Volumes"),
}
_STATE_TEST = ("TUMSTATE", "Tumor State")
_NEW_STATES = {"definite": "UNEQUIVOCAL", "equivocal": "EQUIVOCAL", "candidate": "EQUIVOCAL"}


def _keys(domain: str) -> tuple[Variable, ...]:
    return (
        Variable(name="STUDYID", label="Study Identifier"),
        Variable(name="DOMAIN", label="Domain Abbreviation"),
        Variable(name="USUBJID", label="Unique Subject Identifier"),
        Variable(name=f"{domain}SEQ", label="Sequence Number", kind=float),
    )


def _evaluation(domain: str) -> tuple[Variable, ...]:
    return (
        Variable(name=f"{domain}EVAL", label="Evaluator"),
        Variable(name=f"{domain}EVALID", label="Evaluator Identifier"),
        Variable(name=f"{domain}ACPTFL", label="Accepted Record Flag"),
        Variable(name="VISITNUM", label="Visit Number", kind=float),
        Variable(name="VISIT", label="Visit Name"),
    )


_TU = (
    *_keys("TU"),
    Variable(name="TUGRPID", label="Group ID"),
    Variable(name="TUREFID", label="Reference ID"),
    Variable(name="TUSPID", label="Sponsor-Defined Identifier"),
    Variable(name="TULNKID", label="Link ID"),
    Variable(name="TUTESTCD", label="Tumor/Lesion ID Short Name"),
    Variable(name="TUTEST", label="Tumor/Lesion ID Test Name"),
    Variable(name="TUORRES", label="Tumor/Lesion ID Result"),
    Variable(name="TUSTRESC", label="Tumor/Lesion ID Result Std. Format"),
    Variable(name="TULOC", label="Location of the Tumor/Lesion"),
    Variable(name="TULAT", label="Laterality"),
    Variable(name="TUMETHOD", label="Method of Identification"),
    *_evaluation("TU"),
    Variable(name="TUDTC", label="Date/Time of Tumor/Lesion Identification"),
    Variable(name="TUDY", label="Study Day of Tumor/Lesion Identification", kind=float),
)
_TR = (
    *_keys("TR"),
    Variable(name="TRGRPID", label="Group ID"),
    Variable(name="TRREFID", label="Reference ID"),
    Variable(name="TRSPID", label="Sponsor-Defined Identifier"),
    Variable(name="TRLNKID", label="Link ID"),
    Variable(name="TRLNKGRP", label="Link Group ID"),
    Variable(name="TRTESTCD", label="Tumor/Lesion Assessment Short Name"),
    Variable(name="TRTEST", label="Tumor/Lesion Assessment Test Name"),
    Variable(name="TRORRES", label="Result or Finding in Original Units"),
    Variable(name="TRORRESU", label="Original Units"),
    Variable(name="TRSTRESC", label="Character Result/Finding in Std Format"),
    Variable(name="TRSTRESN", label="Numeric Result/Finding in Standard Units", kind=float),
    Variable(name="TRSTRESU", label="Standard Units"),
    Variable(name="TRSTAT", label="Completion Status"),
    Variable(name="TRREASND", label="Reason Not Done"),
    Variable(name="TRMETHOD", label="Method Used to Identify the Tumor/Lesion"),
    *_evaluation("TR"),
    Variable(name="TRDTC", label="Date/Time of Tumor/Lesion Measurement"),
    Variable(name="TRDY", label="Study Day of Tumor/Lesion Measurement", kind=float),
)
_RS = (
    *_keys("RS"),
    Variable(name="RSGRPID", label="Group ID"),
    Variable(name="RSLNKGRP", label="Link Group ID"),
    Variable(name="RSTESTCD", label="Assessment Short Name"),
    Variable(name="RSTEST", label="Assessment Name"),
    Variable(name="RSCAT", label="Category for Assessment"),
    Variable(name="RSORRES", label="Result or Finding in Original Units"),
    Variable(name="RSSTRESC", label="Character Result/Finding in Std Format"),
    Variable(name="RSSTAT", label="Completion Status"),
    Variable(name="RSREASND", label="Reason Not Done"),
    *_evaluation("RS"),
    Variable(name="RSDTC", label="Date/Time of Assessment"),
    Variable(name="RSDY", label="Study Day of Assessment", kind=float),
)
_SUPPTR = (
    Variable(name="STUDYID", label="Study Identifier"),
    Variable(name="RDOMAIN", label="Related Domain Abbreviation"),
    Variable(name="USUBJID", label="Unique Subject Identifier"),
    Variable(name="IDVAR", label="Identifying Variable"),
    Variable(name="IDVARVAL", label="Identifying Variable Value"),
    Variable(name="QNAM", label="Qualifier Variable Name"),
    Variable(name="QLABEL", label="Qualifier Variable Label"),
    Variable(name="QVAL", label="Data Value"),
    Variable(name="QORIG", label="Origin"),
    Variable(name="QEVAL", label="Evaluator"),
)


def sdtm_datasets(run: FinishedRun) -> tuple[Dataset, ...]:
    """Return TU, TR, RS and SUPPTR of a run."""
    everyone = subjects(run)
    tu = [row for one in everyone for row in _numbered("TU", one, _tu_rows)]
    tr = [row for one in everyone for row in _numbered("TR", one, _tr_rows)]
    rs = [row for one in everyone for row in _numbered("RS", one, _rs_rows)]
    viable = [row for row in tr if row.pop("is_viable", None)]
    supp = [
        {
            "STUDYID": row["STUDYID"],
            "RDOMAIN": "TR",
            "USUBJID": row["USUBJID"],
            "IDVAR": "TRSEQ",
            "IDVARVAL": str(row["TRSEQ"]),
            "QNAM": "VIABFL",
            "QLABEL": "Viable (Enhancing) Part Only",
            "QVAL": "Y",
            "QORIG": "ASSIGNED",
            "QEVAL": row["TREVAL"],
        }
        for row in viable
    ]
    return (
        Dataset(name="TU", label="Tumor/Lesion Identification", variables=_TU, rows=tuple(tu)),
        Dataset(name="TR", label="Tumor/Lesion Results", variables=_TR, rows=tuple(tr)),
        Dataset(name="RS", label="Disease Response and Clin Classification", variables=_RS, rows=tuple(rs)),
        Dataset(name="SUPPTR", label="Supplemental Qualifiers for TR", variables=_SUPPTR, rows=tuple(supp)),
    )


def _numbered(
    domain: str, subject: Subject, rows: Callable[[Subject, Group], Iterator[Row]]
) -> list[dict[str, Value]]:
    found = [row for group in subject.groups for row in rows(subject, group)]
    return [
        {
            "STUDYID": subject.study_id,
            "DOMAIN": domain,
            "USUBJID": subject.unique_id,
            f"{domain}SEQ": number,
            **row,
        }
        for number, row in enumerate(found, start=1)
    ]


def _when(domain: str, subject: Subject, day: date) -> Row:
    number = subject.visits[day]
    return {
        "VISITNUM": number,
        "VISIT": f"VISIT {number}",
        f"{domain}DTC": day.isoformat(),
        f"{domain}DY": subject.day(day),
    }


def _who(domain: str, group: Group) -> Row:
    return {f"{domain}EVAL": group.evaluator, f"{domain}EVALID": group.evaluator_id}


def _image(subject: Subject, day: date) -> str:
    """Name the study that was read as the folders of the masks do."""
    return f"{subject.subject_id}/{day.isoformat()}"


def _tu_rows(subject: Subject, group: Group) -> Iterator[Row]:
    for lesion_id, code in group.lesion_codes.items():
        rows = [
            row
            for day in sorted(group.contributions)
            for row in group.contributions[day]
            if row.lesion_id == lesion_id
        ]
        first = next((row for row in rows if _is_seen(row)), rows[0])
        yield _tu_row(subject, group, first, code)
        merged = next((row for row in rows if row.note.startswith(_MERGED_NOTE)), None)
        if merged is not None:
            parent = _parent(subject, group, merged)
            joined = f"{parent}/{code}" if parent else code
            yield _tu_row(subject, group, merged, joined, test=("TUMERGE", "Tumor Merged"))
        split = next((row for row in rows if row.state is MeasurementState.SPLIT), None)
        if split is not None:
            for number in range(1, _parts(subject, group, split) + 1):
                yield _tu_row(subject, group, split, f"{code}.{number}", test=("TUSPLIT", "Tumor Split"))


def _tu_row(
    subject: Subject,
    group: Group,
    row: Contribution,
    code: str,
    *,
    test: tuple[str, str] = ("TUMIDENT", "Tumor Identification"),
) -> Row:
    role = ROLE_GROUPS[row.role]
    return {
        "TUGRPID": group.phase_name,
        "TUREFID": _image(subject, row.study_date),
        "TUSPID": row.lesion_id,
        "TULNKID": f"{group.code}-{code}",
        "TUTESTCD": test[0],
        "TUTEST": test[1],
        "TUORRES": role,
        "TUSTRESC": role,
        "TULOC": row.organ.replace("_", " ").upper(),
        "TUMETHOD": _method(row),
        **_who("TU", group),
        **_when("TU", subject, row.study_date),
    }


def _method(row: Contribution) -> str | None:
    """Name the method of a lesion of the images; how a finding was made is not known."""
    return None if row.quantity == "finding" else _METHOD


def _is_seen(row: Contribution) -> bool:
    return row.is_baseline or row.state in SEEN_STATES


def _parent(subject: Subject, group: Group, merged: Contribution) -> str:
    """Return the code of the lesion that another one merged into, where it has one here.

    Where no images say it, the reader's reason may: ``merged into L01``.
    """
    result = subject.result
    into = next((one.merged_into for one in result.tracks if one.lesion_id == merged.lesion_id), None)
    if into is None:
        row = _measured(subject, group, merged)
        if row is not None:
            rows = [
                one
                for one in result.measurements
                if (one.study_date, one.reader) == (row.study_date, row.reader)
            ]
            into = counted_with(row, {one.lesion_id: one for one in rows})
    return group.lesion_codes.get(into or "", "")


def _measured(subject: Subject, group: Group, row: Contribution) -> Measurement | None:
    """Return the measurement that a result rests on; an adjudicated assessment has none of its own."""
    mine = [
        one
        for one in subject.result.measurements
        if (one.lesion_id, one.study_date) == (row.lesion_id, row.study_date)
    ]
    return next((one for one in mine if one.reader == group.reader), mine[0] if mine else None)


def _parts(subject: Subject, group: Group, split: Contribution) -> int:
    """Return how many fragments were measured; none are known where a person typed the state.

    A label of a given mask may lie in several, so that the labels of a track can be fewer.
    """
    row = _measured(subject, group, split)
    count = fragments_measured(row) if row is not None else None
    if count is not None:
        return count
    for track in subject.result.tracks:
        for seen in track.observations:
            is_it = track.lesion_id == split.lesion_id and seen.study_date == split.study_date
            if is_it and seen.event is TrackEvent.SPLIT:
                return len(seen.labels)
    return 0


def _tr_rows(subject: Subject, group: Group) -> Iterator[Row]:
    for row in group.assessments:
        shared: Row = {
            "TRREFID": _image(subject, row.study_date),
            "TRLNKGRP": group.visit_group(row),
            **_who("TR", group),
            **_when("TR", subject, row.study_date),
        }
        for lesion in group.contributions.get(row.study_date, ()):
            for result in _lesion_results(lesion):
                yield {
                    **shared,
                    "TRGRPID": ROLE_GROUPS[lesion.role],
                    "TRSPID": lesion.lesion_id,
                    "TRLNKID": group.link(lesion.lesion_id),
                    "TRMETHOD": _method(lesion),
                    **result,
                }
        for result in _sum_results(row, group):
            yield {**shared, "TRGRPID": "TARGET", **result}


def _lesion_results(row: Contribution) -> Iterator[Row]:
    if row.note.startswith(_MERGED_NOTE):
        yield _result(_STATE_TEST, "TUMOR MERGED")
        return
    if row.role is LesionRole.NEW and row.new_lesion_status == "none" and row.state in SEEN_STATES:
        # rejected, benign or a node of normal size: what is seen is no tumour, and RS says that nothing is new
        yield _result(_STATE_TEST, "ABSENT")
        if row.is_node and row.value is not None:
            yield _size_result(row)
        return
    if row.role is not LesionRole.TARGET:
        yield _state_result(row)
    if row.role is LesionRole.TARGET or row.value is not None:
        yield _size_result(row)


def _size_result(row: Contribution) -> Row:
    test = _NODE_TEST if row.is_node and row.unit == "mm" else _SIZE_TESTS[row.unit]
    # a mark for SUPPTR, which is made of it once the rows are numbered
    mark: Row = {"is_viable": "Y"} if row.is_viable_part else {}
    if row.value is None:
        return {**_not_done(test, row.note), **mark}
    shown = TOO_SMALL.upper() if TOO_SMALL in row.note else None
    return {**_number(test, row.value, row.unit, original=shown), **mark}


def _state_result(row: Contribution) -> Row:
    is_seen = row.value is not None or row.state in SEEN_STATES
    if is_seen and row.role is LesionRole.NEW and row.new_lesion_status in _NEW_STATES:
        return _result(_STATE_TEST, _NEW_STATES[row.new_lesion_status])
    # of a tumour that is there, only the viable part is absent or was not assessed
    mark: Row = {"is_viable": "Y"} if row.is_viable_part and row.state in SEEN_STATES else {}
    if row.is_normal:
        return {**_result(_STATE_TEST, "ABSENT"), **mark}
    if not is_seen or (row.value is None and row.is_viable_part):
        return {**_not_done(_STATE_TEST, row.note), **mark}
    return _result(_STATE_TEST, "PRESENT")


def _sum_results(row: Assessment, group: Group) -> Iterator[Row]:
    if not any(role.startswith("T") for role in group.lesion_codes.values()):
        return
    test, unit = _SUM_TESTS[row.burden_unit], row.burden_unit
    if row.current_burden is None:
        missing = [
            f"{lesion.lesion_id} {lesion.note}"
            for lesion in group.contributions.get(row.study_date, ())
            if lesion.role is LesionRole.TARGET and lesion.value is None
        ]
        yield _not_done(test, "; ".join(missing) or row.reason)
        return
    yield _number(test, row.current_burden, unit)
    if row.is_baseline or unit != "mm":
        return
    if row.nadir_burden is not None:
        change = round(row.current_burden - row.nadir_burden, 6)
        yield _number(("ACNSD", "Absolute Change Nadir in Sum of Diam"), change, unit)
    if row.change_from_baseline is not None:
        value = in_percent(row.change_from_baseline)
        yield _number(("PCBSD", "Percent Change Baseline in Sum of Diam"), value, "%")
    if row.change_from_nadir is not None:
        value = in_percent(row.change_from_nadir)
        yield _number(("PCNSD", "Percent Change Nadir in Sum of Diam"), value, "%")


def _rs_rows(subject: Subject, group: Group) -> Iterator[Row]:
    for row in group.assessments:
        if row.is_baseline:
            continue
        shared: Row = {
            "RSGRPID": group.phase_name,
            "RSLNKGRP": group.visit_group(row) if group.contributions.get(row.study_date) else None,
            "RSCAT": group.criterion,
            "RSACPTFL": "Y" if RESTATED in row.flags else None,
            **_who("RS", group),
            **_when("RS", subject, row.study_date),
        }
        for result in _responses(row):
            yield {**shared, **result}


def _responses(row: Assessment) -> Iterator[Row]:
    for test, word in (
        (("TRGRESP", "Target Response"), row.target),
        (("NTRGRESP", "Non-target Response"), row.non_target),
    ):
        if word is not None:
            yield _response(test, word)
    yield from _new_lesions(row.new_lesions)
    for test, word in (
        (("OVRLRESP", "Overall Response"), row.overall),
        (("LIVRESP", "Liver Response"), row.liver_response),
    ):
        if word is not None:
            yield _response(test, word)


def _new_lesions(word: str | None) -> Iterator[Row]:
    indicator = ("NEWLIND", "New Lesion Indicator")
    if word is None:
        return
    if word == "not assessed":
        yield {
            "RSTESTCD": indicator[0],
            "RSTEST": indicator[1],
            "RSSTAT": "NOT DONE",
            "RSREASND": "NOT ASSESSED",
        }
        return
    yield _response(indicator, "N" if word == "none" else "Y")
    if word in _NEW_STATES:
        yield _response(("NEWLPROG", "New Lesion Progression"), _NEW_STATES[word])


def _response(test: tuple[str, str], word: str) -> Row:
    return {"RSTESTCD": test[0], "RSTEST": test[1], "RSORRES": str(word), "RSSTRESC": str(word)}


def _number(test: tuple[str, str], value: float, unit: str, *, original: str | None = None) -> Row:
    text = number_text(value)
    return {
        "TRTESTCD": test[0],
        "TRTEST": test[1],
        "TRORRES": original or text,
        "TRORRESU": unit,
        "TRSTRESC": text,
        "TRSTRESN": value,
        "TRSTRESU": unit,
    }


def _result(test: tuple[str, str], word: str) -> Row:
    return {"TRTESTCD": test[0], "TRTEST": test[1], "TRORRES": word, "TRSTRESC": word}


def _not_done(test: tuple[str, str], why: str) -> Row:
    return {"TRTESTCD": test[0], "TRTEST": test[1], "TRSTAT": "NOT DONE", "TRREASND": why or "NO MEASUREMENT"}
