"""Assess one study several times in this process and print the seconds of every step as JSON.

``benchmark.py study`` runs this in a process of its own, so that the peak of memory is that of the program alone.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from figures import peak_memory_bytes

from mrresponse.cli import main as mrresponse


def main() -> None:
    """Load the networks with one study that is not counted, then time the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    first, *runs = (_run(chosen.data) for _ in range(chosen.repeats + 1))
    steps = {step: median(run["steps"].get(step, 0.0) for run in runs) for step in runs[0]["steps"]}
    report = {
        "first_seconds": first["seconds"],
        "seconds": median(run["seconds"] for run in runs),
        "cpu_seconds": median(run["cpu_seconds"] for run in runs),
        "steps": steps,
        "peak_memory_gib": peak_memory_bytes() / 2**30,
        "torch_threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(report))


def _run(data: Path) -> dict[str, Any]:
    """Let the command assess the study into a new folder; the seconds of its steps are those it records."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        start, start_cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            code = mrresponse(["run", str(data), "--out", str(out)])
        end, end_cpu = time.perf_counter(), time.process_time()
        if code != 0:
            raise SystemExit(f"mrresponse run ended with {code}")
        steps = dict(json.loads((out / "run.json").read_text(encoding="utf-8"))["seconds_per_step"])
    steps["headers, tables, pages"] = (
        end - start - sum(seconds for step, seconds in steps.items() if step != "segment liver")
    )
    return {"seconds": end - start, "cpu_seconds": end_cpu - start_cpu, "steps": steps}


if __name__ == "__main__":
    main()
