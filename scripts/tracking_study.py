"""Measure how well lesions are followed through random histories whose truth is known.

``tracking_study.py --histories 200 --json FILE`` draws livers of three or four studies with lesions that grow, shrink,
split, grow together, appear, vanish and come back. The liver moves, turns, changes its size and bends between studies;
label values are drawn anew in every study, so the tracker never sees who is who. Histories are followed with the true
masks and with masks whose Dice with the truth is 0.8.

Identity F1 (Ristani 2016): lesions found and true lesions are paired one to one so that most labels agree; F1 is twice
the labels that agree over all labels on both sides. Every label that does not is listed by kind.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import Figure, at_least, publish, reported
from scipy.optimize import linear_sum_assignment

from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    GivenLesions,
    Grid,
    Image,
    LabelMap,
    LesionTrack,
    PreparedStudy,
    Series,
    Study,
)
from mrresponse.geometry import voxel_to_world
from mrresponse.lesions import LesionSettings, find_lesions
from mrresponse.track import TrackSettings, track

Floats = npt.NDArray[np.float64]
SPACING_MM = (4.0, 4.0, 4.0)
# Two lobes of different size, so that the outline says how the liver is turned: centres and semi-axes.
LOBES_MM = (
    (np.array([-25.0, 0.0, 0.0]), np.array([60.0, 62.0, 58.0])),
    (np.array([45.0, 18.0, 12.0]), np.array([52.0, 30.0, 28.0])),
)
REACH_MM = np.array([100.0, 70.0, 65.0])
DICE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An ellipsoid in the anatomy at rest, and the lesion it belongs to."""

    identity: str
    centre: Floats
    axes: Floats

    def level(self, points: Floats) -> Floats:
        """Return 0 in the centre, 1 on the surface, more outside."""
        return np.asarray(np.sqrt((((points - self.centre) / self.axes) ** 2).sum(axis=-1)))

    @property
    def volume(self) -> float:
        """Volume up to a constant."""
        return float(self.axes.prod())


@dataclass(slots=True, kw_only=True)
class Visit:
    """What is there at one study: groups of parts, each group drawn with one label, and its true identity."""

    groups: list[list[Part]] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Follow every history and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first history")
    parser.add_argument("--keep", type=Path, help="folder of finished histories, so that the study can go on")
    parser.add_argument("--json", type=Path, help="file to write")
    chosen = parser.parse_args(argv)
    results = []
    for seed in range(chosen.first, chosen.first + chosen.histories):
        file = None if chosen.keep is None else chosen.keep / f"history-{seed}.json"
        if file is not None and file.is_file():
            results.append(json.loads(file.read_text(encoding="utf-8")))
            continue
        results.append(follow_history(seed))
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(results[-1]), encoding="utf-8")
    right, total = Counter[str](), Counter[str]()
    errors = {"true": Counter[str](), "perturbed": Counter[str]()}
    events = Counter[str]()
    dice: list[float] = []
    for result in results:
        events.update(result["events"])
        dice += result["dice"]
        for masks in ("true", "perturbed"):
            right[masks] += result[masks]["right"]
            total[masks] += result[masks]["total"]
            errors[masks].update(result[masks]["wrong"])
    figures: list[Figure] = [reported("histories", chosen.histories, "")]
    figures += [reported(f"labels {name}", count, "") for name, count in sorted(events.items())]
    figures.append(reported("Dice of the perturbed masks (mean)", float(np.mean(dice)), ""))
    for masks, bar in (("true", 0.98), ("perturbed", 0.90)):
        figures.append(at_least(f"identity F1, {masks} masks", right[masks] / total[masks], "", bar))
        figures += [
            reported(f"  {masks} masks: {kind}", count, "labels")
            for kind, count in errors[masks].most_common()
        ]
    last = (
        f"Identity F1 is {right['true'] / total['true']:.3f} with true masks and "
        f"{right['perturbed'] / total['perturbed']:.3f} with masks of Dice {np.mean(dice):.2f}."
    )
    return publish(figures, chosen.json, last=last)


def follow_history(seed: int) -> dict[str, Any]:
    """Follow one history with both kinds of masks; print what went wrong, and return the counts."""
    visits = draw_history(np.random.default_rng([seed, 11]))
    events = Counter(event for visit in visits for event in visit.events if event != "first")
    result: dict[str, Any] = {"events": dict(events), "dice": []}
    worlds = [World.of(seed, number) for number in range(len(visits))]
    for masks in ("true", "perturbed"):
        studies, truth, dice = render(visits, worlds, seed, perturbed=masks == "perturbed")
        result["dice"] += dice
        right, total, wrong = score(track(studies, TrackSettings()).tracks, studies, truth, visits)
        result[masks] = {"right": right, "total": total, "wrong": dict(wrong)}
        for kind in sorted(wrong):
            print(f"history {seed}, {masks} masks: {wrong[kind]} x {kind}", flush=True)
    return result


def draw_history(rng: np.random.Generator) -> list[Visit]:
    """Draw lesions and what becomes of them, in the anatomy at rest."""
    visits = [Visit() for _ in range(int(rng.integers(3, 5)))]
    taken: list[Part] = []
    count = int(rng.integers(2, 7))
    numbers = iter(range(100))
    while count > 0:
        kind = str(rng.choice(["stays", "splits", "vanishes", "returns", "new", "merges"]))
        needed = 2 if kind == "merges" else 1
        # what falls apart is large enough for two fragments that can be seen
        least = 10.0 if kind == "splits" else 5.0
        placed = _place(rng, taken, pair=kind == "merges", least=least)
        if placed is None:
            break
        parts = [replace(part, identity=f"T{next(numbers)}") for part in placed]
        taken += parts
        _live(kind, parts, visits, rng)
        count -= needed
    return visits


def _place(rng: np.random.Generator, taken: Sequence[Part], *, pair: bool, least: float) -> list[Part] | None:
    """Find room for a lesion, or for two neighbours, well inside the liver and off the others."""
    for _ in range(200):
        radius = float(np.clip(np.exp(rng.normal(np.log(9.0), 0.35)), least, 18.0))
        centre = rng.uniform(-0.9, 0.9, 3) * REACH_MM
        parts = [Part(identity="", centre=centre, axes=radius * rng.uniform(0.8, 1.2, 3))]
        if pair:
            other = float(np.clip(radius * rng.uniform(0.5, 0.9), 5.0, 18.0))
            way = rng.normal(size=3)
            way /= np.linalg.norm(way)
            reach = 1.2 * radius + 1.2 * other + rng.uniform(3.0, 6.0)
            axes = other * rng.uniform(0.8, 1.2, 3)
            parts.append(Part(identity="", centre=centre + reach * way, axes=axes))
        inside = all(bool(_liver_level(part.centre[None], 1.4 * part.axes.max())[0] < 1.0) for part in parts)
        room = all(
            np.linalg.norm(part.centre - other.centre) > 1.7 * (part.axes.max() + other.axes.max()) + 4.0
            for part in parts
            for other in taken
        )
        if inside and room:
            return parts
    return None


def _live(kind: str, parts: list[Part], visits: list[Visit], rng: np.random.Generator) -> None:
    """Draw one lesion, or two that merge, at every study."""
    turn = int(rng.integers(1, len(visits)))
    back = int(rng.integers(turn + 1, len(visits))) if turn + 1 < len(visits) else len(visits)
    growth = float(rng.uniform(0.8, 1.25))
    drawn = False
    for number, visit in enumerate(visits):
        scale = float(np.clip(growth**number, 0.8 if kind == "splits" else 0.55, 1.6))
        now = [replace(part, axes=part.axes * scale) for part in parts]
        if (kind == "new" and number < turn) or (kind == "vanishes" and number >= turn):
            continue
        if kind == "returns" and turn <= number < back:
            continue
        if kind == "splits" and number >= turn:
            groups, owners, event = [[one] for one in _halves(now[0], rng)], [now[0].identity] * 2, "split"
        elif kind == "merges" and number >= turn:
            largest = max(now, key=lambda one: one.volume)
            groups, owners, event = [_bridged(now)], [largest.identity], "merged"
        else:
            groups, owners = [[one] for one in now], [one.identity for one in now]
            event = "returned" if kind == "returns" and number >= back else "followed"
            event = event if drawn else ("new" if number else "first")
        drawn = True
        visit.groups += groups
        visit.owners += owners
        visit.events += [event] * len(owners)


def _halves(part: Part, rng: np.random.Generator) -> list[Part]:
    """Return the two fragments of a lesion, within what it was and 4 mm apart."""
    axis = int(part.axes.argmax())
    step = np.zeros(3)
    step[axis] = part.axes[axis] * 0.5 + 2.0
    axes = part.axes * 0.75
    axes[axis] = part.axes[axis] * 0.5
    share = float(rng.uniform(0.7, 1.0))
    return [
        Part(identity=part.identity, centre=part.centre - step, axes=axes),
        Part(identity=part.identity, centre=part.centre + step, axes=axes * share),
    ]


def _bridged(parts: Sequence[Part]) -> list[Part]:
    """Return two lesions, grown by a quarter, with a body between them that joins them."""
    one, other = parts
    middle = (one.centre + other.centre) / 2.0
    width = float(min(one.axes.min(), other.axes.min()))
    reach = np.abs(other.centre - one.centre) / 2.0
    return [
        replace(one, axes=one.axes * 1.25),
        replace(other, axes=other.axes * 1.25),
        Part(identity=one.identity, centre=middle, axes=np.maximum(reach, width)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """One study's grid, where its points lie in the anatomy at rest, and its liver."""

    grid: Grid
    rest: Floats
    liver: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, seed: int, number: int) -> "World":
        """Move the liver for one study."""
        grid = _grid()
        points = voxel_to_world(grid, np.indices(grid.shape).reshape(3, -1).T)
        rest = _moved(points, np.random.default_rng([seed, number, 7]))
        inside = _liver_level(rest, 0.0) * _bumps(rest) <= 1.0
        return cls(grid=grid, rest=rest, liver=inside)


def render(
    visits: Sequence[Visit], worlds: Sequence[World], seed: int, *, perturbed: bool
) -> tuple[list[ExaminedStudy], list[dict[int, int]], list[float]]:
    """Draw every study in its own world; return the studies, which group each label is, and the Dice reached."""
    studies, truth, dice = [], [], []
    for number, (visit, world) in enumerate(zip(visits, worlds, strict=True)):
        rng = np.random.default_rng([seed, number, 13])
        values = rng.permutation(np.arange(1, 60))[: len(visit.groups)]
        labels = np.zeros(len(world.rest), dtype=np.uint16)
        for value, group in zip(values, visit.groups, strict=True):
            near = np.flatnonzero(_is_near(group, world.rest))
            rest = world.rest[near]
            level = np.min([part.level(rest) for part in group], axis=0)
            mask = level <= 1.0
            if perturbed:
                mask, reached = _perturbed(level, rest, rng)
                dice.append(reached)
            drawn = near[mask]
            labels[drawn[labels[drawn] == 0]] = value
        studies.append(_study(number, world.grid, world.liver | (labels > 0), labels))
        truth.append({int(value): row for row, value in enumerate(values)})
    return studies, truth, dice


def _is_near(group: Sequence[Part], rest: Floats) -> npt.NDArray[np.bool_]:
    low = np.min([part.centre - 2.5 * part.axes for part in group], axis=0)
    high = np.max([part.centre + 2.5 * part.axes for part in group], axis=0)
    return np.asarray(((rest > low) & (rest < high)).all(axis=1))


def _perturbed(level: Floats, rest: Floats, rng: np.random.Generator) -> tuple[npt.NDArray[np.bool_], float]:
    """Bend the surface by smooth noise, as much as brings the Dice to the bar."""
    waves = np.zeros(len(level))
    for _ in range(8):
        way = rng.normal(size=3)
        way *= 2.0 * np.pi / (rng.uniform(12.0, 40.0) * np.linalg.norm(way))
        waves += np.sin(rest @ way + rng.uniform(0.0, 2.0 * np.pi))
    waves = waves / 2.0 + rng.normal(0.0, 0.5)
    true = level <= 1.0
    low, high = 0.0, 1.5
    for _ in range(14):
        middle = (low + high) / 2.0
        if _dice(level + middle * waves <= 1.0, true) > DICE:
            low = middle
        else:
            high = middle
    bent = level + low * waves <= 1.0
    return bent, _dice(bent, true)


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return 2.0 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)


def _moved(points: Floats, rng: np.random.Generator) -> Floats:
    """Return where image points lie in the anatomy at rest: shifted, turned, scaled and bent."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3) * [0.5, 0.5, 1.0], degrees=True).as_matrix()
    moved = (points - rng.uniform(-15, 15, 3)) @ turn.T / rng.uniform(0.97, 1.03)
    bend = np.zeros_like(moved)
    for axis in range(3):
        for _ in range(3):
            way = rng.normal(size=3)
            way *= np.pi / (60.0 * np.linalg.norm(way))
            bend[:, axis] += np.sin(points @ way + rng.uniform(0, 2 * np.pi))
    return np.asarray(moved + rng.uniform(2.0, 4.0) * bend / np.sqrt(1.5))


def _liver_level(points: Floats, margin_mm: float) -> Floats:
    """Return below 1 inside one of the lobes, each smaller by a margin."""
    levels = [
        np.sqrt((((points - centre) / np.maximum(axes - margin_mm, 1.0)) ** 2).sum(axis=-1))
        for centre, axes in LOBES_MM
    ]
    return np.asarray(np.minimum(*levels))


def _bumps(rest: Floats) -> Floats:
    """Make the outline uneven."""
    x, y, z = (rest / REACH_MM).T
    return np.asarray(1.0 + 0.06 * np.sin(3.0 * x + 1.0) * np.cos(4.0 * y) + 0.05 * x * z)


def _grid() -> Grid:
    half = np.ceil((REACH_MM + 28.0) / np.asarray(SPACING_MM)).astype(int)
    i, j, k = (int(2 * count + 1) for count in half)
    rows = tuple(
        tuple(
            step if column == axis else -float(half[axis]) * step if column == 3 else 0.0
            for column in range(4)
        )
        for axis, step in enumerate(SPACING_MM)
    )
    return Grid(shape=(i, j, k), affine_rows=rows)


def _study(
    number: int, grid: Grid, liver: npt.NDArray[np.bool_], labels: npt.NDArray[np.uint16]
) -> ExaminedStudy:
    series = Series(path=Path("drawn"), contrast_phase=ContrastPhase.ARTERIAL)
    day = date(2024, 1, 10) + timedelta(days=60 * number)
    mask = liver.reshape(grid.shape)
    prepared = PreparedStudy(
        study=Study(patient_id="P001", study_date=day, series=(series,)),
        grid=grid,
        native_grid=grid,
        crop_start=(0, 0, 0),
        images={},
        reference=ContrastPhase.ARTERIAL,
        liver=LabelMap(voxels=mask.astype(np.uint16), grid=grid),
        liver_probability=Image(voxels=mask.astype(np.float32), grid=grid),
    )
    given = GivenLesions(labels=LabelMap(voxels=labels.reshape(grid.shape), grid=grid))
    return ExaminedStudy(prepared=prepared, lesion_map=find_lesions(prepared, given, LesionSettings()))


def score(
    tracks: Sequence[LesionTrack],
    studies: Sequence[ExaminedStudy],
    truth: Sequence[dict[int, int]],
    visits: Sequence[Visit],
) -> tuple[int, int, Counter[str]]:
    """Return the labels that agree under the best pairing, all labels, and the others by kind."""
    dates = [study.study_date for study in studies]
    found: list[tuple[str, str, str]] = []
    for one in tracks:
        for seen in one.observations:
            number = dates.index(seen.study_date)
            for label in seen.labels:
                # a mask of one label in several pieces is split by the program: every piece is that lesion
                row = truth[number].get(label, 0 if len(truth[number]) == 1 else -1)
                found.append((one.lesion_id, visits[number].owners[row], visits[number].events[row]))
    names = sorted({name for name, _, _ in found})
    owners = sorted({owner for _, owner, _ in found})
    agree = np.zeros((len(names), len(owners)), dtype=int)
    for name, owner, _ in found:
        agree[names.index(name), owners.index(owner)] += 1
    pairs = {names[row]: owners[column] for row, column in zip(*linear_sum_assignment(-agree), strict=True)}
    wrong: Counter[str] = Counter()
    for name, owner, event in found:
        if pairs.get(name) != owner:
            is_other = name in pairs and agree[names.index(name), owners.index(pairs[name])] > 0
            wrong[f"{event}: {'taken for another lesion' if is_other else 'given an id of its own'}"] += 1
    right = sum(pairs.get(name) == owner for name, owner, _ in found)
    return right, len(found), wrong


if __name__ == "__main__":
    sys.exit(main())
