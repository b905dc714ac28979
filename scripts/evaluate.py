"""Judge the shipped line against reference masks.

``liver`` runs the same functions as ``mrresponse run`` on ``image_X.nii.gz`` and compares the liver with
one label of ``label_X.nii.gz`` beside it; an image without a stated contrast is ``OTHER``. ``lesions``
compares folders of instance masks of equal names. ``synthetic`` runs the line on fixed sets of synthetic
studies with known truth. Cases that cannot be judged are recorded in the result
and give exit code 1.

``synthetic --out FILE`` keeps each case in the folder FILE.cases as soon as it is judged; the same command
goes on where it was stopped, and gives the result of a run that never was. Cases judged with another set,
model, version or other settings are an error: remove the folder, or name another file. Two processes share
a set with ``--part 1/2`` and ``--part 2/2``; the same command without ``--part`` then writes the result.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from mrresponse.config import Settings, load_settings
from mrresponse.domain import ContrastPhase, Image, LabelMap, Series, Study
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.evaluate import (
    bootstrap_interval,
    compare_lesions,
    dice,
    summarise_lesions,
    surface_dice,
)
from mrresponse.figures import save
from mrresponse.geometry import canonical_grid, paste, to_canonical, to_grid_order
from mrresponse.nifti import read_image, read_label_map, write_label_map
from mrresponse.pipeline import examine_images
from mrresponse.run_record import model_identity
from mrresponse.segment import Segmenter, make_segmenter
from mrresponse.synthetic.judging import JudgingSet, judging_case
from mrresponse.training.judge import JudgedCase, found_in, summarise
from mrresponse.training.judge_picture import case_picture, telling_cases
from mrresponse.training.judge_set import KeptCases, judge_set, judged_with

_log = logging.getLogger("evaluate")
_NO_DATE = date(1900, 1, 1)
_SUFFIX = ".nii.gz"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one evaluation and return the exit code: 0 done, 1 some cases failed, 2 nothing was run."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        result: dict[str, Any] | None = options.evaluate(options)
    except (ConfigError, ModelError) as error:
        _log.error("%s", error)
        return 2
    if result is None:
        return 0
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if options.out is None:
        sys.stdout.write(text + "\n")
    else:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 1 if result["failures"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    liver = commands.add_parser("liver", help="the liver found by the networks")
    liver.add_argument("--images", type=Path, required=True, help="folder of image_X.nii.gz")
    liver.add_argument("--labels", type=Path, required=True, help="folder of label_X.nii.gz")
    liver.add_argument("--label", type=int, required=True, help="label of the liver in the reference")
    liver.add_argument(
        "--contrast", type=ContrastPhase, choices=list(ContrastPhase), default=ContrastPhase.OTHER
    )
    liver.add_argument("--config", type=Path, help="settings; default: those of the program")
    liver.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    liver.add_argument("--keep-masks", type=Path, help="folder to write the found livers to")
    liver.add_argument("--out", type=Path, help="JSON file; default: the terminal")
    liver.set_defaults(evaluate=_evaluate_liver)
    lesions = commands.add_parser("lesions", help="instance masks of lesions against reference masks")
    lesions.add_argument("--predictions", type=Path, required=True, help="folder of X.nii.gz")
    lesions.add_argument("--references", type=Path, required=True, help="folder of X.nii.gz")
    lesions.add_argument("--least-iou", type=float, default=0.1)
    lesions.add_argument("--out", type=Path, help="JSON file; default: the terminal")
    lesions.set_defaults(evaluate=_evaluate_lesions)
    synthetic = commands.add_parser(
        "synthetic", help="the networks on synthetic studies that no training saw"
    )
    synthetic.add_argument("--set", type=JudgingSet, choices=list(JudgingSet), required=True)
    synthetic.add_argument("--cases", type=_count, default=100, help="how many of the set, in its order")
    synthetic.add_argument(
        "--part", type=_part, help="i/N: judge and keep every N-th case, from the i-th on; needs --out"
    )
    synthetic.add_argument("--config", type=Path, help="settings; default: those of the program")
    synthetic.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    synthetic.add_argument(
        "--out", type=Path, help="JSON file, and FILE.cases to go on from; default: the terminal"
    )
    synthetic.add_argument(
        "--pictures",
        type=Path,
        help="folder for SET-best.png, SET-median.png and SET-worst.png, by the Dice of the lesions (of the "
        "liver where there is no lesion and none was found); these cases are rendered again",
    )
    synthetic.set_defaults(evaluate=_evaluate_synthetic)
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found '{text}', expected a number from 1")
    return int(text)


def _part(text: str) -> tuple[int, int]:
    """Read ``i/N``."""
    number, _, count = text.partition("/")
    if not all(one.isascii() and one.isdigit() for one in (number, count)) or not 1 <= int(number) <= int(
        count
    ):
        raise argparse.ArgumentTypeError(f"found '{text}', expected i/N with i from 1 to N, as 1/2")
    return int(number), int(count)


def _settings(options: argparse.Namespace) -> Settings:
    settings = load_settings(options.config)
    if options.device is None:
        return settings
    return replace(settings, segment=replace(settings.segment, device=options.device))


def _evaluate_liver(options: argparse.Namespace) -> dict[str, Any]:
    settings = _settings(options)
    images = _files(options.images, "image_", "--images")
    segmenter = make_segmenter(settings.segment)

    def judge(case: str) -> dict[str, Any]:
        reference = read_label_map(options.labels / f"label_{case}{_SUFFIX}")
        found, lesions = _find_liver(read_image(images[case]), options.contrast, segmenter, settings)
        if options.keep_masks is not None:
            options.keep_masks.mkdir(parents=True, exist_ok=True)
            write_label_map(options.keep_masks / f"liver_{case}{_SUFFIX}", found)
        return {"case": case, **_compare_livers(found, reference, options.label), "lesions": lesions}

    cases, failures = _judge_all(sorted(images), judge)
    scores = [case["dice"] for case in cases if case["dice"] is not None]
    return {
        "cases": cases,
        "mean_dice": float(np.mean(scores)) if scores else None,
        "interval": bootstrap_interval(scores),
        "model": segmenter.name,
        "failures": failures,
    }


def _find_liver(
    image: Image, contrast: ContrastPhase, segmenter: Segmenter, settings: Settings
) -> tuple[LabelMap, int | None]:
    """Return the liver on the file's own grid and the number of lesions, ``None`` where not assessable."""
    series = Series(path=Path("image"), contrast_phase=contrast, phase_reason="stated")
    study = Study(patient_id="case", study_date=_NO_DATE, series=(series,))
    examined = examine_images(study, {contrast: image}, segmenter, settings)
    prepared = examined.prepared
    full = paste(prepared.liver, prepared.crop_start, canonical_grid(prepared.native_grid))
    lesion_map = examined.lesion_map
    lesions = None if lesion_map.not_assessable is not None else len(lesion_map.lesions)
    return to_grid_order(full, prepared.native_grid), lesions


def _compare_livers(found: LabelMap, reference: LabelMap, label: int) -> dict[str, float | None]:
    reference = to_grid_order(reference, found.grid)
    predicted, expected = found.voxels > 0, reference.voxels == label
    if not expected.any():
        raise DataError(f"no voxel has the label {label} in the reference mask", code="empty")
    voxel_ml = reference.grid.voxel_volume_ml
    return {
        "dice": dice(predicted, expected),
        "surface_dice_2mm": surface_dice(predicted, expected, reference.grid.spacing_mm, tolerance_mm=2.0),
        "volume_ml": int(predicted.sum()) * voxel_ml,
        "reference_volume_ml": int(expected.sum()) * voxel_ml,
    }


def _evaluate_lesions(options: argparse.Namespace) -> dict[str, Any]:
    references = _files(options.references, "", "--references")
    compared = {}

    def judge(case: str) -> dict[str, Any]:
        # diameters are axial: the third axis has to be the one along the body
        reference = to_canonical(read_label_map(references[case]))
        predicted = to_grid_order(read_label_map(options.predictions / f"{case}{_SUFFIX}"), reference.grid)
        compared[case] = compare_lesions(
            predicted.voxels,
            reference.voxels,
            reference.grid.spacing_mm,
            voxel_volume_ml=reference.grid.voxel_volume_ml,
            least_iou=options.least_iou,
        )
        return {"case": case, **asdict(compared[case])}

    cases, failures = _judge_all(sorted(references), judge)
    summary = summarise_lesions(list(compared.values()))
    scores = [match.dice for comparison in compared.values() for match in comparison.matches]
    return {
        "cases": cases,
        "summary": asdict(summary),
        "dice_interval": bootstrap_interval(scores),
        "failures": failures,
    }


def _evaluate_synthetic(options: argparse.Namespace) -> dict[str, Any] | None:
    """Judge a set, or a part of it; a part has no result yet."""
    _check_synthetic(options)
    settings = _settings(options)
    model = model_identity(settings, None)
    kept = None
    if options.out is not None:
        folder = options.out.with_name(f"{options.out.name}.cases")
        kept = KeptCases.open(folder, judged_with(options.set, model, settings))
    segmenter = make_segmenter(settings.segment)
    number, count = options.part or (1, 1)
    numbers = range(number - 1, options.cases, count)
    cases = []
    for case in judge_set(options.set, segmenter, settings, numbers=numbers, kept=kept):
        cases.append(case)
        _log_case(case)
    if options.part is not None:
        _log.info("part %d/%d is judged; the same command without --part writes the result", number, count)
        return None
    if options.pictures is not None:
        _draw_pictures(options, cases, segmenter, settings)
    return {
        "set": options.set,
        "summary": summarise(cases),
        "cases": [asdict(case) for case in cases],
        "model": segmenter.name,
        "failures": [],
    }


def _check_synthetic(options: argparse.Namespace) -> None:
    """Refuse what would be noticed after the last case only."""
    if options.part is not None and options.out is None:
        raise ConfigError("--part: needs --out, where the cases of all parts are kept")
    if options.part is not None and options.pictures is not None:
        raise ConfigError(
            "--pictures: not with --part, which does not know the best and the worst of the set"
        )
    if options.out is not None and options.out.is_dir():
        raise ConfigError("--out: this is a folder, expected a file")
    if options.pictures is not None:
        try:
            options.pictures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--pictures: this folder cannot be made: {error.strerror}") from error


def _log_case(case: JudgedCase) -> None:
    found, missed = len(case.lesions.matches), len(case.lesions.missed_diameters_mm)
    false = len(case.lesions.false_positive_diameters_mm)
    _log.info(
        "%s: liver Dice %.3f, lesions %d found %d missed %d false",
        case.case,
        case.liver_dice,
        found,
        missed,
        false,
    )


def _draw_pictures(
    options: argparse.Namespace, judged: Sequence[JudgedCase], segmenter: Segmenter, settings: Settings
) -> None:
    for rank, number in telling_cases(judged).items():
        case = judging_case(options.set, number)
        found = found_in(case.study, segmenter, settings)
        figure = case_picture(case, found, judged[number], rank=f"{rank} of {len(judged)}")
        _log.info("%s", save(figure, options.pictures / f"{options.set}-{rank}.png"))


def _files(folder: Path, prefix: str, option: str) -> Mapping[str, Path]:
    """Return the NIfTI files of a folder by the name of their case."""
    found = {path.name[len(prefix) : -len(_SUFFIX)]: path for path in folder.glob(f"{prefix}*{_SUFFIX}")}
    if not found:
        raise ConfigError(f"{option}: no file {prefix}X{_SUFFIX} in this folder")
    return found


def _judge_all(
    names: Sequence[str], judge: Callable[[str], dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Judge every case; one that cannot be used is recorded and the others go on."""
    cases, failures = [], []
    for name in names:
        try:
            cases.append(judge(name))
        except DataError as error:
            failures.append({"case": name, "code": error.code, "message": error.message})
            _log.warning("%s: %s", name, error.message)
        else:
            score = cases[-1].get("dice")
            _log.info("%s: %s", name, "done" if score is None else f"Dice {score:.3f}")
    return cases, failures


if __name__ == "__main__":
    sys.exit(main())
