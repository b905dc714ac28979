"""The run folder: the only place that knows its files' names.

Tables are put together from finished patients in the order of their names, one patient in memory at a time, so a table
does not depend on who finished first, nor on how many there are.
"""

import hashlib
import json
import logging
import os
import platform
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from mrresponse import __version__
from mrresponse.config import Settings, as_mapping, settings_from
from mrresponse.corrections import correct_measurements, is_of_images, joined_tracks
from mrresponse.domain import (
    AgreementVisit,
    Assessment,
    AuditRow,
    ExaminedStudy,
    Failure,
    Flag,
    LabelMap,
    LesionTrack,
    MarkerSummary,
    Measurement,
    Outcome,
    Patient,
    PatientResult,
    PhaseSummary,
    PreparedStudy,
    RegistrationRecord,
    ResponseResult,
    RoleRecord,
    TreatmentPhase,
)
from mrresponse.edits import read_edits, with_edits
from mrresponse.errors import ConfigError, DataError
from mrresponse.files import BusyError, locked, opened_atomically, remove_parts, write_atomically
from mrresponse.ingest.inputs import UNNAMED, as_failure
from mrresponse.journal import Entry, append, entry
from mrresponse.report.run import source_file, source_folder
from mrresponse.respond.settings import DayCount
from mrresponse.resume import ResumeFolder, StoredResults
from mrresponse.run_record import RunInfo, run_record
from mrresponse.run_rows import (
    TABLES_OF_EDITED,
    TABLES_OF_IMAGES,
    TABLES_OF_RESPONSES,
    UNEDITED,
    FailureRow,
    PatientTable,
    Row,
    TrackRow,
    by_patient,
    failure_of_row,
    failure_row,
    table_types,
    tracks_of,
    without_edits,
)
from mrresponse.tables import Table, format_rows, lines_of, read_rows, write_rows

if TYPE_CHECKING:
    from mrresponse.cohort import CohortFigure
    from mrresponse.report import PatientSummary
    from mrresponse.respond import RespondSettings

_MASKS = ("liver", "lesions", "viable")
# Each is a choice on the cohort's page and adds to its size.
_MOST_GROUPS = 12
_LEFT_OUT_TRACKS = "private/tracks_of_failed.csv"
_REPLACED = "private/replaced"
_WRITTEN = "private/tables.json"
_WRITTEN_MASKS = "private/masks"
# Where a correction of what a table says is read; there is no other place but the folder of edits for the rest.
_BELONGS = {
    **dict.fromkeys(
        ("patients.csv", "treatments.csv", "findings.csv", "markers.csv"), "the same table of the data folder"
    ),
    **dict.fromkeys(("measurements.csv", "lesion_table.csv"), "edits/measurements.csv"),
    **dict.fromkeys(("assessments.csv", "phases.csv"), "edits/overrides.csv"),
    **dict.fromkeys(("tracks.csv", "roles.csv"), "edits/lesions.csv"),
}
_RUN_AGAIN = " (when this is mended, `mrresponse run` takes the patient up again)"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """One run's results on disk."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make an empty run folder, or take one that an earlier run left.

        Raises
        ------
        ConfigError
            The path is a file, or a folder that holds something else.
        """
        if path.exists() and not path.is_dir():
            raise ConfigError("--out: a file is in the way, expected a folder")
        if path.is_dir() and any(path.iterdir()) and not (path / "run.json").is_file():
            raise ConfigError("--out: the folder holds something that is not a run; expected an empty folder")
        folder = cls(path=path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not (path / "run.json").is_file():
                folder._write_json("run.json", {"version": __version__, "finished": None})
            (path / "private").mkdir(mode=0o700, exist_ok=True)
            (path / "private").chmod(0o700)
        except OSError as error:
            raise ConfigError(f"--out: the folder cannot be made ({error.strerror})") from error
        return folder

    @property
    def resume(self) -> ResumeFolder:
        """What is finished in this folder."""
        return ResumeFolder(path=self.path / "resume", failures=self.path / "private" / "failures")

    @contextmanager
    def locked(self, part: str = "") -> Iterator[bool]:
        """Keep every other run out of this folder while the block runs.

        Parameters
        ----------
        part
            Name of one part of a run that is divided: the other parts are let in.

        Yields
        ------
        bool
            False where the file system cannot lock files, and nobody is kept out.

        Raises
        ------
        ConfigError
            Another run is at work here.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        owner = f"process {os.getpid()} on {platform.node()}, begun {now}"
        private = self.path / "private"
        try:
            with ExitStack() as stack:
                holds = stack.enter_context(locked(private / "run.lock", owner=owner, shared=bool(part)))
                if part:
                    stack.enter_context(locked(private / f"{part}.lock", owner=owner))
                else:
                    remove_parts(self.path)
                yield holds
        except BusyError as error:
            raise ConfigError(
                f"--out: another run is at work in this folder ({error}); expected one at a time"
            ) from None

    def begin(self, info: RunInfo) -> Path:
        """Say that a run has begun; give the file that its log goes to."""
        self._write_json("run.json", run_record(info) | {"finished": None})
        # one process can begin two runs within a second
        begun = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        return self.path / "logs" / f"run-{begun}-{os.getpid()}.jsonl"

    def earlier_tracks(self) -> tuple[LesionTrack, ...]:
        """Read the lesions through time by which edits name lesions: of the last run that assessed each patient."""
        return tuple(track for mine in self._earlier_track_rows().values() for track in tracks_of(mine))

    def _earlier_track_rows(self) -> dict[str, list[TrackRow]]:
        left_out = by_patient(self._read_rows(_LEFT_OUT_TRACKS, TrackRow))
        return left_out | by_patient(self._read_rows("tracks.csv", TrackRow))

    def edited_masks(self, patient_id: str) -> tuple[Path, ...]:
        """Return the masks that readers corrected of a patient."""
        # not rglob: it passes over folders that are links
        return tuple(sorted((self.path / "edits" / "masks" / patient_id).glob("*/*.nii.gz")))

    def keep_masks(self, examined: ExaminedStudy, viable: LabelMap | None) -> None:
        """Write the liver, lesion and viable masks of a study on the native grid of its reference phase.

        A mask that there is not this time is taken away where an earlier run left one.
        """
        from mrresponse.geometry import canonical_grid, paste, to_grid_order
        from mrresponse.nifti import write_label_map

        prepared = examined.prepared
        study = prepared.study
        masks = {"liver": prepared.liver}
        if examined.lesion_map.not_assessable is None:
            masks["lesions"] = examined.lesion_map.labels
            if viable is not None:
                masks["viable"] = viable
        place = self.masks / study.patient_id / study.study_date.isoformat()
        with self._masks_written_anew(place):
            for name, mask in masks.items():
                full = paste(mask, prepared.crop_start, canonical_grid(prepared.native_grid))
                native = to_grid_order(full, prepared.native_grid)
                voxels = native.voxels.astype(np.uint16)
                write_label_map(place / f"{name}.nii.gz", LabelMap(voxels=voxels, grid=native.grid))
            _remove_masks(place, set(_MASKS) - masks.keys())
        self._keep_source(prepared)

    def drop_other_studies(self, patient: Patient) -> None:
        """Take away what an earlier run kept of studies that the patient does not have any more.

        These are masks, and where source images lie; pictures go when those of now are written.
        """
        dates = {study.study_date.isoformat() for study in patient.studies}
        for place in (self.masks / patient.patient_id).glob("*"):
            if place.is_dir() and place.name not in dates:
                with self._masks_written_anew(place):
                    _remove_masks(place, _MASKS)
                _remove_empty(place)
        for file in source_folder(self.path, patient.patient_id).glob("*.json"):
            if file.stem not in dates:
                file.unlink()

    def _drop_patients_beside(self, finished: Iterable[str], failures: Sequence[Failure]) -> None:
        """Take away what earlier runs kept of patients that the data folder does not have any more.

        One that fails keeps it. Where a failure names nobody, anybody may have failed, and nothing goes.
        """
        here = {*finished, *(one.patient_id for one in failures if one.code != "unknown_patient")}
        if UNNAMED in here:
            return
        for name in self.resume.patient_ids() - here:
            # first: rows without their masks would count as finished
            self.resume.drop_patient(name)
            self.drop_other_studies(Patient(patient_id=name))
            self._drop_pictures_and_page(name)
            for place in (
                self.masks / name,
                self.path / _WRITTEN_MASKS / name,
                source_folder(self.path, name),
            ):
                _remove_empty(place)

    def _drop_pictures_and_page(self, patient_id: str) -> None:
        from mrresponse.report.names import file_stem
        from mrresponse.report.snapshots import write_snapshots

        write_snapshots(self.path / "snapshots", patient_id, ())
        _remove_empty(self.path / "snapshots" / file_stem(patient_id))
        (self.pages / f"{file_stem(patient_id)}.html").unlink(missing_ok=True)

    def _keep_source(self, prepared: PreparedStudy) -> None:
        """Write down where the images of the reference phase lie, for DICOM objects that refer to them.

        Images that are no DICOM have no such place, nor keep one of an earlier run.
        """
        study = prepared.study
        file = source_file(self.path, study.patient_id, study.study_date)
        reference = prepared.reference_series
        if reference.files:
            content = {
                "files": [str(file.absolute()) for file in reference.files],
                "frames": list(reference.frames),
            }
            write_atomically(file, json.dumps(content).encode(), mode=0o600)
        else:
            file.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Take a folder that holds at least a table of measurements.

        Raises
        ------
        ConfigError
            There is no such folder or no such table in it.
        """
        if not (path / "measurements.csv").is_file():
            if (path / "run.json").is_file():
                raise ConfigError(
                    f"DIR: no measurements.csv in '{path.name}', expected a finished run: 'mrresponse run' into "
                    "this folder goes on with it"
                )
            raise ConfigError(
                f"DIR: no measurements.csv in '{path.name}', expected a run folder or typed tables"
            )
        return cls(path=path)

    @property
    def pages(self) -> Path:
        """Folder of the pages."""
        return self.path / "report"

    @property
    def masks(self) -> Path:
        """Folder of the masks."""
        return self.path / "masks"

    def keep_snapshots(self, result: PatientResult) -> None:
        """Write a patient's pictures in place of those of an earlier run."""
        from mrresponse.report.snapshots import write_snapshots

        write_snapshots(self.path / "snapshots", result.patient.patient_id, result.snapshots)

    def keep_page(self, result: PatientResult) -> None:
        """Write a patient's page; lesions that a reader says are one are one there."""
        from mrresponse.report import write_report

        write_report(replace(result, tracks=joined_tracks(result.tracks)), self.pages)

    def with_snapshots(self, result: PatientResult) -> PatientResult:
        """Return a result with the pictures that are here."""
        from mrresponse.report.snapshots import read_snapshots

        return replace(result, snapshots=read_snapshots(self.path / "snapshots", result.patient.patient_id))

    def finish(
        self, finished: Collection[str], failures: Sequence[Failure], info: RunInfo
    ) -> Sequence[PatientResult]:
        """Write every table of a run whose patients are kept, and the list of them; return the patients, sorted.

        What earlier runs kept of anybody else goes. The results are read from disk one by one, each time they are asked
        for.
        """
        results = StoredResults(self.resume, sorted(finished))
        self._keep_tracks_of_others(frozenset(finished))
        self.write_failures(failures)
        summaries, seconds = self._write_tables(
            results, (*TABLES_OF_IMAGES, *TABLES_OF_RESPONSES), info.settings.respond
        )
        self._write_lists(results, summaries, info)
        self._drop_patients_beside(finished, failures)
        self._write_json("run.json", run_record(replace(info, seconds=seconds)))
        return results

    def _keep_tracks_of_others(self, finished: frozenset[str]) -> None:
        """Keep the lesions of patients that fail this time: edits name them when the patients are assessed again."""
        others = [
            row for name, rows in self._earlier_track_rows().items() if name not in finished for row in rows
        ]
        if others or (self.path / _LEFT_OUT_TRACKS).is_file():
            self._write_rows(_LEFT_OUT_TRACKS, others, TrackRow)

    def write_response_failures(
        self, failures: Sequence[Failure], assessed: Collection[str]
    ) -> Sequence[Failure]:
        """Put what failed in the numbers half in place of what failed there before; return what stands there now.

        Failed images stay too. Patients that have no rows in the tables since they failed in a run go on failing: only
        a run takes them up again.
        """
        now = {*assessed, *(one.patient_id for one in failures)}
        before = [failure_of_row(row) for row in self._read_rows("failures.csv", FailureRow)]
        waiting = [
            replace(one, message=one.message.removesuffix(_RUN_AGAIN) + _RUN_AGAIN)
            for one in before
            if one.step != "images"
            and one.patient_id not in now
            and self.resume.keys(one.patient_id) is not None
        ]
        self.write_failures([*(one for one in before if one.step == "images"), *waiting, *failures])
        return (*waiting, *failures)

    def write_failures(self, failures: Sequence[Failure]) -> None:
        """Write the table of failed patients, and where their files lie under ``private/``."""
        ordered = sorted(failures, key=lambda one: (one.patient_id, one.code, one.series or ""))
        with self._written_anew("failures.csv"):
            self._write_rows("failures.csv", map(failure_row, ordered), FailureRow)
        lines = [f"{one.patient_id}\t{one.code}\t{one.path or ''}\n" for one in ordered]
        write_atomically(
            self.path / "private" / "failure_paths.tsv",
            "".join(lines).encode("utf-8", "surrogateescape"),
            mode=0o600,
        )

    def write_responses(self, results: Sequence[PatientResult], info: RunInfo) -> None:
        """Write what follows from the numbers: responses, cohort, lesion table, flags and pages.

        Measurements are written again in a run folder, where edits may have changed them; a typed table never is.
        """
        is_run = self._has_images()
        tables = (*(TABLES_OF_EDITED if is_run else ()), *TABLES_OF_RESPONSES)
        kept = self._lines_of_others({result.patient.patient_id for result in results}) if is_run else {}
        summaries, _ = self._write_tables(results, tables, info.settings.respond, kept=kept)
        for result in results:
            self.keep_page(result)
        self._write_lists(results, summaries, info)
        record = run_record(info)
        if self._is_interrupted():
            # its masks may be others than the tables of before, which were assessed here, rest on
            record["finished"] = None
        self._write_json("run.json", record)

    def _has_images(self) -> bool:
        """Tell whether the tables are those of a run of images, and not typed ones."""
        return (self.path / "tracks.csv").is_file()

    def _is_interrupted(self) -> bool:
        """Tell whether a run of images was begun here and not finished since; typed tables never are."""
        return (self.path / "run.json").is_file() and self.record().get("finished", "") is None

    def _lines_of_others(self, assessed: Collection[str]) -> Mapping[str, str]:
        """Return what was seen in the images of patients that cannot be assessed now, by table: it is still true."""
        lines = {
            table.name: lines_of(self.path / table.name, table.row_type, lambda name: name not in assessed)
            for table in TABLES_OF_EDITED
            if (self.path / table.name).is_file()
        }
        flags = self._read_rows("flags.csv", Flag)
        audit = self._read_rows("audit.csv", AuditRow)
        others = [row for row in flags if row.patient_id not in assessed and row.step == "images"]
        lines["flags.csv"] = format_rows(others, Flag, header=False)
        changed = [row for row in audit if row.patient_id not in assessed and is_of_images(row)]
        lines["audit.csv"] = format_rows(changed, AuditRow, header=False)
        return lines

    def write_pages(self, results: Sequence[PatientResult], info: RunInfo) -> None:
        """Write the lesion table and the pages; the index also names the patients that failed."""
        from mrresponse.report import summarise

        for result in results:
            self.keep_page(result)
        self._write_lists(results, [summarise(result) for result in results], info)

    def note(self, outcome: Outcome, entries: Sequence[Entry], log: Path) -> None:
        """Add to the log of the run what a patient gave; a failed patient gets a log of its own too."""
        if isinstance(outcome, Failure):
            patient_id, code = outcome.patient_id, outcome.code
            last = entry(f"failed: {code}: {outcome.message}", level="ERROR", patient_id=patient_id)
            own = self.path / "logs" / "failed" / f"{patient_id}.jsonl"
            own.unlink(missing_ok=True)
            append(own, [*entries, last])
            private = "\n".join(one.private for one in entries if one.private)
            if private:
                write_atomically(
                    self.path / "private" / "errors" / f"{patient_id}.txt", private.encode(), mode=0o600
                )
        else:
            patient_id = outcome.patient.patient_id
            (self.path / "logs" / "failed" / f"{patient_id}.jsonl").unlink(missing_ok=True)
            last = entry(f"finished in {sum(outcome.seconds.values()):.1f} s", patient_id=patient_id)
        append(log, [*entries, last])

    def read(self) -> tuple[tuple[PatientResult, ...], tuple[Failure, ...]]:
        """Read the rows and pictures of a run back: one result per patient, and the rows that cannot be used.

        The measurements of a run have readers' numbers in them; into typed tables, which are never written, they are
        worked here.

        Raises
        ------
        DataError
            A table is missing or holds a value that cannot be read.
        """
        from mrresponse.ingest.numbers import read_numbers
        from mrresponse.report.snapshots import read_snapshots

        tracks = by_patient(self._read_rows("tracks.csv", TrackRow))
        assessments = by_patient(self._read_rows("assessments.csv", Assessment))
        summaries = by_patient(self._read_rows("phases.csv", PhaseSummary))
        roles = by_patient(self._read_rows("roles.csv", RoleRecord))
        phases = by_patient(self._read_rows("treatment_phases.csv", TreatmentPhase))
        markers = by_patient(self._read_rows("marker_responses.csv", MarkerSummary))
        flags = by_patient(self._read_rows("flags.csv", Flag))
        audit = by_patient(self._read_rows("audit.csv", AuditRow))
        registrations = by_patient(self._read_rows("registrations.csv", RegistrationRecord))
        unedited = by_patient(self._read_rows(UNEDITED, Measurement))
        results = []
        numbers = read_numbers(self.path)
        edits = read_edits(self.path)
        for note in (*numbers.notes, *edits.notes):
            _log.warning("%s", note)
        patients, failures = with_edits([row[0] for row in numbers.patients], edits)
        edited = {patient.patient_id: patient for patient in patients}
        settings = None if self._has_images() else self.info().settings.measure
        for given, studies, measurements in numbers.patients:
            key = given.patient_id
            patient = edited.get(key)
            if patient is None:
                continue
            before = without_edits(measurements, unedited[key])
            if settings is not None:
                try:
                    measurements, _ = correct_measurements(measurements, patient.edits, settings=settings)
                except DataError as error:
                    failures = (*failures, replace(as_failure(error, patient_id=key), step="response"))
                    continue
            results.append(
                PatientResult(
                    patient=patient,
                    studies=studies,
                    tracks=tracks_of(tracks[key]),
                    measurements=measurements,
                    unedited=before,
                    snapshots=read_snapshots(self.path / "snapshots", key),
                    response=ResponseResult(
                        phases=tuple(phases[key]),
                        roles=tuple(roles[key]),
                        assessments=tuple(assessments[key]),
                        summaries=tuple(summaries[key]),
                        markers=tuple(markers[key]),
                        flags=tuple(flag for flag in flags[key] if flag.step == "response"),
                        audit=tuple(row for row in audit[key] if not is_of_images(row)),
                    ),
                    flags=tuple(flag for flag in flags[key] if flag.step == "images"),
                    registrations=tuple(registrations[key]),
                    audit=tuple(row for row in audit[key] if is_of_images(row)),
                )
            )
        of_tables = tuple(replace(one, step="response") for one in numbers.failures)
        return tuple(results), (*of_tables, *failures)

    def tables(self) -> tuple[Table, ...]:
        """Read every table that the folder has, as typed rows.

        Raises
        ------
        DataError
            A table holds a value that cannot be read.
        """
        return tuple(
            Table(
                name=name.removesuffix(".csv"), row_type=row_type, rows=read_rows(self.path / name, row_type)
            )
            for name, row_type in table_types().items()
            if (self.path / name).is_file()
        )

    def record(self) -> Mapping[str, Any]:
        """Return ``run.json`` as it is; where there is none, the settings and version of now."""
        info = self.info()
        file = self.path / "run.json"
        if file.is_file():
            kept: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return kept
        return {"version": __version__, "settings": as_mapping(info.settings)}

    def info(self) -> RunInfo:
        """Read what produced this folder; the defaults where it holds only typed tables.

        Raises
        ------
        ConfigError
            ``run.json`` is damaged or of settings that this version does not know.
        """
        file = self.path / "run.json"
        if not file.is_file():
            return RunInfo(settings=Settings())
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            return RunInfo(
                settings=settings_from(record.get("settings", {})),
                segmenter=str(record.get("segmenter", "")),
                device=str(record.get("device", "")),
                model_digests=record.get("models"),
                seconds=record.get("seconds_per_step"),
            )
        except (ValueError, AttributeError) as error:
            raise ConfigError("run.json: damaged, expected the record of a run") from error

    def _write_tables(
        self,
        results: Iterable[PatientResult],
        tables: Sequence[PatientTable],
        settings: "RespondSettings",
        *,
        kept: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[list["PatientSummary"], dict[str, float]]:
        """Write tables side by side, and the cohort; return the lines of the list, and the seconds per step.

        ``kept`` are the lines that end a table, by its name: of patients that are not among the results.
        """
        from mrresponse.report import summarise
        from mrresponse.respond import (
            AgreementRow,
            CohortRow,
            agreement_rows,
            agreement_visits,
            cohort_rows,
            with_settled,
        )

        lines: list[PatientSummary] = []
        phases: list[PhaseSummary] = []
        pairs: list[AgreementVisit] = []
        seconds: dict[str, float] = defaultdict(float)
        with self._written_anew(*(table.name for table in tables)), ExitStack() as stack:
            files = [stack.enter_context(opened_atomically(self.path / table.name)) for table in tables]
            for table, file in zip(tables, files, strict=True):
                file.write(format_rows((), table.row_type).encode())
            for result in results:
                for table, file in zip(tables, files, strict=True):
                    rows = format_rows(table.rows(result), table.row_type, header=False)
                    file.write(rows.encode("utf-8"))
                lines.append(summarise(result))
                phases.extend(result.response.summaries)
                pairs.extend(agreement_visits(result.response.assessments))
                for step, passed in result.seconds.items():
                    seconds[step] += passed
            for table, file in zip(tables, files, strict=True):
                file.write(kept.get(table.name, "").encode("utf-8"))
        agreement = agreement_rows(pairs, phases)
        endpoints = cohort_rows(with_settled(phases), level=settings.interval_level)
        with self._written_anew("agreement.csv", "cohort.csv"):
            self._write_rows("agreement.csv", agreement, AgreementRow)
            self._write_rows("cohort.csv", endpoints, CohortRow)
        self._write_json("cohort.json", [as_mapping(row) for row in endpoints])
        return lines, dict(seconds)

    def _write_lists(
        self, results: Iterable[PatientResult], lines: Sequence["PatientSummary"], info: RunInfo
    ) -> None:
        """Write the lesion table and the cohort's page."""
        from mrresponse.report import lesion_table, write_index, write_lesion_table

        rows = (row for result in results for row in lesion_table([result]))
        with self._written_anew("lesion_table.csv"):
            write_lesion_table(self.path / "lesion_table.csv", rows)
        failures = [failure_of_row(row) for row in self._read_rows("failures.csv", FailureRow)]
        settings = info.settings.respond
        figures = figures_of(lines, level=settings.interval_level, day_count=settings.day_count)
        write_index(lines, self.pages, failures=failures, figures=figures)

    @contextmanager
    def _written_anew(self, *names: str) -> Iterator[None]:
        """Keep what somebody typed into tables since they were written here, and say so, while they are written anew.

        Of a table that this version has not written yet nobody can tell.
        """
        written = _digests(self.path / _WRITTEN)
        for name in names:
            self._keep_changed(name, written, _BELONGS.get(name, "the folder edits"))
        yield
        now = {**written, **{name: _digest(self.path / name) for name in names}}
        write_atomically(self.path / _WRITTEN, json.dumps(now, indent=1).encode(), mode=0o600)

    @contextmanager
    def _masks_written_anew(self, place: Path) -> Iterator[None]:
        """Do the same for the masks of one study, whose folder is ``place``, while they are written or taken away."""
        record = self.path / _WRITTEN_MASKS / place.parent.name / f"{place.name}.json"
        written = _digests(record)
        files = [place / f"{name}.nii.gz" for name in _MASKS]
        names = {file.relative_to(self.path).as_posix(): file for file in files}
        for name in names:
            self._keep_changed(name, written, f"edits/{name}")
        yield
        now = {name: _digest(file) for name, file in names.items() if file.is_file()}
        if now:
            write_atomically(record, json.dumps(now, indent=1).encode(), mode=0o600)
        else:
            record.unlink(missing_ok=True)

    def _keep_changed(self, name: str, written: Mapping[str, str], belongs: str) -> None:
        """Keep a file that somebody changed since it was written here, and say where a change is read."""
        file = self.path / name
        if name not in written or not file.is_file() or _digest(file) == written[name]:
            return
        stem, dot, suffix = file.name.partition(".")
        place = PurePosixPath(_REPLACED, name).parent
        copy = f"{place}/{stem}_{datetime.now(UTC):%Y%m%dT%H%M%S.%f}{dot}{suffix}"
        write_atomically(self.path / copy, file.read_bytes(), mode=0o600)
        _log.warning(
            "%s was changed by hand and is written anew; it is kept as %s, and what is to stay belongs into %s",
            name,
            copy,
            belongs,
        )

    def _write_rows(self, name: str, rows: Iterable[object], row_type: type) -> None:
        write_rows(self.path / name, rows, row_type)

    def _read_rows(self, name: str, row_type: type[Row]) -> tuple[Row, ...]:
        file = self.path / name
        return read_rows(file, row_type) if file.is_file() else ()

    def _write_json(self, name: str, content: object) -> None:
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        write_atomically(self.path / name, f"{text}\n".encode())


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _digests(record: Path) -> dict[str, str]:
    """Return the SHA-256 of each file as it was written here, by its name; empty where nothing is recorded."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _remove_masks(place: Path, names: Collection[str]) -> None:
    for name in names:
        (place / f"{name}.nii.gz").unlink(missing_ok=True)


def _remove_empty(place: Path) -> None:
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def figures_of(
    lines: Sequence["PatientSummary"], *, level: float, day_count: DayCount = DayCount.DIFFERENCE
) -> "tuple[CohortFigure, ...]":
    """Return what the figures of a cohort show, for its largest groups: of the patients that ``cohort.csv`` counts.

    ``level`` and ``day_count`` are the settings ``interval_level`` and ``day_count`` of the run.
    """
    from mrresponse.respond import cohort_figures, with_settled, with_settled_assessments

    summaries = [row for line in lines for row in line.phases]
    assessments = [row for line in lines for row in line.assessments]
    return cohort_figures(
        with_settled(summaries),
        with_settled_assessments(summaries, assessments),
        most=_MOST_GROUPS,
        level=level,
        day_count=day_count,
    )
