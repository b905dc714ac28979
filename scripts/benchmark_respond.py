"""Time the response engine on simulated patients, one after another: what `benchmark.py respond` runs.

``benchmark_respond.py PATIENTS METHOD`` prints JSON: processor seconds of the responses of every patient, of the first
hundred of them, and of reading and writing tables, and the memory in use after a tenth and after all. ``METHOD`` is
``none`` or ``measurement_error``. Making the patients is not counted.
"""

import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from figures import peak_memory_bytes

from mrresponse.domain import (
    Assessment,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    StudyRecord,
)
from mrresponse.respond import CRITERIA, RespondSettings, respond
from mrresponse.respond.settings import ProbabilityMethod
from mrresponse.tables import read_rows, write_rows

VISITS, LESIONS = 10, 5
START = date(2024, 1, 1)
TABLE_PATIENTS = 200
Given = tuple[Patient, tuple[StudyRecord, ...], tuple[Measurement, ...]]


def patients(number: int) -> Iterator[Given]:
    """Make patients with five liver lesions that grow and shrink over ten visits, one of them missing now and then."""
    chance = random.Random(1)
    for index in range(number):
        name = f"P{index:05d}"
        days = [START + timedelta(days=60 * visit) for visit in range(VISITS)]
        rows = []
        for lesion in range(LESIONS):
            size = chance.uniform(12.0, 60.0)
            for day in days:
                rows.append(_measurement(name, f"L{lesion + 1:02d}", day, size, chance))
                size = max(6.0, size * math.exp(chance.gauss(-0.02, 0.18)))
        studies = tuple(
            StudyRecord(patient_id=name, study_date=day, lesions_assessable=True, model="A") for day in days
        )
        yield Patient(patient_id=name), studies, tuple(rows)


def _measurement(name: str, lesion: str, day: date, size: float, chance: random.Random) -> Measurement:
    if day != START and chance.random() < 0.01:
        return Measurement(
            patient_id=name,
            lesion_id=lesion,
            study_date=day,
            reader="A",
            state=MeasurementState.NOT_ASSESSED,
            reason="motion",
        )
    longest, viable = round(size, 1), round(size * chance.uniform(0.6, 1.0), 1)
    return Measurement(
        patient_id=name,
        lesion_id=lesion,
        study_date=day,
        reader="A",
        state=MeasurementState.MEASURED,
        longest_diameter_mm=longest,
        perpendicular_diameter_mm=round(longest * 0.8, 1),
        viable_longest_diameter_mm=viable,
        viable_perpendicular_diameter_mm=round(viable * 0.8, 1),
        volume_ml=round(longest**3 * 0.0004, 3),
        viable_volume_ml=round(viable**3 * 0.0004, 3),
        viable_state=MeasurementState.MEASURED,
        aphe=True,
        washout=True,
        source=MeasurementSource.NETWORK,
    )


def main() -> None:
    """Run and print."""
    number, method = int(sys.argv[1]), ProbabilityMethod(sys.argv[2])
    settings = RespondSettings(criteria=tuple(CRITERIA), probability=method)
    for given in patients(20):
        respond(*given, settings)
    found: dict[str, float] = {}
    seconds = rows = 0.0
    for count, given in enumerate(patients(number), start=1):
        start = time.process_time()
        result = respond(*given, settings)
        seconds += time.process_time() - start
        rows += len(result.assessments)
        if count == 100:
            found["first_hundred"] = seconds
        if count == max(1, number // 10):
            found["memory_after_tenth_mib"] = peak_memory_bytes() / 2**20
    found |= {"seconds": seconds, "assessments": rows, "memory_mib": peak_memory_bytes() / 2**20}
    print(json.dumps(found | _tables(settings)))


def _tables(settings: RespondSettings) -> dict[str, float]:
    """Return the seconds for reading the measurements and writing the assessments of some patients."""
    given = list(patients(TABLE_PATIENTS))
    results = [respond(*one, settings) for one in given]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measurements.csv"
        write_rows(file, (row for _, _, rows in given for row in rows), Measurement)
        start = time.process_time()
        read_rows(file, Measurement)
        read = time.process_time() - start
        start = time.process_time()
        write_rows(
            Path(folder) / "assessments.csv", (row for one in results for row in one.assessments), Assessment
        )
        written = time.process_time() - start
    return {"read_seconds": read, "write_seconds": written, "table_patients": TABLE_PATIENTS}


if __name__ == "__main__":
    main()
