"""A set is judged piece by piece: what is finished is kept, and only goes on with what judged it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrresponse.config import Settings
from mrresponse.errors import ConfigError
from mrresponse.evaluate import LesionComparison, LesionMatch
from mrresponse.synthetic.judging import JudgingSet
from mrresponse.training import judge_set as module
from mrresponse.training.judge import JudgedCase
from mrresponse.training.judge_set import KeptCases, judge_set, judged_with

SETTINGS = Settings()
UNUSED: Any = None


def judged_case(number: int) -> JudgedCase:
    """Give a case with a figure of every kind, none of which is short in decimals."""
    match = LesionMatch(
        predicted=2,
        reference=1,
        iou=0.1 + 0.2,
        dice=2 / 3,
        predicted_diameter_mm=20.0,
        reference_diameter_mm=1 / 3,
        predicted_volume_ml=1.0,
        reference_volume_ml=1e-7,
    )
    return JudgedCase(
        case=f"unseen-{number}",
        liver_dice=1 / (number + 3),
        liver_surface_dice_2mm=0.5,
        lesion_dice=None if number % 2 else 0.7,
        lesions=LesionComparison(
            matches=(match,) * number, missed_diameters_mm=(9.1,), false_positive_diameters_mm=()
        ),
        flags=("fragments",) * number,
        expected_liver_dice=1 / (number + 2),
    )


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Judge nothing in fact; give the numbers of the cases that would have been."""
    numbers: list[int] = []

    def judge(number: int, *_: object) -> JudgedCase:
        numbers.append(number)
        return judged_case(number)

    monkeypatch.setattr(module, "judging_case", lambda _, number: number)
    monkeypatch.setattr(module, "judge_case", judge)
    return numbers


def opened(folder: Path, *, model: str = "a 1.0", settings: Settings = SETTINGS) -> KeptCases:
    return KeptCases.open(folder, judged_with(JudgingSet.UNSEEN, model, settings))


def all_of(kept: KeptCases | None, numbers: range) -> list[JudgedCase]:
    return list(judge_set(JudgingSet.UNSEEN, UNUSED, SETTINGS, numbers=numbers, kept=kept))


def test_a_stopped_set_goes_on_behind_its_last_case_and_ends_as_if_it_had_not_stopped(
    tmp_path: Path, judged: list[int]
) -> None:
    whole = all_of(None, range(4))
    judged.clear()
    begun = judge_set(JudgingSet.UNSEEN, UNUSED, SETTINGS, numbers=range(4), kept=opened(tmp_path))
    next(begun)
    next(begun)
    # what a killed writer leaves is no case
    (tmp_path / ".2.json.x7.part").write_text('{"judged_wi')
    assert all_of(opened(tmp_path), range(4)) == whole
    assert judged == [0, 1, 2, 3]


def test_parts_judge_every_case_once(tmp_path: Path, judged: list[int]) -> None:
    all_of(opened(tmp_path), range(0, 5, 2))
    all_of(opened(tmp_path), range(1, 5, 2))
    assert judged == [0, 2, 4, 1, 3]
    assert [case.case for case in all_of(opened(tmp_path), range(5))] == [f"unseen-{n}" for n in range(5)]
    assert len(judged) == 5


def test_cases_of_another_model_settings_or_set_are_refused_before_anything_is_judged(tmp_path: Path) -> None:
    # only the last one is kept: the error must not wait until it is its turn
    all_of(opened(tmp_path / "u.cases"), range(7, 8))
    with pytest.raises(
        ConfigError, match=r"u\.cases/7\.json: judged with model 'a 1\.0', expected 'a 1\.1'; "
    ):
        opened(tmp_path / "u.cases", model="a 1.1")
    other = replace(SETTINGS, lesions=replace(SETTINGS.lesions, threshold=0.61))
    with pytest.raises(ConfigError, match="judged with settings '"):
        opened(tmp_path / "u.cases", settings=other)
    with pytest.raises(ConfigError, match="judged with set 'unseen', expected 'benign'"):
        KeptCases.open(tmp_path / "u.cases", judged_with(JudgingSet.BENIGN, "a 1.0", SETTINGS))


def test_another_device_goes_on(tmp_path: Path) -> None:
    all_of(opened(tmp_path), range(1))
    other = replace(SETTINGS, segment=replace(SETTINGS.segment, device="cuda:1", threads=3))
    assert opened(tmp_path, settings=other).read(0) == judged_case(0)


@pytest.mark.parametrize("text", ["", "[]", '{"judged": {}}'])
def test_a_file_that_is_no_case_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "3.json").write_text(text)
    with pytest.raises(ConfigError, match=r"/3\.json: not a judged case; remove the file"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"u\.cases: this folder cannot be made"):
        opened(tmp_path / "file" / "u.cases")
