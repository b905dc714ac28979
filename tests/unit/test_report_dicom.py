"""DICOM SEG and SR lie where the source images lie, say what the tables say, and are valid for independent readers."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from highdicom.seg import segread
from highdicom.sr import srread
from pydicom import dcmread

from mrresponse.dicom.masks import MaskRole, read_masks
from mrresponse.domain import AuditRow, LesionRole, MeasurementSource, Response
from mrresponse.errors import ConfigError, DataError
from mrresponse.ingest import IngestSettings, ingest
from mrresponse.nifti import read_grid
from mrresponse.report import EXPORTERS
from mrresponse.store import RunFolder
from tests.dicom_files import AXIAL, CORONAL, SECRETS, SeriesPlan, write_enhanced, write_series
from tests.dicom_runs import CALIPER, examined, finished_run

FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
OBLIQUE = (0.0, 1.0, 0.0, 0.6, 0.0, -0.8)
PLAN = SeriesPlan(rows=7, columns=9, slices=4)
TOOLS = {"dciodvfy": "dicom3tools", "segimage2itkimage": "dcmqi", "tid1500reader": "dcmqi"}


def tool(request, name):
    found = shutil.which(name)
    if found is None:
        reason = f"{name} of {TOOLS[name]} is not installed"
        if request.config.getoption("--require-tools"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def two_visits(folder, **changes):
    for visit, day in enumerate(("20240305", "20240605"), start=1):
        plan = replace(PLAN, study=f"visit {visit}", study_date=day, **changes)
        write_series(folder / str(visit), plan)
    return folder


@pytest.fixture
def run(tmp_path):
    return finished_run(two_visits(tmp_path / "data"), tmp_path / "run")


def export(run, name, folder):
    EXPORTERS[name](run, folder)
    return sorted(folder.rglob("*.dcm"))


def world_of(affine, mask):
    """World points (RAS mm) of the voxels of a mask, rounded to 0.01 mm."""
    points = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    return {tuple(point) for point in np.round(points, 2) + 0.0}


def truth(run, day, name, label=None):
    (result,) = run.results
    file = run.folder / "masks" / result.patient.patient_id / day / f"{name}.nii.gz"
    image = nibabel.load(file)
    voxels = np.asarray(image.dataobj)
    return world_of(image.affine, voxels > 0 if label is None else voxels == label)


def segment_points(segmentation, number):
    volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return world_of(lps_to_ras @ volume.affine, volume.array[..., 0] > 0)


@pytest.mark.parametrize("orientation", [AXIAL, FLIPPED, CORONAL, OBLIQUE])
def test_every_voxel_of_a_mask_is_at_its_place_in_the_segmentation(tmp_path, orientation):
    run = finished_run(two_visits(tmp_path / "data", orientation=orientation), tmp_path / "run")
    first, second = export(run, "dicom-seg", tmp_path / "out")
    for file, day, (one, other) in ((first, "2024-03-05", (1, 2)), (second, "2024-06-05", (2, 1))):
        segmentation = segread(file)
        labels = [segmentation.get_segment_description(n).segment_label for n in (1, 2, 3, 4)]
        assert labels == ["Liver", "Lesion L01", "Lesion L01 viable part", "Lesion L02"]
        assert segment_points(segmentation, 1) == truth(run, day, "liver")
        assert segment_points(segmentation, 2) == truth(run, day, "lesions", one)
        assert segment_points(segmentation, 3) == truth(run, day, "viable", one)
        assert segment_points(segmentation, 4) == truth(run, day, "lesions", other)


@pytest.mark.parametrize("orientation", [AXIAL, FLIPPED, CORONAL, OBLIQUE])
def test_a_segmentation_comes_back_as_given_masks_to_the_voxel(tmp_path, orientation):
    run = finished_run(two_visits(tmp_path / "data", orientation=orientation), tmp_path / "run")
    file = export(run, "dicom-seg", tmp_path / "out")[0]
    name = run.results[0].patient.patient_id
    grid = read_grid(run.folder / "masks" / name / "2024-03-05" / "liver.nii.gz")
    stored = {
        role: nibabel.load(run.folder / "masks" / name / "2024-03-05" / f"{role.value}.nii.gz")
        for role in (MaskRole.LIVER, MaskRole.LESION, MaskRole.VIABLE)
    }
    found = read_masks([file], grid)
    for role, image in stored.items():
        np.testing.assert_array_equal(found[role].voxels, np.asarray(image.dataobj))


def test_objects_belong_to_the_study_and_the_images_that_they_were_made_from(tmp_path, run):
    source = [dcmread(file) for file in sorted((tmp_path / "data" / "1").iterdir())]
    for name in ("dicom-seg", "dicom-sr"):
        made = dcmread(export(run, name, tmp_path / name)[0])
        assert (made.StudyInstanceUID, made.PatientID) == (source[0].StudyInstanceUID, source[0].PatientID)
        text = str(made)
        assert all(item.SOPInstanceUID in text for item in source)
    assert (
        segread(tmp_path / "dicom-seg" / made_path(run)).FrameOfReferenceUID == source[0].FrameOfReferenceUID
    )


def made_path(run):
    return f"{run.results[0].patient.patient_id}/2024-03-05/lesions.dcm"


def test_a_corrected_outline_is_semiautomatic_and_names_the_network(tmp_path, run):
    """The reader corrected the lesions of the first study: the liver, and the second study, are the network's."""
    (result,) = run.results
    row = AuditRow(
        patient_id=result.patient.patient_id, study_date=result.studies[0].study_date, edit="masks/lesions",
        what="lesions mask", reader="Dr C",
    )  # fmt: skip
    run = replace(run, results=(replace(result, audit=(row,)),), record={**run.record, "segmenter": "net 1"})
    found = [
        [item.SegmentAlgorithmType for item in dcmread(file).SegmentSequence]
        for file in export(run, "dicom-seg", tmp_path / "seg")
    ]
    assert found == [["AUTOMATIC", *["SEMIAUTOMATIC"] * 3], ["AUTOMATIC"] * 4]
    first = dcmread(sorted((tmp_path / "seg").rglob("*.dcm"))[0]).SegmentSequence
    assert {item.SegmentAlgorithmName for item in first} == {"net 1"}


def test_a_lesion_has_one_tracking_uid_at_every_visit_and_in_both_objects(tmp_path, run):
    segmentations = [segread(file) for file in export(run, "dicom-seg", tmp_path / "seg")]
    reports = [srread(file) for file in export(run, "dicom-sr", tmp_path / "sr")]
    seen = [
        {(d.tracking_id, d.tracking_uid) for n in (2, 3, 4) for d in [one.get_segment_description(n)]}
        for one in segmentations
    ]
    assert seen[0] == seen[1]
    assert {name for name, _ in seen[0]} == {"L01", "L02"}
    for report in reports:
        groups = report.content.get_volumetric_roi_measurement_groups()
        assert {(group.tracking_identifier, group.tracking_uid) for group in groups} == seen[0]


def test_the_report_says_what_the_tables_say(tmp_path, run):
    segmentation = segread(export(run, "dicom-seg", tmp_path / "seg")[0])
    report = srread(export(run, "dicom-sr", tmp_path / "sr")[0])
    volume = report.content.get_volumetric_roi_measurement_groups()[0]
    assert [(m.name.meaning, m.value, m.unit.value) for m in volume.get_measurements()][-1] == (
        "Volume",
        1.234,
        "cm3",
    )
    assert volume.referenced_segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
    assert volume.referenced_segment.referenced_segment_numbers == [2]
    diameters = next(
        group for group in report.content.get_image_measurement_groups() if group.tracking_identifier == "L01"
    )
    numbers = {m.name.meaning: m.value for m in diameters.get_measurements()}
    assert numbers["Long Axis"] == 12.3
    assert numbers["Short Axis"] == 8.1
    assert numbers["Long axis of the viable part"] == 0.0
    (points,) = [
        np.array(item.GraphicData).reshape(2, 3)
        for measured in diameters.get_measurements()
        if measured.name.value == "103339001"
        for item in measured[0].ContentSequence
        if item.ValueType == "SCOORD3D"
    ]
    expected = [(-x, -y, z) for x, y, z in (CALIPER.start_mm, CALIPER.end_mm)]
    np.testing.assert_allclose(points, expected)


def test_a_volume_that_a_reader_stated_is_not_a_sum_of_the_voxels_of_the_segment(tmp_path, run):
    (result,) = run.results
    measured = result.measurements
    typed = tuple(
        replace(row, volume_ml=9.5, source=MeasurementSource.READER) if row.lesion_id == "L01" else row
        for row in measured
    )
    edited = replace(run, results=(replace(result, measurements=typed, unedited=measured),))
    content = srread(export(edited, "dicom-sr", tmp_path / "sr")[0]).content
    of_segments = {
        group.tracking_identifier: [
            one.value for one in group.get_measurements() if one.name.meaning == "Volume"
        ]
        for group in content.get_volumetric_roi_measurement_groups()
    }
    assert of_segments == {"L01": [], "L02": [1.234]}
    (own,) = [one for one in content.get_image_measurement_groups() if one.tracking_identifier == "L01"]
    (volume,) = [one for one in own.get_measurements() if one.name.meaning == "Volume"]
    assert (volume.value, volume.unit.value, volume.method) == (9.5, "cm3", None)


def evaluations(group):
    return {item.name.meaning: item.value.meaning for item in group.get_qualitative_evaluations()}


def test_responses_have_the_codes_of_the_standard_and_others_a_private_scheme(tmp_path, run):
    first, second = (srread(file) for file in export(run, "dicom-sr", tmp_path / "sr"))
    for report, method in ((first, "126081"), (second, "MRECIST")):
        group = next(
            one for one in report.content.get_image_measurement_groups() if one.finding_type.value == "112020"
        )
        codes = {item.name.value: item.value.value for item in group.get_qualitative_evaluations()}
        assert codes["112021"] == method
        assert codes["112048"] == "PR"
        assert codes["TARGET"] == "112042"
        assert codes["NON_TARGET"] == "112046"
    lesion = next(
        one for one in first.content.get_image_measurement_groups() if one.tracking_identifier == "L01"
    )
    assert evaluations(lesion)["Role of the lesion in the assessment"] == "Target Lesion at Baseline"
    assert evaluations(lesion)["State of the measurement"] == "measured"


def test_new_lesions_and_the_response_of_the_liver_stand_in_the_report(tmp_path, run):
    run = with_assessments(run, new_lesions="not assessed", liver_response=Response.CR)
    said = evaluations(response_group(export(run, "dicom-sr", tmp_path / "sr")[0]))
    assert (said["New lesions"], said["Response of the liver alone"]) == ("not assessed", "CR")


def test_roles_that_differ_name_their_criterion_and_treatment_phase(tmp_path, run):
    """A target of one treatment phase, and of the next none; a phase without this study has no word in it."""
    (result,) = run.results
    (role,) = result.response.roles
    day = result.response.assessments[0].study_date
    roles, assessments = [], []
    for phase, its_role in (
        ("1 TACE", LesionRole.TARGET),
        ("2 systemic", LesionRole.NON_TARGET),
        ("3", "new"),
    ):
        roles.append(replace(role, treatment_phase=phase, role=LesionRole(its_role)))
        rows = [row for row in result.response.assessments if phase != "3" or row.study_date != day]
        assessments += [replace(row, treatment_phase=phase) for row in rows]
    response = replace(result.response, roles=tuple(roles), assessments=tuple(assessments))
    phased = replace(run, results=(replace(result, response=response),))
    content = srread(export(phased, "dicom-sr", tmp_path / "sr")[0]).content
    lesion = next(one for one in content.get_image_measurement_groups() if one.tracking_identifier == "L01")
    found = {name: word for name, word in evaluations(lesion).items() if name.startswith("Role")}
    assert found == {
        "Role in mRECIST, 1 TACE": "Target Lesion at Baseline",
        "Role in mRECIST, 2 systemic": "Non-Target Lesion at Baseline",
    }
    codes = [item.name.value for item in lesion.get_qualitative_evaluations() if "Role" in item.name.meaning]
    assert len(set(codes)) == 2
    assert all(re.fullmatch("ROLE_[0-9A-F]{8}", code) for code in codes)


def test_a_second_reader_has_the_roles_and_volumes_that_were_stated(tmp_path, run):
    (result,) = run.results
    own = tuple(
        replace(row, reader="reader B", volume_ml=8.5, source=MeasurementSource.READER)
        for row in result.measurements
        if row.lesion_id == "L01"
    )
    (role,) = result.response.roles
    other = replace(role, reader="reader B", role=LesionRole.NON_TARGET)
    response = replace(result.response, roles=(role, other))
    two = replace(result, measurements=(*result.measurements, *own), response=response)
    content = srread(export(replace(run, results=(two,)), "dicom-sr", tmp_path / "sr")[0]).content
    roles, volumes = {}, {}
    for group in content.get_image_measurement_groups():
        if group.tracking_identifier == "L01":
            # TID 300 "Activity Session"
            (session,) = [item.value for item in group[0].ContentSequence if "Session" in item.name.meaning]
            roles[session] = evaluations(group)["Role of the lesion in the assessment"]
            volumes[session] = [
                (one.value, one.method) for one in group.get_measurements() if one.name.meaning == "Volume"
            ]
    assert roles == {"mask": "Target Lesion at Baseline", "reader B": "Non-Target Lesion at Baseline"}
    # of the mask's row the volume stands in the group of the segment
    assert volumes == {"mask": [], "reader B": [(8.5, None)]}


@pytest.mark.parametrize(
    ("criterion", "unit", "expected"),
    [("mRECIST", "mm", "mm"), ("EASL", "mm2", "mm2"), ("WHO", "mm2", "mm2"), ("qEASL", "mL", "cm3")],
)
def test_a_sum_of_targets_has_the_unit_of_its_criterion(tmp_path, run, criterion, unit, expected):
    run = with_assessments(run, criterion=criterion, burden_unit=unit, current_burden=800.0)
    group = response_group(export(run, "dicom-sr", tmp_path / "sr")[0])
    (burden,) = [m for m in group.get_measurements() if m.name.value == "BURDEN"]
    assert (burden.value, burden.unit.value) == (800.0, expected)


def with_assessments(run, **changes):
    """Give every assessment of a run other values."""
    (result,) = run.results
    rows = tuple(replace(row, **changes) for row in result.response.assessments)
    return replace(run, results=(replace(result, response=replace(result.response, assessments=rows)),))


def response_group(file):
    groups = srread(file).content.get_image_measurement_groups()
    return next(one for one in groups if one.finding_type.value == "112020")


@pytest.mark.parametrize(
    "criterion", ["site standard " * 5 + "2", "标准", "mRECIST, 5 mm floor of the charter"]
)
def test_a_criterion_of_any_name_has_a_code_of_its_own(tmp_path, run, criterion):
    codes = []
    for name in (criterion, criterion.replace("标", "验") + " b"):
        named = with_assessments(run, criterion=name)
        group = response_group(export(named, "dicom-sr", tmp_path / name.replace(" ", "_"))[0])
        assert group.tracking_identifier == f"{name}, course, mask"
        (method,) = [q.value for q in group.get_qualitative_evaluations() if q.name.value == "112021"]
        assert method.meaning == (name if len(name) <= 64 else f"{name[:61]}...")
        assert re.fullmatch("[0-9A-Z_]{1,16}", method.value)
        codes.append(method.value)
    assert codes[0] != codes[1]


def test_letters_outside_of_the_character_set_of_the_source_are_kept(tmp_path):
    run = finished_run(two_visits(tmp_path / "data"), tmp_path / "run")
    for file in (tmp_path / "data").glob("?/*"):
        header = dcmread(file)
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 100", "Müller^Jörg"
        header.save_as(file)
    run = with_assessments(run, reader="Dr Łukasz", treatment_phase="2 – TACE")
    report = export(run, "dicom-sr", tmp_path / "sr")[0]
    assert response_group(report).tracking_identifier == "RECIST 1.1, 2 – TACE, Dr Łukasz"
    for file in (report, export(run, "dicom-seg", tmp_path / "seg")[0]):
        assert str(dcmread(file).PatientName) == "Müller^Jörg"


def test_an_unfinished_run_is_refused(tmp_path, run):
    unfinished = replace(run, record={**run.record, "finished": None})
    for name in ("dicom-seg", "dicom-sr"):
        with pytest.raises(ConfigError, match="needs a finished run"):
            export(unfinished, name, tmp_path / name)


def test_the_same_run_gives_the_same_bytes_and_another_mask_another_uid(tmp_path, run):
    for name in ("dicom-seg", "dicom-sr"):
        files = [export(run, name, tmp_path / place / name) for place in ("a", "b")]
        assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    before = segread(tmp_path / "a" / "dicom-seg" / made_path(run)).SOPInstanceUID
    name = run.results[0].patient.patient_id
    mask = run.folder / "masks" / name / "2024-03-05" / "lesions.nii.gz"
    image = nibabel.load(mask)
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] = 1
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), mask)
    export(run, "dicom-seg", tmp_path / "c")
    assert segread(tmp_path / "c" / made_path(run)).SOPInstanceUID != before


def test_an_enhanced_source_is_referred_to_by_frame(tmp_path):
    plans = [
        replace(PLAN, description="dyn", time=time, study_date="20240305")
        for time in ("100000", "101000", "101045")
    ]
    write_enhanced(tmp_path / "data" / "mf", plans)
    run = finished_run(tmp_path / "data", tmp_path / "run")
    (file,) = export(run, "dicom-seg", tmp_path / "seg")
    segmentation = segread(file)
    assert segment_points(segmentation, 2) == truth(run, "2024-03-05", "lesions", 1)
    assert segment_points(segmentation, 1) == truth(run, "2024-03-05", "liver")
    export(run, "dicom-sr", tmp_path / "sr")


def test_without_dicom_input_the_message_says_what_is_needed(tmp_path, run):
    shutil.rmtree(run.folder / "private" / "sources")
    with pytest.raises(ConfigError, match="DICOM output needs DICOM input"):
        export(run, "dicom-seg", tmp_path / "seg")


def test_source_images_that_were_moved_are_named_without_their_path(tmp_path, run):
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    with pytest.raises(DataError) as caught:
        export(run, "dicom-sr", tmp_path / "sr")
    assert caught.value.code == "source_missing"
    assert str(tmp_path) not in str(caught.value)


def test_without_identity_nothing_of_the_source_is_left_but_the_objects_fit_together(tmp_path, run):
    source = dcmread(next((tmp_path / "data" / "1").iterdir()))
    secrets = [
        *SECRETS,
        source.PatientID,
        *(source[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")),
        source.FrameOfReferenceUID,
        source.StudyDate,
    ]
    bare = replace(run, deidentify=True)
    segs = export(bare, "dicom-seg", tmp_path / "seg")
    reports = export(bare, "dicom-sr", tmp_path / "sr")
    for file in (*segs, *reports):
        content = file.read_bytes()
        assert [secret for secret in secrets if str(secret).encode() in content] == []
        assert "2024" not in file.relative_to(tmp_path).as_posix()
    seg, report = dcmread(segs[0]), srread(reports[0])
    assert seg.PatientID == run.results[0].patient.patient_id
    assert seg.StudyInstanceUID == report.StudyInstanceUID
    assert seg.SOPInstanceUID in str(report)
    assert dcmread(segs[0]).StudyInstanceUID != dcmread(segs[1]).StudyInstanceUID


@pytest.mark.parametrize("deidentify", [False, True])
def test_dciodvfy_finds_no_error_and_only_the_private_scheme_to_warn_of(tmp_path, run, request, deidentify):
    program = tool(request, "dciodvfy")
    run = replace(run, deidentify=deidentify)
    files = [*export(run, "dicom-seg", tmp_path / "seg"), *export(run, "dicom-sr", tmp_path / "sr")]
    assert len(files) == 4
    for file in files:
        said = subprocess.run(
            [program, "-new", str(file)], capture_output=True, text=True, check=False
        ).stderr
        lines = [line for line in said.splitlines() if re.match("Error|Warning", line)]
        assert [line for line in lines if "99MRRESPONSE" not in line] == []


def test_dcmqi_reads_the_same_voxels(tmp_path, run, request):
    program = tool(request, "segimage2itkimage")
    file = export(run, "dicom-seg", tmp_path / "seg")[0]
    subprocess.run(
        [program, "--inputDICOM", file, "--outputDirectory", tmp_path, "--outputType", "nii", "--prefix", "s"],
        check=True, capture_output=True,
    )  # fmt: skip
    described = json.loads((tmp_path / "s-meta.json").read_text())["segmentAttributes"]
    for number, (name, label) in enumerate(
        (("liver", None), ("lesions", 1), ("viable", 1), ("lesions", 2)), start=1
    ):
        image = nibabel.load(tmp_path / f"s-{number}.nii.gz")
        assert world_of(image.affine, np.asarray(image.dataobj) > 0) == truth(run, "2024-03-05", name, label)
    assert described[0][0]["SegmentLabel"] == "Liver"


def test_dcmqi_reads_the_same_numbers(tmp_path, run, request):
    program = tool(request, "tid1500reader")
    file = export(run, "dicom-sr", tmp_path / "sr")[0]
    subprocess.run(
        [program, "--inputDICOM", file, "--outputMetadata", tmp_path / "sr.json"],
        check=True, capture_output=True,
    )  # fmt: skip
    groups = json.loads((tmp_path / "sr.json").read_text())["Measurements"]
    numbers = {
        item["quantity"]["CodeMeaning"]: float(item["value"])
        for group in groups
        if group["TrackingIdentifier"] == "L01"
        for item in group["measurementItems"]
    }
    assert numbers["Long Axis"] == 12.3
    assert numbers["Volume"] == 1.234


def test_masks_of_an_earlier_run_are_gone_where_there_are_none_now(tmp_path, run):
    (result,) = run.results
    study = result.patient.studies[0]
    folder = RunFolder(path=run.folder)
    place = run.folder / "masks" / study.patient_id / study.study_date.isoformat()

    def there():
        return sorted(file.name.partition(".")[0] for file in place.iterdir())

    now, viable = examined(study, swapped=False)
    assert there() == ["lesions", "liver", "viable"]
    folder.keep_masks(now, None)
    assert there() == ["lesions", "liver"]
    assert "viable" not in labels_of(export(run, "dicom-seg", tmp_path / "seg")[0])
    folder.keep_masks(now, viable)
    assert there() == ["lesions", "liver", "viable"]
    unseen = replace(now.lesion_map, lesions=(), not_assessable="no T1 contrast phase")
    folder.keep_masks(replace(now, lesion_map=unseen), None)
    assert there() == ["liver"]


def labels_of(file):
    return " ".join(item.SegmentLabel for item in dcmread(file).SegmentSequence)


def test_a_study_has_a_place_of_its_source_as_long_as_it_is_there_as_dicom(tmp_path, run):
    (result,) = run.results
    first, second = result.patient.studies
    folder = RunFolder(path=run.folder)

    def places():
        return sorted(file.stem for file in (run.folder / "private" / "sources").rglob("*.json"))

    assert places() == [first.study_date.isoformat(), second.study_date.isoformat()]
    now, viable = examined(first, swapped=False)
    converted = replace(first, series=tuple(replace(one, files=(), frames=()) for one in first.series))
    folder.keep_masks(replace(now, prepared=replace(now.prepared, study=converted)), viable)
    assert places() == [second.study_date.isoformat()]
    folder.drop_other_studies(replace(result.patient, studies=(converted,)))
    assert places() == []


def test_only_dicom_gets_a_place_of_its_source(tmp_path, run):
    places = list((run.folder / "private" / "sources").rglob("*.json"))
    assert len(places) == 2
    assert ingest(tmp_path / "data", IngestSettings()).failures == ()
