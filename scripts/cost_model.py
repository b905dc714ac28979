"""Work out, by simulation, how long a cohort takes on a number of workers, and what is busy meanwhile.

``cost_model.py --workers 1 10 41 500`` lets patients of four studies go through workers that share a disk and, with
``--cards``, graphics cards. Each study is read, computed, asked of a card where there are any, and written; a worker
does one after the other, disk and cards serve in the order of asking. The tables are written at last, by one process.
The costs are those measured in docs/batch.md: set your own, of ``run.json``, by the options.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STUDIES_PER_PATIENT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a study asks for, and what there is; ``spread`` is the SD of the processor time as a share of it."""

    processor_s: float
    card_s: float
    read_mb: float
    written_mb: float
    table_s_per_patient: float
    disk_mb_per_s: float
    cards: int
    spread: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How long it took, and which share of that time each part was busy."""

    seconds: float
    processors: float
    disk: float
    cards: float
    tables: float


def simulate(studies: int, workers: int, costs: Costs, *, seed: int = 1) -> Outcome:
    """Let every study go through a worker, the disk and a card; a patient's studies stay on one worker."""
    rng = random.Random(seed)
    patients = [min(STUDIES_PER_PATIENT, studies - first) for first in range(0, studies, STUDIES_PER_PATIENT)]
    waiting = iter(patients)
    disk, cards = [0.0], [0.0] * costs.cards
    busy = {"processor": 0.0, "disk": 0.0, "card": 0.0}
    # One entry per worker that has something to do next: when, who, and the steps that are left of its patient.
    line: list[tuple[float, int, Iterator[tuple[str, float]]]] = []
    for worker in range(workers):
        if (count := next(waiting, None)) is not None:
            heapq.heappush(line, (0.0, worker, _steps(count, costs, rng)))
    end = 0.0
    while line:
        now, worker, steps = heapq.heappop(line)
        step = next(steps, None)
        if step is None:
            end = max(end, now)
            if (count := next(waiting, None)) is not None:
                heapq.heappush(line, (now, worker, _steps(count, costs, rng)))
            continue
        kind, seconds = step
        busy[kind] += seconds
        done = (
            now + seconds if kind == "processor" else _served(disk if kind == "disk" else cards, now, seconds)
        )
        heapq.heappush(line, (done, worker, steps))
    tables = costs.table_s_per_patient * len(patients)
    total = end + tables
    return Outcome(
        seconds=total,
        processors=busy["processor"] / (total * workers),
        disk=busy["disk"] / total,
        cards=busy["card"] / (total * costs.cards) if costs.cards else 0.0,
        tables=tables / total,
    )


def _served(servers: list[float], now: float, seconds: float) -> float:
    """Take the server that is free first, and return when it is done."""
    done = max(now, heapq.heappop(servers)) + seconds
    heapq.heappush(servers, done)
    return done


def _steps(studies: int, costs: Costs, rng: random.Random) -> Iterator[tuple[str, float]]:
    for _ in range(studies):
        yield "disk", costs.read_mb / costs.disk_mb_per_s
        yield "processor", max(0.1, rng.gauss(1.0, costs.spread)) * costs.processor_s
        if costs.cards:
            yield "card", costs.card_s
        yield "disk", costs.written_mb / costs.disk_mb_per_s


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate each number of workers and print a line for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=100_000, help="how many studies")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 10, 50, 100, 500, 1000])
    parser.add_argument(
        "--processor-s", type=float, default=12.0, help="processor seconds of a study, one core"
    )
    parser.add_argument("--card-s", type=float, default=0.0, help="seconds of a study on a graphics card")
    parser.add_argument("--cards", type=int, default=0, help="how many graphics cards the workers share")
    parser.add_argument("--read-mb", type=float, default=21.0, help="read per study")
    parser.add_argument("--written-mb", type=float, default=45.0, help="written per study")
    parser.add_argument("--table-s", type=float, default=0.005, help="seconds of the tables per patient")
    parser.add_argument(
        "--disk-mb-per-s", type=float, default=1000.0, help="what the shared disk takes and gives"
    )
    chosen = parser.parse_args(argv)
    costs = Costs(
        processor_s=chosen.processor_s,
        card_s=chosen.card_s,
        read_mb=chosen.read_mb,
        written_mb=chosen.written_mb,
        table_s_per_patient=chosen.table_s,
        disk_mb_per_s=chosen.disk_mb_per_s,
        cards=chosen.cards,
    )
    print(
        f"{'workers':>8}{'hours':>10}{'studies/s':>11}{'processors':>12}{'disk':>7}{'cards':>7}{'tables':>8}"
    )
    for workers in chosen.workers:
        found = simulate(chosen.studies, workers, costs)
        print(
            f"{workers:8d}{found.seconds / 3600:10.1f}{chosen.studies / found.seconds:11.2f}"
            f"{found.processors:12.0%}{found.disk:7.0%}{found.cards:7.0%}{found.tables:8.1%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
