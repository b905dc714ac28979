"""Many patients: what is finished stays finished, and what goes wrong with one costs no other."""

import csv
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrresponse import Settings, assess_cohort, batch
from mrresponse.batch import BatchOptions
from mrresponse.cli import main
from mrresponse.domain import Failure, GivenLesions, Image, MeasurementSource, PreparedStudy
from mrresponse.errors import ConfigError, DataError
from mrresponse.execute import Workplace, here
from mrresponse.ingest import ingest
from mrresponse.run_record import run_info
from mrresponse.segment import Segmenter, SegmentSettings, make_segmenter
from mrresponse.store import RunFolder
from tests.small_cohort import DATES, SmallCohort, write_settings, write_small_cohort

PATIENTS = ("P1", "P2", "P3")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SmallCohort:
    return write_small_cohort(tmp_path_factory.mktemp("cohort"), PATIENTS)


@pytest.fixture(scope="module")
def reference(original: SmallCohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an undisturbed run."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert main(original.arguments(out)) == 0
    return out


@pytest.fixture
def cohort(original: SmallCohort, tmp_path: Path) -> SmallCohort:
    """A copy that a test may spoil; files keep their times, and so their keys."""
    shutil.copytree(original.path, tmp_path / "cohort")
    return replace(original, path=tmp_path / "cohort")


@pytest.fixture
def finished(reference: Path, cohort: SmallCohort, tmp_path: Path) -> Path:
    """The run folder of that copy, finished."""
    return Path(shutil.copytree(reference, tmp_path / "out"))


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.csv"))}


def failures(out: Path) -> dict[str, str]:
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        return {row["patient_id"]: row["code"] for row in csv.DictReader(file)}


def patients_in(out: Path) -> set[str]:
    with (out / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return {row["patient_id"] for row in csv.DictReader(file)}


def events(out: Path) -> list[tuple[str, str]]:
    """Give what the latest run logged of the patients' work."""
    latest = max((out / "logs").glob("run-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    lines = [json.loads(line) for line in latest.read_text(encoding="utf-8").splitlines()]
    return [(line["patient_id"], line["event"]) for line in lines if line["step"] in {"pipeline", "batch"}]


def interrupted(*_arguments: Any, **_options: Any) -> Any:
    raise KeyboardInterrupt


def examined(out: Path) -> list[str]:
    return [patient for patient, event in events(out) if event.endswith(" examined")]


# --- going on -----------------------------------------------------------------------------------------------------


def test_a_finished_run_does_nothing_again(finished: Path, cohort: SmallCohort, reference: Path) -> None:
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == []
    assert tables(finished) == tables(reference)


def test_what_was_typed_into_a_table_of_the_run_is_kept_and_told_when_it_is_written_anew(
    finished: Path, cohort: SmallCohort, reference: Path, caplog: pytest.LogCaptureFixture
) -> None:
    typed = (finished / "findings.csv").read_bytes() + b"P1,2024-04-15,ascites,new,,,,,,\n"
    (finished / "findings.csv").write_bytes(typed)
    with (finished / "lesion_table.csv").open("a", encoding="utf-8") as file:
        file.write("seen and signed\n")
    signed = (finished / "lesion_table.csv").read_bytes()
    assert main(cohort.arguments(finished)) == 0
    assert tables(finished) == tables(reference)
    kept = {path.name.split("_2")[0]: path for path in (finished / "private" / "replaced").iterdir()}
    assert {name: path.read_bytes() for name, path in kept.items()} == {
        "findings": typed,
        "lesion_table": signed,
    }
    assert kept["findings"].stat().st_mode & 0o077 == 0
    said = [record.getMessage() for record in caplog.records if "by hand" in record.getMessage()]
    assert said == [
        "findings.csv was changed by hand and is written anew; it is kept as private/replaced/"
        f"{kept['findings'].name}, and what is to stay belongs into the same table of the data folder",
        "lesion_table.csv was changed by hand and is written anew; it is kept as private/replaced/"
        f"{kept['lesion_table'].name}, and what is to stay belongs into edits/measurements.csv",
    ]
    caplog.clear()
    assert main(cohort.arguments(finished)) == 0
    assert "by hand" not in caplog.text
    assert len(list((finished / "private" / "replaced").iterdir())) == 2


def test_a_run_goes_on_with_the_patient_that_is_missing(
    finished: Path, cohort: SmallCohort, reference: Path
) -> None:
    (finished / "resume" / "patients" / "P2.json").unlink()
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == ["P2", "P2"]
    assert tables(finished) == tables(reference)


def test_a_study_that_was_finished_is_taken_up_again(
    cohort: SmallCohort, tmp_path: Path, reference: Path
) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--keep-studies")) == 0
    (out / "resume" / "patients" / "P2.json").unlink()
    (out / "resume" / "studies" / "P2" / f"{DATES[1]}.npz").unlink()
    assert main(cohort.arguments(out, "--keep-studies")) == 0
    assert examined(out) == ["P2"]
    assert ("P2", f"study of {DATES[0]} taken up again") in events(out)
    assert tables(out) == tables(reference)


@pytest.mark.parametrize("content", [b"", b"half a fi", b"PK\x03\x04 cut"])
def test_a_damaged_file_of_an_earlier_run_counts_as_absent(
    content: bytes, finished: Path, cohort: SmallCohort, reference: Path
) -> None:
    (finished / "resume" / "patients" / "P2.json").write_bytes(content)
    study = finished / "resume" / "studies" / "P2" / f"{DATES[0]}.npz"
    study.parent.mkdir(parents=True)
    study.write_bytes(content)
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == ["P2", "P2"]
    assert tables(finished) == tables(reference)


def test_what_killed_writers_left_is_swept_away(finished: Path, cohort: SmallCohort) -> None:
    left = finished / "masks" / "P1" / ".liver.nii.gz.x1.part"
    left.write_bytes(b"half")
    assert main(cohort.arguments(finished)) == 0
    assert not left.exists()


def test_the_folder_that_a_run_goes_on_from_may_be_deleted(finished: Path, cohort: SmallCohort) -> None:
    before = tables(finished)
    shutil.rmtree(finished / "resume")
    assert main(["report", str(finished)]) == 0
    assert main(["respond", str(finished)]) == 0
    assert tables(finished) == before


def test_a_patient_that_left_the_data_folder_leaves_the_tables(finished: Path, cohort: SmallCohort) -> None:
    manifest = cohort.data / "manifest.csv"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("P3,")]
    manifest.write_text("\n".join(lines) + "\n")
    assert main(cohort.arguments(finished)) == 0
    assert patients_in(finished) == {"P1", "P2"}


def files_of(out: Path, patient: str) -> set[str]:
    """Give what a run wrote of one patient, without logs."""
    places = ("masks", "snapshots", "report", "resume", "private")
    return {
        str(file.relative_to(out))
        for place in places
        for file in (out / place).rglob("*")
        if file.is_file() and patient in str(file.relative_to(out))
    }


def without(cohort: SmallCohort, patient: str) -> str:
    """Take a patient out of the manifest; give the manifest as it was."""
    manifest = cohort.data / "manifest.csv"
    before = manifest.read_text()
    kept = [line for line in before.splitlines() if not line.startswith(f"{patient},")]
    manifest.write_text("\n".join(kept) + "\n")
    return before


@pytest.mark.parametrize("stays_in_a_table", [False, True])
def test_masks_and_pages_of_a_patient_that_left_the_data_go_and_come_back_with_it(
    finished: Path, cohort: SmallCohort, reference: Path, stays_in_a_table: bool
) -> None:
    others = ["P3/2024-01-15/notes.txt", "reader/2024-01-15/liver.nii.gz"]
    for name in others:
        (finished / "masks" / name).parent.mkdir(exist_ok=True, parents=True)
        (finished / "masks" / name).write_text("not of the program")
    (finished / "edits").mkdir()
    (finished / "edits" / "masks.csv").write_text("patient_id,study_date,mask,reader\n")
    before = without(cohort, "P3")
    table = cohort.data / "markers.csv"
    if stays_in_a_table:
        table.write_text("patient_id,date,name,value,unit\nP3,2024-01-15,AFP,12,ng/mL\n")
    assert main(cohort.arguments(finished)) == int(stays_in_a_table)
    assert patients_in(finished) == {"P1", "P2"}
    assert files_of(finished, "P3") == {f"masks/{others[0]}"}
    assert files_of(finished, "P2") == files_of(reference, "P2")
    assert all((finished / "masks" / name).read_text() == "not of the program" for name in others)
    (cohort.data / "manifest.csv").write_text(before)
    table.unlink(missing_ok=True)
    (finished / "masks" / others[0]).unlink()
    assert main(cohort.arguments(finished)) == 0
    assert files_of(finished, "P3") == files_of(reference, "P3")
    assert tables(finished) == tables(reference)


def test_a_patient_that_fails_on_reading_keeps_masks_and_page(finished: Path, cohort: SmallCohort) -> None:
    before = files_of(finished, "P3")
    with (cohort.data / "manifest.csv").open("a") as file:
        file.write(f"P3,2024-07-15,LATE,{cohort.image('P3', DATES[0]).relative_to(cohort.data)}\n")
    assert main(cohort.arguments(finished)) == 1
    assert files_of(finished, "P3") == before


def test_masks_and_pictures_of_a_study_that_left_the_data_go_unless_their_patient_fails(
    finished: Path, cohort: SmallCohort
) -> None:
    """The later study leaves of P2 and of P3, whose other study cannot be read; P1 is as it was."""
    manifest = cohort.data / "manifest.csv"
    gone = (f"P2,{DATES[1]}", f"P3,{DATES[1]}")
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith(gone)]
    manifest.write_text("\n".join(lines) + "\n")
    spoil(cohort.image("P3", DATES[0]))
    own = finished / "masks" / "P2" / DATES[1] / "notes.txt"
    own.write_text("not of the program")

    def dates(folder: str, pattern: str) -> dict[str, set[str]]:
        return {
            patient: {
                day
                for day in DATES
                for file in (finished / folder / patient).rglob(pattern)
                if day in str(file)
            }
            for patient in PATIENTS
        }

    expected = {"P1": set(DATES), "P2": {DATES[0]}, "P3": set(DATES)}
    assert main(cohort.arguments(finished)) == 1
    assert failures(finished) == {"P3": "truncated"}
    assert dates("masks", "*.nii.gz") == expected
    assert dates("snapshots", "*.*") == expected
    assert own.is_file()
    own.unlink()
    assert main(cohort.arguments(finished, "--retry-failed")) == 1
    write_settings(cohort, {"measure": {"viable_k_sd": 3.0}})
    assert main(cohort.arguments(finished)) == 1
    assert not own.parent.exists()


def test_lesions_of_a_patient_that_fails_keep_their_names(finished: Path, cohort: SmallCohort) -> None:
    folder = RunFolder(path=finished)
    before = {track.lesion_id for track in folder.earlier_tracks() if track.patient_id == "P2"}
    image = cohort.image("P2", DATES[1])
    content, times = image.read_bytes(), image.stat()
    spoil(image)
    for _ in range(2):
        assert main(cohort.arguments(finished)) == 1
        assert "P2" not in (finished / "tracks.csv").read_text()
        assert {one.lesion_id for one in folder.earlier_tracks() if one.patient_id == "P2"} == before
    image.write_bytes(content)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert main(cohort.arguments(finished)) == 0
    assert sorted({track.patient_id for track in folder.earlier_tracks()}) == list(PATIENTS)
    assert "P2" not in (finished / "private" / "tracks_of_failed.csv").read_text()


def test_a_patient_whose_masks_another_run_began_to_replace_is_not_finished(
    finished: Path, cohort: SmallCohort, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(cohort, {"measure": {"viable_k_sd": 3.0}})
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_responded_and_kept", interrupted)
        assert main(cohort.arguments(finished)) not in (0, 1)
    write_settings(cohort, {})
    assert main(cohort.arguments(finished)) == 0
    assert {patient for patient, event in events(finished) if event == "finished before"} == {"P2", "P3"}
    assert tables(finished) == tables(reference)


def test_responses_done_again_do_not_finish_an_interrupted_run(
    finished: Path, cohort: SmallCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_finished() -> bool:
        return json.loads((finished / "run.json").read_text())["finished"] is not None

    write_settings(cohort, {"measure": {"viable_k_sd": 3.0}})
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_responded_and_kept", interrupted)
        assert main(cohort.arguments(finished)) not in (0, 1)
    for _ in range(2):
        assert main(["respond", str(finished)]) == 0
        assert not is_finished()
    assert main(cohort.arguments(finished)) == 0
    assert is_finished()
    assert main(["respond", str(finished)]) == 0
    assert is_finished()


# --- what depends on what -----------------------------------------------------------------------------------------


def test_other_settings_of_the_responses_read_no_image(finished: Path, cohort: SmallCohort) -> None:
    write_settings(cohort, {"respond": {"criteria": ["RECIST 1.1"]}})
    shutil.rmtree(cohort.masks)
    cohort.masks.mkdir()
    for patient in PATIENTS:
        shutil.copytree(finished / "masks" / patient, cohort.masks / patient)
    # the masks are other files now, so only what the first line below allows may be asked for
    write_settings(cohort, {})
    before = (finished / "assessments.csv").read_bytes()
    assert main(cohort.arguments(finished)) == 0
    assert sorted(examined(finished)) == sorted(PATIENTS * 2)
    write_settings(cohort, {"respond": {"criteria": ["RECIST 1.1"]}})
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == []
    assert (finished / "assessments.csv").read_bytes() != before
    assert b"mRECIST" not in (finished / "assessments.csv").read_bytes()
    assert b"mRECIST" not in (finished / "report" / "P1.html").read_bytes()


def test_runs_that_begin_within_a_second_have_logs_of_their_own(tmp_path: Path) -> None:
    folder = RunFolder(path=tmp_path)
    info = run_info(Settings(), tmp_path)
    assert folder.begin(info) != folder.begin(info)


def test_another_table_of_treatments_reads_no_image(finished: Path, cohort: SmallCohort) -> None:
    (cohort.data / "treatments.csv").write_text(
        "patient_id,treatment_phase,name,kind,start_date\nP2,one,lenvatinib,systemic,2024-01-20\n"
    )
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == []
    assert [patient for patient, event in events(finished) if event.startswith("responses")] == ["P2"]


def test_a_local_treatment_measures_its_patient_again(finished: Path, cohort: SmallCohort) -> None:
    # a thin rim of a lesion treated before is no viable tumour
    (cohort.data / "treatments.csv").write_text(
        "patient_id,treatment_phase,name,kind,start_date\nP2,one,TACE,locoregional,2024-01-20\n"
    )
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == ["P2", "P2"]


def test_another_image_examines_its_patient_only(finished: Path, cohort: SmallCohort) -> None:
    os.utime(cohort.image("P3", DATES[0]), ns=(1, 1))
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == ["P3", "P3"]


def test_a_corrected_mask_in_a_linked_folder_counts_when_it_changes(
    finished: Path, cohort: SmallCohort, tmp_path: Path
) -> None:
    """A shared folder of corrections that is linked to: it is read, so it must be noticed too."""
    elsewhere = tmp_path / "corrected"
    elsewhere.mkdir()
    mask = shutil.copy(cohort.masks / "P2" / DATES[1] / "lesions.nii.gz", elsewhere)
    (finished / "edits" / "masks" / "P2").mkdir(parents=True)
    (finished / "edits" / "masks" / "P2" / DATES[1]).symlink_to(elsewhere)
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == ["P2", "P2"]
    seconds = Path(mask).stat().st_mtime_ns + 1
    os.utime(mask, ns=(seconds, seconds))
    assert main(cohort.arguments(finished)) == 0
    assert examined(finished) == ["P2", "P2"]


def test_other_settings_of_tracking_align_nothing_again_where_studies_are_kept(
    cohort: SmallCohort, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--keep-studies")) == 0
    write_settings(cohort, {"track": {"gate_mm": 25.0}})
    assert main(cohort.arguments(out, "--keep-studies")) == 0
    assert examined(out) == []
    assert sum(event.endswith("taken up again") for _, event in events(out)) == 2 * len(PATIENTS)


# --- networks -----------------------------------------------------------------------------------------------------


def counting_segmenter(masks: Path, asked: list[str]) -> Segmenter:
    """Give the true masks as a network would, and note every time it is asked."""
    given = make_segmenter(SegmentSettings(), masks=masks)

    def liver(study: Any, series: Any, image: Any) -> Image | None:
        asked.append("liver")
        return given.liver(study, series, image)

    def lesions(prepared: PreparedStudy) -> Image:
        asked.append("lesions")
        found = given.lesions(prepared)
        assert isinstance(found, GivenLesions)
        return Image(voxels=(found.labels.voxels > 0).astype(np.float32), grid=prepared.grid)

    return Segmenter(name="network", source=MeasurementSource.NETWORK, liver=liver, lesions=lesions)


@pytest.fixture
def network(cohort: SmallCohort, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a network in the program that knows the truth; the list fills as it is asked."""
    asked: list[str] = []
    segmenter = counting_segmenter(cohort.masks, asked)
    monkeypatch.setattr(batch, "make_segmenter", lambda settings, masks: segmenter)
    batch.segmenter_of_this_process.cache_clear()
    yield asked
    batch.segmenter_of_this_process.cache_clear()


def network_arguments(cohort: SmallCohort, out: Path) -> list[str]:
    words = cohort.arguments(out)
    at = words.index("--masks")
    return words[:at] + words[at + 2 :]


@pytest.mark.slow
def test_networks_are_asked_once_for_each_study(
    cohort: SmallCohort, tmp_path: Path, network: list[str]
) -> None:
    out = tmp_path / "out"
    assert main(network_arguments(cohort, out)) == 0
    assert sorted(network) == ["lesions"] * 6 + ["liver"] * 6
    first = tables(out)
    network.clear()
    shutil.rmtree(out / "resume" / "patients")
    assert main(network_arguments(cohort, out)) == 0
    assert network == []
    assert tables(out) == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"respond": {"criteria": ["RECIST 1.1"]}}, set()),
        ({"measure": {"thin_mm": 1.0}}, set()),
        ({"track": {"gate_mm": 25.0}}, set()),
        ({"lesions": {"threshold": 0.4}}, set()),
        ({"prepare": {"margin_mm": 12.0}}, {"lesions"}),
        ({"segment": {"overlap": 0.5}}, {"liver", "lesions"}),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else "",
)
def test_a_changed_setting_asks_only_the_networks_that_see_it(
    change: dict[str, dict[str, object]],
    again: set[str],
    cohort: SmallCohort,
    tmp_path: Path,
    network: list[str],
) -> None:
    out = tmp_path / "out"
    assert main(network_arguments(cohort, out)) == 0
    network.clear()
    write_settings(cohort, change)
    assert main(network_arguments(cohort, out)) == 0
    assert set(network) == again


def gpu_with_room_for(share: float, device: str, masks: Path) -> Callable[..., Segmenter]:
    """Make segmenters whose graphics memory holds windows of at most a share of the model's."""

    def make(settings: SegmentSettings, masks_: Path | None) -> Segmenter:
        given = counting_segmenter(masks, [])

        def liver(study: Any, series: Any, image: Any) -> Image | None:
            if settings.device != "cpu" and settings.window_share > share:
                raise DataError("the graphics memory is too small", code="gpu_memory")
            return given.liver(study, series, image)

        return replace(given, liver=liver)

    return lambda settings, masks: make(settings, masks)


@pytest.mark.parametrize(
    ("share", "cpu_allowed", "outcome"),
    [
        (1.0, False, None),
        (0.5, False, "windows of 50 %"),
        (0.25, False, "windows of 25 %"),
        (0.1, True, "on the CPU"),
        (0.1, False, "gpu_memory"),
    ],
)
def test_too_little_graphics_memory_means_smaller_windows_then_the_cpu_if_allowed(
    share: float,
    cpu_allowed: bool,
    outcome: str | None,
    cohort: SmallCohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "make_segmenter", gpu_with_room_for(share, "cuda", cohort.masks))
    batch.segmenter_of_this_process.cache_clear()
    write_settings(cohort, {"segment": {"cpu_when_out_of_memory": cpu_allowed}})
    out = tmp_path / "out"
    code = main(network_arguments(cohort, out))
    batch.segmenter_of_this_process.cache_clear()
    if outcome == "gpu_memory":
        assert code == 1
        assert set(failures(out).values()) == {"gpu_memory"}
        return
    assert code == 0
    with (out / "flags.csv").open(encoding="utf-8", newline="") as file:
        said = [row["message"] for row in csv.DictReader(file) if row["code"] == "gpu_memory"]
    assert len(said) == (0 if outcome is None else len(PATIENTS))
    assert all(outcome in message for message in said if outcome)


# --- when something fails -----------------------------------------------------------------------------------------


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


class EndsAfterwards(Executor):
    """Does its work and is gone, as a process that is killed before it can say that it has finished."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        function(*arguments, **options)
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("killed"))
        return future


def test_a_patient_that_was_kept_before_its_process_was_killed_is_not_given_up(
    cohort: SmallCohort, tmp_path: Path
) -> None:
    settings = batch_settings(cohort)
    folder = RunFolder.create(tmp_path / "out")
    assessed = assess_cohort(
        ingest(cohort.data, settings.ingest).patients,
        settings,
        masks=cohort.masks,
        folder=folder,
        workplace=Workplace(open=EndsAfterwards, in_flight=lambda: 1, workers=2),
    )
    assert [outcome for outcome in assessed if isinstance(outcome, Failure)] == []
    kept = (tmp_path / "out" / "resume" / "patients").glob("*.json")
    assert sorted(file.stem for file in kept) == sorted(PATIENTS)


def test_a_failed_patient_is_tried_again_when_asked_or_when_it_has_changed(
    cohort: SmallCohort, tmp_path: Path, reference: Path
) -> None:
    out = tmp_path / "out"
    image = cohort.image("P2", DATES[1])
    good, times = image.read_bytes(), image.stat()
    spoil(image)
    assert main(cohort.arguments(out)) == 1
    assert failures(out) == {"P2": "truncated"}
    assert patients_in(out) == {"P1", "P3"}
    assert main(cohort.arguments(out)) == 1
    assert examined(out) == []
    assert main(cohort.arguments(out, "--retry-failed")) == 1
    assert failures(out) == {"P2": "truncated"}
    image.write_bytes(good)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert main(cohort.arguments(out)) == 0
    assert tables(out) == tables(reference)


def test_a_failed_patient_has_a_log_of_its_own_and_the_run_has_one(
    cohort: SmallCohort, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    spoil(cohort.image("P2", DATES[1]))
    main(cohort.arguments(out))
    own = [json.loads(line) for line in (out / "logs" / "failed" / "P2.jsonl").read_text().splitlines()]
    assert own[-1]["level"] == "ERROR"
    assert "truncated" in own[-1]["event"]
    assert [path.name for path in (out / "logs" / "failed").iterdir()] == ["P2.jsonl"]
    assert {patient for patient, _ in events(out)} == set(PATIENTS)


@pytest.mark.parametrize("place", ["logs", "resume", "failures.csv", "run.json"])
def test_no_source_path_is_written_outside_private(place: str, cohort: SmallCohort, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spoil(cohort.image("P2", DATES[1]))
    main(cohort.arguments(out))
    files = (
        [out / place]
        if (out / place).is_file()
        else [path for path in (out / place).rglob("*") if path.is_file()]
    )
    assert files
    for file in files:
        assert str(cohort.path).encode() not in file.read_bytes(), file.name
    private = b"".join(path.read_bytes() for path in (out / "private").rglob("*") if path.is_file())
    assert str(cohort.image("P2", DATES[1])).encode() in private


def test_an_unforeseen_fault_is_one_row_without_its_text_in_public(
    cohort: SmallCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    measured = batch.measure_patient

    def faulty(patient: Any, *arguments: Any, **options: Any) -> Any:
        if patient.patient_id == "P2":
            raise RuntimeError("at /home/dr.smith/exam")
        return measured(patient, *arguments, **options)

    monkeypatch.setattr(batch, "measure_patient", faulty)
    assert main(cohort.arguments(out)) == 1
    assert failures(out) == {"P2": "internal"}
    assert patients_in(out) == {"P1", "P3"}
    public = [path for path in out.rglob("*") if path.is_file() and "private" not in path.parts]
    assert all(b"dr.smith" not in path.read_bytes() for path in public)
    assert "dr.smith" in (out / "private" / "errors" / "P2.txt").read_text()


@contextmanager
def without_leave_to_write(folder: Path) -> Iterator[None]:
    """Take the permission to write to a folder; the administrator is not asked for it, so a file is in the way."""
    if os.geteuid() == 0:
        folder.rmdir()
        folder.touch()
        yield
        return
    folder.chmod(stat.S_IREAD | stat.S_IEXEC)
    try:
        yield
    finally:
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_to_costs_its_patient_only(
    cohort: SmallCohort, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    RunFolder.create(out)
    blocked = out / "snapshots" / "P2"
    blocked.mkdir(parents=True)
    with without_leave_to_write(blocked):
        assert main(cohort.arguments(out)) == 1
    assert failures(out) == {"P2": "not_writable"}
    assert patients_in(out) == {"P1", "P3"}


@pytest.mark.parametrize(
    ("number", "code"),
    [(28, "disk_full"), (122, "disk_full"), (30, "not_writable"), (116, "storage"), (5, "storage")],
)
def test_a_full_disk_and_a_lost_share_have_codes_and_the_rest_goes_on(
    number: int, code: str, cohort: SmallCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = RunFolder.keep_snapshots

    def full(self: RunFolder, result: Any) -> None:
        if result.patient.patient_id == "P2":
            raise OSError(number, os.strerror(number), "/mnt/share/secret")
        keep(self, result)

    monkeypatch.setattr(RunFolder, "keep_snapshots", full)
    out = tmp_path / "out"
    assert main(cohort.arguments(out)) == 1
    assert failures(out) == {"P2": code}
    assert patients_in(out) == {"P1", "P3"}
    monkeypatch.undo()
    assert main(cohort.arguments(out, "--retry-failed")) == 0
    # the studies were finished before the disk was full
    assert examined(out) == []


def test_a_patient_too_large_for_the_memory_is_refused_before_it_is_read(
    cohort: SmallCohort, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--memory", "0.5")) == 1
    assert set(failures(out).values()) == {"too_large_for_memory"}
    assert examined(out) == []


# --- one at a time ------------------------------------------------------------------------------------------------


def test_two_runs_in_one_folder_are_refused(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "out")
    with folder.locked():
        assert main(cohort.arguments(folder.path)) == 2
    said = capsys.readouterr().err
    assert "another run is at work in this folder" in said
    assert f"process {os.getpid()}" in said
    assert main(cohort.arguments(folder.path)) == 0


def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "out")
    script = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom mrresponse.store import RunFolder\n"
        "with RunFolder.create(Path(sys.argv[1])).locked():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    top = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", script, str(folder.path)],
        check=False,
        env=os.environ | {"PYTHONPATH": str(top)},
    )
    with folder.locked() as alone:
        assert alone


def test_parts_of_one_run_let_each_other_in_and_nobody_else(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "out")
    with folder.locked("shard-1-of-2"), folder.locked("shard-2-of-2"):
        with pytest.raises(ConfigError, match="another run"), folder.locked("shard-1-of-2"):
            pass
        with pytest.raises(ConfigError, match="another run"), folder.locked():
            pass


# --- all ways of running ------------------------------------------------------------------------------------------


def test_parts_merged_are_the_whole(
    cohort: SmallCohort, tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--shard", "2/2")) == 0
    assert not (out / "assessments.csv").exists()
    assert main(["merge", str(out)]) == 2
    assert "shard 1/2 has not been run" in capsys.readouterr().err
    assert main(cohort.arguments(out, "--shard", "1/2")) == 0
    assert main(["merge", str(out)]) == 0
    assert tables(out) == tables(reference)


def test_a_part_that_is_not_finished_is_named(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        assert main(cohort.arguments(out, "--shard", f"{number}/2")) == 0
    (out / "resume" / "patients" / "P2.json").unlink()
    assert main(["merge", str(out)]) == 2
    assert "shard 2/2 has 1 patients that are not finished" in capsys.readouterr().err


def test_a_part_that_was_begun_again_is_waited_for(
    cohort: SmallCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its patients are finished, but with settings of before."""
    out = tmp_path / "out"
    for number in (1, 2):
        assert main(cohort.arguments(out, "--shard", f"{number}/2")) == 0
    assert main(["merge", str(out)]) == 0
    write_settings(cohort, {"respond": {"criteria": ["RECIST 1.1"]}})
    assert main(cohort.arguments(out, "--shard", "2/2")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(batch, "assess_cohort", interrupted)
        assert main(cohort.arguments(out, "--shard", "1/2")) not in (0, 1)
    assert main(["merge", str(out)]) == 2
    assert "shard 1/2 is not done; run it again" in capsys.readouterr().err
    assert main(cohort.arguments(out, "--shard", "1/2")) == 0
    assert main(["merge", str(out)]) == 0
    assert b"mRECIST" not in (out / "assessments.csv").read_bytes()


def test_parts_of_before_do_not_finish_a_run_of_the_whole_that_was_stopped(
    cohort: SmallCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some patients would be of the settings of now, and some of those of before."""
    out = tmp_path / "out"
    for number in (1, 2):
        assert main(cohort.arguments(out, "--shard", f"{number}/2")) == 0
    write_settings(cohort, {"respond": {"criteria": ["RECIST 1.1"]}})
    work, done = batch._work, []

    def first_only(patient: Any, **options: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(patient.patient_id)
        return work(patient, **options)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "_work", first_only)
        assert main(cohort.arguments(out)) not in (0, 1)
    assert main(["merge", str(out)]) == 2
    assert not (out / "assessments.csv").exists()
    assert "found no shard in this folder" in capsys.readouterr().err


def test_parts_are_not_merged_under_settings_that_another_command_wrote(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``respond`` names other settings in run.json than those that the parts are of."""
    out = tmp_path / "out"
    for number in (1, 2):
        assert main(cohort.arguments(out, "--shard", f"{number}/2")) == 0
    assert main(["merge", str(out)]) == 0
    write_settings(cohort, {"respond": {"criteria": ["RECIST 1.1"]}})
    assert main(["respond", str(out), "--config", str(cohort.config)]) == 0
    before = tables(out)
    assert main(["merge", str(out)]) == 2
    assert "run.json has other settings than the shards" in capsys.readouterr().err
    assert tables(out) == before


def test_a_patient_whose_rows_cannot_be_read_is_not_finished(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        assert main(cohort.arguments(out, "--shard", f"{number}/2")) == 0
    rows = out / "resume" / "patients" / "P2.json"
    rows.write_bytes(rows.read_bytes()[:-40])
    assert main(["merge", str(out)]) == 2
    assert "shard 2/2 has 1 patients that are not finished" in capsys.readouterr().err
    assert not list(out.glob("*.csv"))


def test_parts_of_different_versions_are_refused(
    cohort: SmallCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--shard", "1/2")) == 0
    monkeypatch.setattr("mrresponse.shards.__version__", "99.0", raising=False)
    assert main(cohort.arguments(out, "--shard", "2/2")) == 0
    assert main(["merge", str(out)]) == 2
    assert "different versions" in capsys.readouterr().err


def test_parts_that_shared_out_other_patients_are_refused(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--shard", "1/2")) == 0
    manifest = cohort.data / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("P1,", "P9,"))
    shutil.copytree(cohort.masks / "P1", cohort.masks / "P9")
    assert main(cohort.arguments(out, "--shard", "2/2")) == 0
    assert main(["merge", str(out)]) == 2
    assert "found different patients" in capsys.readouterr().err
    assert main(cohort.arguments(out, "--shard", "1/2")) == 0
    assert main(["merge", str(out)]) == 0
    assert patients_in(out) == {"P2", "P3", "P9"}


def test_failures_of_the_parts_are_merged_too(cohort: SmallCohort, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spoil(cohort.image("P2", DATES[1]))
    with (cohort.data / "manifest.csv").open("a") as file:
        file.write(f"P4,2024-01-05,LATE,{cohort.image('P1', DATES[0]).relative_to(cohort.data)}\n")
    codes = [main(cohort.arguments(out, "--shard", f"{number}/3")) for number in (1, 2, 3)]
    assert codes == [1, 1, 0]
    assert main(["merge", str(out)]) == 1
    assert failures(out) == {"P2": "truncated", "P4": "unknown_contrast_phase"}
    assert patients_in(out) == {"P1", "P3"}


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "²/3"])
def test_a_malformed_part_is_refused(text: str, cohort: SmallCohort, tmp_path: Path) -> None:
    assert main(cohort.arguments(tmp_path / "out", "--shard", text)) == 2
    assert not (tmp_path / "out").exists()


def test_two_workers_give_the_same_bytes(cohort: SmallCohort, tmp_path: Path, reference: Path) -> None:
    out = tmp_path / "out"
    assert main(cohort.arguments(out, "--workers", "2")) == 0
    assert tables(out) == tables(reference)


def test_more_workers_than_patients_take_studies_side_by_side(
    cohort: SmallCohort, tmp_path: Path, reference: Path
) -> None:
    found = ingest(cohort.data, Settings().ingest)
    folder = RunFolder.create(tmp_path / "out")
    workplace = replace(here(), workers=2 * len(PATIENTS))
    outcomes = list(
        assess_cohort(
            found.patients,
            batch_settings(cohort),
            masks=cohort.masks,
            folder=folder,
            workplace=workplace,
            options=BatchOptions(),
        )
    )
    assert not [one for one in outcomes if isinstance(one, Failure)]
    kept = (folder.path / "resume" / "patients" / "P1.json").read_bytes()
    undisturbed = (reference / "resume" / "patients" / "P1.json").read_bytes()
    assert without_seconds(kept) == without_seconds(undisturbed)


def batch_settings(cohort: SmallCohort) -> Settings:
    from mrresponse import load_settings

    return load_settings(cohort.config)


def without_seconds(piece: bytes) -> dict[str, Any]:
    return {key: value for key, value in json.loads(piece.splitlines()[1]).items() if key != "seconds"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(
    seed: int, cohort: SmallCohort, tmp_path: Path, reference: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from mrresponse.cli import entry; entry()"]
    top = Path(__file__).resolve().parents[2]
    chance = random.Random(seed)
    finished: dict[str, int] = {}
    for _ in range(4):
        with subprocess.Popen(
            [*command, *cohort.arguments(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(top)},
        ) as run:
            with suppress(subprocess.TimeoutExpired):
                run.wait(timeout=chance.uniform(1.0, 8.0))
            run.kill()
        now = {path.name: path.stat().st_ino for path in (out / "resume" / "patients").glob("P*.json")}
        # what was finished at an earlier kill is the very same file
        assert finished.items() <= now.items()
        finished = now
    assert main(cohort.arguments(out)) == 0
    assert tables(out) == tables(reference)
    assert not set(examined(out)) & {Path(name).stem for name in finished}
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes(cohort: SmallCohort, tmp_path: Path, reference: Path) -> None:
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, resources={"GPU": 1}
    ) as cluster:
        address = cluster.scheduler_address
        assert main(cohort.arguments(out, "--dask", address, "--dask-resources", "GPU=1")) == 0
    assert tables(out) == tables(reference)


def test_processes_here_and_a_cluster_exclude_each_other(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--workers", "2", "--dask", "tcp://127.0.0.1:1")
    assert main(cohort.arguments(tmp_path / "out", *given)) == 2
    assert capsys.readouterr().err.startswith("error: --workers: given with --dask")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("gib", ["inf", "nan", "0"])
def test_memory_that_is_no_amount_is_a_usage_error(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], gib: str
) -> None:
    assert main(cohort.arguments(tmp_path / "out", "--memory", gib)) == 2
    assert "--memory" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_stops_everything(
    cohort: SmallCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    assert main(cohort.arguments(tmp_path / "out", "--dask", "nonsense://nowhere")) == 2
    assert "no scheduler answers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
