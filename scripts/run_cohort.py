"""Assess many patients from a script: the worked example of the Python API.

``run_cohort.py DATA OUT --device cuda`` does what ``mrresponse run`` does, step by step, and prints one
line per patient as it finishes. Copy it and change it: a filter of patients, other settings, what is done
with a result.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mrresponse import (
    ConfigError,
    Failure,
    ModelError,
    PatientResult,
    RunFolder,
    Settings,
    assess_cohort,
    ingest,
    load_settings,
)
from mrresponse.batch import choose_workplace
from mrresponse.edits import read_edits, with_edits
from mrresponse.run_record import run_info


def main(argv: Sequence[str] | None = None) -> int:
    """Assess the patients of a data folder; the exit codes are those of ``mrresponse run``."""
    chosen = _arguments(argv)
    try:
        return assess(
            chosen.data,
            chosen.out,
            _settings(chosen.config, chosen.device),
            masks=chosen.masks,
            workers=chosen.workers,
        )
    except (ConfigError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def assess(data: Path, out: Path, settings: Settings, *, masks: Path | None, workers: int) -> int:
    """Assess a data folder and write a run folder; return 0, or 1 where a patient failed.

    Parameters
    ----------
    masks
        Folder of given masks, used instead of the networks.
    workers
        Patients at the same time. Each worker loads the networks once; with CUDA they share out the devices.
    """
    # 0. Device and models are looked at first: what cannot be honoured stops the batch before it starts.
    info = run_info(settings, masks)

    # 1. Headers and tables only; a patient whose data cannot be used is in `found.failures`.
    found = ingest.ingest(data, settings.ingest)

    # 2. The straight line, patient by patient: an outcome is a result or a failure. What the folder holds already is
    #    not done again, so a batch that was stopped goes on here. Each result is forgotten once it has been printed.
    folder = RunFolder.create(out)
    workplace = choose_workplace(settings, masks, workers=workers)
    finished: list[str] = []
    with folder.locked():
        # What readers corrected in the folder comes first; edits that fit no patient are failures of their own.
        edits = read_edits(out)
        for note in edits.notes:
            print(f"note: {note}", file=sys.stderr)
        patients, unedited = with_edits(found.patients, edits, folder.earlier_tracks())
        failures = [*found.failures, *unedited]
        folder.begin(info)
        for outcome in assess_cohort(patients, settings, masks=masks, folder=folder, workplace=workplace):
            print(summary(outcome), flush=True)
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                finished.append(outcome.patient.patient_id)

        # 3. Tables, from what is finished; pictures and pages were written with each patient.
        folder.finish(finished, failures, info)
    print(f"{len(finished)} patients assessed, {len(failures)} failed; results in {out}")
    return 1 if failures else 0


def summary(outcome: PatientResult | Failure) -> str:
    """Describe an outcome in one line: best responses by treatment phase and criterion, or what failed."""
    if isinstance(outcome, Failure):
        return f"{outcome.patient_id}: failed, {outcome.message}"
    best = [
        f"{row.treatment_phase} {row.criterion} {row.best_overall_response or 'none'}"
        for row in outcome.response.summaries
        if row.basis == "overall"
    ]
    return f"{outcome.patient.patient_id}: {'; '.join(best)} ({sum(outcome.seconds.values()):.0f} s)"


def _settings(config: Path | None, device: str | None) -> Settings:
    settings = load_settings(config)
    if device is None:
        return settings
    return replace(settings, segment=replace(settings.segment, device=device))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("out", type=Path, help="run folder to write")
    parser.add_argument("--config", type=Path, help="YAML settings")
    parser.add_argument("--masks", type=Path, help="given masks instead of the networks")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=1, help="patients at the same time")
    return parser.parse_args(argv)


# Workers are fresh processes that import this file: without this guard each would start a batch of its own.
if __name__ == "__main__":
    sys.exit(main())
