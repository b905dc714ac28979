"""The report says what each series was taken for, what is missing, and offers a manifest to edit."""

import pytest

from mrresponse.cli import main
from mrresponse.domain import ContrastPhase
from mrresponse.ingest import IngestSettings, ingest
from mrresponse.ingest.check import check_report, write_identities, write_manifest
from tests.dicom_files import SeriesPlan, write_dynamic, write_enhanced, write_series

PLAIN = IngestSettings()


def test_each_series_has_its_reason_and_each_gap_its_consequence(tmp_path):
    write_series(tmp_path, SeriesPlan(description="t1_vibe_portal"))
    write_series(tmp_path, SeriesPlan(number=9, description="t2_haste"))
    rows = [(row.status, row.series, row.why) for row in check_report(ingest(tmp_path, PLAIN))]
    assert rows == [
        ("taken", "5", "series description has 'portal' (confidence 0.97)"),
        ("missing", "", "no arterial series: viability cannot be assessed"),
        (
            "missing",
            "",
            "no precontrast series: viability cannot be assessed, unless measure.without_precontrast says 'arterial'",
        ),
        ("missing", "", "contrast agent not known"),
        ("left out", "9", "T2-weighted or fluid-sensitive sequence"),
        (
            "missing",
            "",
            "no treatment in treatments.csv: one treatment phase 'course' with the first study as baseline",
        ),
    ]


def test_a_series_that_is_shorter_than_the_others_of_its_study_is_named(tmp_path):
    """Slices lost at an end leave no gap."""
    files = write_dynamic(tmp_path)
    before = check_report(ingest(tmp_path, PLAIN))
    files["PVP"][-1].unlink()
    added = [row for row in check_report(ingest(tmp_path, PLAIN)) if row not in before]
    assert [(row.status, row.why) for row in added] == [
        ("missing", "3 slices in PVP, 4 in others of this spacing: slices may be missing at its ends")
    ]
    write_series(
        tmp_path / "hbp",
        SeriesPlan(
            number=9, description="t1_vibe_hbp_20min", slices=2, time="104500", spacing=(1.5, 1.25, 5.0)
        ),
    )
    assert not [row for row in check_report(ingest(tmp_path, PLAIN)) if "2 slices" in row.why]


@pytest.mark.parametrize(("slices", "kept"), [(12, 6), (11, 6), (11, 5)])
def test_a_series_with_every_second_slice_of_the_others_is_named(tmp_path, slices, kept):
    """Slices lost at even distances leave no gap: every lesion would be cut twice as thick in this phase."""
    files = write_dynamic(tmp_path, slices=slices)
    before = check_report(ingest(tmp_path, PLAIN))
    lost = 0 if kept < slices / 2 else 1
    for file in files["ART"][lost::2]:
        file.unlink()
    added = [row.why for row in check_report(ingest(tmp_path, PLAIN)) if row not in before]
    assert added == [
        f"{kept} slices 6 mm apart in ART, {slices} slices 3 mm apart in PRE: slices may be missing between others"
    ]


def test_the_written_manifest_gives_the_same_studies_again(tmp_path):
    write_dynamic(tmp_path)
    before = ingest(tmp_path, PLAIN)
    write_manifest(tmp_path / "manifest.csv", before)
    after = ingest(tmp_path, PLAIN)
    assert after.failures == ()
    assert after.patients[0].patient_id == before.patients[0].patient_id
    assert [item.files for item in after.patients[0].studies[0].series] == [
        item.files for item in before.patients[0].studies[0].series
    ]
    assert {item.phase_reason for item in after.patients[0].studies[0].series} == {"stated in the manifest"}


def test_an_undecided_series_waits_in_the_manifest_for_its_contrast_phase(tmp_path):
    write_dynamic(tmp_path)
    write_series(tmp_path / "odd", SeriesPlan(number=9, description="whatever"))
    found = ingest(tmp_path, PLAIN)
    assert "undecided" in {row.status for row in check_report(found)}
    path = tmp_path / "manifest.csv"
    write_manifest(path, found)
    (line,) = [line for line in path.read_text().splitlines() if ",whatever," in line]
    path.write_text(path.read_text().replace(line, line.replace(",,odd", ",HBP,odd")))
    fixed = ingest(tmp_path, PLAIN)
    assert fixed.failures == ()
    assert fixed.patients[0].studies[0].series[-1].contrast_phase is ContrastPhase.HEPATOBILIARY


def test_the_list_of_identities_is_for_the_owner_only(tmp_path):
    write_dynamic(tmp_path / "data")
    found = ingest(tmp_path / "data", PLAIN)
    write_identities(tmp_path / "identities.csv", found)
    assert (tmp_path / "identities.csv").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "identities.csv").read_text() == (
        f"dicom_patient_id,patient_id\nHOSP-4711,{found.patients[0].patient_id}\n"
    )


def test_phases_in_one_multi_frame_file_can_be_named_one_by_one(tmp_path):
    plans = [SeriesPlan(description="dyn", time=time) for time in ("100000", "101000", "101005")]
    write_enhanced(tmp_path / "MF", plans)
    before = ingest(tmp_path, PLAIN)
    assert [failure.code for failure in before.failures] == ["unknown_contrast_phase"] * 3
    write_manifest(tmp_path / "manifest.csv", before)
    text = (tmp_path / "manifest.csv").read_text()
    name = before.failures[0].patient_id
    for frame, phase in ((1, "PRE"), (5, "ART"), (9, "PVP")):
        assert f"{name},2024-01-05,,MF#{frame}," in text
        text = text.replace(f",,MF#{frame},", f",{phase},MF#{frame},")
    (tmp_path / "manifest.csv").write_text(text)
    after = ingest(tmp_path, PLAIN)
    assert after.failures == ()
    series = after.patients[0].studies[0].series
    assert [(item.contrast_phase.value, item.frames[0]) for item in series] == [
        ("PRE", 0),
        ("ART", 4),
        ("PVP", 8),
    ]


@pytest.mark.parametrize("name", ["manifest.csv", "identities.csv"])
def test_a_table_that_somebody_edited_is_not_written_over(tmp_path, capsys, name):
    write_dynamic(tmp_path / "data")
    typed = "# by hand"
    (tmp_path / "inferred").mkdir()
    (tmp_path / "inferred" / name).write_text(typed)
    assert main(["check", str(tmp_path / "data"), "--write", str(tmp_path / "inferred")]) == 2
    assert f"--write: found {name} there" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "inferred").iterdir()] == [name]
    assert (tmp_path / "inferred" / name).read_text() == typed


def test_what_is_there_as_it_would_be_written_is_written_again(tmp_path, capsys):
    write_dynamic(tmp_path / "data")
    inferred = tmp_path / "inferred"
    words = ["check", str(tmp_path / "data"), "--write", str(inferred)]
    assert main(words) == 0
    before = {path.name: path.read_bytes() for path in inferred.iterdir()}
    assert main(words) == 0
    assert {path.name: path.read_bytes() for path in inferred.iterdir()} == before
    (inferred / "identities.csv").unlink()
    assert main(words) == 0
    assert {path.name: path.read_bytes() for path in inferred.iterdir()} == before
    # an edited one stays, and nothing else is written beside it
    (inferred / "identities.csv").unlink()
    edited = before["manifest.csv"].replace(b",ART,", b",PVP,", 1)
    assert edited != before["manifest.csv"]
    (inferred / "manifest.csv").write_bytes(edited)
    capsys.readouterr()
    assert main(words) == 2
    assert "--write: found manifest.csv there" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in inferred.iterdir()} == {"manifest.csv": edited}


@pytest.mark.parametrize("command", ["run", "segment"])
def test_a_folder_that_is_not_there_is_told_before_a_model_is_looked_at(tmp_path, capsys, command):
    config = tmp_path / "c.yaml"
    config.write_text("segment: {liver_model: no/such/model}")
    words = [command, str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"), "--config", str(config)]
    assert main(words) == 2
    assert "DATA: 'nowhere' is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
