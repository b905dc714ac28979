"""Measure how often the whole line with the networks gives the response that the true masks give, over random courses.

``course_study.py --out FOLDER --patients 50 --json FILE`` makes patients of three to six studies
(`mrresponse.synthetic.judging_courses`), assesses each with the true masks and true viable parts and with the shipped
networks, and compares the overall response at every follow-up of every treatment phase. What is finished is kept in
FOLDER; ``--part 1/2`` and ``--part 2/2`` share the patients between two processes, and a call without ``--part`` then
prints all.

Kappa is Cohen's, unweighted, over CR, PR, SD (with non-CR/non-PD) and PD, of the visits to which both gave one of
these; beside it with linear weights, and unweighted over every answer, NE and NED among them. Intervals come from
resampling patients. ``disagreements.csv`` in FOLDER says for each disagreement why it happened.
"""

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from figures import Figure, at_least, publish, reported
from scenario_suite import Examined, networks_are_usable

from mrresponse import Settings, assess_patient, make_segmenter
from mrresponse.domain import LabelArray, PatientResult, is_single_phase
from mrresponse.errors import DataError
from mrresponse.evaluate import match_lesions
from mrresponse.files import write_atomically
from mrresponse.ingest import ingest
from mrresponse.nifti import read_label_map
from mrresponse.respond import contributions
from mrresponse.segment import Segmenter
from mrresponse.synthetic.catalogue import MRECIST, RECIST
from mrresponse.synthetic.judging_courses import course_seed, place_course
from mrresponse.synthetic.placement import PlacedPatient
from mrresponse.synthetic.render import render_study
from mrresponse.synthetic.study_geometry import SIZES
from mrresponse.synthetic.truth import describe_patient, write_study_truth, write_truth
from mrresponse.synthetic.writers import write_manifest, write_nifti_study, write_tables
from mrresponse.tables import write_rows

CRITERIA = (MRECIST, RECIST)
BAR = 0.85
CATEGORIES = ("CR", "PR", "SD", "PD")
ANSWERS = (*CATEGORIES, "NE", "NED")
# Stable disease of non-targets alone ranks with SD, as in `respond.agreement`.
_SAME_AS = {"NON-CR/NON-PD": "SD"}
RESAMPLES = 2000
SEED = 20240531
# A change this near to a threshold is decided by noise: a caliper that is off by one voxel moves it as far.
NEAR = 0.05
_PARTIAL, _PROGRESSION = -0.30, 0.20
_PART = re.compile(r"([1-9]\d*)/([1-9]\d*)")

Floats = npt.NDArray[np.float64]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One lesion in one assessment.

    ``identity`` is the true lesion that it lies on at most studies, empty where it lies on none. ``value`` is what
    the criterion reads, in mm; ``new`` what the rules made of a new lesion at the visit.
    """

    lesion: str
    identity: str
    role: str
    value: float | None = None
    note: str = ""
    state: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One assessment: the response, its components, its sentence, and its lesions; changes are fractions."""

    overall: str
    target: str = ""
    non_target: str = ""
    new_lesions: str = ""
    burden: float | None = None
    from_baseline: float | None = None
    from_nadir: float | None = None
    reason: str = ""
    lesions: tuple[Seen, ...] = ()

    def role(self, *roles: str) -> tuple[Seen, ...]:
        """Return the lesions that have one of some roles."""
        return tuple(lesion for lesion in self.lesions if lesion.role in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One follow-up under one criterion, as the true masks and as the networks have it.

    ``review_level`` is that of the networks' study.
    """

    patient: str
    phase: str
    criterion: str
    study_date: str
    truth: Answer
    network: Answer
    review_level: str = ""

    @property
    def pair(self) -> Pair:
        """Both responses, the true one first."""
        return category(self.truth.overall), category(self.network.overall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One line of ``disagreements.csv``."""

    patient_id: str
    treatment_phase: str
    criterion: str
    study_date: str
    truth: str
    network: str
    kind: str
    why: str
    review_level: str
    reason_truth: str
    reason_network: str


@dataclass(slots=True, kw_only=True)
class Course:
    """What one patient gave, as it is kept."""

    patient: str
    studies: int
    seconds: dict[str, float] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Assess every patient of this part and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of finished patients")
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument(
        "--part", type=_part, default=(1, 1), help="1/2: the first of two shares of the patients"
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="standard")
    parser.add_argument("--threads", type=int, default=0, help="of the networks; 0: as many as torch likes")
    parser.add_argument(
        "--keep-images", action="store_true", help="do not delete a patient's images when finished"
    )
    parser.add_argument("--json", type=Path, help="file to write")
    chosen = parser.parse_args(argv)
    if chosen.patients < 1:
        parser.error("--patients: expected a number from 1 on")
    if not networks_are_usable():
        return 2
    which, parts = chosen.part
    chosen.out.mkdir(parents=True, exist_ok=True)
    networks: Segmenter | None = None
    settings = Settings()
    settings = replace(settings, segment=replace(settings.segment, threads=chosen.threads))
    for number in range(which - 1, chosen.patients, parts):
        if _file(chosen.out, number).is_file():
            continue
        networks = networks or make_segmenter(settings.segment)
        folder = chosen.out / f"patient-{number:03d}"
        course = run_patient(number, folder, chosen.size, networks, settings)
        write_atomically(_file(chosen.out, number), json.dumps(asdict(course), indent=1).encode())
        if not chosen.keep_images:
            shutil.rmtree(folder)
        print(describe(course), flush=True)
    courses = [
        read_course(_file(chosen.out, number).read_text(encoding="utf-8"))
        for number in range(chosen.patients)
        if _file(chosen.out, number).is_file()
    ]
    return report(courses, chosen.patients, chosen.out, chosen.json)


def _part(text: str) -> tuple[int, int]:
    found = _PART.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected i/N with i from 1 to N")
    return int(found[1]), int(found[2])


def _file(out: Path, number: int) -> Path:
    return out / f"patient-{number:03d}.json"


def run_patient(number: int, folder: Path, size: str, networks: Segmenter, settings: Settings) -> Course:
    """Make one patient below a folder, anew where a part of it is there, and assess it both ways."""
    shutil.rmtree(folder, ignore_errors=True)
    seconds: dict[str, float] = {}
    start = process_time()
    patient = place_course(number)
    write_patient(patient, folder, size=size, seed=course_seed(number))
    seconds["images"] = process_time() - start
    truth_folder = folder / "truth"
    masks = make_segmenter(settings.segment, masks=truth_folder / "masks")
    start = process_time()
    truth = assess(folder / "data", truth_folder, masks, settings)
    seconds["true masks"] = process_time() - start
    start = process_time()
    try:
        found = assess(folder / "data", truth_folder, networks, settings)
    except DataError as error:
        found = Assessed(answers={}, review_levels={}, failure=f"not assessed: {error.message}")
    seconds["networks"] = process_time() - start
    return Course(
        patient=patient.plan.patient_id,
        studies=len(patient.plan.studies),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        visits=list(paired(patient.plan.patient_id, truth, found)),
    )


def write_patient(patient: PlacedPatient, folder: Path, *, size: str, seed: int) -> None:
    """Write images and tables to ``folder/data`` and the true masks to ``folder/truth``, one study at a time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give other bytes
    try:
        rows, entries = [], []
        for number in range(len(patient.plan.studies)):
            study = render_study(patient, number, size=SIZES[size], seed=seed)
            rows += write_nifti_study(folder / "data", patient.plan.patient_id, study)
            entries.append(write_study_truth(folder / "truth", patient, study, seed=seed + number))
    finally:
        torch.set_num_threads(threads)
    write_manifest(folder / "data", rows)
    write_tables(folder / "data", [patient.plan])
    header = {"seed": seed, "size": size}
    write_truth(folder / "truth", header, [describe_patient(patient, entries)], ())


Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """Follow-ups by criterion, treatment phase and date, and the review level of each study; or why there are none."""

    answers: Mapping[Key, Answer]
    review_levels: Mapping[str, str]
    failure: str = ""


def assess(data: Path, truth: Path, segmenter: Segmenter, settings: Settings) -> Assessed:
    """Assess the patient of a data folder and say which true lesion every lesion is.

    Raises
    ------
    DataError
        As `assess_patient`.
    """
    (patient,) = ingest(data, settings.ingest).patients
    examined = Examined()
    result = assess_patient(patient, segmenter, settings, keep=examined)
    labels = {day: true_identities(truth, study) for day, study in examined.studies.items()}
    names = lesion_identities(result, labels)
    lesions: dict[Key, list[Seen]] = {}
    given = contributions(patient, result.studies, result.measurements, result.response, settings.respond)
    for row in given:
        key = (row.criterion, row.treatment_phase, row.study_date.isoformat())
        lesions.setdefault(key, []).append(
            Seen(
                lesion=row.lesion_id,
                identity=names.get(row.lesion_id, ""),
                role=row.role.value,
                value=row.value,
                note=row.note,
                state=row.state.value if row.state else "",
                new=row.new_lesion_status,
            )
        )
    answers = {}
    for one in result.response.assessments:
        if one.is_baseline or not is_single_phase(one.treatment_phase) or one.criterion not in CRITERIA:
            continue
        key = (one.criterion, one.treatment_phase, one.study_date.isoformat())
        answers[key] = Answer(
            overall=one.overall or "",
            target=one.target or "",
            non_target=one.non_target or "",
            new_lesions=one.new_lesions or "",
            burden=one.current_burden,
            from_baseline=one.change_from_baseline,
            from_nadir=one.change_from_nadir,
            reason=one.reason,
            lesions=tuple(lesions.get(key, ())),
        )
    levels = {study.study_date.isoformat(): study.review_level for study in result.studies}
    return Assessed(answers=answers, review_levels=levels)


def true_identities(truth: Path, study: Any) -> dict[int, str]:
    """Return the true lesion under each label of an examined study; labels that lie on none are not in it."""
    prepared = study.prepared
    day = prepared.study.study_date.isoformat()
    known = read_label_map(truth / "masks" / prepared.study.patient_id / day / "lesions.nii.gz").voxels
    cut = tuple(
        slice(at, at + count) for at, count in zip(prepared.crop_start, prepared.grid.shape, strict=True)
    )
    content = json.loads((truth / "truth.json").read_text(encoding="utf-8"))
    (entry,) = (one for one in content["patients"][0]["studies"] if one["study_date"] == day)
    names = {lesion["label"]: lesion["identity"] for lesion in entry["lesions"]}
    return identities_of(study.lesion_map.labels.voxels, known[cut], names)


def identities_of(found: LabelArray, known: LabelArray, names: Mapping[int, str]) -> dict[int, str]:
    """Return the name of the true lesion that each label overlaps, one to one, from a tenth of their union on."""
    return {label: names[true] for label, true, _ in match_lesions(found, known)}


def lesion_identities(result: PatientResult, labels: Mapping[date, Mapping[int, str]]) -> dict[str, str]:
    """Return the true lesion that each followed lesion lies on at most studies."""
    names = {}
    for track in result.tracks:
        hits = Counter(
            labels[seen.study_date][label]
            for seen in track.observations
            for label in seen.labels
            if label in labels[seen.study_date]
        )
        names[track.lesion_id] = hits.most_common(1)[0][0] if hits else ""
    return names


def paired(patient: str, truth: Assessed, network: Assessed) -> Iterator[Visit]:
    """Pair the follow-ups of both; what the networks have no answer to is NE."""
    missing = Answer(overall="NE", reason=network.failure or "no such follow-up")
    for key, answer in truth.answers.items():
        criterion, phase, day = key
        yield Visit(
            patient=patient,
            phase=phase,
            criterion=criterion,
            study_date=day,
            truth=answer,
            network=network.answers.get(key, missing),
            review_level=network.review_levels.get(day, ""),
        )


def read_course(text: str) -> Course:
    """Read what was kept of a patient."""
    content = json.loads(text)
    visits = [
        Visit(**{**row, "truth": _answer(row["truth"]), "network": _answer(row["network"])})
        for row in content.pop("visits")
    ]
    return Course(**content, visits=visits)


def _answer(content: Mapping[str, Any]) -> Answer:
    return Answer(**{**content, "lesions": tuple(Seen(**lesion) for lesion in content["lesions"])})


def category(overall: str) -> str:
    """Return what a response counts as; nothing said is NE."""
    return _SAME_AS.get(overall, overall) or "NE"


# Why two answers differ


def explain(visit: Visit) -> tuple[str, str]:
    """Return the kind of a disagreement and its causes in words.

    The component that differs is taken apart, new lesions first, then targets, then non-targets. The first cause gives
    the kind.
    """
    truth, network = visit.truth, visit.network
    if not network.lesions and network.overall == "NE":
        return "networks gave no answer", network.reason
    if category(truth.overall) == "NE":
        return "truth not assessable", truth.reason
    causes: list[Cause] = []
    if (truth.new_lesions == "definite") != (network.new_lesions == "definite"):
        causes += _new_lesions(truth, network)
    if truth.target != network.target:
        causes += _targets(truth, network)
    if truth.non_target != network.non_target:
        causes += _non_targets(truth, network)
    if not causes:
        return "other", f"{truth.overall} and {network.overall} from components that do not tell them apart"
    return causes[0][0], "; ".join(text for _, text in causes)


Cause = tuple[str, str]


def _by_identity(answer: Answer) -> dict[str, Seen]:
    """Return the lesions by what they truly are; of several fragments the one with the first role."""
    found: dict[str, Seen] = {}
    for lesion in answer.lesions:
        if lesion.identity:
            found.setdefault(lesion.identity, lesion)
    return found


def _new_lesions(truth: Answer, network: Answer) -> Iterator[Cause]:
    """Yield what only one of both holds for a definite new lesion."""
    mine = _by_identity(truth)
    definite = {lesion.identity for lesion in truth.role("new") if lesion.new == "definite"}
    found = _by_identity(network)
    for name in sorted(definite):
        other = found.get(name)
        if other is None:
            yield "new lesion not found", f"new lesion {name} not found"
        elif other.role != "new":
            yield "new lesion taken for an old one", f"new lesion {name} is {other.role} for the networks"
        elif other.new != "definite":
            yield "new lesion held for doubtful", f"new lesion {name} found, held for {other.new or 'none'}"
    for lesion in network.role("new"):
        if lesion.new != "definite" or lesion.identity in definite:
            continue
        known = mine.get(lesion.identity)
        if not lesion.identity:
            yield "false new lesion", f"{lesion.lesion} is no lesion"
        elif known is None or known.role != "new":
            yield "old lesion called new", f"{lesion.lesion} is lesion {lesion.identity}, there at baseline"
        else:
            yield (
                "new lesion too sure",
                f"new lesion {lesion.identity} definite, with the true masks {known.new or 'none'}",
            )


def _targets(truth: Answer, network: Answer) -> Iterator[Cause]:
    """Yield why the target response differs."""
    wanted = {lesion.identity: lesion for lesion in truth.role("target")}
    found = _by_identity(network)
    for name in wanted:
        other = found.get(name)
        if other is None or other.role == "new":
            yield "target not found at baseline", f"target {name} not found at baseline"
        elif other.role != "target":
            yield "target given another role", f"target {name} is {other.role} for the networks"
    for lesion in network.role("target"):
        if not lesion.identity:
            yield "false target", f"target {lesion.lesion} is no lesion"
        elif lesion.identity not in wanted:
            yield "target that is none", f"lesion {lesion.identity} is a target for the networks only"
    yield from _follow_up(wanted, network)
    yield from _sums(truth, network)


def _follow_up(wanted: Mapping[str, Seen], network: Answer) -> Iterator[Cause]:
    """Yield the targets of both that the networks could not read, or read as gone where they are not, and back."""
    for lesion in network.role("target"):
        name = lesion.identity or lesion.lesion
        true = wanted.get(lesion.identity)
        if lesion.state == "not_found":
            yield "target not found at follow-up", f"target {name} not found and not shown to be gone"
        elif lesion.value is None:
            yield "target not assessed at follow-up", f"target {name} without a value ({lesion.note})"
        elif true is None or true.value is None:
            continue
        elif lesion.state == "absent" and true.state != "absent":
            yield "target held for gone", f"target {name} held for gone, truth {true.value:g} mm"
        elif true.state == "absent" and lesion.state != "absent":
            yield "gone target still seen", f"target {name} is gone, networks {lesion.value:g} mm"


def _sums(truth: Answer, network: Answer) -> Iterator[Cause]:
    """Yield how far the sums are apart, and whether the true one lies near a threshold."""
    if truth.burden is None or network.burden is None:
        return
    if truth.burden == 0.0:
        yield "rest seen where there is none", f"sum {network.burden:g} mm, truth 0 mm"
        return
    if network.burden == 0.0:
        yield "no rest seen where there is one", f"sum 0 mm, truth {truth.burden:g} mm"
        return
    mine, other = _changes(truth), _changes(network)
    if mine is None or other is None:
        return
    texts, distances = [], []
    for name, threshold, one, two in zip(
        ("baseline", "nadir"), (_PARTIAL, _PROGRESSION), mine, other, strict=True
    ):
        texts.append(f"{100 * two:+.0f} % instead of {100 * one:+.0f} % from {name}")
        if (one - threshold) * (two - threshold) <= 0.0:
            distances.append(abs(one - threshold))
    apart = max(abs(two - one) for one, two in zip(mine, other, strict=True))
    is_near = bool(distances) and min(distances) <= NEAR
    kind = "sum near a threshold" if is_near else "sum measured otherwise"
    yield kind, f"sum {', '.join(texts)}, off by {100 * apart:.0f} points"


def _changes(answer: Answer) -> tuple[float, float] | None:
    if answer.from_baseline is None or answer.from_nadir is None:
        return None
    return answer.from_baseline, answer.from_nadir


def _non_targets(truth: Answer, network: Answer) -> Iterator[Cause]:
    """Yield why the non-target response differs."""
    wanted = {lesion.identity for lesion in truth.role("non_target")}
    words = f"non-targets {network.non_target or 'none'} instead of {truth.non_target or 'none'}"
    found = {lesion.identity for lesion in network.role("target", "non_target")}
    missed = sorted(wanted - found)
    false = [lesion.lesion for lesion in network.role("non_target") if not lesion.identity]
    unseen = [lesion.lesion for lesion in network.role("non_target") if lesion.state == "not_found"]
    if missed:
        yield "non-target not found at baseline", f"{words}: {', '.join(missed)} not found at baseline"
    if false:
        yield "false non-target", f"{words}: {', '.join(false)} is no lesion"
    if unseen:
        yield "non-target not found at follow-up", f"{words}: {', '.join(unseen)} not found at follow-up"
    if not (missed or false or unseen):
        yield "non-target judged otherwise", words


# Agreement


def kappas(tables: Floats, weights: Floats) -> Floats:
    """Return the kappa of each square table of a stack, NaN where it is undefined (Cohen 1960, 1968).

    ``weights`` are those of disagreement: 0 on the diagonal.
    """
    total = tables.sum(axis=(1, 2))
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    observed = (tables * weights).sum(axis=(1, 2))
    expected = np.einsum("ni,ij,nj->n", rows, weights, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected > 0.0, 1.0 - observed * total / expected, np.nan))


def unweighted(count: int) -> Floats:
    """Return weights that count every disagreement alike."""
    return 1.0 - np.eye(count)


def linear(count: int) -> Floats:
    """Return weights that count a disagreement by how many categories lie between."""
    ranks = np.arange(count, dtype=np.float64)
    return np.abs(ranks[:, np.newaxis] - ranks)


def table_of(pairs: Sequence[Pair], words: Sequence[str]) -> Floats:
    """Count pairs of words, truth in rows; pairs with a word that is not asked for are left out."""
    counts = np.zeros((len(words), len(words)))
    for one, two in pairs:
        if one in words and two in words:
            counts[words.index(one), words.index(two)] += 1.0
    return counts


def with_interval(tables: Sequence[Floats], weights: Floats) -> tuple[float, float, float]:
    """Return kappa over all patients and its 95 % interval over resampled patients; one table per patient."""
    stacked = np.stack(tables)
    value = float(kappas(stacked.sum(axis=0)[np.newaxis], weights)[0])
    drawn = np.random.default_rng(SEED).multinomial(
        len(tables), np.full(len(tables), 1.0 / len(tables)), RESAMPLES
    )
    found = kappas(np.tensordot(drawn.astype(np.float64), stacked, axes=1), weights)
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)
    return value, float(low), float(high)


def kappa_figures(
    criterion: str, by_patient: Sequence[Sequence[Pair]], *, bar: float | None
) -> Iterator[Figure]:
    """Yield the kappas of a criterion with their intervals; undefined ones are left out."""
    for name, words, weights in (
        ("kappa", CATEGORIES, unweighted(len(CATEGORIES))),
        ("linear kappa", CATEGORIES, linear(len(CATEGORIES))),
        ("kappa with NE and NED", ANSWERS, unweighted(len(ANSWERS))),
    ):
        value, low, high = with_interval([table_of(pairs, words) for pairs in by_patient], weights)
        if np.isnan(value):
            continue
        title = f"{criterion} {name}"
        yield (
            reported(title, value, "") if bar is None or name != "kappa" else at_least(title, value, "", bar)
        )
        yield reported(f"  {title}, lower end", low, "")
        yield reported(f"  {title}, upper end", high, "")


def criterion_figures(criterion: str, courses: Sequence[Course]) -> Iterator[Figure]:
    """Yield every figure of one criterion."""
    mine = [[visit for visit in course.visits if visit.criterion == criterion] for course in courses]
    visits = [visit for one in mine for visit in one]
    if not visits:
        return
    pairs = [[visit.pair for visit in one] for one in mine]
    yield reported(f"{criterion} follow-ups", len(visits), "")
    yield from kappa_figures(criterion, pairs, bar=BAR if criterion == MRECIST else None)
    both = [visit for visit in visits if set(visit.pair) <= set(CATEGORIES)]
    shares = {
        "same answer": [one == two for one, two in (visit.pair for visit in visits)],
        "counted in kappa": [set(visit.pair) <= set(CATEGORIES) for visit in visits],
        "NE, networks": [visit.pair[1] == "NE" for visit in visits],
        "NE, true masks": [visit.pair[0] == "NE" for visit in visits],
        "NED, networks": [visit.pair[1] == "NED" for visit in visits],
        "NED, true masks": [visit.pair[0] == "NED" for visit in visits],
        "review": [_is_review(visit) for visit in visits],
        "review where answers differ": [_is_review(visit) for visit in visits if len(set(visit.pair)) > 1],
        "PD missed": [visit.pair[1] != "PD" for visit in both if visit.pair[0] == "PD"],
        "PD that is none": [visit.pair[1] == "PD" for visit in both if visit.pair[0] != "PD"],
    }
    for name, hits in shares.items():
        if hits:
            yield reported(f"  {criterion} {name}", float(np.mean(hits)), "")


def _is_review(visit: Visit) -> bool:
    return visit.review_level not in ("", "ok")


def disagreements(courses: Sequence[Course]) -> list[Disagreement]:
    """Return a row for every follow-up whose category differs."""
    rows = []
    for visit in (visit for course in courses for visit in course.visits):
        truth, network = visit.pair
        if truth == network:
            continue
        kind, why = explain(visit)
        rows.append(
            Disagreement(
                patient_id=visit.patient,
                treatment_phase=visit.phase,
                criterion=visit.criterion,
                study_date=visit.study_date,
                truth=truth,
                network=network,
                kind=kind,
                why=why,
                review_level=visit.review_level,
                reason_truth=visit.truth.reason,
                reason_network=visit.network.reason,
            )
        )
    return rows


def report(courses: Sequence[Course], wanted: int, out: Path, file: Path | None) -> int:
    """Print tables and figures of what is finished, write ``disagreements.csv``, and return the exit code."""
    rows = disagreements(courses)
    write_rows(out / "disagreements.csv", rows, Disagreement)
    for criterion in CRITERIA:
        mine = [row for row in rows if row.criterion == criterion]
        pairs = [visit.pair for course in courses for visit in course.visits if visit.criterion == criterion]
        print(f"\n{criterion}: truth in rows, networks in columns\n{_crossed(table_of(pairs, ANSWERS))}")
        for kind, count in Counter(row.kind for row in mine).most_common():
            print(f"{count:4d} x {kind}")
        for row in mine:
            print(
                f"{row.patient_id} {row.treatment_phase} {row.study_date}: {row.network} instead of {row.truth}"
            )
            print(f"    {row.why}\n    truth: {row.reason_truth}\n    networks: {row.reason_network}")
    figures = [reported("patients", len(courses), ""), *_seconds(courses)]
    for criterion in CRITERIA:
        figures += criterion_figures(criterion, courses)
    print()
    main_figure = next((one.value for one in figures if one.name == f"{MRECIST} kappa"), None)
    said = "not defined" if main_figure is None else f"{main_figure:.3f}"
    last = f"Kappa of the {MRECIST} category is {said} over {len(courses)} of {wanted} patients."
    return max(publish(figures, file, last=last), int(main_figure is None))


def _crossed(table: Floats) -> str:
    lines = ["      " + "".join(f"{word:>5}" for word in ANSWERS)]
    lines += [
        f"{word:>6}" + "".join(f"{count:5.0f}" for count in row)
        for word, row in zip(ANSWERS, table, strict=True)
    ]
    return "\n".join(lines)


def _seconds(courses: Sequence[Course]) -> Iterator[Figure]:
    studies = sum(course.studies for course in courses)
    for name in ("images", "true masks", "networks"):
        if studies:
            spent = sum(course.seconds.get(name, 0.0) for course in courses)
            yield reported(f"processor seconds per study, {name}", spent / studies, "s")


def describe(course: Course) -> str:
    """Return the line of a finished patient."""
    pairs = [visit.pair for visit in course.visits if visit.criterion == MRECIST]
    same = sum(one == two for one, two in pairs)
    spent = sum(course.seconds.values())
    return f"{course.patient}: {same} of {len(pairs)} follow-ups alike, {course.studies} studies in {spent:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
