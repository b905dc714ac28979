"""DICOM trees of any order become studies; a series becomes one volume with its true geometry."""

import shutil
from datetime import date

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from mrresponse.domain import Agent
from mrresponse.errors import DataError
from mrresponse.ingest import IngestSettings, ingest, read_series
from mrresponse.ingest.check import write_identities
from tests.dicom_files import (
    AXIAL,
    CORONAL,
    SECRETS,
    SeriesPlan,
    alter,
    pixel_values,
    write_dynamic,
    write_enhanced,
    write_series,
)

PLAIN = IngestSettings()
DAY = date(2024, 1, 5)


def phases(ingested, study=0, patient=0):
    series = ingested.patients[patient].studies[study].series
    return {item.contrast_phase.value: item.series_number for item in series}


def only_series(data):
    (series,) = ingest(data, PLAIN).patients[0].studies[0].series
    return series


def test_an_unsorted_tree_without_suffixes_is_put_in_order(tmp_path):
    write_dynamic(tmp_path / "source" / "a")
    write_dynamic(tmp_path / "source" / "b", study="later", study_date="20240405")
    write_dynamic(tmp_path / "source" / "c", patient="HOSP-1")
    (tmp_path / "data").mkdir()
    for index, path in enumerate(
        sorted((tmp_path / "source").rglob("IM*"), key=lambda path: path.name[::-1])
    ):
        folder = tmp_path / "data" / str(index % 3)
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / f"{index:08d}")
    (tmp_path / "data" / "notes.txt").write_text("hello")
    found = ingest(tmp_path / "data", PLAIN)
    assert found.failures == ()
    assert sorted(len(patient.studies) for patient in found.patients) == [1, 2]
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6}
    assert all(len(item.files) == 4 for item in found.patients[0].studies[0].series)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, (0.0, 1.0, 0.0, 0.6, 0.0, -0.8)])
def test_every_voxel_lies_where_the_header_says(tmp_path, orientation):
    plan = SeriesPlan(orientation=orientation)
    write_series(tmp_path, plan)
    image = read_series(only_series(tmp_path), patient_id="P", study_date=DAY)
    assert image.grid.shape == (plan.columns, plan.rows, plan.slices)
    row_mm, column_mm, slice_mm = plan.spacing
    normal = np.cross(orientation[:3], orientation[3:])
    for index in range(plan.slices):
        pixels = pixel_values(plan, index)
        for row, column in ((0, 0), (4, 1), (2, 5)):
            place = (
                np.array([-20.0, 30.0, -50.0])
                + np.array(orientation[:3]) * column_mm * column
                + np.array(orientation[3:]) * row_mm * row
                + normal * slice_mm * index
            )
            voxel = np.linalg.solve(image.grid.affine, [-place[0], -place[1], place[2], 1.0])[:3]
            i, j, k = np.rint(voxel).astype(int)
            np.testing.assert_allclose(voxel, (i, j, k), atol=1e-4)
            assert image.voxels[i, j, k] == pixels[row, column]


def test_stored_values_are_rescaled_slice_by_slice(tmp_path):
    files = write_series(tmp_path, SeriesPlan())
    alter(files[1], RescaleSlope=2.0, RescaleIntercept=-3.0)
    image = read_series(only_series(tmp_path), patient_id="P", study_date=DAY)
    assert image.voxels[0, 0, 1] == 30 * 2 - 3
    assert image.voxels[0, 0, 2] == 60


def test_compressed_slices_are_read(tmp_path):
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    files = write_series(tmp_path, SeriesPlan(rows=16, columns=16))
    expected = read_series(only_series(tmp_path), patient_id="P", study_date=DAY).voxels
    for file in files:
        dataset = dcmread(file)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(file)
    np.testing.assert_array_equal(
        read_series(only_series(tmp_path), patient_id="P", study_date=DAY).voxels, expected
    )


@pytest.mark.parametrize("told_by", ["TemporalPositionIdentifier", "AcquisitionNumber", "time"])
def test_phases_that_share_one_series_are_parted(tmp_path, told_by):
    for index, time in enumerate(("100000", "101000", "101045", "101300"), start=1):
        extra = {} if told_by == "time" else {told_by: index}
        plan = SeriesPlan(
            description="t1_dyn", number=7, uid="one", time=time, extra={"InstanceNumber": index} | extra
        )
        for file in write_series(tmp_path / str(index), plan):
            alter(file, SOPInstanceUID=f"1.2.3.{index}.{file.name[-1]}")
    found = ingest(tmp_path, PLAIN)
    assert phases(found) == {"PRE": 7, "ART": 7, "PVP": 7, "DEL": 7}
    assert "2 of 4 in the order of acquisition" in found.patients[0].studies[0].series[1].phase_reason


def test_echoes_of_one_series_are_parted_and_the_phase_is_asked_for(tmp_path):
    for echo, time_ms in ((1, 1.2), (2, 2.4)):
        extra = {"EchoNumbers": echo, "EchoTime": time_ms, "SOPInstanceUID": f"1.2.3.{echo}"}
        for place, file in enumerate(write_series(tmp_path / str(echo), SeriesPlan(uid="one", extra=extra))):
            alter(file, SOPInstanceUID=f"1.2.3.{echo}.{place}")
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert failure.code == "ambiguous_phase"


def several(folder, description, times, **extra):
    """Write one series of several volumes, one for each time, told apart by their temporal position."""
    for index, time in enumerate(times, start=1):
        changes = {"InstanceNumber": index, "TemporalPositionIdentifier": index}
        changes |= {name: values[index - 1] for name, values in extra.items()}
        plan = SeriesPlan(description=description, number=7, uid="one", time=time, extra=changes)
        for file in write_series(folder / str(index), plan):
            alter(file, SOPInstanceUID=f"1.2.3.{index}.{file.name[-1]}")


@pytest.mark.parametrize("description", ["t1 vibe pre", "T1 native dyn"])
def test_a_whole_dynamic_named_as_precontrast_is_not_chosen_from(tmp_path, description):
    # the last of them, which is delayed, was taken as the precontrast image
    several(tmp_path, description, ("100000", "101000", "101045", "101300"))
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert failure.code == "ambiguous_phase"


def test_echoes_of_a_precontrast_series_are_not_chosen_between_by_time(tmp_path):
    several(tmp_path, "t1 pre", ("100000", "100000"), EchoTime=(1.2, 2.4))
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert failure.code == "ambiguous_phase"


def test_of_two_precontrast_images_of_one_series_the_last_is_taken(tmp_path):
    several(tmp_path, "t1 pre", ("100000", "100030"))
    (series,) = ingest(tmp_path, PLAIN).patients[0].studies[0].series
    assert series.acquired_at.second == 30


def test_enhanced_files_of_one_series_are_not_taken_for_copies_of_each_other(tmp_path):
    # two phases that only their InstanceNumber tells apart: which is which has to be said
    for number in (1, 2):
        file = write_enhanced(tmp_path / str(number), [SeriesPlan(uid="one")])
        alter(file, SOPInstanceUID=f"1.2.3.{number}", InstanceNumber=number)
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert failure.code == "duplicate_slices"


def test_an_enhanced_file_that_was_sent_again_counts_once(tmp_path):
    for number in (1, 2):
        alter(
            write_enhanced(tmp_path / str(number), [SeriesPlan(uid="one")]), SOPInstanceUID=f"1.2.3.{number}"
        )
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert len(found.patients[0].studies[0].series[0].files) == 4


def test_what_is_not_used_is_listed_with_the_reason(tmp_path):
    write_dynamic(tmp_path)
    write_series(tmp_path, SeriesPlan(number=20, description="t2_haste"))
    write_series(tmp_path, SeriesPlan(number=21, description="SEG", extra={"Modality": "SEG"}))
    write_series(tmp_path, SeriesPlan(number=22, description="delayed 5 min", time="101600"))
    write_series(tmp_path, SeriesPlan(number=23, description="art cor", orientation=CORONAL))
    found = ingest(tmp_path, PLAIN)
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6}
    reasons = {item.series_number: item.reason for item in found.left_out}
    assert sorted(reasons) == [20, 21, 22, 23]
    assert "T2" in reasons[20]
    assert reasons[21] == "modality SEG, expected MR"
    assert "first delayed" in reasons[22]
    assert reasons[23].startswith("not axial")


def test_a_manifest_line_overrides_the_rules_for_its_series(tmp_path):
    files = write_dynamic(tmp_path)
    odd = write_series(tmp_path / "odd", SeriesPlan(number=9, description="whatever", time="103000"))
    assert ingest(tmp_path, PLAIN).failures[0].code == "unknown_contrast_phase"
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path,agent\n"
        f"P001,2024-01-05,HBP,{odd[2].relative_to(tmp_path)},gadoxetate\n"
        "P001,2024-01-05,OTHER,0003,\n"
    )
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert found.patients[0].patient_id == "P001"
    assert phases(found) == {"ART": 4, "PVP": 5, "DEL": 6, "HBP": 9, "OTHER": 3}
    series = {item.contrast_phase.value: item for item in found.patients[0].studies[0].series}
    assert sorted(series["HBP"].files) == sorted(odd)
    assert series["HBP"].agent is Agent.GADOXETATE
    assert sorted(series["OTHER"].files) == sorted(files["PRE"])


@pytest.mark.parametrize("is_sent_again", [False, True])
def test_a_manifest_line_may_name_any_copy_of_a_file(tmp_path, is_sent_again):
    silent = SeriesPlan(description="t1_vibe")
    write_series(tmp_path / "a", silent)
    copies = write_series(tmp_path / "b", silent)
    if is_sent_again:
        for number, copy in enumerate(copies):
            alter(copy, SOPInstanceUID=generate_uid(entropy_srcs=["again", str(number)]))
    (tmp_path / "manifest.csv").write_text(
        f"patient_id,study_date,contrast_phase,path\nP001,2024-01-05,PVP,b/{copies[1].name}\n"
    )
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert phases(found) == {"PVP": 5}
    assert len(found.patients[0].studies[0].series[0].files) == 4


@pytest.mark.parametrize("mark", ["#1", "#99"])
def test_a_manifest_line_that_names_no_frame_of_its_file_is_a_failure(tmp_path, mark):
    files = write_dynamic(tmp_path)
    name = files["ART"][0].relative_to(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        f"patient_id,study_date,contrast_phase,path\nP001,2024-01-05,OTHER,{name}{mark}\n"
    )
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert (failure.patient_id, failure.code) == ("P001", "manifest_mismatch")
    assert f"found no readable DICOM frame {mark[1:]} at the path" in failure.message


def test_a_manifest_that_names_one_series_as_two_contrast_phases_is_a_failure(tmp_path):
    files = write_dynamic(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path\n"
        f"P001,2024-01-05,PRE,{files['PRE'][0].relative_to(tmp_path)}\n"
        f"P001,2024-01-05,ART,{files['PRE'][2].relative_to(tmp_path)}\n"
    )
    found = ingest(tmp_path, PLAIN)
    assert found.patients == ()
    (failure,) = found.failures
    assert (failure.patient_id, failure.series, failure.code) == ("P001", "3", "manifest_mismatch")
    assert "name one volume as ART and PRE, expected one contrast phase" in failure.message


def test_a_manifest_that_contradicts_the_header_is_a_failure(tmp_path):
    write_dynamic(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path\nP001,2024-01-06,ART,0004\n"
    )
    (failure, *_) = [item for item in ingest(tmp_path, PLAIN).failures if item.patient_id == "P001"]
    assert failure.code == "manifest_mismatch"
    assert "study date 2024-01-05, the manifest 2024-01-06" in failure.message


def test_agent_and_scanner_are_read(tmp_path):
    write_dynamic(tmp_path, extra={"ContrastBolusAgent": "PRIMOVIST", "MagneticFieldStrength": 15000})
    for series in ingest(tmp_path, PLAIN).patients[0].studies[0].series:
        assert (series.agent, series.field_strength_t, series.slice_thickness_mm) == (
            Agent.GADOXETATE,
            1.5,
            3.0,
        )


def test_slices_without_a_uid_are_not_taken_for_copies(tmp_path):
    for file in write_dynamic(tmp_path)["ART"]:
        alter(file, SOPInstanceUID=None)
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6}
    assert {len(series.files) for series in found.patients[0].studies[0].series} == {4}


def test_an_agent_stated_for_one_series_is_that_of_the_study(tmp_path):
    given = {"ContrastBolusAgent": "Gadovist"}
    files = write_dynamic(tmp_path, extra=given)
    write_series(
        tmp_path / "late", SeriesPlan(number=9, description="t1_vibe 20 min", time="103000", extra=given)
    )
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path,agent\n"
        f"P001,2024-01-05,ART,{files['ART'][0].relative_to(tmp_path)},gadoxetate\n"
    )
    found = ingest(tmp_path, PLAIN)
    # twenty minutes after gadoxetate are the hepatobiliary phase
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6, "HBP": 9}
    assert {series.agent for series in found.patients[0].studies[0].series} == {Agent.GADOXETATE}


def test_copies_of_a_file_count_once(tmp_path):
    write_dynamic(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert all(len(item.files) == 4 for item in found.patients[0].studies[0].series)


def test_no_identifier_of_a_header_comes_out(tmp_path, caplog):
    write_dynamic(tmp_path)
    write_series(tmp_path / "x", SeriesPlan(number=30, description="whatever"))
    caplog.set_level("DEBUG")
    found = ingest(tmp_path, PLAIN)
    shown = (
        repr((found.patients, found.failures, found.notes, found.left_out, found.failed_studies))
        + caplog.text
    )
    for secret in SECRETS:
        assert secret not in shown
    assert "1.2.826" not in shown  # root of pydicom's UIDs
    assert [item.dicom_patient_id for item in found.identities] == ["HOSP-4711"]


def test_a_constant_image_is_refused(tmp_path):
    files = write_series(tmp_path, SeriesPlan())
    for file in files:
        alter(file, PixelData=bytes(60))
    with pytest.raises(DataError) as caught:
        read_series(only_series(tmp_path), patient_id="P1", study_date=DAY)
    assert caught.value.code == "empty"
    assert str(caught.value) == "P1 2024-01-05 series 5 (ART): all voxels are 0, expected an image"


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ({"patient": "Abc 7"}, {"patient": "ABC  7"}, 2),
        ({"patient": "abc7", "extra": {"IssuerOfPatientID": "H"}}, {"patient": "abc7"}, 2),
        ({"patient": "abc7 "}, {"patient": "abc7"}, 1),
        ({"patient": "abc7"}, {"patient": "abc8"}, 2),
    ],
)
def test_patients_who_may_be_one_are_noted_and_never_joined_by_guess(tmp_path, one, other, count):
    write_series(tmp_path / "a", SeriesPlan(study="one", **one))
    write_series(tmp_path / "b", SeriesPlan(study="two", study_date="20240405", **other))
    found = ingest(tmp_path, PLAIN)
    names = [patient.patient_id for patient in found.patients]
    assert len(names) == count
    alike = count == 2 and other["patient"] != "abc8"
    said = "their DICOM patient ids differ only in case, blanks or issuer"
    assert [said in note and all(name in note for name in names) for note in found.notes] == [True] * alike
    assert not any("abc" in note.lower() for note in found.notes)


def test_an_id_that_two_issuers_gave_is_not_in_the_list_of_identities(tmp_path):
    for issuer in ("H", "K"):
        plan = SeriesPlan(patient="7", study=issuer, extra={"IssuerOfPatientID": issuer})
        write_series(tmp_path / issuer, plan)
    write_series(tmp_path / "c", SeriesPlan(patient="8"))
    found = ingest(tmp_path, PLAIN)
    write_identities(tmp_path / "identities.csv", found)
    assert {line.split(",")[0] for line in (tmp_path / "identities.csv").read_text().splitlines()} == {
        "dicom_patient_id",
        "8",
    }
    again = ingest(tmp_path, PLAIN)
    assert [patient.patient_id for patient in again.patients] == [
        patient.patient_id for patient in found.patients
    ]


def test_a_study_without_a_date_has_the_one_that_the_manifest_states(tmp_path):
    files = write_dynamic(tmp_path / "first", study_date="", extra={"AcquisitionDate": ""})
    write_dynamic(tmp_path / "second", study="another", study_date="20240405")
    (failure, *_) = ingest(tmp_path, PLAIN).failures
    assert failure.code == "no_study_date"
    lines = ["patient_id,study_date,contrast_phase,path", f"P001,2024-01-05,ART,{files['ART'][0]}"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    (patient,) = found.patients
    assert [study.study_date for study in patient.studies] == [date(2024, 1, 5), date(2024, 4, 5)]
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6}
    lines.append(f"P001,2024-01-06,PVP,{files['PVP'][0]}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert (failure.patient_id, failure.code) == ("P001", "manifest_mismatch")
    assert "the DICOM study is of 2024-01-05 in another row" in failure.message


@pytest.mark.parametrize("nothing", ["00010101", "99991231"])
def test_a_date_that_stands_for_none_is_none(tmp_path, nothing):
    write_dynamic(tmp_path / "a", study_date=nothing, extra={"ContrastBolusStartTime": "235959"})
    assert {failure.code for failure in ingest(tmp_path, PLAIN).failures} == {"no_study_date"}


def test_an_mr_image_without_a_modality_is_known_by_its_class(tmp_path):
    write_dynamic(tmp_path / "a")
    files = write_dynamic(tmp_path / "b", study="later", study_date="20240405")
    for file in (file for members in files.values() for file in members):
        alter(file, Modality=None)
    found = ingest(tmp_path, PLAIN)
    assert phases(found, study=1) == phases(found, study=0)


def test_a_study_of_which_nobody_says_what_it_is_is_a_failure_that_fails_nobody(tmp_path):
    write_dynamic(tmp_path / "a")
    for file in write_series(tmp_path / "b", SeriesPlan(study="later", study_date="20240405")):
        alter(file, Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    found = ingest(tmp_path, PLAIN)
    assert [(one.code, one.message) for one in found.failures] == [
        ("modality", "modality not stated, expected MR")
    ]
    assert len(found.patients[0].studies) == 1


@pytest.mark.parametrize(
    ("element", "value", "code"),
    [
        ("PixelSpacing", [-1.5, 1.25], "bad_spacing"),
        ("ImageOrientationPatient", [2, 0, 0, 0, 1, 0], "no_orientation"),
        ("ImageOrientationPatient", [1, 0, 0, 0.5, 0.866, 0], "no_orientation"),
    ],
)
def test_axes_that_would_make_every_size_wrong_are_refused(tmp_path, element, value, code):
    for file in write_dynamic(tmp_path)["ART"]:
        alter(file, **{element: value})
    assert [failure.code for failure in ingest(tmp_path, PLAIN).failures] == [code]


def test_of_two_studies_on_one_date_the_one_that_the_manifest_names_is_taken(tmp_path):
    files = write_dynamic(tmp_path / "liver")
    brain = write_series(tmp_path / "brain", SeriesPlan(study="brain", number=2, description="t1 axial"))
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert failure.code == "two_studies"
    lines = ["patient_id,study_date,contrast_phase,path", f"P001,2024-01-05,ART,{files['ART'][0]}"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6}
    (left_out,) = found.left_out
    assert left_out.reason == "another study of this date; the manifest names series of one study"
    assert left_out.series_number == 2
    lines.append(f"P001,2024-01-05,OTHER,{brain[0]}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    assert [failure.code for failure in ingest(tmp_path, PLAIN).failures] == ["two_studies"]


def over_midnight(data, *, study_date="20240106", **changes):
    """Write a dynamic of one study that begins at 23:58; of the images after midnight, all dates are the later one."""
    for number, (word, day, time) in enumerate(
        (
            ("pre", "20240105", "235800"),
            ("art", "20240105", "235940"),
            ("portal", study_date, "000025"),
            ("delayed", study_date, "000300"),
        ),
        start=3,
    ):
        extra = {"AcquisitionDate": "20240105" if number < 5 else "20240106"}
        late = changes if number >= 5 else {}
        plan = SeriesPlan(
            **{
                "description": f"vibe {word}",
                "number": number,
                "study_date": day,
                "time": time,
                "extra": extra,
            }
            | late
        )
        write_series(data / str(number), plan)


@pytest.mark.parametrize(("study_date", "noted"), [("20240105", 0), ("20240106", 1)])
def test_an_examination_over_midnight_is_one_study_of_the_day_it_began(tmp_path, study_date, noted):
    over_midnight(tmp_path, study_date=study_date)
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    (study,) = found.patients[0].studies
    assert study.study_date == DAY
    assert phases(found) == {"PRE": 3, "ART": 4, "PVP": 5, "DEL": 6}
    assert [item.acquired_at.isoformat() for item in study.series][1:3] == [
        "2024-01-05T23:59:40",
        "2024-01-06T00:00:25",
    ]
    assert [note.split(" ", 1)[1] for note in found.notes] == [
        "2024-01-05: images of this DICOM study state 2024-01-06; taken for one study over midnight, of 2024-01-05"
    ] * noted


@pytest.mark.parametrize(
    ("changes", "days"),
    [
        # another examination on the next day; UIDs that an anonymiser made alike, or took away
        ({"study": "other"}, ["2024-01-05", "2024-01-06"]),
        ({"study_date": "20240107"}, ["2024-01-05", "2024-01-07"]),
        ({"study_date": "20240405"}, ["2024-01-05", "2024-04-05"]),
        ({"study": ""}, ["2024-01-05", "2024-01-06"]),
    ],
)
def test_two_visits_stay_two_studies(tmp_path, changes, days):
    over_midnight(tmp_path, **changes)
    if changes.get("study") == "":
        for file in tmp_path.rglob("IM*"):
            alter(file, StudyInstanceUID="")
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert [str(study.study_date) for study in found.patients[0].studies] == days
    assert found.notes == ()


def test_a_manifest_names_images_of_after_midnight_by_the_day_the_study_began(tmp_path):
    over_midnight(tmp_path)
    line = "P001,{},PVP,5\n"
    table = tmp_path / "manifest.csv"
    table.write_text("patient_id,study_date,contrast_phase,path\n" + line.format("2024-01-05"))
    assert ingest(tmp_path, PLAIN).failures == ()
    table.write_text("patient_id,study_date,contrast_phase,path\n" + line.format("2024-01-06"))
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert "has study date 2024-01-05, the manifest 2024-01-06" in failure.message


@pytest.mark.parametrize(
    ("word", "time", "refused"),
    [
        ("pre", "100500", True),
        ("pre", "095500", False),
        ("delayed", "101200", True),
        ("delayed", "101600", False),
        ("hbp", "103000", True),
    ],
)
def test_two_series_of_one_contrast_phase_and_one_time_are_not_chosen_between(tmp_path, word, time, refused):
    """They are no repeats, but for example two echoes, or thick slices made from thin ones."""
    write_dynamic(tmp_path)
    for number, echo_ms in ((8, 1.2), (9, 2.4)):
        extra = {"EchoTime": echo_ms}
        plan = SeriesPlan(number=number, description=f"vibe {word}", time=time, extra=extra)
        write_series(tmp_path / str(number), plan)
    failures = ingest(tmp_path, PLAIN).failures
    assert [failure.code for failure in failures] == ["ambiguous_phase"] * refused
    assert all("series 8, 9 all look like" in failure.message for failure in failures)


def test_repeats_whose_times_were_taken_away_are_chosen_by_number(tmp_path):
    for number in (8, 9):
        write_series(tmp_path / str(number), SeriesPlan(number=number, description="vibe pre", time="000000"))
    assert phases(ingest(tmp_path, PLAIN)) == {"PRE": 9}


def reused(data, **changes):
    """Write a dynamic of one series whose phases have the SOPInstanceUIDs of the first."""
    first = None
    for number, time in enumerate(("100000", "101000", "101045", "101300"), start=1):
        extra = {"TemporalPositionIdentifier": number, "AcquisitionNumber": number}
        plan = SeriesPlan(number=5, uid="dynamic", description="t1_vibe_dyn", time=time, extra=extra)
        files = write_series(data / str(number), plan)
        first = first or [dcmread(file).SOPInstanceUID for file in files]
        for file, instance in zip(files, first, strict=True):
            alter(file, SOPInstanceUID=instance, **changes)


def test_phases_that_share_their_uids_are_no_copies_of_each_other(tmp_path):
    reused(tmp_path)
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert (failure.code, failure.series) == ("reused_uid", "5")
    assert failure.message.startswith(
        "12 images of the series have the SOPInstanceUID of another image of it"
    )
    assert "1.2.826" not in failure.message


def test_a_series_of_one_uid_is_not_left_out_as_a_single_image(tmp_path):
    for file in write_dynamic(tmp_path)["ART"]:
        alter(file, SOPInstanceUID="1.2.3")
    found = ingest(tmp_path, PLAIN)
    assert [(failure.code, failure.series) for failure in found.failures] == [("reused_uid", "4")]
    assert found.patients == ()


def test_uids_of_a_series_that_is_left_out_anyway_do_not_matter(tmp_path):
    write_dynamic(tmp_path)
    for file in write_series(tmp_path / "x", SeriesPlan(number=9, description="t2_haste", time="110000")):
        alter(file, SOPInstanceUID="1.2.3")
    assert ingest(tmp_path, PLAIN).failures == ()


def test_a_copy_that_an_archive_rewrote_is_still_a_copy(tmp_path):
    write_dynamic(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for file in (tmp_path / "b").rglob("IM*"):
        alter(file, ImageType=["DERIVED", "PRIMARY", "M"], EchoTime=None, SliceThickness=None)
    assert ingest(tmp_path, PLAIN).failures == ()
