"""Judge the probabilities of responses on lesions whose true size is known.

Every patient has one to three ellipsoid lesions that grow and shrink. At every visit each lesion is imaged afresh: on a
new grid at a random place, blurred, with new noise, and read by a contour at a level that differs from reading to
reading. The contour is measured as any mask is, to 0.1 mm. The error of one reading is estimated from other lesions
that were read twice, as a user would do it with ``repeats.csv``. The true category follows from the true sizes. Nothing
is drawn from the distribution that the probabilities assume.

``calibration.py --json FILE --figure FILE.svg`` prints the expected calibration error and its parts.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import (
    Grid,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    Response,
    StudyRecord,
)
from mrresponse.measure.lesion import round_length, round_volume
from mrresponse.measure.size import volume_ml, whole_extent
from mrresponse.respond import CRITERIA, RespondSettings, respond
from mrresponse.respond.repeats import error_of_repeats
from mrresponse.respond.settings import MeasurementError
from mrresponse.synthetic.ellipsoids import Ellipsoid, cover

START = date(2024, 1, 1)
VISITS = 6
BAR = 0.03
BINS = 10
CATEGORIES = (Response.CR, Response.PR, Response.SD, Response.PD)
CRITERIA_JUDGED = ("RECIST 1.1", "mRECIST", "WHO", "vRECIST")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One visit under one criterion: the probabilities, the response called, and the true one."""

    criterion: str
    visit: int
    chances: tuple[float, float, float, float]
    called: Response
    true: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Calls whose stated probability lies in one tenth: how many, the mean of it, and how often it was right."""

    n: int
    stated: float
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """A lesion through time: the ratios of its axes, its direction, and its longest diameter at every visit."""

    ratios: tuple[float, float]
    angle_deg: float
    diameters_mm: tuple[float, ...]

    def at(self, visit: int) -> Ellipsoid | None:
        """Return its body at a visit; ``None`` once it is gone."""
        half = self.diameters_mm[visit] / 2.0
        if half == 0.0:
            return None
        axes = (half, half * self.ratios[0], half * self.ratios[1])
        return Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=axes, angle_deg=self.angle_deg)


def draw_lesion(random: np.random.Generator) -> Lesion:
    """Draw a lesion of 12 to 60 mm that follows its own trend with changes of its own."""
    trend = random.normal(-0.05, 0.18)
    sizes = [float(random.uniform(12.0, 60.0))]
    for _ in range(VISITS - 1):
        size = sizes[-1] * math.exp(trend + random.normal(0.0, 0.08))
        sizes.append(0.0 if size < 6.0 else min(size, 110.0))
        trend = trend * 0.7 + random.normal(0.02, 0.06)
    return Lesion(
        ratios=(float(random.uniform(0.6, 1.0)), float(random.uniform(0.6, 1.0))),
        angle_deg=float(random.uniform(0.0, 180.0)),
        diameters_mm=tuple(sizes),
    )


def read(body: Ellipsoid | None, random: np.random.Generator) -> tuple[float, float, float] | None:
    """Image a lesion and return the longest and perpendicular diameter and the volume of its contour.

    In-plane pixels of 1.0 to 1.6 mm, slices of 3 mm, a blur of 2 to 3 mm (FWHM), noise of 8 to 15 % of the contrast,
    and a contour at 40 to 60 % of it. ``None`` where no contour is left.
    """
    pixel, thickness = float(random.uniform(1.0, 1.6)), 3.0
    reach = 8.0 + (max(body.semi_axes_mm) if body is not None else 10.0)
    shape = (math.ceil(2 * reach / pixel), math.ceil(2 * reach / pixel), math.ceil(2 * reach / thickness))
    origin = [
        -step * (n - 1) / 2.0 + float(random.uniform(-step / 2.0, step / 2.0))
        for n, step in zip(shape, (pixel, pixel, thickness), strict=True)
    ]
    grid = Grid(
        shape=shape,
        affine_rows=(
            (pixel, 0.0, 0.0, origin[0]),
            (0.0, pixel, 0.0, origin[1]),
            (0.0, 0.0, thickness, origin[2]),
        ),
    )
    image = np.zeros(shape, dtype=np.float32)
    covered = cover(body, grid) if body is not None else None
    if covered is not None:
        image[covered.box] = covered.share
    blur = float(random.uniform(2.0, 3.0)) / 2.355 / pixel
    image = ndimage.gaussian_filter(image, (blur, blur, 0.0))
    image = image + random.normal(0.0, random.uniform(0.08, 0.15), shape).astype(np.float32)
    smooth = ndimage.gaussian_filter(image, (1.0 / pixel, 1.0 / pixel, 0.3))
    labels, count = ndimage.label(smooth > float(random.uniform(0.4, 0.6)))
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    mask = ndimage.binary_fill_holes(labels == int(sizes.argmax()) + 1)
    extent = whole_extent(mask, grid.spacing_mm)
    if extent is None or extent.longest.length_mm < 5.0:
        return None
    volume = volume_ml(mask, grid.voxel_volume_ml)
    return (
        round_length(extent.longest.length_mm),
        round_length(extent.perpendicular.length_mm),
        round_volume(volume),
    )


def measured(
    patient: str, number: int, visit: int, sizes: tuple[float, float, float] | None, reader: str = "A"
) -> Measurement:
    """Return a reading as a row of ``measurements.csv``; what has no contour is gone, as a given mask says it."""
    state = MeasurementState.MEASURED if sizes else MeasurementState.ABSENT
    longest, across, volume = sizes or (0.0, 0.0, 0.0)
    return Measurement(
        patient_id=patient,
        lesion_id=f"L{number + 1:02d}",
        study_date=START + timedelta(days=60 * visit),
        reader=reader,
        state=state,
        viable_state=state,
        longest_diameter_mm=longest,
        perpendicular_diameter_mm=across,
        viable_longest_diameter_mm=longest,
        viable_perpendicular_diameter_mm=across,
        volume_ml=volume,
        viable_volume_ml=volume,
        source=MeasurementSource.MASK,
    )


def true_sizes(body: Ellipsoid | None) -> tuple[float, float, float] | None:
    """Return the same sizes of the body itself: the first two axes lie in the slices."""
    if body is None:
        return None
    return 2.0 * body.semi_axes_mm[0], 2.0 * body.semi_axes_mm[1], body.volume_ml


def repeated_readings(random: np.random.Generator, *, lesions: int) -> list[Measurement]:
    """Read lesions twice, each reading from an image of its own."""
    rows = []
    for number in range(lesions):
        body = draw_lesion(random).at(0)
        for reader in ("A/1", "A/2"):
            rows.append(measured(f"R{number}", 0, 0, read(body, random), reader))
    return rows


def calls_of_patient(name: str, error: MeasurementError, random: np.random.Generator) -> list[Call]:
    """Read one patient and return its calls beside what its true sizes give."""
    lesions = [draw_lesion(random) for _ in range(int(random.integers(1, 4)))]
    readings = [
        measured(name, number, visit, read(lesion.at(visit), random))
        for number, lesion in enumerate(lesions)
        for visit in range(VISITS)
    ]
    truth = [
        measured(name, number, visit, true_sizes(lesion.at(visit)))
        for number, lesion in enumerate(lesions)
        for visit in range(VISITS)
    ]
    settings = RespondSettings(criteria=CRITERIA_JUDGED, measurement_error=error)
    # the same targets in both: what is judged is the size, not the choice
    settings = replace(
        settings,
        variants=tuple(
            replace(CRITERIA[name], max_targets_per_organ=None, min_target_mm=0.0, min_target_quantity=0.0)
            for name in CRITERIA_JUDGED
        ),
    )
    studies = [
        StudyRecord(patient_id=name, study_date=day, lesions_assessable=True)
        for day in sorted({row.study_date for row in readings})
    ]
    patient = Patient(patient_id=name)
    found, true = (respond(patient, studies, rows, settings).assessments for rows in (readings, truth))
    return [
        Call(
            criterion=row.criterion,
            visit=(row.study_date - START).days // 60,
            chances=(row.p_cr or 0.0, row.p_pr or 0.0, row.p_sd or 0.0, row.p_pd or 0.0),
            called=row.overall,
            true=other.overall,
        )
        for row, other in zip(found, true, strict=True)
        if row.overall in CATEGORIES and other.overall in CATEGORIES and row.p_cr is not None
    ]


def bins_of(stated: Floats, is_right: Floats) -> tuple[Bin, ...]:
    """Sort probabilities into tenths and count how often each came true."""
    index = np.minimum((stated * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            n=int((index == number).sum()),
            stated=float(stated[index == number].mean()),
            observed=float(is_right[index == number].mean()),
        )
        for number in range(BINS)
        if (index == number).any()
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance of stated and observed, weighted by the calls."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.stated - one.observed) for one in bins) / total


def of_called(calls: Sequence[Call]) -> tuple[Bin, ...]:
    """Return the bins of the probability of the response that was called."""
    stated = np.array([call.chances[CATEGORIES.index(call.called)] for call in calls])
    return bins_of(stated, np.array([float(call.called is call.true) for call in calls]))


def of_every_category(calls: Sequence[Call]) -> tuple[Bin, ...]:
    """Return the bins of all four probabilities of every call."""
    stated = np.array([call.chances for call in calls]).ravel()
    return bins_of(
        stated, np.array([[float(word is call.true) for word in CATEGORIES] for call in calls]).ravel()
    )


def judge(patients: int, seed: int) -> tuple[MeasurementError, list[Call]]:
    """Estimate the error from repeated readings and return the calls of a cohort."""
    random = np.random.default_rng(seed)
    settings = RespondSettings()
    error = error_of_repeats(repeated_readings(random, lesions=60), settings.measurement_error)
    calls = []
    for number in range(patients):
        calls += calls_of_patient(f"P{number:04d}", error, random)
    return error, calls


def draw(bins: Sequence[Bin], file: Path) -> None:
    """Draw stated against observed probability."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.2, 4.2))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([one.stated for one in bins], [one.observed for one in bins], "o-", color="#1f5f8b")
    for one in bins:
        axes.annotate(
            str(one.n), (one.stated, one.observed), textcoords="offset points", xytext=(6, -10), size=7
        )
    axes.set(xlabel="stated probability", ylabel="share that is true", xlim=(0, 1), ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, write them where asked; 0 where the bar holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--figure", type=Path, help="figure to write (.svg, .png, .pdf)")
    chosen = parser.parse_args(argv)
    error, calls = judge(chosen.patients, chosen.seed)
    print(f"error of one reading: {error}")
    figures = {
        "called response": calibration_error(of_called(calls)),
        "every category": calibration_error(of_every_category(calls)),
    }
    for name in CRITERIA_JUDGED:
        figures[f"called response, {name}"] = calibration_error(
            of_called([call for call in calls if call.criterion == name])
        )
    rows = [
        {
            "name": f"expected calibration error, {name}",
            "value": round(value, 4),
            "unit": "",
            "bar": BAR,
            "holds": value <= BAR,
        }
        for name, value in figures.items()
    ]
    for row in rows:
        print(f"{row['name']:<50} {row['value']:.4f}  bar {BAR}  {'holds' if row['holds'] else 'MISSED'}")
    for one in of_called(calls):
        print(f"  stated {one.stated:.3f}  observed {one.observed:.3f}  n {one.n}")
    right = sum(call.called is call.true for call in calls) / len(calls)
    print(f"{len(calls)} calls, {100.0 * right:.1f} % of them the true response")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if chosen.figure:
        draw(of_called(calls), chosen.figure)
    return 0 if all(row["holds"] for row in rows[:2]) else 1


if __name__ == "__main__":
    sys.exit(main())
