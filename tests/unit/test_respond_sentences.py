"""The sentences that a reader redoes a decision from, word by word; the numbers in them were worked by hand."""

from dataclasses import replace
from typing import Any

import pytest

from mrresponse.domain import Response
from mrresponse.respond import EASL, MRECIST, RECIST_1_1, VRECIST, WHO
from mrresponse.respond.criteria import Criterion, ProgressionScope
from mrresponse.respond.rules import (
    TargetEvidence,
    decide_target,
    exceeds,
    falls_to,
    is_below,
    number,
    percent,
    reaches,
    target_response,
)

EACH = replace(EASL, progression_scope=ProgressionScope.ANY_LESION)
SPHERE = replace(VRECIST, progression_floor_sphere_mm=5.0)
GONE = {"nadir": 0.0, "was_gone": True}
TWO = ("L02 not found", "L03 motion")

SENTENCES: list[tuple[Criterion, dict[str, Any], str, str, str]] = [
    # criterion, evidence, response, flag, sentence
    (RECIST_1_1, {"baseline": None, "nadir": None, "current": 10.0}, "NE", "", "no evaluable baseline"),
    (RECIST_1_1, {"nadir": None, "current": 10.0}, "NE", "", "no evaluable baseline"),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 48.0, "missing": TWO}, "PD", "target_missing",
        "the targets measured alone progress: sum of diameters 48.0 mm is +20.0 % (+8.0 mm) from nadir 40.0 mm "
        "(>= +20 % and >= +5 mm); not evaluable: L02 not found; L03 motion",
    ),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 47.9, "missing": TWO}, "NE", "target_missing",
        "not evaluable: L02 not found; L03 motion; the rest, 47.9 mm, is no progression from nadir 40.0 mm",
    ),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 0.0, "missing": ("motion",)}, "NE", "target_missing",
        "not evaluable: motion",
    ),
    (
        RECIST_1_1, {"nadir": 0.0, "current": 3.0, "missing": ("L02 motion",)}, "NE", "target_missing",
        "not evaluable: L02 motion; the rest, 3.0 mm, is no progression",
    ),
    (
        RECIST_1_1, {**GONE, "current": 3.0, "missing": ("L02 motion",), "reappeared_whole": 3.0}, "PD",
        "target_missing", "a target of 3.0 mm reappeared after complete response; not evaluable: L02 motion",
    ),
    (
        MRECIST, {"was_gone": True, "nadir": 9.0, "current": 10.0, "missing": ("L02 motion",), "reappeared": 10.0,
                  "reappeared_sum": 10.0}, "PD", "target_missing",
        "viable tumour of 10.0 mm reappeared after complete response; not evaluable: L02 motion (>= 10.0 mm)",
    ),
    (
        MRECIST, {"was_gone": True, "nadir": 9.0, "current": 9.9, "missing": ("L02 motion",), "reappeared": 9.9,
                  "reappeared_sum": 9.9}, "NE", "target_missing",
        "not evaluable: L02 motion; the rest, 9.9 mm, is no progression from nadir 9.0 mm",
    ),
    (
        RECIST_1_1, {**GONE, "current": 3.0, "reappeared_whole": 3.0}, "PD", "reappeared",
        "a target of 3.0 mm reappeared after complete response",
    ),
    (
        RECIST_1_1, {**GONE, "current": 0.5, "reappeared_whole": 0.5}, "PD", "reappeared",
        "a target of 0.5 mm reappeared after complete response",
    ),
    (
        MRECIST, {**GONE, "current": 10.0, "reappeared": 10.0, "reappeared_sum": 10.0}, "PD", "reappeared",
        "viable tumour of 10.0 mm reappeared after complete response (>= 10.0 mm)",
    ),
    (
        MRECIST, {**GONE, "current": 9.9, "reappeared": 9.9, "reappeared_sum": 9.9}, "PD", "reappearance_review",
        "viable tumour of 9.9 mm reappeared after complete response (5.0 to < 10.0 mm: for review)",
    ),
    (
        MRECIST, {**GONE, "current": 5.0, "reappeared": 5.0, "reappeared_sum": 5.0}, "PD", "reappearance_review",
        "viable tumour of 5.0 mm reappeared after complete response (5.0 to < 10.0 mm: for review)",
    ),
    (
        MRECIST, {**GONE, "current": 4.9, "reappeared": 4.9, "reappeared_sum": 4.9}, "CR", "equivocal_reappearance",
        "viable tumour of 4.9 mm reappeared after complete response: equivocal (< 5.0 mm), the category before is "
        "kept",
    ),
    (
        RECIST_1_1, {"nadir": 20.0, "current": 0.0, "is_gone": True}, "CR", "",
        "every target is gone (sum of diameters 0.0 mm is -100.0 % from baseline 50.0 mm)",
    ),
    (
        MRECIST, {"nadir": 20.0, "current": 0.0, "is_gone": True}, "CR", "",
        "no arterial enhancement in any target (sum of viable diameters 0.0 mm is -100.0 % from baseline 50.0 mm)",
    ),
    (
        RECIST_1_1, {"nadir": 20.0, "current": 9.0, "is_gone": True}, "CR", "",
        "every target is gone, nodes below normal size (sum of diameters 9.0 mm is -82.0 % from baseline 50.0 mm)",
    ),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 48.0}, "PD", "",
        "sum of diameters 48.0 mm is +20.0 % (+8.0 mm) from nadir 40.0 mm (>= +20 % and >= +5 mm)",
    ),
    (
        MRECIST, {"nadir": 40.0, "current": 48.0}, "PD", "",
        "sum of viable diameters 48.0 mm is +20.0 % (+8.0 mm) from nadir 40.0 mm (>= +20 %)",
    ),
    (
        EASL, {"baseline": 1200.0, "nadir": 400.0, "current": 500.1}, "PD", "",
        "sum of viable products 500.1 mm2 is +25.03 % (+100.1 mm2) from nadir 400.0 mm2 (> +25 %)",
    ),
    (
        EASL, {"baseline": 1200.0, "nadir": 400.0, "current": 500.0}, "PR", "",
        "sum of viable products 500.0 mm2 is -58.3 % from baseline 1200.0 mm2 (<= -50 %)",
    ),
    (
        WHO, {"baseline": 1200.0, "nadir": 400.0, "current": 500.0}, "PD", "",
        "sum of products 500.0 mm2 is +25.0 % (+100.0 mm2) from nadir 400.0 mm2 (>= +25 %)",
    ),
    (
        EACH, {"baseline": 1200.0, "nadir": 400.0, "current": 450.0, "lesion_growth": 0.3}, "PD", "",
        "a target grew +30.0 % from its own nadir (> +25 %)",
    ),
    (
        EACH, {"baseline": 1200.0, "nadir": 400.0, "current": 600.0, "lesion_growth": 0.25}, "PR", "",
        "sum of viable products 600.0 mm2 is -50.0 % from baseline 1200.0 mm2 (<= -50 %)",
    ),
    (
        EACH, {"baseline": 1200.0, "nadir": 400.0, "current": 510.0}, "PD", "",
        "sum of viable products 510.0 mm2 is +27.5 % (+110.0 mm2) from nadir 400.0 mm2 (> +25 %)",
    ),
    (
        # a sphere of 20 mm has 4.18879 mL, one of 25 mm 8.18123 mL: 3.992 mL more
        SPHERE, {"baseline": 10.0, "nadir": 4.18879, "current": 8.2}, "PD", "",
        "sum of volumes 8.2 mL is +95.8 % (+4.01121 mL) from nadir 4.18879 mL (>= +73 % and >= +3.992 mL)",
    ),
    (
        SPHERE, {"baseline": 10.0, "nadir": 4.18879, "current": 8.1}, "SD", "",
        "sum of volumes 8.1 mL is -19.0 % from baseline 10.0 mL (not <= -65 %) and +93.4 % (+3.91121 mL) from nadir "
        "4.18879 mL (not >= +73 % and >= +3.992 mL)",
    ),
    (
        # from nothing, a node's volume must reach that of a sphere of 5 mm: 0.06545 mL
        SPHERE, {**GONE, "baseline": 10.0, "current": 0.0655}, "PD", "",
        "sum of volumes 0.0655 mL is change undefined (+0.0655 mL) from nadir 0.0 mL (>= +73 % and >= +0.06545 mL)",
    ),
    (
        SPHERE, {**GONE, "baseline": 10.0, "current": 0.0654}, "PR", "",
        "sum of volumes 0.0654 mL is -99.3 % from baseline 10.0 mL (<= -65 %)",
    ),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 35.1}, "SD", "",
        "sum of diameters 35.1 mm is -29.8 % from baseline 50.0 mm (not <= -30 %) and -12.2 % (-4.9 mm) from nadir "
        "40.0 mm (not >= +20 % and >= +5 mm)",
    ),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 47.99}, "SD", "",
        "sum of diameters 47.99 mm is -4.0 % from baseline 50.0 mm (not <= -30 %) and +19.98 % (+7.99 mm) from "
        "nadir 40.0 mm (not >= +20 % and >= +5 mm)",
    ),
    (
        RECIST_1_1, {"nadir": 40.0, "current": 40.0}, "SD", "",
        "sum of diameters 40.0 mm is -20.0 % from baseline 50.0 mm (not <= -30 %) and +0.0 % (+0.0 mm) from nadir "
        "40.0 mm (not >= +20 % and >= +5 mm)",
    ),
    (
        RECIST_1_1, {"nadir": 30.0, "current": 35.6, "is_sustained": True}, "PR", "",
        "partial response continues until progression: sum of diameters 35.6 mm is -28.8 % from baseline 50.0 mm "
        "(not <= -30 %) and +18.7 % (+5.6 mm) from nadir 30.0 mm (not >= +20 % and >= +5 mm)",
    ),
    (
        RECIST_1_1, {"baseline": 0.0, "nadir": 0.0, "current": 3.0}, "SD", "",
        "sum of diameters 3.0 mm is change undefined from baseline 0.0 mm (not <= -30 %) and change undefined "
        "(+3.0 mm) from nadir 0.0 mm (not >= +20 % and >= +5 mm)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "given", "response", "flag", "sentence"), SENTENCES)
def test_the_rule_that_fires_says_so_in_its_sentence(
    criterion: Criterion, given: dict[str, Any], response: str, flag: str, sentence: str
) -> None:
    decision = decide_target(TargetEvidence(**{"baseline": 50.0, **given}), criterion)
    assert (decision.response, decision.flag, decision.sentence) == (response, flag, sentence)


def test_the_category_before_is_kept_where_too_little_is_back() -> None:
    trace = TargetEvidence(
        baseline=50.0, nadir=0.0, current=4.0, was_gone=True, reappeared=4.0, reappeared_sum=4.0,
        previous=Response.PD,
    )  # fmt: skip
    assert decide_target(trace, MRECIST).response is Response.PD


@pytest.mark.parametrize(
    ("value", "reference", "bound", "text"),
    [
        (35.001, 50.0, -30.0, "-29.998 %"),
        (34.9999, 50.0, -30.0, "-30.0002 %"),
        (35.0, 50.0, -30.0, "-30.0 %"),
        (35.00000001, 50.0, -30.0, "-30.0 %"),
        (60.0, 50.0, 20.0, "+20.0 %"),
        (50.0, 50.0, 20.0, "+0.0 %"),
        (3.0, 0.0, 20.0, "change undefined"),
        (3.0, None, 20.0, "change undefined"),
    ],
)
def test_a_percentage_shows_on_which_side_of_its_threshold_it_lies(
    value: float, reference: float | None, bound: float, text: str
) -> None:
    assert percent(value, reference, bound) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3.0"), (0.1 + 0.2, "0.3"), (12.25, "12.25"), (0.0, "0.0"), (1e12, "1e+12"), (-4.9, "-4.9")],
)
def test_a_number_has_a_decimal_and_no_binary_noise(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "bound", "words"),
    [
        (5.0, 5.0, (True, False, True, False)),
        (5.0 + 1e-10, 5.0, (True, False, True, False)),
        (5.0 - 1e-10, 5.0, (True, False, True, False)),
        (5.0 + 1e-7, 5.0, (True, True, False, False)),
        (5.0 - 1e-7, 5.0, (False, False, True, True)),
        (-5.0 - 1e-7, -5.0, (False, False, True, True)),
        (0.0, 0.0, (True, False, True, False)),
        (1e-12, 0.0, (True, True, False, False)),
    ],
)
def test_comparisons_forgive_a_billionth_and_no_more(
    value: float, bound: float, words: tuple[bool, bool, bool, bool]
) -> None:
    found = (reaches(value, bound), exceeds(value, bound), falls_to(value, bound), is_below(value, bound))
    assert found == words


@pytest.mark.parametrize(
    ("criterion", "sums", "response"),
    [
        (RECIST_1_1, (50.0, 20.0, 0.0), "CR"),
        (RECIST_1_1, (50.0, 20.0, 1.0), "PR"),
        (RECIST_1_1, (50.0, 0.0, 1.0), "PD"),
        (MRECIST, (50.0, 0.0, 1.0), "CR"),
        (MRECIST, (50.0, 0.0, 5.0), "PD"),
        (MRECIST, (50.0, 20.0, 0.0), "CR"),
        (RECIST_1_1, (50.0, 20.0, None), "NE"),
        (RECIST_1_1, (50.0, None, 20.0), "NE"),
        (RECIST_1_1, (None, 50.0, 20.0), "NE"),
    ],
)
def test_three_sums_give_a_response(
    criterion: Criterion, sums: tuple[float | None, float | None, float | None], response: str
) -> None:
    baseline, nadir, current = sums
    assert target_response(criterion, baseline=baseline, nadir=nadir, current=current) == response
