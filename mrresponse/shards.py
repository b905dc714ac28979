"""A run divided among jobs that know nothing of each other: ``--shard 3/10``, and ``merge`` when all are done.

All jobs are given the same data, settings and run folder. Each takes every tenth patient in the order of their names,
finishes them one by one in files of their own, and writes down under ``private/`` which ones it had. `merge` needs
neither the images nor the settings: it puts the tables together from what is finished.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mrresponse import __version__
from mrresponse.config import settings_digest
from mrresponse.domain import Failure, Patient
from mrresponse.errors import ConfigError
from mrresponse.files import write_atomically
from mrresponse.ingest import failed_patients
from mrresponse.resume import failure_from_json, failure_to_json
from mrresponse.run_record import RunInfo
from mrresponse.store import RunFolder

_OfPatient = TypeVar("_OfPatient", Patient, Failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The ``number``-th of ``count`` jobs, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``i/N``.

        Raises
        ------
        ConfigError
            Anything else, or an ``i`` that is not 1 to N.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"--shard: found '{text}', expected i/N with i from 1 to N, as 3/10")
        return cls(number=int(number), count=int(count))

    @property
    def name(self) -> str:
        """How files call it."""
        return f"shard-{self.number}-of-{self.count}"

    def ids(self, names: Sequence[str]) -> frozenset[str]:
        """Return the names of this job's patients among those of all."""
        return frozenset(names[self.number - 1 :: self.count])


def all_names(patients: Sequence[Patient], failures: Sequence[Failure]) -> tuple[str, ...]:
    """Return whom the jobs share out: those that failed on reading are dealt out with the others."""
    return tuple(sorted({one.patient_id for one in patients} | {one.patient_id for one in failures}))


def part_of(items: Sequence[_OfPatient], ids: frozenset[str]) -> tuple[_OfPatient, ...]:
    """Return what concerns these patients."""
    return tuple(item for item in items if item.patient_id in ids)


def keep_shard(
    folder: RunFolder,
    shard: Shard,
    names: Sequence[str],
    failures: Sequence[Failure],
    info: RunInfo,
    *,
    is_done: bool,
) -> None:
    """Write down what this job takes on, so that nothing is missed when the parts are put together.

    Parameters
    ----------
    names
        Everybody, as `all_names` gives them.
    failures
        Failures of this job's patients on reading the data folder; those of the work itself are kept by the work.
    is_done
        False before the work: what an earlier run finished under these names may be of other images or settings.
    """
    ids = shard.ids(names)
    content = {
        "number": shard.number,
        "count": shard.count,
        "version": __version__,
        "settings_id": settings_digest(info.settings),
        "segmenter": info.segmenter,
        "models": dict(info.model_digests or {}),
        "everybody": hashlib.sha256(json.dumps(list(names)).encode()).hexdigest(),
        "is_done": is_done,
        "patients": sorted(ids - failed_patients(failures)),
        "failures": [failure_to_json(one) for one in failures],
    }
    file = _notes_of_shards(folder) / f"{shard.name}.json"
    write_atomically(file, json.dumps(content, indent=1).encode(), mode=0o600)


def forget_shards(folder: RunFolder) -> None:
    """Let the parts of before count as not run: what is begun now changes what their patients are finished with."""
    for file in _notes_of_shards(folder).glob("shard-*.json"):
        file.unlink(missing_ok=True)


def _notes_of_shards(folder: RunFolder) -> Path:
    return folder.path / "private" / "shards"


def merge(folder: RunFolder) -> tuple[tuple[str, ...], tuple[Failure, ...]]:
    """Return the finished patients and the failures of all jobs.

    Raises
    ------
    ConfigError
        A job is missing or not done, had other settings or other patients to share out, or has patients that are not
        finished.
    """
    parts = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(_notes_of_shards(folder).glob("shard-*.json"))
    ]
    _check_complete(parts)
    if folder.record().get("settings_id") != parts[0]["settings_id"]:
        raise ConfigError(
            "merge: run.json has other settings than the shards, expected equal ones; another command wrote it since: "
            "run them again (what is finished is not done again)"
        )
    finished: list[str] = []
    failures = [failure_from_json(one) for part in parts for one in part["failures"]]
    for part in parts:
        unfinished = []
        for patient_id in part["patients"]:
            failure = folder.resume.recall_failure(patient_id)
            if failure is not None:
                failures.append(failure)
            elif folder.resume.recall_patient(patient_id) is not None:
                finished.append(patient_id)
            else:
                unfinished.append(patient_id)
        if unfinished:
            raise ConfigError(
                f"merge: shard {part['number']}/{part['count']} has {len(unfinished)} patients that are not finished; "
                "run it again to go on"
            )
    return tuple(finished), tuple(failures)


def _check_complete(parts: Sequence[dict[str, object]]) -> None:
    if not parts:
        raise ConfigError(
            "merge: found no shard in this folder, expected those of `mrresponse run --shard i/N`"
        )
    kinds = {(part["count"], part["settings_id"], part["segmenter"]) for part in parts}
    if len(kinds) > 1:
        raise ConfigError(
            "merge: the shards were divided differently or had different settings or models, expected equal ones; "
            "run them again, or remove private/shards of the older run"
        )
    if len({part.get("version") for part in parts}) > 1:
        raise ConfigError(
            "merge: the shards are of different versions of this program, expected one; run them again"
        )
    if len({json.dumps(part.get("models"), sort_keys=True) for part in parts}) > 1:
        raise ConfigError("merge: the shards had different models, expected equal ones; run them again")
    if len({part.get("everybody") for part in parts}) > 1:
        raise ConfigError(
            "merge: the shards found different patients in the data folder, expected the same in all of them; run them "
            "again (what is finished is not done again)"
        )
    count = int(str(parts[0]["count"]))
    missing = sorted(set(range(1, count + 1)) - {int(str(part["number"])) for part in parts})
    if missing:
        raise ConfigError(f"merge: shard {missing[0]}/{count} has not been run, expected all {count}")
    for part in parts:
        if not part.get("is_done"):
            raise ConfigError(
                f"merge: shard {part['number']}/{count} is not done; run it again to go on, or wait for it"
            )
