"""Try a batch to its limits: kill it, give it broken patients, and time it.

::

    batch_trials.py cohort   --out DIR                     20 tiny phantoms; the other trials need them
    batch_trials.py kills    --out DIR --victim run|worker --trials 50
    batch_trials.py thousand --out DIR --patients 1000     30 of them broken in 15 ways
    batch_trials.py speed    --out DIR --patients 60       one after the other, 2 workers, Dask, shards

Each prints a line per trial, and at last one sentence with the figures; exit code 1 where a promise is broken. A trial
that was stopped goes on. Masks are given. Two studies of each phantom are taken and registration is cut short, because
what is tried is the batch; ``speed`` takes whole phantoms and the program's own settings.
"""

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from figures import peak_memory_bytes

POOL = 20
COMMAND = [sys.executable, "-c", "from mrresponse.cli import entry; entry()"]
_COARSE = {"iterations": 3, "coarse_mm": 12, "fine_mm": 10, "study_mm": 12}
SETTINGS = {
    "prepare": {"registration": {**_COARSE, "knot_spacing_mm": 0}},
    "track": {"registration": {**_COARSE, "study_knot_spacing_mm": 0}},
}
_STUDIES = 2
# Nothing is judged complete when it takes longer than this.
_LONGEST_RUN_S = 1800
_KILLS_PER_RUN = 4
_GIVEN = dict(os.environ)
_DASK_SETTINGS = Path(__file__).parents[1] / "configs" / "dask.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A data folder whose patients are phantoms of the pool under names of their own."""

    path: Path

    def arguments(self, out: Path, *more: str) -> list[str]:
        """Give the words of a run."""
        words = ["run", str(self.path / "data"), "--masks", str(self.path / "masks")]
        return [*words, "--config", str(self.path / "config.json"), "--out", str(out), *more]


# --- cohorts ------------------------------------------------------------------------------------------------------


def make_pool(out: Path) -> int:
    """Make the phantoms that every cohort here draws from."""
    from mrresponse.synthetic.scenarios import generate

    if (out / "pool" / "truth" / "truth.json").is_file():
        return 0
    shutil.rmtree(out / "pool", ignore_errors=True)
    generate(f"cohort-{POOL}", size="tiny", seed=1, image_format="nifti", out=out / "pool")
    print(f"{POOL} phantoms in {out / 'pool'}")
    return 0


def make_cohort(out: Path, name: str, patients: int, phases: Sequence[str] | None) -> Cohort:
    """Give `patients` names to the phantoms of the pool, with the contrast phases asked for, or whole ones."""
    cohort = Cohort(path=out / name)
    if (cohort.path / "config.json").is_file():
        return cohort
    shutil.rmtree(cohort.path, ignore_errors=True)
    data, masks = cohort.path / "data", cohort.path / "masks"
    data.mkdir(parents=True)
    masks.mkdir()
    (data / "pool").symlink_to((out / "pool" / "data").resolve())
    by_phantom = _manifest_of_pool(out)
    names = sorted(by_phantom)
    rows = ["patient_id,study_date,contrast_phase,path"]
    for number in range(patients):
        patient, phantom = f"P{number:04d}", names[number % len(names)]
        (masks / patient).symlink_to((out / "pool" / "truth" / "masks" / phantom).resolve())
        dates = sorted({date for date, _, _ in by_phantom[phantom]})[: _STUDIES if phases else None]
        rows += [
            f"{patient},{date},{phase},pool/{path}"
            for date, phase, path in by_phantom[phantom]
            if (not phases or phase in phases) and date in dates
        ]
    (data / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (cohort.path / "config.json").write_text(json.dumps(SETTINGS if phases else {}), encoding="utf-8")
    return cohort


def _manifest_of_pool(out: Path) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    with (out / "pool" / "data" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = (row["study_date"], row["contrast_phase"], row["path"])
            found.setdefault(row["patient_id"], []).append(entry)
    return found


# --- kills --------------------------------------------------------------------------------------------------------


def kills(out: Path, victim: str, trials: int, seed: int) -> int:
    """Kill a 12-patient run, or its workers, at random moments; go on; compare with an undisturbed run.

    A run is killed up to four times before it may finish, so that what was taken up again is killed again too.
    """
    cohort = make_cohort(out, "twelve", 12, ("PRE", "ART"))
    reference = out / "twelve-reference"
    if not (reference / "seconds").is_file():
        shutil.rmtree(reference, ignore_errors=True)
        begun = time.monotonic()
        _finish_run(cohort, reference)
        (reference / "seconds").write_text(str(time.monotonic() - begun))
    longest = float((reference / "seconds").read_text())
    ledger = out / f"kills-{victim}.jsonl"
    rows = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.is_file() else []
    for session in count():
        if len(rows) >= trials:
            break
        # a session whose first moment came after the end of its run killed nothing: the next draws another
        chance = random.Random(f"{seed} {victim} {len(rows)} {session}")
        found = _killed_session(cohort, out / f"twelve-{victim}", victim, chance, longest)
        if found:
            found[-1]["problems"] += _differences(reference, out / f"twelve-{victim}")
        rows += found
        with ledger.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)
        for row in found:
            print(f"{victim}: {row}", flush=True)
    bad = [row for row in rows if row["problems"]]
    print(
        f"{len(rows)} kills of the {victim}: {len(bad)} with a half file, a difference or something done twice; "
        f"{sum(row['patients'] for row in rows)} patients and {sum(row['studies'] for row in rows)} studies were "
        "finished at those moments, and all of them were used again"
    )
    return 1 if bad else 0


def _killed_session(
    cohort: Cohort, out: Path, victim: str, chance: random.Random, longest: float
) -> list[dict[str, Any]]:
    """Kill the run, or workers of one run, a few times; let it finish; say what was wrong after each kill."""
    shutil.rmtree(out, ignore_errors=True)
    rows: list[dict[str, Any]] = []
    states = []
    run = None
    for number in range(_KILLS_PER_RUN):
        if run is None:
            run = _started(cohort, out, workers=2 if victim == "worker" else 1 + number % 2)
        moment = chance.uniform(0.5, longest)
        try:
            run.wait(timeout=moment)
            break
        except subprocess.TimeoutExpired:
            kept = _kept(out)
        target = run.pid if victim == "run" else _a_worker_of(run.pid, chance)
        if target is None:
            continue
        when = time.time()
        os.kill(target, signal.SIGKILL)
        if victim == "run":
            run.wait()
            run = None
            _wait_until_alone(out)
            kept = _kept(out)
        studies = sum(name.startswith("studies") for name in kept)
        problems = [f"half a file: {name}" for name in _half_files(out)]
        rows.append(
            {
                "moment": round(moment, 2),
                "patients": len(kept) - studies,
                "studies": studies,
                "problems": problems,
            }
        )
        states.append((kept, when))
    if run is not None and (code := run.wait(timeout=_LONGEST_RUN_S)) != 0:
        # a patient whose worker was killed twice is a failure, which the next run tries again
        others = _failure_codes(out) - {"worker_killed"}
        if code != 1 or others:
            raise SystemExit(f"error: the run ended with {code} ({', '.join(others)}), expected 0")
    _finish_run(cohort, out)
    after = _kept(out)
    for row, (kept, when) in zip(rows, states, strict=True):
        row["problems"] += _done_twice(kept, after, _examined_after(out, when))
    return rows


def _started(cohort: Cohort, out: Path, *more: str, workers: int) -> "subprocess.Popen[bytes]":
    words = cohort.arguments(out, "--workers", str(workers), *more)
    return subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _a_worker_of(parent: int, chance: random.Random) -> int | None:
    """Return a process of the pool of this run: a copy of the one from which all of them are made."""
    workers = [child for server in _children(parent, b"forkserver") for child in _children(server, b"")]
    return chance.choice(workers) if workers else None


def _children(parent: int, word: bytes) -> list[int]:
    """Return the processes that another one has started and whose command line has a word."""
    children = []
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if fields and fields[1] == str(parent) and word in words:
            children.append(int(folder.name))
    return children


def _kept(out: Path) -> dict[str, tuple[int, int]]:
    """Return what is finished: files by name, with what tells whether they were written again."""
    found = {}
    for path in (out / "resume").rglob("*"):
        if path.suffix in {".json", ".npz"} and not path.name.startswith("."):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            found[path.relative_to(out / "resume").as_posix()] = (state.st_ino, state.st_mtime_ns)
    finished = {Path(name).stem for name in found if name.startswith("patients")}
    # the studies of a finished patient are swept away, and need not be taken up
    return {
        name: state
        for name, state in found.items()
        if name.startswith("patients") or name.split("/")[1] not in finished
    }


def _half_files(out: Path) -> Iterator[str]:
    """Yield files under a final name that cannot be read."""
    for path in out.rglob("*"):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".json":
                for line in (
                    path.read_text(encoding="utf-8").splitlines()
                    if {"resume", "failures"} & set(path.parts)
                    else [path.read_text()]
                ):
                    json.loads(line)
            elif path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    [arrays[name] for name in arrays.files]
            elif path.name.endswith(".nii.gz"):
                from mrresponse.nifti import read_label_map

                read_label_map(path)
            elif path.suffix == ".html" and not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
                yield path.name
        except FileNotFoundError:
            continue
        except Exception as error:  # whatever a half file does to its reader
            yield f"{path.name} ({type(error).__name__})"


def _examined_after(out: Path, when: float) -> set[tuple[str, str]]:
    """Return patient and date of every study that was examined from its images after a moment."""
    from datetime import datetime

    found = set()
    for log in (out / "logs").glob("run-*.jsonl"):
        for line in log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            words = entry["event"].split()
            if words[-1] == "examined" and datetime.fromisoformat(entry["time"]).timestamp() > when + 0.05:
                found.add((entry["patient_id"], words[2]))
    return found


def _done_twice(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], examined: set[tuple[str, str]]
) -> list[str]:
    problems = []
    for name, state in before.items():
        kind, patient, *rest = name.removesuffix(".json").removesuffix(".npz").split("/")
        if kind == "patients" and after.get(name) != state:
            problems.append(f"{patient} was finished and written again")
        if kind == "studies" and (patient, rest[0]) in examined:
            problems.append(f"{patient} {rest[0]} was finished and examined again")
    return problems


def _wait_until_alone(out: Path) -> None:
    """Wait until the workers of a killed run are gone, which they notice by themselves."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not any(_holds(folder, str(out)) for folder in Path("/proc").iterdir() if folder.name.isdigit()):
            return
        time.sleep(0.1)


def _holds(process: Path, words: str) -> bool:
    try:
        return words.encode() in (process / "cmdline").read_bytes() and int(process.name) != os.getpid()
    except OSError:
        return False


def _failure_codes(out: Path) -> set[str]:
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"] for row in csv.DictReader(file)}


def _finish_run(cohort: Cohort, out: Path) -> None:
    code = _started(cohort, out, "--retry-failed", workers=2).wait(timeout=_LONGEST_RUN_S)
    if code != 0:
        raise SystemExit(f"error: the run ended with {code}, expected 0")


def _differences(reference: Path, out: Path) -> list[str]:
    names = sorted(path.name for path in reference.glob("*.csv"))
    return [
        f"{name} differs" for name in names if (reference / name).read_bytes() != (out / name).read_bytes()
    ]


# --- a thousand patients ------------------------------------------------------------------------------------------


def thousand(out: Path, patients: int, workers: int) -> int:
    """Run many patients, some of them broken, in this process, and look at its memory on the way."""
    from mrresponse import load_settings
    from mrresponse.batch import BatchOptions, assess_cohort, choose_workplace
    from mrresponse.domain import Failure
    from mrresponse.ingest import ingest
    from mrresponse.run_record import run_info
    from mrresponse.store import RunFolder

    cohort = make_cohort(out, f"cohort-{patients}", patients, ("ART",))
    expected = break_patients(cohort, patients)
    settings = load_settings(cohort.path / "config.json")
    masks = cohort.path / "masks"
    info = run_info(settings, masks)
    begun, begun_cpu = time.monotonic(), time.process_time()
    found = ingest(cohort.path / "data", settings.ingest)
    folder = RunFolder.create(out / f"cohort-{patients}-out")
    failures, finished, memory = list(found.failures), [], {}
    with folder.locked():
        options = BatchOptions(log=folder.begin(info))
        place = choose_workplace(settings, masks, workers=workers)
        outcomes = assess_cohort(
            found.patients, settings, masks=masks, folder=folder, workplace=place, options=options
        )
        for number, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                finished.append(outcome.patient.patient_id)
            if number in {10, 100, 250, 500, 750} or number == len(found.patients):
                memory[number] = _resident_mb()
                print(
                    f"{number} patients, {time.monotonic() - begun:.0f} s, {time.process_time() - begun_cpu:.1f} s of "
                    f"processor time here, {memory[number]:.0f} MB",
                    flush=True,
                )
        tables_begun = time.monotonic()
        folder.finish(finished, failures, info)
    wrong = {one.patient_id: (one.code, expected.get(one.patient_id)) for one in failures}
    wrong = {name: pair for name, pair in wrong.items() if pair[0] != pair[1]}
    missing = sorted(set(expected) - {one.patient_id for one in failures})
    growth = memory[max(memory)] - memory[min(100, max(memory))]
    print(
        f"{len(finished)} patients in the tables, {len(failures)} failures in {len(set(expected.values()))} ways "
        f"({len(wrong)} with another code than expected {wrong or ''}, missing {missing or 'none'}); "
        f"{time.monotonic() - begun:.0f} s in all, {time.monotonic() - tables_begun:.1f} s for the tables; "
        f"memory {memory}, {growth:+.0f} MB from 100 on, {_resident_mb():.0f} MB after the tables, "
        f"largest {peak_memory_bytes() / 1e6:.0f} MB"
    )
    return 1 if wrong or missing or len(finished) + len(expected) != patients else 0


def break_patients(cohort: Cohort, patients: int) -> dict[str, str]:
    """Break two patients in each of fifteen ways, spread over the cohort; return the codes they must fail with."""
    broken = {}
    victims = 2 * len(_WAYS)
    for number in range(victims):
        code, spoil = _WAYS[number // 2]
        patient = f"P{number * patients // victims:04d}"
        if not (cohort.path / f"broken-{patient}").is_file():
            spoil(_Victim(cohort, patient))
            (cohort.path / f"broken-{patient}").touch()
        broken[patient] = code
    return broken


class _Victim:
    """One patient whose files are its own from now on."""

    def __init__(self, cohort: Cohort, patient: str) -> None:
        self.patient = patient
        self._data, self._masks = cohort.path / "data", cohort.path / "masks"

    def image(self) -> Path:
        """Give the image of the first study, as a copy that nobody else has."""
        lines = self._lines()
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{self.patient},"))
        *keys, path = lines[at].split(",")
        own = f"own/{self.patient}.nii.gz"
        (self._data / "own").mkdir(exist_ok=True)
        shutil.copyfile(self._data / path, self._data / own)
        lines[at] = ",".join([*keys, own])
        self._write(lines)
        return self._data / own

    def mask(self, name: str) -> Path:
        """Give a mask of the first study, in a folder that nobody else has."""
        folder = self._masks / self.patient
        source = folder.resolve()
        folder.unlink()
        shutil.copytree(source, folder)
        return sorted(folder.iterdir())[0] / f"{name}.nii.gz"

    def change_line(self, change: Callable[[str], list[str]]) -> None:
        """Replace the first line of the manifest that names the patient."""
        lines = self._lines()
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{self.patient},"))
        self._write([*lines[:at], *change(lines[at]), *lines[at + 1 :]])

    def write_table(self, name: str, header: str, line: str) -> None:
        """Add a line to a table of the data folder."""
        file = self._data / name
        before = file.read_text(encoding="utf-8") if file.is_file() else f"{header}\n"
        file.write_text(f"{before}{line}\n", encoding="utf-8")

    def _lines(self) -> list[str]:
        return (self._data / "manifest.csv").read_text(encoding="utf-8").splitlines()

    def _write(self, lines: list[str]) -> None:
        (self._data / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cut(victim: _Victim) -> None:
    path = victim.image()
    path.write_bytes(path.read_bytes()[:2000])


def _text(victim: _Victim) -> None:
    victim.image().write_text("this is no image")


def _resaved(change: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[_Victim], None]:
    """Load the image, change voxels and matrix, and save it again."""

    def spoil(victim: _Victim) -> None:
        import nibabel

        path = victim.image()
        image = nibabel.load(path)
        voxels, affine = change(np.asarray(image.dataobj, dtype=np.float32), image.affine.copy())
        nibabel.save(nibabel.Nifti1Image(voxels, affine), path)

    return spoil


def _with_nan(voxels: Any, affine: Any) -> tuple[Any, Any]:
    voxels[3, 3, 3] = np.nan
    return voxels, affine


def _header_bytes(at: int, content: bytes) -> Callable[[_Victim], None]:
    """Overwrite a field of the header."""

    def spoil(victim: _Victim) -> None:
        import gzip

        path = victim.image()
        whole = bytearray(gzip.decompress(path.read_bytes()))
        whole[at : at + len(content)] = content
        path.write_bytes(gzip.compress(bytes(whole)))

    return spoil


def _mask(name: str, change: Callable[[Any], Any]) -> Callable[[_Victim], None]:
    def spoil(victim: _Victim) -> None:
        import nibabel

        path = victim.mask(name)
        mask = nibabel.load(path)
        nibabel.save(
            nibabel.Nifti1Image(change(np.asarray(mask.dataobj, dtype=np.float32)), mask.affine), path
        )

    return spoil


def _half_labels(mask: Any) -> Any:
    mask[mask > 0] = 1.5
    return mask


def _far_lesion(mask: Any) -> Any:
    mask[:2, :2, :2] = 1
    return mask


_WAYS: Sequence[tuple[str, Callable[[_Victim], None]]] = (
    ("truncated", _cut),
    ("unreadable", _text),
    ("not_3d", _resaved(lambda voxels, affine: (voxels[:, :, 0], affine))),
    ("not_finite", _resaved(_with_nan)),
    ("bad_spacing", _resaved(lambda voxels, affine: (voxels, np.diag([4.0, 4.0, 1e-9, 1.0])))),
    ("empty", _resaved(lambda voxels, affine: (voxels * 0 + 7, affine))),
    ("no_orientation", _header_bytes(252, b"\0\0\0\0")),
    ("too_large", _header_bytes(42, np.array([32000, 32000, 32000], "<i2").tobytes())),
    ("unknown_contrast_phase", lambda one: one.change_line(lambda line: [line.replace(",ART,", ",LATE,")])),
    ("two_studies", lambda one: one.change_line(lambda line: [line, line])),
    (
        "treatment_without_start",
        lambda one: one.write_table(
            "treatments.csv",
            "patient_id,treatment_phase,name,kind,start_date",
            f"{one.patient},1,x,systemic,",
        ),
    ),
    ("mask_missing", lambda one: one.mask("lesions").unlink()),
    ("bad_label", _mask("lesions", _half_labels)),
    ("mask_outside_liver", _mask("lesions", _far_lesion)),
    ("grid_mismatch", _mask("lesions", lambda mask: mask[:, :, :-3])),
)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# --- speed --------------------------------------------------------------------------------------------------------


def speed(out: Path, patients: int) -> int:
    """Time the ways of running, each on one thread per worker, and compare what they write."""
    cohort = make_cohort(out, f"whole-{patients}", patients, None)
    folders = {name: out / f"speed-{name}" for name in ("serial", "workers", "dask", "shards")}
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
    seconds = {
        "serial": _timed(cohort.arguments(folders["serial"]), cores="0"),
        "workers": _timed(cohort.arguments(folders["workers"], "--workers", "2")),
        "dask": _with_dask(cohort, folders["dask"]),
        "shards": _in_shards(cohort, folders["shards"]),
    }
    ratios = {name: round(seconds["serial"] / value, 2) for name, value in seconds.items()}
    different = {name: _differences(folders["serial"], folder) for name, folder in folders.items()}
    print(
        f"{patients} patients, seconds { ({name: round(value, 1) for name, value in seconds.items()}) }, "
        f"times as fast as one after the other {ratios}, load {os.getloadavg()[0]:.1f}; "
        f"tables {'equal' if not any(different.values()) else different}"
    )
    return 1 if any(different.values()) or ratios["workers"] < 1.8 or ratios["dask"] < 1.7 else 0


def _environment() -> dict[str, str]:
    """Return what this process was given: a Dask cluster in it puts settings of its workers into its environment."""
    return dict(_GIVEN, OMP_NUM_THREADS="1", DASK_CONFIG=str(_DASK_SETTINGS))


def _timed(words: Sequence[str], *, cores: str | None = None) -> float:
    """Run the program, on the cores given, and return its seconds; one thread per process."""
    begun = time.monotonic()
    pinned = [] if cores is None else ["taskset", "-c", cores]
    subprocess.run(
        [*pinned, *COMMAND, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    return time.monotonic() - begun


def _with_dask(cohort: Cohort, out: Path) -> float:
    # Dask reads it when it is first imported
    os.environ["DASK_CONFIG"] = str(_DASK_SETTINGS)
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        return _timed(cohort.arguments(out, "--dask", cluster.scheduler_address))


def _in_shards(cohort: Cohort, out: Path) -> float:
    begun = time.monotonic()
    parts = [
        subprocess.Popen(
            [*COMMAND, *cohort.arguments(out, "--shard", f"{number}/2")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
        for number in (1, 2)
    ]
    if any(part.wait() for part in parts):
        raise SystemExit("error: a shard failed")
    _timed(["merge", str(out)])
    return time.monotonic() - begun


def main(argv: Sequence[str] | None = None) -> int:
    """Run one trial."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trial", choices=["cohort", "kills", "thousand", "speed"])
    parser.add_argument("--out", type=Path, required=True, help="folder for phantoms and runs")
    parser.add_argument("--victim", choices=["run", "worker"], default="run", help="whom kills ends")
    parser.add_argument("--trials", type=int, default=50, help="how many kills")
    parser.add_argument("--patients", type=int, help="how many patients")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    chosen = parser.parse_args(argv)
    # one thread per process: the trials are about processes
    os.environ["OMP_NUM_THREADS"] = "1"
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    make_pool(out)
    if chosen.trial == "kills":
        return kills(out, chosen.victim, chosen.trials, chosen.seed)
    if chosen.trial == "thousand":
        return thousand(out, chosen.patients or 1000, chosen.workers)
    return speed(out, chosen.patients or 60) if chosen.trial == "speed" else 0


# Workers are fresh processes that import this file.
if __name__ == "__main__":
    sys.exit(main())
