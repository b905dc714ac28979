"""Choose what counts as a lesion in the probabilities of the lesion network, on synthetic studies of their own seeds.

``tune_lesions.py --cases 30 --json FILE`` runs the line on the set ``tuning`` (drawn as the set ``unseen`` of
``evaluate.py``, from other seeds), tries every combination of a threshold, a least peak, a least mean and an outline,
and prints the best ones. The first is the best by panoptic quality with Dice as the overlap (Kirillov et al., CVPR
2019): the sum of the Dice of all found lesions over their number, half of the missed and half of the false ones
added. Lesions below 10 mm are neither missed nor false.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mrresponse.config import Settings, load_settings
from mrresponse.domain import GivenLesions, Image, LabelArray, PreparedStudy
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.evaluate import LesionComparison, compare_lesions
from mrresponse.geometry import canonical_grid, paste
from mrresponse.lesions import LesionSettings, find_lesions
from mrresponse.measure import MeasureSettings
from mrresponse.segment import Segmenter, make_segmenter
from mrresponse.synthetic.judging import JudgingCase, JudgingSet, judging_cases
from mrresponse.training.judge import LEAST_MM, counted, examined_case, true_instances

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8)
PEAKS = (0.7, 0.9, 0.95, 0.98)
MEANS = (0.5, 0.8, 0.85, 0.9)
CLOSER = (0.0, 0.15, 0.25)
"""How much above the threshold the outline is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """What the networks said of one study, and the truth as instance labels on the grid of the images."""

    prepared: PreparedStudy
    found: Image | GivenLesions
    truth: LabelArray


def answered(case: JudgingCase, segmenter: Segmenter, settings: Settings) -> Answered:
    """Run the line on a case up to the lesion probability."""
    answers: list[Image | GivenLesions] = []

    def lesions(prepared: PreparedStudy) -> Image | GivenLesions:
        answers.append(segmenter.lesions(prepared))
        return answers[-1]

    examined = examined_case(case.study, replace(segmenter, lesions=lesions), settings)
    return Answered(prepared=examined.prepared, found=answers[0], truth=true_instances(case.study))


def compared(answer: Answered, settings: LesionSettings) -> LesionComparison:
    """Compare the lesions of a study, as these settings find them, with the truth."""
    prepared = answer.prepared
    lesion_map = find_lesions(prepared, answer.found, settings)
    grid = canonical_grid(prepared.native_grid)
    labels = paste(counted(prepared, lesion_map.labels, MeasureSettings()), prepared.crop_start, grid).voxels
    return compare_lesions(labels, answer.truth, grid.spacing_mm, voxel_volume_ml=grid.voxel_volume_ml)


def figures(comparisons: Sequence[LesionComparison]) -> dict[str, float | int | None]:
    """Return detection, outline and diameter over all studies, lesions of 10 mm or more."""
    matches = [one for scan in comparisons for one in scan.matches if one.reference_diameter_mm >= LEAST_MM]
    missed = sum(mm >= LEAST_MM for scan in comparisons for mm in scan.missed_diameters_mm)
    false = sum(mm >= LEAST_MM for scan in comparisons for mm in scan.false_positive_diameters_mm)
    every_false = sum(len(scan.false_positive_diameters_mm) for scan in comparisons)
    errors = [one.predicted_diameter_mm - one.reference_diameter_mm for one in matches]
    return {
        "panoptic_quality": sum(one.dice for one in matches)
        / max(1.0, len(matches) + 0.5 * missed + 0.5 * false),
        "lesions": len(matches) + missed,
        "found": len(matches),
        "false_per_scan": every_false / len(comparisons),
        "dice": float(np.mean([one.dice for one in matches])) if matches else None,
        "diameter_bias_mm": float(np.mean(errors)) if matches else None,
        "diameter_error_median_mm": float(np.median(np.abs(errors))) if matches else None,
    }


def tried(answers: Sequence[Answered], base: LesionSettings) -> Iterator[dict[str, Any]]:
    """Yield every combination of thresholds with its figures."""
    for threshold, peak, mean, closer in product(THRESHOLDS, PEAKS, MEANS, CLOSER):
        outline = round(threshold + closer, 2)
        if outline <= peak:
            settings = replace(base, threshold=threshold, least_peak=peak, least_mean=mean, outline=outline)
            yield {**asdict(settings), **figures([compared(one, settings) for one in answers])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the best settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--config", type=Path, help="settings of mrresponse, for models of one's own")
    parser.add_argument("--json", type=Path, help="all combinations with their figures")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(chosen.config)
        segmenter = make_segmenter(settings.segment)
        answers = [
            answered(case, segmenter, settings)
            for case in judging_cases(JudgingSet.TUNING, count=chosen.cases)
        ]
    except (ConfigError, ModelError, DataError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    rows = sorted(tried(answers, settings.lesions), key=lambda row: -row["panoptic_quality"])
    if chosen.json is not None:
        text = json.dumps({"cases": chosen.cases, "tried": rows}, indent=1)
        chosen.json.write_text(text + "\n", encoding="utf-8")
    for row in rows[:10]:
        rounded = {key: None if value is None else round(value, 3) for key, value in row.items()}
        sys.stdout.write(json.dumps(rounded) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
