"""Set what networks in bfloat16 make of the scenario suite beside what they make of it in float32.

``precision_study.py --suite FOLDER --out OUT`` takes the scenarios that ``scenario_suite.py --out FOLDER`` made (and
makes those that are missing), assesses each with the networks in both number formats, and compares the masks of liver
and lesions of every study, and every category. OUT keeps what is finished; a second call goes on. ``--format`` names
what is set beside float32: ``bfloat16`` and ``bfloat16-cuda`` are emulated (as on a processor, as on CUDA),
``autocast`` is PyTorch's own, and ``auto`` is what the program does by itself on this machine. ``--windows N`` shows
how close the emulation comes to autocast: what the networks answer to the first N windows of the first study of each
scenario.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from emulated_bfloat16 import emulate_bfloat16
from figures import Figure, at_least, at_most, publish, reported
from scenario_suite import SCENARIOS, Examined, differences, excused, read_truth

from mrresponse import Settings, assess_patient, pipeline
from mrresponse.domain import BoolArray, MeasurementSource, PatientResult
from mrresponse.errors import DataError
from mrresponse.evaluate import dice
from mrresponse.geometry import to_canonical, to_grid_order
from mrresponse.ingest import ingest
from mrresponse.segment import Segmenter, SegmentSettings
from mrresponse.segment.network import (
    Network,
    lesion_probability,
    liver_probability,
    load_lesion_network,
    load_liver_network,
)
from mrresponse.synthetic.scenarios import generate

FORMATS = ("bfloat16", "bfloat16-cuda", "autocast", "auto")
LEAST_DICE = 0.995
CATEGORIES = ("target", "non_target", "new_lesions", "liver_response", "overall")
BEST = ("best_overall_response", "confirmed_best_overall_response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A mask of a part of a volume: ``mask[0, 0, 0]`` is voxel ``start`` of it."""

    mask: BoolArray
    start: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The masks of one study in two number formats: voxels of each, and their Dice; ``None`` where both are empty."""

    study: str
    mask: str
    voxels: tuple[int, int]
    dice: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one number format made of a scenario."""

    masks: Mapping[str, Placed]
    categories: Mapping[str, str]
    diameters: Mapping[str, float]
    wrong: Sequence[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return the exit code: 1 where the formats do not agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suite", type=Path, required=True, help="folder of scenario_suite.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for what was found")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="what float32 is compared with")
    parser.add_argument(
        "--windows", type=int, default=0, help="compare this many windows by emulation and autocast"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    chosen = parser.parse_args(argv)
    if chosen.windows:
        return publish(
            emulation_figures(chosen.suite, chosen.scenarios, chosen.windows),
            chosen.json,
            last="Differences of bfloat16 to bfloat16 are those of sums in another order.",
        )
    pairs = {}
    for name in chosen.scenarios:
        make(chosen.suite / name, name)
        pairs[name] = tuple(
            examine(name, chosen.suite / name, chosen.out / name / number_format, number_format)
            for number_format in ("float32", chosen.format)
        )
    figures = agreement_figures(pairs)
    lowest = next(figure for figure in figures if figure.name == "lesion Dice, minimum")
    last = (
        f"{chosen.format} and float32: lowest Dice of lesions {lowest.value:.4f}, of {len(pairs)} scenarios."
    )
    return publish(figures, chosen.json, last=last)


def make(folder: Path, name: str) -> None:
    """Make the images of a scenario of the suite where they are not there."""
    if not (folder / "truth" / "truth.json").is_file():
        generate(name, size="standard", seed=1, image_format="nifti", out=folder)


def networks(number_format: str) -> tuple[Network, Network]:
    """Load both networks on the CPU, computing in a number format: the liver's, the lesions'."""
    precision = {"autocast": "bfloat16", "auto": "auto"}.get(number_format, "float32")
    settings = SegmentSettings(device="cpu", precision=precision)
    liver, lesions = load_liver_network(settings), load_lesion_network(settings)
    if number_format.startswith("bfloat16"):
        kind = "cuda" if number_format.endswith("cuda") else "cpu"
        emulate_bfloat16(liver.module, kind)
        emulate_bfloat16(lesions.module, kind)
    return liver, lesions


def segmenter(liver: Network, lesions: Network) -> Segmenter:
    """Return both networks as the segmenter that the program makes of them."""
    return Segmenter(
        name="networks",
        source=MeasurementSource.NETWORK,
        liver=lambda _study, _series, image: to_grid_order(
            liver_probability(liver, to_canonical(image)), image.grid
        ),
        lesions=lambda prepared: lesion_probability(lesions, prepared),
        suits=lesions.card.certainty,
    )


def examine(name: str, scenario: Path, out: Path, number_format: str) -> Found:
    """Assess a scenario in a number format, or read what was found before."""
    if not (out / "found.json").is_file():
        out.mkdir(parents=True, exist_ok=True)
        start, keep = time.process_time(), Examined()
        segments = segmenter(*networks(number_format))
        settings = Settings()
        patients = ingest(scenario / "data", settings.ingest).patients
        truth = read_truth(scenario / "truth")
        try:
            results = [assess_patient(patient, segments, settings, keep=keep) for patient in patients]
            wrong = excused(name, list(differences(truth, results, given_viable=False)), results)
        except DataError as error:
            results, wrong = [], [f"not assessed: {error.message}"]
        np.savez_compressed(out / "masks.npz", **dict(_arrays(keep)))
        row = {
            "categories": categories(results),
            "diameters": dict(_diameters(results)),
            "wrong": wrong,
            "cpu_seconds": time.process_time() - start,
        }
        (out / "found.json").write_text(json.dumps(row, indent=1), encoding="utf-8")
    row = json.loads((out / "found.json").read_text(encoding="utf-8"))
    with np.load(out / "masks.npz") as file:
        masks = {
            key: Placed(mask=file[key], start=tuple(file[f"{key} start"]))
            for key in file
            if not key.endswith("start")
        }
    return Found(
        masks=masks, categories=row["categories"], diameters=row["diameters"], wrong=tuple(row["wrong"])
    )


def _arrays(keep: Examined) -> Iterator[tuple[str, Any]]:
    for day, study in keep.studies.items():
        found = {"liver": study.prepared.liver, "lesion": study.lesion_map.labels}
        for name, labels in found.items():
            yield f"{day} {name}", labels.voxels > 0
            yield f"{day} {name} start", np.asarray(study.prepared.crop_start)


def _diameters(results: Sequence[PatientResult]) -> Iterator[tuple[str, float]]:
    for result in results:
        for row in result.measurements:
            if row.longest_diameter_mm is not None:
                yield f"{row.study_date} {row.lesion_id}", row.longest_diameter_mm


def categories(results: Sequence[PatientResult]) -> dict[str, str]:
    """Return every category of every visit and criterion, and the best responses; "" where there is none."""
    found: dict[str, str] = {}
    for result in results:
        for row in result.response.assessments:
            where = f"{row.patient_id} {row.treatment_phase} {row.criterion} {row.study_date}"
            found |= {f"{where} {name}": str(getattr(row, name) or "") for name in CATEGORIES}
        for summary in result.response.summaries:
            where = f"{summary.patient_id} {summary.treatment_phase} {summary.criterion} {summary.basis}"
            found |= {f"{where} {name}": str(getattr(summary, name) or "") for name in BEST}
    return found


def overlap(one: Placed, other: Placed) -> float | None:
    """Return the Dice of two masks of parts of the same volume; ``None`` where both are empty."""
    shape = np.max([np.add(part.start, part.mask.shape) for part in (one, other)], axis=0)
    whole = []
    for part in (one, other):
        voxels = np.zeros(shape, dtype=bool)
        voxels[tuple(slice(a, a + n) for a, n in zip(part.start, part.mask.shape, strict=True))] = part.mask
        whole.append(voxels)
    return dice(whole[0], whole[1])


def overlaps(scenario: str, one: Found, other: Found) -> list[Overlap]:
    """Return the overlap of every mask of a scenario in two number formats."""
    return [
        Overlap(
            study=f"{scenario} {key.split()[0]}",
            mask=key.split()[1],
            voxels=(int(one.masks[key].mask.sum()), int(other.masks[key].mask.sum())),
            dice=overlap(one.masks[key], other.masks[key]),
        )
        for key in one.masks
    ]


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[list[str], int]:
    """Return what is another category, or is there only once, and how many categories there are."""
    keys = [key for key in {**one, **other} if one.get(key) or other.get(key)]
    lines = [
        f"{key}: {one.get(key) or '-'} -> {other.get(key) or '-'}"
        for key in keys
        if one.get(key) != other.get(key)
    ]
    return lines, len(keys)


def agreement_figures(pairs: Mapping[str, Sequence[Found]]) -> list[Figure]:
    """Print what differs, and return how well two number formats agree over scenarios."""
    rows = [row for name, (one, other) in pairs.items() for row in overlaps(name, one, other)]
    lines: list[str] = []
    compared = 0
    for name, (one, other) in pairs.items():
        some, count = changed(one.categories, other.categories)
        lines += [f"{name} {line}" for line in some]
        compared += count
    lines += [
        f"{row.study} {row.mask}: Dice {'-' if row.dice is None else f'{row.dice:.4f}'}, voxels {row.voxels}"
        for row in rows
        if row.mask == "lesion" or (row.dice is not None and row.dice < LEAST_DICE)
    ]
    print("\n".join(lines))
    apart = [
        abs(one.diameters[key] - other.diameters[key])
        for one, other in pairs.values()
        for key in one.diameters.keys() & other.diameters.keys()
    ]
    lesions = [(len(one.diameters), len(other.diameters)) for one, other in pairs.values()]
    # without the reason, which has the sums in it
    missed = [[{line.split(" (")[0] for line in found.wrong} for found in pair] for pair in pairs.values()]
    expectations = [one ^ other for one, other in missed]
    return [
        *chain.from_iterable(_dice_figures(rows, mask) for mask in ("liver", "lesion")),
        reported("categories compared", compared, ""),
        at_most("categories changed", sum("->" in line for line in lines), "", 0),
        at_most("expectations answered otherwise", sum(map(len, expectations)), "", 0),
        reported("expectations missed in float32", sum(len(one.wrong) for one, _ in pairs.values()), ""),
        reported(
            "expectations missed in the other", sum(len(other.wrong) for _, other in pairs.values()), ""
        ),
        reported("measured lesions in float32", sum(one for one, _ in lesions), ""),
        reported("measured lesions in the other", sum(other for _, other in lesions), ""),
        reported("diameters: largest difference", max(apart, default=0.0), "mm"),
        reported("diameters: median difference", median(apart) if apart else 0.0, "mm"),
    ]


def _dice_figures(rows: Sequence[Overlap], mask: str) -> Iterator[Figure]:
    mine = [row for row in rows if row.mask == mask]
    found = [row.dice for row in mine if row.dice is not None]
    yield at_least(f"{mask} Dice, minimum", min(found), "", LEAST_DICE)
    yield reported(f"{mask} Dice, median", median(found), "")
    yield reported(f"{mask} Dice below {LEAST_DICE}", sum(value < LEAST_DICE for value in found), "")
    yield reported(f"{mask} masks compared", len(found), "")
    yield reported(f"{mask} masks empty in both", len(mine) - len(found), "")


def emulation_figures(suite: Path, scenarios: Sequence[str], count: int) -> list[Figure]:
    """Compare what emulation, autocast and float32 answer to the same windows, logits and probabilities."""
    shown = [windows(suite / name, count) for name in scenarios]
    made = {name: networks(name) for name in ("float32", *FORMATS)}
    figures: list[Figure] = []
    for place, which in enumerate(("liver", "lesions")):
        inputs = list(chain.from_iterable(both[place] for both in shown))
        answers = {name: [answer(both[place], one) for one in inputs] for name, both in made.items()}
        figures.append(reported(f"{which}: windows", len(inputs), ""))
        for one, other in (
            ("bfloat16", "autocast"),
            ("float32", "autocast"),
            ("float32", "bfloat16"),
            ("float32", "bfloat16-cuda"),
        ):
            figures += distances(f"{which}: {one}, {other}", answers[one], answers[other])
    return figures


def windows(scenario: Path, count: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the first windows that each network is shown of the first study of a scenario: liver, lesions."""
    settings = Settings()
    both = networks("float32")
    seen: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for network, mine in zip(both, seen, strict=True):
        network.module.register_forward_pre_hook(
            lambda _module, inputs, mine=mine: mine.append(inputs[0].clone())
        )
    study = ingest(scenario / "data", settings.ingest).patients[0].studies[0]
    pipeline.examine(study, segmenter(*both), settings)
    return seen[0][:count], seen[1][:count]


def answer(network: Network, window: torch.Tensor) -> torch.Tensor:
    """Return the logits of a network for a window, as float32."""
    with torch.inference_mode(), network.autocast():
        found: torch.Tensor = network.module(window.clone()).float()
    return found


def distances(name: str, some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> Iterator[Figure]:
    """Yield largest and mean difference of logits ``[1, class, i, j, k]``, and of the probabilities they give."""
    chances = [[torch.softmax(one, dim=1) for one in logits] for logits in (some, others)]
    for what, (first, second) in {"logits": (some, others), "probabilities": chances}.items():
        apart = torch.cat([(a - b).abs().flatten() for a, b in zip(first, second, strict=True)])
        yield reported(f"{name}, {what}, largest", float(apart.max()), "")
        yield Figure(name=f"{name}, {what}, mean", value=float(apart.mean()), unit="")


if __name__ == "__main__":
    sys.exit(main())
