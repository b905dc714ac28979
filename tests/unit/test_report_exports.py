"""Exported tables are read back by other programs with the same numbers, dates and harmless text."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from pyarrow import parquet

from mrresponse.cli import main
from mrresponse.errors import ConfigError
from mrresponse.numbers import finished_run
from mrresponse.report import EXPORTERS, workbook
from mrresponse.report.lesion_table import _spreadsheet_safe
from mrresponse.report.tidy import study_day
from mrresponse.report.wording import plain
from mrresponse.store import RunFolder
from tests.typed_run import write_typed_run

CRITERIA = "respond:\n  criteria: [mRECIST, RECIST 1.1, iRECIST, WHO, vRECIST]\n"
HOSTILE = "=HYPERLINK(''http://example.invalid'';''read me'')"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The typed run in three formats."""
    folder = write_typed_run(tmp_path_factory.mktemp("typed"))
    (folder / "config.yaml").write_text(CRITERIA)
    assert main(["respond", str(folder), "--config", str(folder / "config.yaml")]) == 0
    assert main(["export", str(folder), "--to", "csv", "--to", "parquet", "--to", "xlsx"]) == 0
    return folder / "export"


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_targets_of_a_visit_add_up_to_its_burden(exported: Path) -> None:
    keys = ("patient_id", "treatment_phase", "criterion", "reader", "study_date")
    sums: dict[tuple[str, ...], list[float | None]] = defaultdict(list)
    for row in csv_rows(exported / "csv" / "lesions.csv"):
        if row["role"] == "target":
            sums[tuple(row[key] for key in keys)].append(float(row["value"]) if row["value"] else None)
    checked = 0
    for row in csv_rows(exported / "csv" / "visits.csv"):
        values = sums[tuple(row[key] for key in keys)]
        if row["current_burden"]:
            known = [value for value in values if value is not None]
            assert len(known) == len(values)
            assert math.isclose(math.fsum(known), float(row["current_burden"]), rel_tol=1e-9)
            checked += 1
        else:
            assert not values or None in values
    assert checked > 40


def test_visits_are_numbered_and_study_days_have_no_day_zero(exported: Path) -> None:
    days = {
        (row["patient_id"], row["study_date"]): (row["visit"], row["study_day"])
        for row in csv_rows(exported / "csv" / "visits.csv")
    }
    # the first treatment of P1 began on 2024-01-10
    assert days["P1", "2024-01-05"] == ("1", "-5")
    assert days["P1", "2024-03-05"] == ("2", "56")
    assert [study_day(date(2024, 1, day), date(2024, 1, 10)) for day in (9, 10, 11)] == [-1, 1, 2]


def test_the_settings_and_the_version_lie_beside_the_tables(exported: Path) -> None:
    for name in ("csv", "parquet"):
        record = json.loads((exported / name / "provenance.json").read_text(encoding="utf-8"))
        assert record["version"]
        assert record["settings"]["respond"]["sd_min_days"] == 42
    stored = parquet.read_schema(exported / "parquet" / "visits.parquet").metadata[b"mrresponse"]
    assert json.loads(stored)["settings_id"] == record["settings_id"]


def as_cell(value: Any) -> str:
    """Write a value as the CSV files do."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return value.isoformat() if isinstance(value, date) else str(value)


def test_parquet_holds_the_same_cells_as_csv_with_types(exported: Path) -> None:
    files = sorted((exported / "parquet").glob("*.parquet"))
    assert {file.stem for file in files} == {file.stem for file in (exported / "csv").glob("*.csv")}
    for file in files:
        rows = [
            {name: as_cell(value) for name, value in row.items()}
            for row in parquet.read_table(file).to_pylist()
        ]
        expected = csv_rows(exported / "csv" / f"{file.stem}.csv")
        unguarded = [
            {name: cell.removeprefix("'") if cell.startswith("'=") else cell for name, cell in row.items()}
            for row in expected
        ]
        assert rows == unguarded, file.stem
    first = parquet.read_table(exported / "parquet" / "visits.parquet").to_pylist()[0]
    assert (first["study_date"], first["baseline_burden"], first["nadir_burden"]) == (
        date(2024, 1, 5),
        76.5,
        None,
    )


def test_the_workbook_has_a_readable_sheet_per_table_and_the_settings(exported: Path) -> None:
    book = load_workbook(exported / "xlsx" / "results.xlsx")
    tables = {file.stem for file in (exported / "csv").glob("*.csv")}
    assert set(book.sheetnames) == tables | {"lesion_table", "settings"}
    assert book.sheetnames[:2] == ["lesion_table", "visits"]
    for sheet in book:
        assert sheet.freeze_panes == "B2"
        assert all(cell.font.bold for cell in sheet[1])
        assert all(9 <= size.width <= 60 for size in sheet.column_dimensions.values())
    settings = {row[0].value: row[1].value for row in book["settings"].iter_rows(min_row=2)}
    assert settings["settings.respond.sd_min_days"] == 42


def test_numbers_and_dates_of_the_workbook_are_numbers_and_dates(exported: Path) -> None:
    sheet = load_workbook(exported / "xlsx" / "results.xlsx")["visits"]
    header = [cell.value for cell in sheet[1]]
    first = dict(zip(header, sheet[2], strict=True))
    assert first["study_date"].value.date() == date(2024, 1, 5)
    assert (first["baseline_burden"].value, first["baseline_burden"].data_type) == (76.5, "n")
    assert first["nadir_burden"].value is None
    assert first["is_baseline"].value is True


def test_the_lesion_table_of_the_workbook_is_that_of_the_run_with_numbers(exported: Path) -> None:
    sheet = load_workbook(exported / "xlsx" / "results.xlsx")["lesion_table"]
    with (exported.parent / "lesion_table.csv").open(newline="", encoding="utf-8") as file:
        expected = list(csv.reader(file))
    found = [[cell.value for cell in row] for row in sheet.iter_rows()]
    assert len(found) == len(expected) > 50
    numbers = 0
    for cells, texts in zip(found, expected, strict=True):
        for value, text in zip(cells, texts, strict=True):
            if isinstance(value, float | int):
                assert value == float(text)
                numbers += 1
            else:
                assert (value or "") == text.removeprefix("'")
    assert numbers > 100


def test_a_table_that_no_sheet_can_hold_is_refused_by_name(
    exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS", 20)
    assert main(["export", str(exported.parent), "--to", "xlsx", "--out", str(exported / "none")]) == 2
    assert "--to xlsx: table lesion_table has more rows than the 19 of a sheet" in capsys.readouterr().err
    assert not (exported / "none" / "xlsx").exists()


def test_hostile_text_stays_text_and_no_cell_is_a_formula(exported: Path) -> None:
    book = load_workbook(exported / "xlsx" / "results.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    hostile = [cell for cell in cells if isinstance(cell.value, str) and cell.value.startswith("=HYPERLINK")]
    assert [cell.value for cell in hostile] == [HOSTILE]
    assert all(cell.quotePrefix for cell in hostile)
    with (exported / "csv" / "measurements.csv").open(encoding="utf-8") as file:
        assert not any(cell.startswith(("=", "+", "@")) for row in csv.reader(file) for cell in row)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("line one\nline two", "line one line two"),
        ("one\r\n\r\ntwo\tthree", "one two three"),
        ("one\u2028two\x85three\x1ffour", "one two three four"),
        ("a\x00b\x7fc\x9f", "abc"),
        ("  kept  as it is ", "  kept  as it is "),
        ("\n", ""),
    ],
)
def test_words_on_two_lines_stay_two_words(typed: str, shown: str) -> None:
    assert plain(typed) == shown


@pytest.mark.parametrize("before", ["", "\n", "\t", "\r\n", "\x00\n", "\n\x00\t", "\u2028"])
@pytest.mark.parametrize("sign", "=+-@")
def test_a_formula_behind_a_line_break_is_still_seen_as_one(before: str, sign: str) -> None:
    cell = Workbook().active["A1"]
    workbook._fill(cell, f"{before}{sign}cmd\nmore")
    assert (cell.value, cell.data_type, cell.quotePrefix) == (f"{sign}cmd more", "s", True)
    assert _spreadsheet_safe(f"{before}{sign}cmd\nmore") == f"'{sign}cmd more"


def test_an_unknown_format_is_refused_with_the_known_ones(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(exported.parent), "--to", "word"]) == 2
    assert f"unknown format 'word'; known: {', '.join(EXPORTERS)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--to", "csv", "--deidentify"],
            "--deidentify: it is for dicom-seg, dicom-sr alone, found csv: tables and pages have pseudonyms in any "
            "case, and keep the dates",
        ),
        (
            ["--to", "dicom-seg", "--to", "xlsx", "--deidentify"],
            "--deidentify: it is for dicom-seg, dicom-sr alone, found xlsx: tables and pages have pseudonyms in any "
            "case, and keep the dates",
        ),
        (
            ["--to", "csv", "--to", "html", "--study", "ABC"],
            "--study: found csv, html, which carry no study identifier, expected adam or sdtm among them",
        ),
    ],
)
def test_an_option_that_a_format_would_pass_over_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(write_typed_run(tmp_path)), *words]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    assert not (tmp_path / "export").exists()


def test_a_study_identifier_may_stand_beside_formats_without_one(tmp_path: Path) -> None:
    assert main(["respond", str(write_typed_run(tmp_path))]) == 0
    assert main(["export", str(tmp_path), "--to", "csv", "--to", "adam", "--study", "ABC"]) == 0
    with (tmp_path / "export" / "adam" / "adrs.csv").open(encoding="utf-8") as file:
        assert {row["STUDYID"] for row in csv.DictReader(file)} == {"ABC"}


def test_a_folder_without_assessments_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_typed_run(tmp_path)
    assert main(["export", str(tmp_path), "--to", "csv"]) == 2
    assert "no assessments in this folder" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_a_response_typed_into_the_assessments_is_kept_and_told_when_they_are_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_typed_run(tmp_path)
    assert main(["respond", str(tmp_path)]) == 0
    made = (tmp_path / "assessments.csv").read_bytes()
    typed = made.replace(b",PD,", b",SD,")
    assert typed != made
    (tmp_path / "assessments.csv").write_bytes(typed)
    # an input of the responses, which they do not write
    with (tmp_path / "findings.csv").open("a", encoding="utf-8") as file:
        file.write("P3,2024-02-01,ascites,present,,,none,,,\n")
    assert main(["respond", str(tmp_path)]) == 0
    assert (tmp_path / "assessments.csv").read_bytes() == made
    (kept,) = (tmp_path / "private" / "replaced").iterdir()
    assert kept.read_bytes() == typed
    (said,) = [record.getMessage() for record in caplog.records if "by hand" in record.getMessage()]
    assert said.startswith("assessments.csv was changed by hand and is written anew; it is kept as private/")
    assert said.endswith("belongs into edits/overrides.csv")


def test_assessments_of_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_typed_run(tmp_path)
    assert main(["respond", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    record["settings"]["respond"]["node_normal_mm"] = 11.0
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert main(["export", str(tmp_path), "--to", "csv"]) == 2
    assert "P1 was assessed with settings" in capsys.readouterr().err


OVERRIDE = """patient_id,treatment_phase,criterion,study_date,assessed_by,overall,reader,reason
P1,2 systemic,RECIST 1.1,2024-07-05,reader A,SD,Dr C,the new focus is a perfusion change
"""


def without_study(folder: Path) -> None:
    for name in ("studies.csv", "measurements.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text(
            "".join(line for line in lines if "P1" not in line or "2024-07-05" not in line)
        )


def without_override(folder: Path) -> None:
    (folder / "edits" / "overrides.csv").unlink()


def with_another_diameter(folder: Path) -> None:
    table = folder / "measurements.csv"
    old = "P1,L01,2024-03-05,reader B,liver,false,30,24,12"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, "P1,L01,2024-03-05,reader B,liver,false,30,24,13"))


@pytest.mark.parametrize("change", [without_study, without_override, with_another_diameter])
def test_assessments_that_rest_on_other_tables_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    write_typed_run(tmp_path)
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits" / "overrides.csv").write_text(OVERRIDE)
    assert main(["respond", str(tmp_path)]) == 0
    assert main(["export", str(tmp_path), "--to", "csv"]) == 0
    capsys.readouterr()
    change(tmp_path)
    assert main(["export", str(tmp_path), "--to", "csv"]) == 2
    assert "than this assessment rests on" in capsys.readouterr().err


def test_a_failing_patient_is_left_out_named_and_gives_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_typed_run(tmp_path)
    table = tmp_path / "measurements.csv"
    table.write_text(table.read_text().replace("2024-02-01,reader A,liver,false,30", "2024-02-01,,,,30mm"))
    assert main(["respond", str(tmp_path)]) == 1
    capsys.readouterr()
    assert main(["export", str(tmp_path), "--to", "csv", "--out", str(tmp_path / "elsewhere")]) == 1
    assert "error: P3" in capsys.readouterr().err
    found = {row["patient_id"] for row in csv_rows(tmp_path / "elsewhere" / "csv" / "visits.csv")}
    assert found == {"P1", "P2"}


@pytest.mark.parametrize("command", [["export", "--to", "csv"], ["figures"]])
def test_a_place_that_cannot_be_written_is_a_message(
    exported: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    name, *options = command
    in_the_way = exported.parent / "studies.csv"
    assert main([name, str(exported.parent), *options, "--out", str(in_the_way / "secret")]) == 2
    said = capsys.readouterr().err
    assert "error: a file or folder cannot be read or written (Not a directory)" in said
    assert "secret" not in said


def test_lesions_that_a_reader_calls_one_are_one_segment_and_one_card(tmp_path: Path) -> None:
    folder = write_typed_run(tmp_path)
    assert main(["respond", str(folder)]) == 0
    # L02 was followed as L09 from the third study on, until a reader said so
    (folder / "tracks.csv").write_text(
        "patient_id,lesion_id,study_date,event,labels,same_as\n"
        "P1,L02,2024-01-05,first,2,\n"
        "P1,L02,2024-05-05,not_found,,\n"
        "P1,L02,2024-07-05,matched,2,\n"
        "P1,L09,2024-05-05,new,3,L02\n"
        "P1,L09,2024-07-05,matched,5,L02\n"
    )
    run_folder = RunFolder.open(folder)
    result = finished_run(run_folder, study_id="S").results[0]
    assert {track.lesion_id: [one.labels for one in track.observations] for track in result.tracks} == {
        "L02": [(2,), (3,), (2, 5)]
    }
    assert main(["report", str(folder)]) == 0
    page = (folder / "report" / "P1.html").read_text(encoding="utf-8")
    assert "<bdi>L02</bdi>" in page
    assert "L09" not in page


def test_numbers_that_a_reader_typed_stand_in_all_that_is_made_of_typed_tables(tmp_path: Path) -> None:
    folder = write_typed_run(tmp_path)
    (folder / "edits").mkdir()
    (folder / "edits" / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,reader,reason\n"
        "P2,L01,2024-04-10,44.5,Dr C,the border was missed\n"
    )
    typed = (folder / "measurements.csv").read_bytes()
    assert main(["respond", str(folder)]) == 0
    said = (folder / "lesion_table.csv").read_text(encoding="utf-8")
    assert main(["report", str(folder)]) == 0
    assert (folder / "lesion_table.csv").read_text(encoding="utf-8") == said
    assert "44.5" in (folder / "report" / "P2.html").read_text(encoding="utf-8")
    assert main(["export", str(folder), "--to", "csv"]) == 0
    sizes = {
        row["longest_diameter_mm"]
        for row in csv_rows(folder / "export" / "csv" / "measurements.csv")
        if (row["patient_id"], row["lesion_id"], row["study_date"]) == ("P2", "L01", "2024-04-10")
    }
    assert sizes == {"44.5"}
    assert (folder / "measurements.csv").read_bytes() == typed


def test_a_run_that_was_broken_off_is_told_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a run folder or typed tables"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(
        ConfigError, match="expected a finished run: 'mrresponse run' into this folder goes on"
    ):
        RunFolder.open(tmp_path)
