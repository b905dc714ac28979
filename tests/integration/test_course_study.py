"""Courses for judging responses are fixed and plausible, kappa is Cohen's, and every disagreement finds its cause."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")

from mrresponse import Settings, make_segmenter
from mrresponse.synthetic.judging import FIRST_SEED, JudgingSet
from mrresponse.synthetic.judging_courses import course_plan, course_seed, place_course


@pytest.fixture(scope="module")
def study(checkout: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(checkout / "scripts"))
        import course_study
    return course_study


@pytest.mark.parametrize("number", [2, 3, 7])
def test_a_course_has_lesions_from_the_start_and_a_follow_up_of_every_treatment(number):
    plan = course_plan(number)
    days = [one.study_date for one in plan.studies]
    assert 3 <= len(days) <= 6
    assert days == sorted(set(days))
    assert any(lesion.sizes[0] is not None for lesion in plan.lesions)
    starts = [row.start_date for row in plan.treatments]
    assert 1 <= len(starts) <= 3
    for start, end in zip(starts, [*starts[1:], days[-1]], strict=True):
        assert any(start < day <= end for day in days)
    for lesion in plan.lesions:
        assert len(lesion.sizes) == len(days)
        for size in lesion.sizes:
            assert size is None or (0.0 <= size.viable_mm <= size.whole_mm <= 70.0 and size.whole_mm >= 6.0)


def test_a_course_is_the_same_every_time_and_lies_apart_from_the_other_sets():
    assert course_plan(4) == course_plan(4)
    assert course_plan(4) != course_plan(5)
    assert course_seed(0) >= FIRST_SEED + len(JudgingSet) * 1_000_000


def test_kappa_is_that_of_cohen(study):
    # observed 0.7, by chance 0.5
    two = np.array([[[20.0, 5.0], [10.0, 15.0]]])
    assert study.kappas(two, study.unweighted(2))[0] == pytest.approx(0.4)
    # observed 3/4, by chance 6/16; with linear weights 2 of 12/4
    three = np.array([[[1.0, 0.0, 1.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]])
    assert study.kappas(three, study.unweighted(3))[0] == pytest.approx(0.6)
    assert study.kappas(three, study.linear(3))[0] == pytest.approx(1.0 / 3.0)
    assert np.isnan(study.kappas(np.array([[[4.0, 0.0], [0.0, 0.0]]]), study.unweighted(2))[0])


def test_the_interval_comes_from_patients(study):
    right, wrong = np.array([[5.0, 0.0], [0.0, 5.0]]), np.array([[0.0, 5.0], [5.0, 0.0]])
    assert study.with_interval([right] * 6, study.unweighted(2)) == pytest.approx((1.0, 1.0, 1.0))
    value, low, high = study.with_interval([right] * 3 + [wrong], study.unweighted(2))
    assert value == pytest.approx(0.5)
    assert low < 0.1
    assert high == pytest.approx(1.0)


def test_stable_non_targets_rank_with_stable_disease_and_ne_is_left_out(study):
    pairs = [
        tuple(map(study.category, pair))
        for pair in [("NON-CR/NON-PD", "SD"), ("PD", "NE"), ("", "PR"), ("PR", "PD")]
    ]
    counts = study.table_of(pairs, study.CATEGORIES)
    assert counts.sum() == 2
    assert counts[2, 2] == 1
    assert counts[1, 3] == 1
    every = study.table_of(pairs, study.ANSWERS)
    assert every.sum() == 4
    assert every[3, 4] == 1
    assert every[4, 1] == 1


def _seen(study, lesion, identity, role="target", **values):
    return study.Seen(lesion=lesion, identity=identity, role=role, **{"state": "measured", **values})


def _answer(study, overall, *lesions, **values):
    given = {
        "target": overall,
        "new_lesions": "none",
        "burden": 30.0,
        "from_baseline": 0.0,
        "from_nadir": 0.0,
    }
    return study.Answer(overall=overall, lesions=lesions, **{**given, **values})


def _visit(study, truth, network, **values):
    return study.Visit(
        patient="V001",
        phase="phase 1",
        criterion="mRECIST",
        study_date="2024-01-02",
        truth=truth,
        network=network,
        **values,
    )


def _cases(study):
    a, b = _seen(study, "L01", "A", value=30.0), _seen(study, "L02", "B", value=20.0)
    found = _seen(study, "L01", "A", value=30.0)
    new = _seen(study, "L03", "C", "new", new="definite")
    stable, progress = (
        _answer(study, "SD", a),
        _answer(study, "PD", a, new, target="SD", new_lesions="definite"),
    )
    return {
        "target not found at baseline": (
            _answer(study, "PR", a, b),
            _answer(study, "SD", found),
            "target B not found at baseline; sum",
        ),
        "target given another role": (
            stable,
            _answer(study, "NON-CR/NON-PD", replace(found, role="non_target"), target=""),
            "target A is non_target",
        ),
        "false target": (
            _answer(study, "PR", a, from_baseline=-0.5, from_nadir=-0.5),
            _answer(study, "SD", found, _seen(study, "L07", "", value=12.0)),
            "target L07 is no lesion",
        ),
        "target that is none": (
            _answer(study, "PR", a, replace(b, role="non_target")),
            _answer(study, "SD", found, b),
            "lesion B is a target for the networks only",
        ),
        "new lesion not found": (progress, _answer(study, "SD", found), "new lesion C not found"),
        "new lesion held for doubtful": (
            progress,
            _answer(study, "SD", found, replace(new, new="equivocal"), new_lesions="equivocal"),
            "held for equivocal",
        ),
        "new lesion taken for an old one": (
            progress,
            _answer(study, "SD", found, replace(new, role="non_target", new="")),
            "new lesion C is non_target",
        ),
        "false new lesion": (
            stable,
            _answer(study, "PD", found, replace(new, identity=""), target="SD", new_lesions="definite"),
            "L03 is no lesion",
        ),
        "old lesion called new": (
            _answer(study, "SD", a, replace(b, role="non_target")),
            _answer(study, "PD", found, replace(new, identity="B"), target="SD", new_lesions="definite"),
            "L03 is lesion B, there at baseline",
        ),
        "target not found at follow-up": (
            stable,
            _answer(study, "NE", replace(found, value=None, state="not_found"), burden=None),
            "not shown to be gone",
        ),
        "target not assessed at follow-up": (
            stable,
            _answer(
                study,
                "NE",
                replace(found, value=None, state="not_assessed", note="no arterial phase"),
                burden=None,
            ),
            "no arterial phase",
        ),
        "target held for gone": (
            stable,
            _answer(study, "CR", replace(found, value=0.0, state="absent"), burden=0.0),
            "truth 30 mm",
        ),
        "gone target still seen": (
            _answer(study, "CR", replace(a, value=0.0, state="absent"), burden=0.0),
            _answer(study, "SD", found),
            "target A is gone, networks 30 mm",
        ),
        "rest seen where there is none": (
            _answer(study, "CR", replace(a, value=0.0), burden=0.0, from_baseline=-1.0, from_nadir=-1.0),
            _answer(study, "PR", replace(found, value=9.0), burden=9.0, from_baseline=-0.7, from_nadir=-0.7),
            "sum 9 mm, truth 0 mm",
        ),
        "no rest seen where there is one": (
            _answer(study, "PR", a, burden=9.0),
            _answer(study, "CR", replace(found, value=0.0), burden=0.0),
            "sum 0 mm, truth 9 mm",
        ),
        # -32 % lies 2 points from the threshold of -30 %, -45 % lies 15 points
        "sum near a threshold": (
            _answer(study, "PR", a, from_baseline=-0.32, from_nadir=-0.32),
            _answer(study, "SD", found, from_baseline=-0.22, from_nadir=-0.22),
            "off by 10 points",
        ),
        "sum measured otherwise": (
            _answer(study, "PR", a, from_baseline=-0.45, from_nadir=-0.45),
            _answer(study, "SD", found, from_baseline=-0.22, from_nadir=-0.22),
            "off by 23 points",
        ),
        "non-target not found at baseline": (
            _answer(study, "PR", a, replace(b, role="non_target"), target="CR", non_target="NON-CR/NON-PD"),
            _answer(study, "CR", found, target="CR"),
            "B not found at baseline",
        ),
        "false non-target": (
            _answer(study, "CR", a, target="CR"),
            _answer(
                study,
                "PR",
                found,
                _seen(study, "L09", "", "non_target"),
                target="CR",
                non_target="NON-CR/NON-PD",
            ),
            "L09 is no lesion",
        ),
        "truth not assessable": (_answer(study, "NE", a, reason="why"), stable, "why"),
        "networks gave no answer": (
            stable,
            study.Answer(overall="NE", reason="no liver found"),
            "no liver found",
        ),
        "other": (stable, _answer(study, "PR", found, target="SD"), "do not tell them apart"),
    }


def test_every_cause_is_told_from_the_others(study):
    for kind, (truth, network, text) in _cases(study).items():
        told, why = study.explain(_visit(study, truth, network))
        assert told == kind
        assert text in why


def test_labels_are_named_by_the_lesion_that_they_lie_on(study):
    known = np.zeros((12, 4, 4), dtype=np.uint16)
    known[0:4], known[8:10] = 7, 3
    found = np.zeros_like(known)
    found[1:5], found[6:7] = 2, 5
    assert study.identities_of(found, known, {7: "A", 3: "B"}) == {2: "A"}


def test_the_report_counts_what_it_was_given(study, tmp_path, capsys):
    lesion = _seen(study, "L01", "A", value=30.0)
    words = ["CR", "PR", "SD", "PD"]
    visits = [_visit(study, _answer(study, word, lesion), _answer(study, word, lesion)) for word in words]
    unread = _answer(
        study, "NE", replace(lesion, value=None, state="not_found"), burden=None, reason="not read"
    )
    visits.append(_visit(study, _answer(study, "SD", lesion), unread, review_level="review"))
    course = study.Course(patient="V001", studies=6, seconds={"networks": 60.0}, visits=visits)
    kept = study.read_course(json.dumps(asdict(course)))
    assert kept == course
    assert study.report([kept], 2, tmp_path, tmp_path / "figures.json") == 0
    figures = {
        row["name"].strip(): row["value"] for row in json.loads((tmp_path / "figures.json").read_text())
    }
    assert figures["mRECIST kappa"] == 1.0
    # of five pairs four agree; by chance (1 + 1 + 2 + 1) of 25
    assert figures["mRECIST kappa with NE and NED"] == pytest.approx((0.8 - 0.2) / 0.8, abs=1e-4)
    assert figures["mRECIST NE, networks"] == pytest.approx(0.2)
    assert figures["mRECIST review where answers differ"] == 1.0
    assert figures["processor seconds per study, networks"] == 10.0
    with (tmp_path / "disagreements.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["truth"], row["network"], row["kind"]) == ("SD", "NE", "target not found at follow-up")
    assert row["reason_network"] == "not read"
    assert "1.000 over 1 of 2 patients" in capsys.readouterr().out
    wrong = [_visit(study, visits[0].truth, visits[3].network)] * 3
    assert study.report([replace(course, visits=[*visits, *wrong])], 1, tmp_path, None) == 1
    # nothing to compare is no success
    assert study.report([replace(course, visits=[])], 1, tmp_path, None) == 1


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1/0"])
def test_a_part_that_is_none_is_refused(study, tmp_path, part, capsys):
    with pytest.raises(SystemExit) as stopped:
        study.main(["--out", str(tmp_path), "--part", part])
    assert stopped.value.code == 2
    assert "expected i/N" in capsys.readouterr().err


def test_a_missing_network_is_one_line(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mrresponse.segment.bundle.models_folder", lambda: tmp_path / "nothing")
    assert study.main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: model 'liver-mr'")
    assert not (tmp_path / "out").exists()


def test_the_same_masks_give_the_same_answers(study, tmp_path):
    patient = place_course(2)
    study.write_patient(patient, tmp_path, size="tiny", seed=course_seed(2))
    masks = make_segmenter(Settings().segment, masks=tmp_path / "truth" / "masks")
    found = study.assess(tmp_path / "data", tmp_path / "truth", masks, Settings())
    visits = list(study.paired("V002", found, found))
    assert len(visits) == 2 * (len(patient.plan.studies) - 1)
    for visit in visits:
        assert visit.pair[0] == visit.pair[1]
        assert {lesion.identity for lesion in visit.truth.role("target")} == {"0"}
    nothing = study.Assessed(answers={}, review_levels={}, failure="not assessed: no liver")
    for visit in study.paired("V002", found, nothing):
        assert visit.pair[1] == "NE"
        assert study.explain(visit) == ("networks gave no answer", "not assessed: no liver")
