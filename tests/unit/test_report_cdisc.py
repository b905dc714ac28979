"""SDTM and ADaM datasets agree with the run they come from, and two other programs read the transport files."""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyreadstat
import pytest

from mrresponse.cli import main
from mrresponse.domain import (
    Assessment,
    Contribution,
    LesionRole,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Observation,
    Patient,
    PatientResult,
    PhaseSummary,
    Response,
    ResponseResult,
    RoleRecord,
    StudyRecord,
    TrackEvent,
    TreatmentPhase,
)
from mrresponse.report import FinishedRun
from mrresponse.report.cdisc import Dataset, Variable, adam_datasets, sdtm_datasets, write_dataset
from tests.typed_run import write_typed_run

CRITERIA = "respond:\n  criteria: [mRECIST, RECIST 1.1, iRECIST, WHO, vRECIST]\n"
OVERRIDE = (
    "patient_id,treatment_phase,criterion,study_date,assessed_by,overall,reader,reason\n"
    "P1,2 systemic,RECIST 1.1,2024-07-05,reader A,SD,Dr C,the new focus is a perfusion change\n"
)
DOMAINS = ("sdtm/tu", "sdtm/tr", "sdtm/rs", "sdtm/supptr", "adam/adrs", "adam/adtr", "adam/adtte")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The typed run with one restated assessment, exported."""
    folder = write_typed_run(tmp_path_factory.mktemp("typed"))
    (folder / "config.yaml").write_text(CRITERIA)
    (folder / "edits").mkdir()
    (folder / "edits" / "overrides.csv").write_text(OVERRIDE)
    assert main(["respond", str(folder), "--config", str(folder / "config.yaml")]) == 0
    assert main(["export", str(folder), "--to", "sdtm", "--to", "adam", "--study", "ABC-001"]) == 0
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def dataset(folder: Path, name: str) -> list[dict[str, str]]:
    return rows_of(folder / "export" / f"{name}.csv")


def assessments(folder: Path) -> list[dict[str, str]]:
    """The rows that are exported: where there are treatment phases, not those of the whole course."""
    rows = rows_of(folder / "assessments.csv")
    phased = {row["patient_id"] for row in rows if row["treatment_phase"] != "course"}
    return [row for row in rows if row["treatment_phase"] != "course" or row["patient_id"] not in phased]


# --- transport files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOMAINS)
def test_two_readers_find_in_the_transport_file_what_the_csv_file_has(folder: Path, name: str) -> None:
    expected = dataset(folder, name)
    path = folder / "export" / f"{name}.xpt"
    first, _ = pyreadstat.read_xport(path, disable_datetime_conversion=True)
    second = pandas.read_sas(path, format="xport", encoding="ascii")
    assert len(expected) == len(first) == len(second) > 0
    for column in expected[0]:
        for row, a, b in zip(expected, first[column], second[column], strict=True):
            assert as_text(a, column) == as_text(b, column) == row[column], (column, row)


def as_text(value: Any, column: str) -> str:
    """Write a value of a transport file as the CSV file has it."""
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return ""
    if column in ("ADT", "STARTDT"):
        return (date(1960, 1, 1) + timedelta(days=int(value))).isoformat()
    # pandas reads the eight zero bytes of a 0 as 16**-65, the smallest number of the format
    return "0" if abs(value) == 16.0**-65 else repr(float(value)).removesuffix(".0")


@pytest.mark.parametrize("name", DOMAINS)
def test_names_labels_and_texts_keep_the_limits_of_version_5(folder: Path, name: str) -> None:
    path = folder / "export" / f"{name}.xpt"
    assert path.read_bytes().startswith(b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!")
    frame, meta = pyreadstat.read_xport(path)
    assert meta.table_name == name.split("/")[1].upper()
    assert 0 < len(meta.file_label) <= 40
    for column, label in meta.column_names_to_labels.items():
        assert re.fullmatch("[A-Z][A-Z0-9]{0,7}", column)
        assert 0 < len(label) <= 40
        if frame[column].dtype == object:
            assert all(len(str(value).encode()) <= 200 for value in frame[column])


def test_long_hostile_and_foreign_text_is_cut_guarded_and_transliterated(tmp_path: Path) -> None:
    texts = ["=1+1", "Läsion – größer", "x" * 250, "", "a\x00b", "-12.5", "-cmd", "a\r\nb", "\n=1"]
    data = Dataset(
        name="TX",
        label="Texts",
        variables=(Variable(name="TXVAL", label="Text"), Variable(name="TXNUM", label="Number", kind=float)),
        rows=tuple(
            {"TXVAL": text, "TXNUM": None if number == 3 else number} for number, text in enumerate(texts)
        ),
    )
    write_dataset(data, tmp_path)
    frame, _ = pyreadstat.read_xport(tmp_path / "tx.xpt")
    first = ["=1+1", "Lasion - gro?er", "x" * 197 + "..."]
    assert list(frame["TXVAL"]) == [*first, "", "ab", "-12.5", "-cmd", "a b", "=1"]
    numbers = [None if math.isnan(value) else value for value in frame["TXNUM"]]
    assert numbers == [0, 1, 2, None, 4, 5, 6, 7, 8]
    cells = [row["TXVAL"] for row in rows_of(tmp_path / "tx.csv")]
    assert cells == ["'=1+1", "Läsion – größer", "x" * 250, "", "ab", "-12.5", "'-cmd", "a b", "'=1"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("-1 mm", "'-1 mm"),
        ("'-x", "''-x"),
        ("-30", "-30"),
        ("-29.96", "-29.96"),
        ("-1e-07", "-1e-07"),
    ],
)
def test_a_text_that_begins_like_a_negative_number_is_guarded_and_a_number_is_not(
    tmp_path: Path, text: str, cell: str
) -> None:
    variables = (Variable(name="TXVAL", label="Text"),)
    write_dataset(Dataset(name="TX", label="T", variables=variables, rows=({"TXVAL": text},)), tmp_path)
    assert [row["TXVAL"] for row in rows_of(tmp_path / "tx.csv")] == [cell]


def test_a_dataset_without_rows_keeps_its_variables(tmp_path: Path) -> None:
    write_dataset(
        Dataset(name="TX", label="None", variables=(Variable(name="TXVAL", label="Text"),), rows=()), tmp_path
    )
    frame, meta = pyreadstat.read_xport(tmp_path / "tx.xpt")
    assert (list(frame.columns), len(frame), meta.column_names_to_labels["TXVAL"]) == (["TXVAL"], 0, "Text")
    assert (tmp_path / "tx.csv").read_text() == "TXVAL\n"


@pytest.mark.parametrize("name", ["TOOLONGNAME", "lower", "1ST", ""])
def test_a_variable_that_the_format_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a variable name has"):
        Variable(name=name, label="x")
    with pytest.raises(ValueError, match="a label has"):
        Variable(name="OK", label="x" * 41)


# --- SDTM ---------------------------------------------------------------------------------------------------------


def test_every_result_of_a_lesion_belongs_to_an_identified_lesion(folder: Path) -> None:
    tumours = {(row["USUBJID"], row["TULNKID"]): row for row in dataset(folder, "sdtm/tu")}
    assert len(tumours) == len(dataset(folder, "sdtm/tu"))
    linked = [row for row in dataset(folder, "sdtm/tr") if row["TRLNKID"]]
    assert {(row["USUBJID"], row["TRLNKID"]) for row in linked} == set(tumours)
    for row in linked:
        tumour = tumours[row["USUBJID"], row["TRLNKID"]]
        assert (row["TRGRPID"], row["TRSPID"], row["TREVALID"]) == (
            tumour["TUORRES"],
            tumour["TUSPID"],
            tumour["TUEVALID"],
        )


def test_sums_are_the_burdens_and_the_targets_add_up_to_them(folder: Path) -> None:
    results = dataset(folder, "sdtm/tr")
    sums = {
        (row["USUBJID"], row["TRLNKGRP"]): row
        for row in results
        if row["TRTESTCD"] in ("SUMDIAM", "SUMAREA", "SUMVOL")
    }
    targets = defaultdict(list)
    for row in results:
        if row["TRGRPID"] == "TARGET" and row["TRLNKID"]:
            targets[row["USUBJID"], row["TRLNKGRP"]].append(row)
    assert set(sums) == set(targets)
    for key, row in sums.items():
        parts = targets[key]
        if row["TRSTAT"]:
            assert row["TRSTAT"] == "NOT DONE"
            assert (row["TRSTRESN"], row["TRORRES"]) == ("", "")
            assert any(part["TRSTAT"] for part in parts)
        else:
            total = math.fsum(float(part["TRSTRESN"]) for part in parts)
            assert math.isclose(total, float(row["TRSTRESN"]), rel_tol=1e-9)
    found = sorted(float(row["TRSTRESN"]) for row in sums.values() if row["TRSTRESN"])
    burdens = [row["current_burden"] for row in assessments(folder)]
    assert found == sorted(float(burden) for burden in burdens if burden)


def test_responses_are_those_of_the_assessments(folder: Path) -> None:
    columns = {
        "TRGRESP": "target",
        "NTRGRESP": "non_target",
        "OVRLRESP": "overall",
        "LIVRESP": "liver_response",
    }
    found = {
        (
            row["USUBJID"],
            row["RSGRPID"][3:],
            row["RSCAT"],
            row["RSEVALID"],
            row["RSDTC"],
            columns[row["RSTESTCD"]],
        ): row["RSSTRESC"]
        for row in dataset(folder, "sdtm/rs")
        if row["RSTESTCD"] in columns
    }
    expected = {}
    for row in assessments(folder):
        reader = "ADJUDICATOR" if row["reader"] == "adjudicated" else row["reader"].upper()
        for column in columns.values():
            if row[column]:
                key = f"ABC-001-{row['patient_id']}", row["treatment_phase"], row["criterion"], reader
                expected[(*key, row["study_date"], column)] = row[column]
    assert found == expected
    assert "iUPD" in found.values()


def test_responses_and_results_of_a_visit_share_their_link(folder: Path) -> None:
    results = {(row["USUBJID"], row["TRLNKGRP"]): row["TRDTC"] for row in dataset(folder, "sdtm/tr")}
    unlinked = set()
    for row in dataset(folder, "sdtm/rs"):
        if row["RSLNKGRP"]:
            assert results[row["USUBJID"], row["RSLNKGRP"]] == row["RSDTC"]
        else:
            unlinked.add((row["USUBJID"], row["RSGRPID"], row["RSCAT"]))
    # without a baseline there is no result to link to
    assert unlinked == {("ABC-001-P1", "P2 2 systemic", "vRECIST")}


def test_a_lesion_too_small_to_measure_keeps_its_words_and_has_5_mm(folder: Path) -> None:
    rows = [row for row in dataset(folder, "sdtm/tr") if row["TRORRES"] == "TOO SMALL TO MEASURE"]
    assert {(row["TRSPID"], row["TRDTC"]) for row in rows} == {("L02", "2024-03-05")}
    lengths = [row for row in rows if row["TRTESTCD"] == "LDIAM"]
    assert {(row["TRSTRESC"], row["TRSTRESN"], row["TRSTRESU"]) for row in lengths} == {("5", "5", "mm")}


def test_what_was_not_assessed_is_not_done_with_its_reason(folder: Path) -> None:
    rows = [
        row for row in dataset(folder, "sdtm/tr") if row["TRSPID"] == "L01" and row["TRDTC"] == "2024-05-05"
    ]
    mine = [row for row in rows if row["TREVALID"] == "READER A"]
    assert mine
    for row in mine:
        assert (row["TRSTAT"], row["TRORRES"], row["TRSTRESN"]) == ("NOT DONE", "", "")
        assert "motion" in row["TRREASND"]


def test_nodes_are_measured_across_and_viable_parts_are_marked(folder: Path) -> None:
    rows = dataset(folder, "sdtm/tr")
    node = [row for row in rows if row["TRSPID"] == "L03" and row["TRSTRESU"] == "mm"]
    assert {row["TRTESTCD"] for row in node} == {"LPERP"}
    marked = {(row["USUBJID"], row["IDVARVAL"]) for row in dataset(folder, "sdtm/supptr")}
    viable = {
        (row["USUBJID"], row["TRSEQ"])
        for row in rows
        if "-MRECIST-" in row["TRLNKID"] and row["TRTESTCD"] == "LDIAM"
    }
    assert marked == viable


def test_a_tumour_without_enhancement_is_absent_in_its_viable_part_only(tmp_path: Path) -> None:
    """L02 stays 15 mm large and loses its enhancement, then it is gone; L03 goes on to enhance."""
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP,2024-01-05\nP,2024-03-05\nP,2024-05-05\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,viable_longest_diameter_mm\n"
        + "".join(f"P,L01,2024-0{month}-05,40,40\nP,L03,2024-0{month}-05,9,9\n" for month in (1, 3, 5))
        + "P,L02,2024-01-05,15,8\nP,L02,2024-03-05,15,absent\nP,L02,2024-05-05,absent,\n"
    )
    (tmp_path / "config.yaml").write_text("respond:\n  criteria: [mRECIST]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "sdtm"]) == 0
    marked = {row["IDVARVAL"] for row in dataset(tmp_path, "sdtm/supptr")}
    states = {
        (row["TRSPID"], row["TRDTC"]): (row["TRORRES"], row["TRSEQ"] in marked)
        for row in dataset(tmp_path, "sdtm/tr")
        if row["TRTESTCD"] == "TUMSTATE"
    }
    assert states == {
        ("L02", "2024-01-05"): ("PRESENT", False),
        ("L02", "2024-03-05"): ("ABSENT", True),
        ("L02", "2024-05-05"): ("ABSENT", False),
        **{("L03", f"2024-0{month}-05"): ("PRESENT", False) for month in (1, 3, 5)},
    }


def test_a_merged_lesion_that_is_measured_is_there(tmp_path: Path) -> None:
    """L02 has grown together with L01, both are measured, and L02 no longer enhances: it is not gone."""
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP,2024-01-05\nP,2024-03-05\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,viable_longest_diameter_mm,state\n"
        "P,L01,2024-01-05,40,40,\nP,L01,2024-03-05,40,40,\n"
        "P,L02,2024-01-05,15,8,\nP,L02,2024-03-05,15,0,merged\n"
    )
    (tmp_path / "config.yaml").write_text("respond:\n  criteria: [mRECIST]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "sdtm"]) == 0
    marked = {row["IDVARVAL"] for row in dataset(tmp_path, "sdtm/supptr")}
    states = [
        (row["TRORRES"], row["TRSEQ"] in marked)
        for row in dataset(tmp_path, "sdtm/tr")
        if row["TRTESTCD"] == "TUMSTATE" and row["TRSPID"] == "L02"
    ]
    assert states == [("PRESENT", False), ("ABSENT", True)]


def test_a_new_lesion_is_new_where_it_was_first_seen_and_a_normal_node_never_is(folder: Path) -> None:
    new = {(row["TUSPID"], row["TUDTC"]) for row in dataset(folder, "sdtm/tu") if row["TUORRES"] == "NEW"}
    assert new == {("L04", "2024-07-05"), ("extrahepatic lesion left ilium", "2024-07-10")}
    states = {
        row["TRORRES"]
        for row in dataset(folder, "sdtm/tr")
        if row["TRGRPID"] == "NEW" and row["TRTESTCD"] == "TUMSTATE"
    }
    assert states == {"UNEQUIVOCAL"}


def test_a_finding_is_a_lesion_without_a_size_and_without_a_method(folder: Path) -> None:
    (tumour, *_) = [row for row in dataset(folder, "sdtm/tu") if row["TUSPID"].startswith("extrahepatic")]
    assert (tumour["TUORRES"], tumour["TULOC"], tumour["TUMETHOD"]) == ("NEW", "LEFT ILIUM", "")
    results = [row for row in dataset(folder, "sdtm/tr") if row["TRSPID"].startswith("extrahepatic")]
    assert {(row["TRTESTCD"], row["TRORRES"], row["TRSTRESN"], row["TRMETHOD"]) for row in results} == {
        ("TUMSTATE", "UNEQUIVOCAL", "", "")
    }


def test_study_days_count_from_the_first_treatment_without_day_zero(folder: Path) -> None:
    days = {(row["USUBJID"], row["RSDTC"]): row["RSDY"] for row in dataset(folder, "sdtm/rs")}
    assert days["ABC-001-P1", "2024-03-05"] == "56"
    first = {row["TUDY"] for row in dataset(folder, "sdtm/tu") if row["TUDTC"] == "2024-01-05"}
    assert first == {"-5"}


def test_only_a_restated_response_is_an_accepted_record(folder: Path) -> None:
    accepted = [row for row in dataset(folder, "sdtm/rs") if row["RSACPTFL"]]
    assert {(row["RSEVAL"], row["RSEVALID"], row["RSDTC"]) for row in accepted} == {
        ("INDEPENDENT ASSESSOR", "ADJUDICATOR", "2024-07-05")
    }
    assert [row["RSSTRESC"] for row in accepted if row["RSTESTCD"] == "OVRLRESP"] == ["SD"]
    for name, column in (("tu", "TUACPTFL"), ("tr", "TRACPTFL")):
        assert not any(row[column] for row in dataset(folder, f"sdtm/{name}"))


# --- ADaM ---------------------------------------------------------------------------------------------------------


def summaries(folder: Path) -> dict[tuple[str, ...], dict[str, str]]:
    found = {}
    for row in rows_of(folder / "phases.csv"):
        reader = "ADJUDICATOR" if row["reader"] == "adjudicated" else row["reader"].upper()
        key = (
            f"ABC-001-{row['patient_id']}",
            row["treatment_phase"],
            row["criterion"],
            reader,
            row["basis"].upper(),
        )
        found[key] = row
    return found


def key_of(row: dict[str, str]) -> tuple[str, ...]:
    return row["USUBJID"], row["APHASE"], row["RSCAT"], row["RSEVALID"], row["BASIS"]


def test_one_treatment_phase_is_one_period(folder: Path) -> None:
    for name in ("adrs", "adtr", "adtte"):
        periods = defaultdict(set)
        for row in dataset(folder, f"adam/{name}"):
            periods[row["USUBJID"], row["APERIOD"]].add(row["APHASE"])
        assert periods
        assert all(len(phases) == 1 for phases in periods.values())
        assert periods["ABC-001-P1", "2"] == {"2 systemic"}


def test_times_count_the_first_day_and_agree_with_the_phases(folder: Path) -> None:
    columns = {
        "PFS": ("start_date", "progression_free_days", "progression_free_event"),
        "RSD": ("response_date", "duration_of_response_days", "duration_of_response_event"),
        "OS": ("start_date", "overall_survival_days", "overall_survival_event"),
    }
    phases = summaries(folder)
    rows = dataset(folder, "adam/adtte")
    assert {row["PARAMCD"] for row in rows} == {"PFS", "TTP", "RSD", "OS"}
    for row in rows:
        start, end = date.fromisoformat(row["STARTDT"]), date.fromisoformat(row["ADT"])
        assert float(row["AVAL"]) == (end - start).days + 1
        assert (row["CNSR"] == "0") is (row["CNSDTDSC"] == "")
        phase = phases[key_of(row)]
        if row["PARAMCD"] == "TTP":
            assert (end - start).days == int(phase["time_to_progression_days"])
            assert (row["CNSR"] == "0") is bool(phase["progression_date"])
            continue
        begin, days, event = columns[row["PARAMCD"]]
        assert (row["STARTDT"], (end - start).days) == (phase[begin], int(phase[days]))
        assert (row["CNSR"] == "0") is (phase[event] == "true")
    said = {(row["EVNTDESC"], row["CNSDTDSC"]) for row in rows}
    assert {("PROGRESSION", ""), ("DEATH", ""), ("CENSORED: NEW THERAPY", "LAST EVALUABLE SCAN")} <= said


def test_every_phase_has_its_times(folder: Path) -> None:
    phases = summaries(folder)
    found = {(*key_of(row), row["PARAMCD"]) for row in dataset(folder, "adam/adtte")}
    kept = {key: row for key, row in phases.items() if row["progression_free_days"] and row["start_date"]}
    exported = {key for key in kept if key[1] != "course" or key[0] == "ABC-001-P3"}
    assert {key[:-1] for key in found if key[-1] == "PFS"} == exported


def test_days_counted_inclusively_give_the_same_dates(folder: Path, tmp_path: Path) -> None:
    write_typed_run(tmp_path)
    (tmp_path / "config.yaml").write_text(CRITERIA + "  day_count: inclusive\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "adam", "--study", "ABC-001"]) == 0
    expected = [row for row in dataset(folder, "adam/adtte") if row["RSEVALID"] != "ADJUDICATOR"]
    found = dataset(tmp_path, "adam/adtte")
    pairs = [(row["STARTDT"], row["ADT"], row["AVAL"], row["CNSR"]) for row in found]
    assert pairs == [(row["STARTDT"], row["ADT"], row["AVAL"], row["CNSR"]) for row in expected]


def test_responses_by_visit_and_best_responses_are_those_of_the_run(folder: Path) -> None:
    phases = summaries(folder)
    rows = dataset(folder, "adam/adrs")
    best = {
        "BOR": "best_overall_response",
        "IBOR": "best_overall_response",
        "CBOR": "confirmed_best_overall_response",
    }
    checked = defaultdict(int)
    for row in rows:
        phase = phases[key_of(row)]
        if row["PARAMCD"] in best:
            assert row["AVALC"] == (phase[best[row["PARAMCD"]]] or "MISSING")
        elif row["PARAMCD"] == "PD":
            assert (row["AVALC"], row["ADT"]) == (
                "Y" if phase["progression_date"] else "N",
                phase["progression_date"],
            )
        elif row["PARAMCD"] in ("RSP", "IRSP"):
            assert (row["AVALC"], row["ADT"]) == (
                "Y" if phase["response_date"] else "N",
                phase["response_date"],
            )
        else:
            continue
        checked[row["PARAMCD"]] += 1
    assert set(checked) == {"BOR", "CBOR", "IBOR", "PD", "RSP", "IRSP"}
    by_visit = [row["AVALC"] for row in rows if row["PARAMCD"] == "OVR" and row["BASIS"] == "OVERALL"]
    expected = [row["overall"] for row in assessments(folder) if row["is_baseline"] == "false"]
    assert sorted(by_visit) == sorted(expected)


def export_adam(
    tmp_path: Path, sizes: Mapping[str, int], *, criterion: str = "iRECIST", finding: str = ""
) -> None:
    """Export a patient with one target of these sizes by study date, and a finding (date, kind, status and site)."""
    (tmp_path / "studies.csv").write_text("patient_id,study_date\n" + "".join(f"P,{day}\n" for day in sizes))
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm\n"
        + "".join(f"P,L01,{day},{size}\n" for day, size in sizes.items())
    )
    if finding:
        (tmp_path / "findings.csv").write_text(f"patient_id,date,kind,status,site\nP,{finding}\n")
    (tmp_path / "config.yaml").write_text(f"respond:\n  criteria: [{criterion}]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "adam"]) == 0


@pytest.mark.parametrize(
    ("sizes", "confirmed", "unconfirmed"),
    [
        ((30, 40, 46), ("Y", "2024-03-05"), ("N", "")),
        # never scanned again, or a scan that shows no more
        ((30, 40), ("N", ""), ("Y", "2024-03-05")),
        ((30, 40, 41), ("N", ""), ("Y", "2024-03-05")),
        # void
        ((30, 40, 20), ("N", ""), ("N", "")),
    ],
)
def test_an_immune_progression_is_confirmed_only_by_an_icpd(
    tmp_path: Path, sizes: tuple[int, ...], confirmed: tuple[str, str], unconfirmed: tuple[str, str]
) -> None:
    export_adam(tmp_path, dict(zip(("2024-01-05", "2024-03-05", "2024-04-10"), sizes, strict=False)))
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in dataset(tmp_path, "adam/adrs"):
        found[row["PARAMCD"]].add((row["AVALC"], row["ADT"]))
    assert (found["ICPD"], found["IUPD"]) == ({confirmed}, {unconfirmed})


def test_a_date_with_findings_alone_that_decide_nothing_does_not_count(tmp_path: Path) -> None:
    finding = "2024-04-10,extrahepatic_lesion,present,left ilium"
    export_adam(tmp_path, {"2024-01-10": 30}, criterion="RECIST 1.1", finding=finding)
    rows = [row for row in dataset(tmp_path, "adam/adrs") if row["BASIS"] == "OVERALL"]
    said = {row["PARAMCD"]: (row["ADT"], row["AVALC"], row["ANL01FL"]) for row in rows}
    assert said["OVR"] == ("2024-04-10", "NE", "")
    assert said["BOR"] == ("", "MISSING", "Y")
    assert "LSTA" not in said


def test_an_immune_scan_that_is_too_early_to_change_anything_does_not_count(tmp_path: Path) -> None:
    """The liver is unconfirmed progression (30 to 40 mm) on 2024-03-05 and scanned two weeks later, then smaller."""
    export_adam(tmp_path, {"2024-01-05": 30, "2024-03-05": 40, "2024-03-19": 10, "2024-05-05": 26})
    for basis in ("LIVER", "OVERALL"):
        rows = [row for row in dataset(tmp_path, "adam/adrs") if row["BASIS"] == basis]
        assert [(row["AVALC"], row["ANL01FL"]) for row in rows if row["PARAMCD"] == "OVR"] == [
            ("iUPD", "Y"),
            ("iUPD", ""),
            ("iSD", "Y"),
        ]
    sizes = dataset(tmp_path, "adam/adtr")
    for code in ("LDIAM1", "SDIAM"):
        counted = [row["ANL01FL"] for row in sizes if row["PARAMCD"] == code]
        assert counted == ["Y", "Y", "", "Y"]


def test_an_early_immune_scan_of_disease_elsewhere_counts_for_the_liver(tmp_path: Path) -> None:
    finding = "2024-03-05,extrahepatic_lesion,new,left ilium"
    export_adam(tmp_path, dict.fromkeys(("2024-01-05", "2024-03-05", "2024-03-19"), 30), finding=finding)
    rows = [row for row in dataset(tmp_path, "adam/adrs") if row["PARAMCD"] == "OVR"]
    counted = {
        basis: [row["ANL01FL"] for row in rows if row["BASIS"] == basis] for basis in ("LIVER", "OVERALL")
    }
    assert counted == {"LIVER": ["Y", "Y"], "OVERALL": ["Y", ""]}


def test_the_liver_counts_until_it_progresses_itself(tmp_path: Path) -> None:
    """A bone lesion is an overall PD on 2024-04-10; the liver goes on to PR on 2024-07-10 and PD on 2024-10-10."""
    days = ("2024-01-10", "2024-04-10", "2024-07-10", "2024-10-10")
    (tmp_path / "studies.csv").write_text("patient_id,study_date\n" + "".join(f"P,{day}\n" for day in days))
    sizes = zip(days, (60, 50, 30, 50), strict=True)
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm\n"
        + "".join(f"P,L01,{d},{s}\n" for d, s in sizes)
    )
    (tmp_path / "findings.csv").write_text(
        "patient_id,date,kind,status,site\nP,2024-04-10,extrahepatic_lesion,new,left ilium\n"
    )
    (tmp_path / "config.yaml").write_text("respond:\n  criteria: [RECIST 1.1]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "adam"]) == 0
    rows = dataset(tmp_path, "adam/adrs")

    def values(basis: str, code: str) -> list[tuple[str, ...]]:
        mine = [row for row in rows if (row["BASIS"], row["PARAMCD"]) == (basis, code)]
        return [(row["ADT"], row["AVALC"], row["ANL01FL"]) for row in mine]

    assert values("LIVER", "OVR") == [(days[1], "SD", "Y"), (days[2], "PR", "Y"), (days[3], "PD", "Y")]
    assert values("LIVER", "BOR") == [("", "PR", "Y")]
    assert values("LIVER", "LSTA") == [(days[3], "PD", "Y")]
    assert values("OVERALL", "OVR") == [(days[1], "PD", "Y"), (days[2], "PD", ""), (days[3], "PD", "")]
    assert values("OVERALL", "BOR") == [("", "PD", "Y")]
    assert values("OVERALL", "LSTA") == [(days[1], "PD", "Y")]


@pytest.mark.parametrize(
    ("organ", "is_node", "said"),
    [("liver", "false", ("Y", "Y")), ("lung", "false", ("N", "Y")), ("liver hilum", "true", ("N", "Y"))],
)
def test_disease_is_measurable_in_the_liver_where_a_target_is_there(
    tmp_path: Path, organ: str, is_node: str, said: tuple[str, str]
) -> None:
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP,2024-01-10\nP,2024-04-10\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,perpendicular_diameter_mm,organ,is_node\n"
        + "".join(f"P,L01,2024-0{month}-10,40,30,{organ},{is_node}\n" for month in (1, 4))
    )
    (tmp_path / "config.yaml").write_text("respond:\n  criteria: [RECIST 1.1]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "adam"]) == 0
    rows = [row for row in dataset(tmp_path, "adam/adrs") if row["PARAMCD"] == "MDIS"]
    assert {row["BASIS"]: row["AVALC"] for row in rows} == {"LIVER": said[0], "OVERALL": said[1]}


def test_values_go_from_best_to_worst(folder: Path) -> None:
    values = {}
    for row in dataset(folder, "adam/adrs"):
        if row["PARAMCD"] in ("OVR", "BOR"):
            values[row["AVALC"]] = row["AVAL"]
    known = {"CR": "1", "PR": "2", "SD": "3", "NON-CR/NON-PD": "4", "PD": "5", "NE": "6", "MISSING": "7"}
    assert {word: value for word, value in values.items() if word in known and word != "NE"} == {
        word: value for word, value in known.items() if word in values and word != "NE"
    }
    assert (values["PR"], values["PD"], values["MISSING"]) == ("2", "5", "7")


def test_changes_of_the_sum_are_those_of_the_assessments(folder: Path) -> None:
    rows = [row for row in dataset(folder, "adam/adtr") if row["PARAMCD"] in ("SDIAM", "SAREA", "SVOL")]
    expected = {
        (
            f"ABC-001-{row['patient_id']}",
            row["treatment_phase"],
            row["criterion"],
            "ADJUDICATOR" if row["reader"] == "adjudicated" else row["reader"].upper(),
            row["study_date"],
        ): row
        for row in assessments(folder)
    }
    assert len(rows) > 20
    for row in rows:
        source = expected[row["USUBJID"], row["APHASE"], row["RSCAT"], row["RSEVALID"], row["ADT"]]
        assert (row["AVAL"], row["BASE"]) == (source["current_burden"], source["baseline_burden"])
        assert (row["ABLFL"] == "Y") is (source["is_baseline"] == "true")
        if row["ABLFL"]:
            assert (row["NADIR"], row["CHG"], row["PCHG"], row["CHGNAD"]) == ("", "", "", "")
            continue
        assert row["NADIR"] == source["nadir_burden"]
        for column, change in (("PCHG", "change_from_baseline"), ("PCHGNAD", "change_from_nadir")):
            assert bool(row[column]) is bool(source[change])
            if row[column]:
                assert math.isclose(float(row[column]), 100 * float(source[change]), rel_tol=1e-12)
        assert (row["PDFL"] == "Y") is (source["target"] in ("PD", "iUPD", "iCPD"))


def test_a_change_in_per_cent_is_the_stored_fraction_without_noise(folder: Path) -> None:
    columns = ("change_from_baseline", "change_from_nadir")
    stored = [100.0 * float(row[column]) for row in assessments(folder) for column in columns if row[column]]
    written = {
        Decimal(row["TRSTRESC"])
        for row in dataset(folder, "sdtm/tr")
        if row["TRTESTCD"] in ("PCBSD", "PCNSD")
    }
    written |= {
        Decimal(row[column])
        for row in dataset(folder, "adam/adtr")
        if row["PARAMCD"] in ("SDIAM", "SAREA", "SVOL")
        for column in ("PCHG", "PCHGNAD")
        if row[column]
    }
    assert len(written) > 10
    # a float holds fifteen decimal digits; what comes behind them is noise
    assert max(len(value.as_tuple().digits) for value in written) <= 15
    for value in written:
        assert any(math.isclose(float(value), one, rel_tol=1e-14) for one in stored)


def test_lesion_parameters_start_from_their_own_baseline(folder: Path) -> None:
    rows = [
        row
        for row in dataset(folder, "adam/adtr")
        if (row["USUBJID"], row["RSCAT"], row["APERIOD"], row["RSEVALID"])
        == ("ABC-001-P1", "RECIST 1.1", "1", "READER A")
    ]
    found = {(row["PARAMCD"], row["ADT"]): (row["AVAL"], row["BASE"], row["CHG"]) for row in rows}
    assert found["LDIAM2", "2024-03-05"] == ("5", "20.5", "-15.5")
    assert found["NLDIAM3", "2024-03-05"] == ("9", "16", "-7")
    assert ("LDIAM1", "2024-05-05") not in found


# --- what an algorithm found --------------------------------------------------------------------------------------


def network_run(tmp_path: Path) -> FinishedRun:
    """Two lesions that a network measured: L01 falls apart into three, L02 merges into it."""
    days = [date(2024, 1, 1), date(2024, 3, 1)]
    keys = {"patient_id": "P1", "treatment_phase": "course", "criterion": "RECIST 1.1", "reader": "net 1"}
    split, merged = MeasurementState.SPLIT, MeasurementState.MERGED

    def part(lesion_id: str, day: date, value: float, **more: Any) -> Contribution:
        return Contribution(
            **keys, study_date=day, lesion_id=lesion_id, role=LesionRole.TARGET, quantity="longest diameter", unit="mm",
            value=value, is_baseline=day == days[0], source=MeasurementSource.NETWORK, **more,
        )  # fmt: skip

    def track(lesion_id: str, event: TrackEvent, labels: tuple[int, ...], into: str | None) -> LesionTrack:
        seen = (Observation(study_date=days[0], event=TrackEvent.FIRST, labels=(1,)),)
        last = Observation(study_date=days[1], event=event, labels=labels)
        return LesionTrack(patient_id="P1", lesion_id=lesion_id, observations=(*seen, last), merged_into=into)

    return FinishedRun(
        folder=tmp_path,
        contributions=(
            part("L01", days[0], 30.0, state=MeasurementState.MEASURED),
            part("L02", days[0], 20.0, state=MeasurementState.MEASURED),
            part("L01", days[1], 45.0, state=split),
            part("L02", days[1], 0.0, state=merged, note="measured with the lesion it merged into"),
        ),
        results=(
            PatientResult(
                patient=Patient(patient_id="P1"),
                tracks=(
                    track("L01", TrackEvent.SPLIT, (1, 2, 3), None),
                    track("L02", TrackEvent.MERGED, (), "L01"),
                ),
                measurements=(
                    Measurement(
                        patient_id="P1", lesion_id="L01", study_date=days[0], reader="net 1", state=split,
                        source=MeasurementSource.NETWORK,
                    ),
                ),
                response=ResponseResult(
                    phases=(TreatmentPhase(patient_id="P1", name="course", start_date=None),),
                    roles=(RoleRecord(**keys, lesion_id="L01", role=LesionRole.TARGET, reason=""),),
                    assessments=(
                        Assessment(
                            **keys, study_date=days[0], is_baseline=True, baseline_burden=50.0, current_burden=50.0
                        ),
                        Assessment(
                            **keys, study_date=days[1], baseline_burden=50.0, nadir_burden=50.0, current_burden=45.0,
                            change_from_baseline=-0.1, change_from_nadir=-0.1, target=Response.SD, new_lesions="none",
                            liver_response=Response.SD, overall=Response.SD,
                        ),
                    ),
                    summaries=(
                        PhaseSummary(**keys, basis="overall", start_date=days[0], best_overall_response=Response.SD),
                    ),
                ),
            ),
        ),
    )  # fmt: skip


def test_an_algorithm_is_its_own_evaluator_and_nothing_of_it_is_accepted(tmp_path: Path) -> None:
    for data in sdtm_datasets(network_run(tmp_path))[:3]:
        assert data.rows
        evaluators = {(row[f"{data.name}EVAL"], row[f"{data.name}EVALID"]) for row in data.rows}
        assert evaluators == {("ALGORITHM", "NET 1")}
        assert not any(row.get(f"{data.name}ACPTFL") for row in data.rows)


def test_split_and_merged_lesions_have_rows_of_their_own(tmp_path: Path) -> None:
    tu, tr, *_ = sdtm_datasets(network_run(tmp_path))
    links = [(row["TUTESTCD"], str(row["TULNKID"]).removeprefix("R1-P1-RECIST11-")) for row in tu.rows]
    assert links == [
        ("TUMIDENT", "T01"),
        ("TUSPLIT", "T01.1"),
        ("TUSPLIT", "T01.2"),
        ("TUSPLIT", "T01.3"),
        ("TUMIDENT", "T02"),
        ("TUMERGE", "T01/T02"),
    ]
    merged = [row for row in tr.rows if row.get("TRSPID") == "L02" and row["TRDTC"] == "2024-03-01"]
    assert [(row["TRTESTCD"], row["TRORRES"]) for row in merged] == [("TUMSTATE", "TUMOR MERGED")]


def test_a_label_of_a_given_mask_in_pieces_has_a_row_for_each_piece(tmp_path: Path) -> None:
    run = network_run(tmp_path)
    (result,) = run.results
    apart = replace(
        result.measurements[0],
        study_date=date(2024, 3, 1),
        reason="2 fragments: diameters and volumes added",
        source=MeasurementSource.MASK,
    )
    track = result.tracks[0]
    last = replace(track.observations[-1], event=TrackEvent.MATCHED, labels=(1,))
    whole = replace(track, observations=(track.observations[0], last))
    masks = replace(result, measurements=(apart,), tracks=(whole, *result.tracks[1:]))
    tu, *_ = sdtm_datasets(replace(run, results=(masks,)))
    links = [str(row["TULNKID"]) for row in tu.rows if row["TUTESTCD"] == "TUSPLIT"]
    assert links == ["R1-P1-RECIST11-T01.1", "R1-P1-RECIST11-T01.2"]


@pytest.mark.parametrize("role", [LesionRole.NON_TARGET, LesionRole.NEW])
def test_a_merged_lesion_that_is_no_target_is_merged_too_and_not_absent_with_0_mm(
    tmp_path: Path, role: LesionRole
) -> None:
    run = network_run(tmp_path)
    others = tuple(
        replace(row, role=role, is_normal=row.value == 0.0) if row.lesion_id == "L02" else row
        for row in run.contributions
    )
    tr = sdtm_datasets(replace(run, contributions=others))[1]
    merged = [row for row in tr.rows if row.get("TRSPID") == "L02" and row["TRDTC"] == "2024-03-01"]
    assert [(row["TRTESTCD"], row["TRORRES"]) for row in merged] == [("TUMSTATE", "TUMOR MERGED")]


def test_a_phase_without_a_response_table_still_has_its_best_response(tmp_path: Path) -> None:
    adrs, adtr, adtte = adam_datasets(network_run(tmp_path))
    assert [row["AVALC"] for row in adrs.rows if row["PARAMCD"] == "BOR"] == ["SD"]
    assert [row["AVAL"] for row in adtr.rows if row["PARAMCD"] == "SDIAM"] == [50.0, 45.0]
    assert adtte.rows == ()


def test_a_network_of_which_every_row_was_corrected_is_still_an_algorithm(tmp_path: Path) -> None:
    run = network_run(tmp_path)
    (result,) = run.results
    corrected = tuple(replace(row, source=MeasurementSource.READER) for row in result.measurements)
    edited = replace(result, measurements=corrected, unedited=result.measurements)
    for data in sdtm_datasets(replace(run, results=(edited,)))[:3]:
        assert {(row[f"{data.name}EVAL"], row[f"{data.name}EVALID"]) for row in data.rows} == {
            ("ALGORITHM", "NET 1")
        }


@pytest.mark.parametrize(
    ("reader", "model", "expected", "named"),
    [
        # typed tables without a program: nobody says who it was
        ("none", "", "INDEPENDENT ASSESSOR", None),
        # who typed the numbers of another patient is a person here too
        ("Dr A", "Dr A", "INDEPENDENT ASSESSOR", "DR A"),
        ("net 1", "net 1", "ALGORITHM", "NET 1"),
        ("net 2", "net 2", "ALGORITHM", "NET 2"),
        ("mask", "mask", "ALGORITHM", "MASK"),
    ],
)
def test_who_saw_no_lesion_is_no_algorithm_for_that(
    tmp_path: Path, reader: str, model: str, expected: str, named: str | None
) -> None:
    run = network_run(tmp_path)
    (result,) = run.results
    typed = replace(
        result,
        patient=Patient(patient_id="P2"),
        measurements=tuple(
            replace(row, patient_id="P2", reader="Dr A", source=MeasurementSource.READER)
            for row in result.measurements
        ),
        response=ResponseResult(),
    )
    nothing = replace(
        result,
        patient=Patient(patient_id="P3"),
        studies=tuple(
            StudyRecord(patient_id="P3", study_date=row.study_date, model=model)
            for row in result.response.assessments
        ),
        tracks=(),
        measurements=(),
        response=replace(
            result.response,
            roles=(),
            assessments=tuple(
                replace(row, patient_id="P3", reader=reader) for row in result.response.assessments
            ),
        ),
    )
    rs = sdtm_datasets(replace(run, results=(result, typed, nothing)))[2]
    found = {(row["RSEVAL"], row["RSEVALID"]) for row in rs.rows if str(row["USUBJID"]).endswith("-P3")}
    assert found == {(expected, named)}


def test_readers_whose_names_a_transport_file_would_write_alike_are_told_apart(tmp_path: Path) -> None:
    run = network_run(tmp_path)
    (result,) = run.results
    readers = ("张医生", "李医生", "Dr C")
    response = result.response
    several = replace(
        result,
        measurements=tuple(replace(row, reader=name) for row in result.measurements for name in readers),
        response=replace(
            response,
            assessments=tuple(replace(row, reader=name) for row in response.assessments for name in readers),
            roles=tuple(replace(row, reader=name) for row in response.roles for name in readers),
        ),
    )
    rows = tuple(replace(row, reader=name) for row in run.contributions for name in readers)
    _, _, rs, _ = sdtm_datasets(replace(run, results=(several,), contributions=rows))
    write_dataset(rs, tmp_path)
    frame, _ = pyreadstat.read_xport(tmp_path / "rs.xpt")
    assert set(frame["RSEVALID"]) == {"DR C", "R2 ???", "R3 ???"}
    assert {row["RSEVALID"] for row in rows_of(tmp_path / "rs.csv")} == {"DR C", "R2 张医生", "R3 李医生"}


def dated_back(tmp_path: Path, criterion: str) -> list[dict[str, str]]:
    """Return ADRS of a shrinking target, and L02, equivocal when first seen and definite two studies later."""
    days = ("2024-01-10", "2024-03-10", "2024-05-10", "2024-07-10", "2024-09-10", "2024-11-10")
    first = [("L01", day, size, "") for day, size in zip(days, (50, 40, 30, 30, 30, 30), strict=True)]
    new = [
        ("L02", day, 12, word)
        for day, word in zip(days[2:], ("equivocal",) * 2 + ("definite",) * 2, strict=True)
    ]
    (tmp_path / "studies.csv").write_text("patient_id,study_date\n" + "".join(f"P,{day}\n" for day in days))
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,new_lesion_status\n"
        + "".join(f"P,{name},{day},{size},{word}\n" for name, day, size, word in (*first, *new))
    )
    (tmp_path / "config.yaml").write_text(f"respond:\n  criteria: [{criterion}]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "adam"]) == 0
    return [row for row in dataset(tmp_path, "adam/adrs") if row["BASIS"] == "OVERALL"]


@pytest.mark.parametrize(
    ("criterion", "best", "responses"),
    [
        (
            "RECIST 1.1",
            ("BOR", "SD"),
            ["SD Y", "PR ", "PR ", "PD Y", "PD "],
        ),
        (
            "iRECIST",
            ("IBOR", "iSD"),
            ["iSD Y", "iPR ", "iPR ", "iUPD Y", "iUPD Y"],
        ),
    ],
)
def test_no_response_counts_from_the_date_of_a_progression_that_was_established_later(
    tmp_path: Path, criterion: str, best: tuple[str, str], responses: list[str]
) -> None:
    """The partial responses were said while the lesion was in doubt: from these rows BOR was PR."""
    rows = dated_back(tmp_path, criterion)
    said = {code: [row for row in rows if row["PARAMCD"] == code] for code in ("OVR", best[0])}
    assert [f"{row['AVALC']} {row['ANL01FL']}" for row in said["OVR"]] == responses
    assert [row["AVALC"] for row in said[best[0]]] == [best[1]]
    written = (tmp_path / "assessments.csv").read_text(encoding="utf-8")
    table = list(csv.DictReader(written.splitlines()))[1:]
    assert [row["after_progression"] for row in table] == [
        "false" if "Y" in one else "true" for one in responses
    ]


def typed_sdtm(tmp_path: Path, measurements: str) -> tuple[list[dict[str, str]], ...]:
    """Return TU, TR and RS of a typed table, columns lesion, date, diameter, state, status and reason."""
    (tmp_path / "studies.csv").write_text(
        "patient_id,study_date\n" + "".join(f"P,2024-0{n}-10\n" for n in (1, 3, 5))
    )
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,state,new_lesion_status,reason\n" + measurements
    )
    (tmp_path / "config.yaml").write_text("respond:\n  criteria: [RECIST 1.1]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "sdtm"]) == 0
    return tuple(dataset(tmp_path, f"sdtm/{name}") for name in ("tu", "tr", "rs"))


def test_a_new_lesion_that_is_rejected_later_is_no_tumour_then(tmp_path: Path) -> None:
    _, tr, rs = typed_sdtm(
        tmp_path,
        "P,L01,2024-01-10,30,,,\nP,L01,2024-03-10,30,,,\nP,L01,2024-05-10,30,,,\n"
        "P,L02,2024-03-10,12,,equivocal,\nP,L02,2024-05-10,14,,rejected,\n",
    )
    said = [(row["TRDTC"], row["TRTESTCD"], row["TRSTRESC"]) for row in tr if row["TRSPID"] == "L02"]
    assert said == [
        ("2024-03-10", "TUMSTATE", "EQUIVOCAL"),
        ("2024-03-10", "LDIAM", "12"),
        ("2024-05-10", "TUMSTATE", "ABSENT"),
    ]
    new = [(row["RSDTC"], row["RSSTRESC"]) for row in rs if row["RSTESTCD"] == "NEWLIND"]
    assert new == [("2024-03-10", "Y"), ("2024-05-10", "N")]


def test_a_new_lesion_without_a_row_is_not_done_where_it_counts_still(tmp_path: Path) -> None:
    """L02 is new on 2024-03-10 and has no row on 2024-05-10; L03 was gone by then, and nothing is owed of it."""
    _, tr, rs = typed_sdtm(
        tmp_path,
        "P,L01,2024-01-10,30,,,\nP,L01,2024-03-10,30,,,\nP,L01,2024-05-10,30,,,\nP,L02,2024-03-10,12,,definite,\n"
        "P,L03,2024-03-10,absent,,,\n",
    )
    assert [row["RSSTRESC"] for row in rs if row["RSTESTCD"] == "NEWLIND"] == ["Y", "Y"]
    later = [row for row in tr if row["TRGRPID"] == "NEW" and row["TRDTC"] == "2024-05-10"]
    assert [(row["TRSPID"], row["TRSTAT"], row["TRREASND"]) for row in later] == [
        ("L02", "NOT DONE", "no measurement")
    ]


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "WHO", "vRECIST"])
def test_a_non_target_node_of_normal_size_is_absent_under_every_criterion(
    tmp_path: Path, criterion: str
) -> None:
    days = ("2024-01-10", "2024-04-10")
    (tmp_path / "studies.csv").write_text("patient_id,study_date\n" + "".join(f"P,{day}\n" for day in days))
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,organ,is_node,longest_diameter_mm,perpendicular_diameter_mm,volume_ml\n"
        + "".join(
            f"P,L01,{day},liver,false,40,30,20\nP,N01,{day},lymph_node,true,20,{axis},2\n"
            for day, axis in zip(days, (12, 9), strict=True)
        )
    )
    (tmp_path / "config.yaml").write_text(f"respond:\n  criteria: [{criterion}]\n")
    assert main(["respond", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 0
    assert main(["export", str(tmp_path), "--to", "sdtm"]) == 0
    (said,) = [row["RSSTRESC"] for row in dataset(tmp_path, "sdtm/rs") if row["RSTESTCD"] == "NTRGRESP"]
    states = [row["TRSTRESC"] for row in dataset(tmp_path, "sdtm/tr") if row["TRTESTCD"] == "TUMSTATE"]
    assert (said, states) == ("CR", ["PRESENT", "ABSENT"])


def test_a_typed_merger_names_the_lesion_that_the_reader_names(tmp_path: Path) -> None:
    tu, _, _ = typed_sdtm(
        tmp_path,
        "P,L01,2024-01-10,30,,,\nP,L01,2024-03-10,50,,,\nP,L02,2024-01-10,20,,,\n"
        "P,L02,2024-03-10,,merged,,merged into L01\n",
    )
    assert [row["TULNKID"] for row in tu if row["TUTESTCD"] == "TUMERGE"] == ["R1-P1-RECIST11-T01/T02"]
