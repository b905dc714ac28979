"""Time registration, viability, tracking and measuring of one study of five phases; ``benchmark.py track`` runs this.

``benchmark_track.py DATA MASKS`` takes a patient of two studies with given masks, so that no network is timed. What is
timed is the second study, when the first is known: reading and the masks are not counted. Prints JSON.
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from figures import peak_memory_bytes

from mrresponse import Settings, make_segmenter
from mrresponse.domain import ExaminedStudy, Patient
from mrresponse.ingest import ingest, read_study
from mrresponse.lesions import find_lesions
from mrresponse.measure import find_viable, measure, take_snapshots
from mrresponse.prepare import prepare
from mrresponse.quality import check_quality
from mrresponse.track import track

REPEATS = 3


def main() -> None:
    """Time the second study a few times and print the medians."""
    settings = Settings()
    (patient,) = ingest(Path(sys.argv[1]), settings.ingest).patients
    masks = Path(sys.argv[2])
    runs = [time_second_study(patient, masks, settings) for _ in range(REPEATS)]
    steps = {name: median(run[name] for run in runs) for name in runs[0]}
    steps["peak_memory_gib"] = peak_memory_bytes() / 2**30
    print(json.dumps(steps))


def time_second_study(patient: Patient, masks: Path, settings: Settings) -> Mapping[str, float]:
    """Return seconds per step, of the clock, and of the processor in all."""
    segmenter = make_segmenter(settings.segment, masks=masks)
    examined: list[ExaminedStudy] = []
    steps: dict[str, float] = {}
    for study in patient.studies:
        images = read_study(study)
        begun, used = perf_counter(), process_time()
        # two at a time, as the program does where it has two cores
        prepared = prepare(study, images, partial(segmenter.liver, study), settings.prepare, phases_at_once=2)
        steps["registration"] = perf_counter() - begun
        found = segmenter.lesions(prepared)
        begun_again = perf_counter()
        lesion_map = find_lesions(prepared, found, settings.lesions, suits=segmenter.suits)
        flags = check_quality(prepared, lesion_map, settings.quality)
        # the given viable mask is left out: it is to be derived
        lesion_map = type(lesion_map)(
            labels=lesion_map.labels, lesions=lesion_map.lesions, source=lesion_map.source
        )
        examined.append(ExaminedStudy(prepared=prepared, lesion_map=lesion_map, flags=flags))
        steps["lesions and quality"] = perf_counter() - begun_again
    begun_again = perf_counter()
    viable = find_viable(examined[-1], settings.measure)
    steps["viability"] = perf_counter() - begun_again
    before = find_viable(examined[0], settings.measure)
    begun_again = perf_counter()
    tracks = track(examined, settings.track).tracks
    steps["tracking"] = perf_counter() - begun_again
    begun_again = perf_counter()
    maps = [before, viable]
    rows = measure(examined, tracks, settings.measure, viable_maps=maps)
    take_snapshots(examined, tracks, rows, settings.measure, viable_maps=maps)
    steps["measuring and pictures"] = perf_counter() - begun_again
    steps["seconds"] = sum(steps.values())
    steps["cpu_seconds"] = process_time() - used
    return steps


if __name__ == "__main__":
    main()
