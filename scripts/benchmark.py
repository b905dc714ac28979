"""Measure a figure that has a bar.

``benchmark.py NAME --json FILE`` prints a table and writes the same as JSON: name, value, unit, bar, and
whether the bar holds; a value beside a bar has none of its own. Exit code 0 where every bar holds, 1 where one
does not. ``study --compare nnunet`` times an nnU-Net of the default plan in the same run (extra ``nnunet``; minutes).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from mrresponse.synthetic.scenarios import generate

if TYPE_CHECKING:
    from benchmark_gpu import Measured

REPEATS = 7
COHORT_PATIENTS = 10
GPU_PATIENTS = 96
PATIENTS = 10_000
TIMED_IMPORT = (
    "import time; start = time.perf_counter(); import mrresponse; print(time.perf_counter() - start)"
)
COMMAND = "from mrresponse.cli import entry; entry()"
_NOTING_MEMORY = f"""
import atexit, pathlib, sys
from figures import peak_memory_bytes
file = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: file.write_text(str(peak_memory_bytes())))
{COMMAND}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value and the bar that it must not exceed, or must reach, if it has one."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    holds: bool | None = None


def startup() -> tuple[Figure, ...]:
    """Measure the wait before anything happens: medians of fresh processes, files already cached."""
    _python(TIMED_IMPORT)
    import_seconds = median(float(_python(TIMED_IMPORT)) for _ in range(REPEATS))
    help_seconds = median(_seconds("--help") for _ in range(REPEATS))
    respond_seconds = median(_seconds("respond", "--help") for _ in range(REPEATS))
    return (
        _at_most("import mrresponse", import_seconds, 0.3),
        _at_most("mrresponse --help", help_seconds, 0.5),
        _at_most("mrresponse respond --help", respond_seconds, 1.0),
    )


def study() -> tuple[Figure, ...]:
    """Assess one ``clinical`` study with both networks: five phases of 320x260x72 as DICOM, until rows are written."""
    with tempfile.TemporaryDirectory() as folder:
        phantom = Path(folder) / "phantom"
        generate("N3", size="clinical", seed=1, image_format="dicom", out=phantom)
        script = Path(__file__).parent / "benchmark_study.py"
        command = [sys.executable, str(script), str(phantom / "data")]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    steps = found["steps"]
    networks = steps["segment liver"] + steps["segment lesions"]
    # the liver is looked for while the study is prepared
    steps["prepare"] -= steps["segment liver"]
    return (
        _at_most("clinical study", found["seconds"], 10.0),
        _at_most("both networks", networks, 3.0),
        _at_most("peak memory", found["peak_memory_gib"], 2.5, unit="GiB"),
        Figure(name="processor time", value=round(found["cpu_seconds"], 3), unit="s"),
        Figure(name="first study, with loading", value=round(found["first_seconds"], 3), unit="s"),
        *(Figure(name=f"  {step}", value=round(value, 3), unit="s") for step, value in steps.items()),
    )


def compared(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """Set one pass of an nnU-Net of the default plan beside the time of both networks."""
    from benchmark_compare import nnunet_pass

    both = next(figure for figure in figures if figure.name == "both networks")
    seconds, windows = nnunet_pass()
    return (
        *figures,
        Figure(name=f"nnU-Net, one pass, {windows} windows", value=round(seconds, 3), unit="s"),
        Figure(name="nnU-Net to both networks", value=round(seconds / both.value, 1), unit="times"),
    )


def track() -> tuple[Figure, ...]:
    """Register, derive viability, track and measure one ``standard`` study of five phases beside an earlier one."""
    with tempfile.TemporaryDirectory() as folder:
        phantom = Path(folder) / "phantom"
        generate("R2", size="standard", seed=1, image_format="nifti", out=phantom)
        script = Path(__file__).parent / "benchmark_track.py"
        command = [sys.executable, str(script), str(phantom / "data"), str(phantom / "truth" / "masks")]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    seconds, cpu, memory = (found.pop(name) for name in ("seconds", "cpu_seconds", "peak_memory_gib"))
    return (
        _at_most("standard study, five phases", seconds, 5.0),
        Figure(name="processor time", value=round(cpu, 3), unit="s"),
        Figure(name="peak memory", value=round(memory, 3), unit="GiB"),
        *(Figure(name=f"  {step}", value=round(value, 3), unit="s") for step, value in found.items()),
    )


def respond() -> tuple[Figure, ...]:
    """Classify 10,000 patients of 10 visits and 5 lesions under every criterion, one after another on one core.

    Seconds are those of the processor. Tables are not counted; their time is given beside. The time per patient must
    not depend on how many there are, nor the memory.
    """
    plain, full = (_respond(method) for method in ("none", "measurement_error"))
    per_patient = {n: plain[key] / n for n, key in ((100, "first_hundred"), (PATIENTS, "seconds"))}
    tables = PATIENTS / full["table_patients"]
    return (
        _at_most("responses of 10,000 patients", plain["seconds"], 30.0),
        _at_most("with probabilities", full["seconds"], 60.0),
        _at_most("time per patient, 10,000 to 100", per_patient[PATIENTS] / per_patient[100], 1.2, unit=""),
        _at_most(
            "memory gained, 1,000 to 10,000",
            full["memory_mib"] - full["memory_after_tenth_mib"],
            5.0,
            unit="MiB",
        ),
        Figure(name="peak memory", value=round(full["memory_mib"], 1), unit="MiB"),
        Figure(name="assessments", value=full["assessments"], unit=""),
        Figure(name="reading measurements.csv", value=round(full["read_seconds"] * tables, 1), unit="s"),
        Figure(name="writing assessments.csv", value=round(full["write_seconds"] * tables, 1), unit="s"),
    )


def _respond(method: str) -> dict[str, float]:
    script = Path(__file__).parent / "benchmark_respond.py"
    command = [sys.executable, str(script), str(PATIENTS), method]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return found


def ingest() -> tuple[Figure, ...]:
    """Read a study of 360 DICOM slices, and the headers of 50,000 files: first, again, and after an interruption."""
    from benchmark_ingest import measure

    seconds = measure()
    return (
        _at_most("read 5 phases, 360 slices", seconds["read_study"], 3.0),
        _at_most("scan 50,000 headers", seconds["scan"], 60.0),
        Figure(name="scan them again", value=round(seconds["scan_again"], 4), unit="s"),
        Figure(name="scan after a stop half-way", value=round(seconds["scan_resumed"], 4), unit="s"),
    )


def cohort() -> tuple[Figure, ...]:
    """Run a batch of whole ``tiny`` patients with given masks and the program's own settings, one after the other.

    Seconds of the processor are those of the whole command: start, images, responses, pages and the cohort's tables.
    """
    from batch_trials import make_cohort, make_pool

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        make_pool(out)
        batch = make_cohort(out, "cohort", COHORT_PATIENTS, None)
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        memory = out / "peak"
        command = [sys.executable, "-c", _NOTING_MEMORY, str(memory), *batch.arguments(out / "run")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        studies = len(list((out / "run" / "masks").glob("*/*")))
        peak = int(memory.read_text())
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (
        Figure(name=f"cohort of {COHORT_PATIENTS} patients", value=round(seconds, 3), unit="s"),
        Figure(name="processor time", value=round(processor, 3), unit="s"),
        Figure(name="processor time of a patient", value=round(processor / COHORT_PATIENTS, 3), unit="s"),
        Figure(name="studies", value=studies, unit=""),
        Figure(name="peak memory", value=round(peak / 2**30, 3), unit="GiB"),
    )


def gpu() -> tuple[Figure, ...]:
    """Assess ``clinical`` studies on the first CUDA device without a pause, and one of them on the CPU to compare."""
    from benchmark_gpu import measure

    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), "cuda:0", patients=GPU_PATIENTS)
    return gpu_figures(found)


def gpu_figures(found: "Measured") -> tuple[Figure, ...]:
    """Return the figures of a cohort on a GPU; its share of time is left out where nothing says it."""
    busy = () if found.busy is None else (Figure(name="GPU busy", value=round(found.busy, 3), unit=""),)
    return (
        _at_most("clinical study, sustained", 1.0 / found.studies_per_s, 1.0),
        Figure(name="studies per second", value=round(found.studies_per_s, 3), unit="1/s"),
        *busy,
        *(
            _at_least(f"Dice of {name}, GPU to CPU", value, 0.995)
            for name, value in found.agreement.items()
            if value is not None
        ),
    )


BENCHMARKS: dict[str, Callable[[], tuple[Figure, ...]]] = {
    "cohort": cohort,
    "gpu": gpu,
    "ingest": ingest,
    "startup": startup,
    "study": study,
    "respond": respond,
    "track": track,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark, print it, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--compare", choices=["nnunet"], help="with study: time an nnU-Net as well")
    chosen = parser.parse_args(argv)
    if chosen.compare:
        _check_comparison(parser, chosen.name)
    if chosen.name == "gpu":
        _check_cuda(parser)
    figures = BENCHMARKS[chosen.name]()
    if chosen.compare:
        figures = compared(figures)
    for figure in figures:
        value = f"{figure.value:8.3f} {figure.unit:<4}"
        print(f"{figure.name:<34}{value}{_verdict(figure)}")
    if chosen.json:
        rows = [asdict(figure) for figure in figures]
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"{figures[0].name} takes {figures[0].value:.3f} {figures[0].unit}.")
    return 1 if any(figure.holds is False for figure in figures) else 0


def _check_comparison(parser: argparse.ArgumentParser, name: str) -> None:
    from benchmark_compare import is_installed

    if name != "study":
        parser.error(f"--compare goes with study, found {name}")
    if not is_installed():
        parser.error("--compare nnunet needs nnU-Net; expected: pip install 'mrresponse[nnunet]'")


def _check_cuda(parser: argparse.ArgumentParser) -> None:
    import torch

    if not torch.cuda.is_available():
        parser.error("gpu: found no CUDA device, expected one")


def _verdict(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    return f" bar {figure.bar:g} {figure.unit:<4} {'holds' if figure.holds else 'MISSED'}"


def _at_most(name: str, value: float, bar: float, *, unit: str = "s") -> Figure:
    return Figure(name=name, value=round(value, 4), unit=unit, bar=bar, holds=value <= bar)


def _at_least(name: str, value: float, bar: float) -> Figure:
    return Figure(name=name, value=round(value, 4), unit="", bar=bar, holds=value >= bar)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def _seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
