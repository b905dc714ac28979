"""Many patients: assessed wherever there is room, each finished for good, and none at the cost of another.

The unit of work is a patient. What goes out to a worker is its headers; a worker reads the images, writes the masks,
pictures, page and rows of the patient into the run folder, and gives back the outcome. `assess_cohort` forgets it
once it has been yielded, so a cohort of any size takes the memory of the patients that are at work.
"""

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrresponse.config import Settings
from mrresponse.domain import ExaminedStudy, Failure, Flag, LabelMap, Outcome, Patient, PatientResult, Study
from mrresponse.errors import ConfigError, DataError, MrresponseError
from mrresponse.execute import Prepare, Workplace, cores, dask, here, pool, run_on
from mrresponse.journal import Entry, collected, log_fault
from mrresponse.memory import available_bytes, check_memory
from mrresponse.numbers import respond_again
from mrresponse.pipeline import measure_patient, segment_patient
from mrresponse.remember import remembered
from mrresponse.resume import Keys, effective, patient_keys, study_key
from mrresponse.run_record import model_identity
from mrresponse.segment import Segmenter, SegmentSettings, make_segmenter
from mrresponse.segment.precomputed import masks_root
from mrresponse.store import RunFolder

if TYPE_CHECKING:
    from multiprocessing.synchronize import Lock

_log = logging.getLogger(__name__)

# Of the memory that is free, this much is handed out; the rest is for what an estimate cannot know.
_MEMORY_SHARE = 0.9
# Windows of the network, as a share of its model's, after the graphics memory was too small for the share before.
_SMALLER_WINDOWS = (0.5, 0.25)

_CODES_OF_ERRNO = {
    errno.ENOSPC: ("disk_full", "no space left on the disk of the run folder, expected room for its results"),
    errno.EDQUOT: ("disk_full", "the disk quota is used up, expected room for the results"),
    errno.EROFS: ("not_writable", "the run folder is read-only, expected one that can be written to"),
    errno.EACCES: (
        "not_writable",
        "no permission to write to the run folder, expected one that can be written to",
    ),
    errno.EPERM: (
        "not_writable",
        "no permission to write to the run folder, expected one that can be written to",
    ),
    errno.EEXIST: ("not_writable", "a file is in the way of a folder of the run, expected none"),
    errno.ENOTDIR: ("not_writable", "a file is in the way of a folder of the run, expected none"),
    errno.EISDIR: ("not_writable", "a folder is in the way of a file of the run, expected none"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a batch goes about it; none of this changes a result.

    Parameters
    ----------
    retry_failed
        Try the patients again that failed before, though nothing about them has changed.
    keep_studies
        Keep the aligned images of finished patients (about 40 MB per study), so that a changed setting of tracking or
        measuring aligns nothing again.
    memory_bytes
        Memory of this machine that may be used; by default most of what is free.
    masks_only
        Write masks and measure nothing.
    log
        File that the log of the run goes to.
    """

    retry_failed: bool = False
    keep_studies: bool = False
    memory_bytes: int | None = None
    masks_only: bool = False
    log: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What every patient of a batch has in common; goes to the workers."""

    settings: Settings
    masks: Path | None
    folder: RunFolder | None
    model: str
    options: BatchOptions
    memory_bytes: int | None
    studies_at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What a worker gives back: the outcome, what was logged, and what a failure is kept under."""

    outcome: Outcome
    entries: tuple[Entry, ...] = ()
    keys: Keys | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _PatientKeep:
    """Keeps the examined studies of one batch, each under its key."""

    folder: RunFolder
    job: _Job

    def recall_study(self, study: Study) -> ExaminedStudy | None:
        return self.folder.resume.recall_study(study, self._key(study))

    def keep_study(self, examined: ExaminedStudy) -> None:
        self.folder.resume.keep_study(examined, self._key(examined.prepared.study))

    def keep_masks(self, examined: ExaminedStudy, viable: LabelMap | None) -> None:
        self.folder.keep_masks(examined, viable)

    def _key(self, study: Study) -> str:
        return study_key(study, self.job.settings, self.job.model, self.job.masks)


def assess_cohort(
    patients: Iterable[Patient],
    settings: Settings,
    *,
    masks: Path | None = None,
    folder: RunFolder | None = None,
    workplace: Workplace | None = None,
    options: BatchOptions | None = None,
) -> Iterator[Outcome]:
    """Assess every patient and yield the outcomes as they finish.

    Parameters
    ----------
    masks
        Folder of given liver and lesion masks; the networks are not used then.
    folder
        Run folder that results are kept in. What is finished in it is not done again; its tables are written by
        ``folder.finish``, when all are done.
    workplace
        Where the work is done: `mrresponse.execute.here`, ``pool(workers)`` or ``dask(address)``.

    Yields
    ------
    PatientResult or Failure
        A patient whose data cannot be used becomes a ``Failure`` and the others go on. With a run folder, a result
        that was finished before comes without its pictures.
    """
    place = workplace or here()
    waiting = list(patients)
    if place.workers != 1:
        # the longest first: a short one at the end leaves no worker idle for long
        waiting.sort(key=_series, reverse=True)
    chosen = options or BatchOptions()
    job = _Job(
        settings=_with_threads(settings, place.workers),
        masks=None if masks is None else masks_root(masks),
        folder=folder,
        model=model_identity(settings, masks) if folder is not None else "",
        options=chosen,
        memory_bytes=_share_of_memory(chosen.memory_bytes, place.workers),
        # workers that would have no patient of their own take studies
        studies_at_once=max(1, place.workers // max(1, len(waiting))),
    )
    for report in run_on(place, partial(_work, job=job), waiting, lost=partial(_lost, job=job)):
        yield _noted(report, job)


def choose_workplace(
    settings: Settings,
    masks: Path | None,
    *,
    workers: int = 1,
    address: str | None = None,
    resources: str | None = None,
) -> Workplace:
    """Return where the work is to be done, as the command line says it.

    Parameters
    ----------
    workers
        Processes on this machine. With CUDA they share out its devices; the workers of one device run their networks
        in turn, while the others read, align and measure.
    address, resources
        Scheduler of a Dask cluster, and what a patient takes of its workers' resources, as ``GPU=1``.

    Raises
    ------
    ConfigError
        The cluster does not answer, an option is malformed, or two exclude each other.
    """
    if address is not None:
        if workers != 1:
            raise ConfigError("--workers: given with --dask, whose cluster has its own, expected one of them")
        return dask(address, resources=_parsed_resources(resources), load=__name__)
    if resources is not None:
        raise ConfigError("--dask-resources: given without --dask, expected both")
    if workers == 1:
        return here()
    devices = () if masks is not None else _cuda_devices(settings.segment.device)
    return pool(workers, prepare=partial(_sharing, devices), load=__name__)


def _sharing(devices: tuple[str, ...]) -> Prepare:
    """Return what gives the workers of one pool their devices, and their turns at them."""
    turns = tuple(get_context("spawn").Lock() for _ in devices)
    return partial(use_device, devices=devices, turns=turns)


def _series(patient: Patient) -> int:
    return sum(len(study.series) for study in patient.studies)


def failure_of(error: DataError, patient_id: str) -> Failure:
    """Return the row of ``failures.csv`` that a data error of one patient becomes."""
    return Failure(
        patient_id=error.patient_id or patient_id,
        study_date=error.study_date,
        series=error.series,
        code=error.code,
        message=error.message,
        path=error.path,
    )


def _work(patient: Patient, *, job: _Job) -> _Report:
    """Do one patient, in a worker."""
    keys = None
    with collected(patient.patient_id) as entries:
        try:
            if job.folder is None:
                (outcome,) = respond_again(
                    [_measured(patient, job)], job.settings.respond, job.settings.measure
                )
            else:
                keys = _keys(patient, job, job.folder)
                outcome = _finished_before(patient, keys, job, job.folder) or _assessed_and_kept(
                    patient, keys, job, job.folder
                )
        except DataError as error:
            outcome = failure_of(error, patient.patient_id)
        except MrresponseError as error:
            outcome = Failure(patient_id=patient.patient_id, code="model", message=str(error))
        # the one broad catch: an unforeseen fault of one patient must not cost the others their results
        except Exception as error:
            outcome = _failure_of_machine(error, patient.patient_id)
    return _Report(outcome=outcome, entries=tuple(entries), keys=keys)


def _finished_before(patient: Patient, keys: Keys, job: _Job, folder: RunFolder) -> Outcome | None:
    """Return what is finished already, with the responses done again where only they have changed."""
    if job.options.masks_only:
        return None
    if not job.options.retry_failed:
        failure = folder.resume.recall_failure(patient.patient_id, keys)
        if failure is not None:
            return failure
    kept = folder.resume.keys(patient.patient_id)
    if kept is None or kept.images != keys.images:
        return None
    result = folder.resume.recall_patient(patient.patient_id)
    if result is None:
        return None
    result = replace(result, seconds={})
    if kept == keys:
        _log.info("finished before")
        return result
    _log.info("responses done again from the measurements that are there")
    return _responded_and_kept(replace(folder.with_snapshots(result), patient=patient), keys, job, folder)


def _assessed_and_kept(patient: Patient, keys: Keys, job: _Job, folder: RunFolder) -> Outcome:
    # its masks and pictures are about to be those of other settings: what was finished before no longer fits them
    folder.resume.forget_patient(patient.patient_id)
    measured = _measured(patient, job)
    folder.drop_other_studies(patient)
    if job.options.masks_only:
        return measured
    folder.keep_snapshots(measured)
    outcome = _responded_and_kept(measured, keys, job, folder)
    if not job.options.keep_studies:
        folder.resume.drop_studies(patient.patient_id)
    return outcome


def _responded_and_kept(measured: PatientResult, keys: Keys, job: _Job, folder: RunFolder) -> Outcome:
    (outcome,) = respond_again([measured], job.settings.respond, job.settings.measure)
    if isinstance(outcome, Failure):
        # the measurements stand; a corrected table needs no image again
        folder.resume.keep_patient(measured, replace(keys, response=""))
        return outcome
    folder.keep_page(outcome)
    # last: once this file is there, all of the patient is
    folder.resume.keep_patient(outcome, keys)
    return outcome


def _measured(patient: Patient, job: _Job) -> PatientResult:
    """Measure a patient; where the graphics memory is too small, with smaller windows, then as the user allows."""
    check_memory(patient, job.memory_bytes or int(available_bytes() * _MEMORY_SHARE))
    try:
        return _measured_with(patient, job, job.settings.segment)
    except DataError as error:
        if error.code != "gpu_memory":
            raise
        refused = error
    for segment, words in _thriftier(job.settings.segment):
        _log.warning("the graphics memory is too small; %s", words)
        try:
            result = _measured_with(patient, job, segment)
        except DataError as error:
            if error.code != "gpu_memory":
                raise
            refused = error
        else:
            flag = Flag(
                patient_id=patient.patient_id,
                study_date=None,
                code="gpu_memory",
                message=f"the graphics memory was too small: {words}",
            )
            return replace(result, flags=(*result.flags, flag))
    raise refused


def _thriftier(settings: SegmentSettings) -> Iterator[tuple[SegmentSettings, str]]:
    for share in _SMALLER_WINDOWS:
        yield (
            replace(settings, window_share=settings.window_share * share),
            f"the networks ran with windows of {100 * share:.0f} %",
        )
    if settings.cpu_when_out_of_memory:
        yield replace(settings, device="cpu"), "the networks ran on the CPU"


def _measured_with(patient: Patient, job: _Job, segment: SegmentSettings) -> PatientResult:
    settings = replace(job.settings, segment=segment)
    segmenter = segmenter_of_this_process(segment, job.masks)
    keep = None
    if job.folder is not None:
        keep = _PatientKeep(folder=job.folder, job=replace(job, settings=settings))
        if job.masks is None:
            asked = f"{job.model} {effective(segment)}"
            own = remembered(segmenter, job.folder.resume.path / "networks", model=asked)
            # a liver that is given is read again: it may have been corrected
            segmenter = own if segment.liver_masks is None else replace(own, liver=segmenter.liver)
    if job.options.masks_only and keep is not None:
        return segment_patient(patient, segmenter, settings, keep=keep)
    return measure_patient(patient, segmenter, settings, keep=keep, studies_at_once=job.studies_at_once)


def _keys(patient: Patient, job: _Job, folder: RunFolder) -> Keys:
    return patient_keys(patient, job.settings, job.model, job.masks, folder.edited_masks(patient.patient_id))


def _lost(patient: Patient, *, job: _Job) -> _Report:
    """Say that a patient ended its worker, unless all of it was kept before the worker ended."""
    keys = None if job.folder is None else _keys(patient, job, job.folder)
    if (
        job.folder is not None
        and not job.options.masks_only
        and job.folder.resume.keys(patient.patient_id) == keys
    ):
        result = job.folder.resume.recall_patient(patient.patient_id)
        if result is not None:
            return _Report(outcome=replace(result, seconds={}), keys=keys)
    failure = Failure(
        patient_id=patient.patient_id,
        code="worker_killed",
        message="the process that worked on this patient was ended twice, expected it to live; "
        "most often the memory of the machine was used up (try fewer --workers)",
    )
    return _Report(outcome=failure, keys=keys)


def _failure_of_machine(error: Exception, patient_id: str) -> Failure:
    """Turn what is not the fault of the data into a row: disk, permission, memory, or a fault of the program."""
    if isinstance(error, MemoryError):
        message = "memory was used up, expected more; try fewer --workers"
        return Failure(patient_id=patient_id, code="out_of_memory", message=message)
    if isinstance(error, OSError) and error.errno in _CODES_OF_ERRNO:
        code, message = _CODES_OF_ERRNO[error.errno]
        log_fault(_log, code, error)
        return Failure(patient_id=patient_id, code=code, message=message)
    if isinstance(error, OSError):
        log_fault(_log, "storage", error)
        found = os.strerror(error.errno) if error.errno else "no answer"
        message = f"a disk or share did not answer as expected ({found}); try again with --retry-failed"
        return Failure(patient_id=patient_id, code="storage", message=message)
    log_fault(_log, f"unexpected {type(error).__name__}", error)
    message = f"unexpected {type(error).__name__}; please report it (details in the log)"
    return Failure(patient_id=patient_id, code="internal", message=message)


def _noted(report: _Report, job: _Job) -> Outcome:
    """Keep a failure and what was logged; a disk that takes neither costs a line on the terminal, not the batch."""
    outcome = report.outcome
    if job.folder is None:
        return outcome
    try:
        if isinstance(outcome, Failure) and report.keys is not None and not job.options.masks_only:
            job.folder.resume.keep_failure(outcome, report.keys)
        if job.options.log is not None:
            job.folder.note(outcome, report.entries, job.options.log)
    except OSError as error:
        _log.warning("the log cannot be written (%s)", error.strerror)
    return outcome


def _cuda_devices(name: str) -> tuple[str, ...]:
    from mrresponse.segment.network import cuda_devices

    return cuda_devices(name)


def _parsed_resources(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(amount) for name, _, amount in parts}
    except ValueError:
        raise ConfigError(f"--dask-resources: found '{text}', expected NAME=NUMBER, as GPU=1") from None


def _with_threads(settings: Settings, workers: int) -> Settings:
    """Share the processors among the workers, unless the user has said how."""
    if workers < 2 or settings.segment.threads:
        return settings
    threads = max(1, cores() // workers)
    return replace(settings, segment=replace(settings.segment, threads=threads))


def _share_of_memory(stated: int | None, workers: int) -> int | None:
    """Return what one worker may take; ``None`` on a cluster, where each machine looks for itself."""
    if stated is not None:
        return stated // max(1, workers)
    return int(available_bytes() * _MEMORY_SHARE) // workers if workers else None


@lru_cache(maxsize=4)
def segmenter_of_this_process(settings: SegmentSettings, masks: Path | None) -> Segmenter:
    """Load the networks once per process; on a machine with several devices each worker has its own."""
    chosen = settings if _device is None or settings.device == "cpu" else replace(settings, device=_device)
    segmenter = make_segmenter(chosen, masks=masks)
    return segmenter if _turn is None else _taking_turns(segmenter, _turn)


# What `use_device` says once per worker process.
_device: str | None = None
_turn: "Lock | None" = None


def use_device(number: int, devices: tuple[str, ...], turns: "tuple[Lock, ...]") -> None:
    """Give this worker process one of the devices, if there are any; its workers run their networks in turn."""
    global _device, _turn
    if devices:
        _device, _turn = devices[number % len(devices)], turns[number % len(devices)]


def _taking_turns(segmenter: Segmenter, turn: "Lock") -> Segmenter:
    def liver(*arguments: Any) -> Any:
        with turn:
            return segmenter.liver(*arguments)

    def lesions(*arguments: Any) -> Any:
        with turn:
            return segmenter.lesions(*arguments)

    return replace(segmenter, liver=liver, lesions=lesions)
