"""The tables that combine target, non-target and new disease, every combination of them written out."""

from itertools import product

import pytest

from mrresponse.domain import Response
from mrresponse.respond import overall_response
from mrresponse.respond.immune import immune_overall
from mrresponse.respond.rules import NonTargetEvidence, decide_non_target

NOT_NEW = ("none", "equivocal", "candidate", "not assessed")

# Eisenhauer 2009, table 1, without a new lesion: rows are the target response, columns the non-target response
# CR, NON-CR/NON-PD, not evaluable, PD, no non-target disease.
NON_TARGETS = (Response.CR, Response.NON_CR_NON_PD, Response.NE, Response.PD, None)
MEASURABLE = {
    "CR": ("CR", "PR", "PR", "PD", "CR"),
    "PR": ("PR", "PR", "PR", "PD", "PR"),
    "SD": ("SD", "SD", "SD", "PD", "SD"),
    "NE": ("NE", "NE", "NE", "PD", "NE"),
    "PD": ("PD", "PD", "PD", "PD", "PD"),
}
# Eisenhauer 2009, table 2.
NON_MEASURABLE = {"CR": "CR", "NON-CR/NON-PD": "NON-CR/NON-PD", "NE": "NE", "PD": "PD"}


@pytest.mark.parametrize(("target", "words"), MEASURABLE.items())
@pytest.mark.parametrize("column", range(5))
def test_measurable_disease_combines_as_in_table_1(target: str, words: tuple[str, ...], column: int) -> None:
    for new in NOT_NEW:
        assert overall_response(Response(target), NON_TARGETS[column], new) == words[column]
    assert overall_response(Response(target), NON_TARGETS[column], "definite") is Response.PD


@pytest.mark.parametrize(("non_target", "word"), NON_MEASURABLE.items())
def test_non_target_disease_alone_combines_as_in_table_2(non_target: str, word: str) -> None:
    for new in NOT_NEW:
        assert overall_response(None, Response(non_target), new) == word
    assert overall_response(None, Response(non_target), "definite") is Response.PD


def test_without_disease_only_a_definite_new_lesion_is_progression() -> None:
    words = {word: overall_response(None, None, word) for word in (*NOT_NEW, "definite")}
    assert words == {
        "none": Response.NED,
        "equivocal": Response.NED,
        "candidate": Response.NED,
        "not assessed": Response.NE,
        "definite": Response.PD,
    }


def test_every_other_combination_is_not_evaluable_unless_something_progressed() -> None:
    known = {Response(word) for word in MEASURABLE}
    for target, non_target, new in product([*Response, None], [*Response, None], (*NOT_NEW, "definite", "?")):
        in_tables = (target in known or target is None) and non_target in NON_TARGETS and new != "?"
        if in_tables:
            continue
        found = overall_response(target, non_target, new)
        assert found in (Response.NE, Response.PD), (target, non_target, new)
        if found is Response.PD:
            assert new == "definite" or Response.PD in (target, non_target)


@pytest.mark.parametrize(
    ("progressing", "missing", "present", "gone"),
    list(product([(), ("a",)], [(), ("b",)], [(), ("c",)], [(), ("d",)])),
)
def test_non_target_disease_is_as_bad_as_its_worst_part(
    progressing: tuple[str, ...], missing: tuple[str, ...], present: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    evidence = NonTargetEvidence(progressing=progressing, missing=missing, present=present, gone=gone)
    response, sentence = decide_non_target(evidence)
    if progressing:
        assert (response, sentence) == (Response.PD, "unequivocal progression: a")
    elif missing:
        assert (response, sentence) == (Response.NE, "not assessed: b")
    elif present:
        assert (response, sentence) == (Response.NON_CR_NON_PD, "persists: c")
    elif gone:
        assert (response, sentence) == (Response.CR, "gone: d")
    else:
        assert (response, sentence) == (None, "no non-target disease")


# Response-criteria section 3 (Seymour 2017, table 2): target, non-target, new, then without and with a prior iUPD
# when nothing and when something progressed further.
IMMUNE_ROWS = [
    ("iCR", "iCR", False, "iCR", "iCR", "iCR"),
    ("iCR", None, False, "iCR", "iCR", "iCR"),
    ("iCR", "NON-iCR/NON-iUPD", False, "iPR", "iPR", "iPR"),
    ("iCR", "NE", False, "iPR", "iPR", "iPR"),
    ("iPR", "NON-iCR/NON-iUPD", False, "iPR", "iPR", "iPR"),
    ("iPR", None, False, "iPR", "iPR", "iPR"),
    ("iSD", "NON-iCR/NON-iUPD", False, "iSD", "iSD", "iSD"),
    ("iSD", "iCR", False, "iSD", "iSD", "iSD"),
    ("iSD", "iUPD", False, "iUPD", "iUPD", "iCPD"),
    ("iPR", "iUPD", False, "iUPD", "iUPD", "iCPD"),
    ("iCR", "iUPD", False, "iUPD", "iUPD", "iCPD"),
    ("iUPD", "iCR", False, "iUPD", "iUPD", "iCPD"),
    ("iUPD", "NON-iCR/NON-iUPD", False, "iUPD", "iUPD", "iCPD"),
    ("iUPD", "iUPD", False, "iUPD", "iUPD", "iCPD"),
    ("iUPD", "iUPD", True, "iUPD", "iUPD", "iCPD"),
    ("iSD", "NON-iCR/NON-iUPD", True, "iUPD", "iUPD", "iCPD"),
    ("iPR", "iCR", True, "iUPD", "iUPD", "iCPD"),
    ("NE", None, False, "NE", "NE", "NE"),
    ("NE", None, True, "iUPD", "iUPD", "iCPD"),
    (None, "NON-iCR/NON-iUPD", False, "NON-iCR/NON-iUPD", "NON-iCR/NON-iUPD", "NON-iCR/NON-iUPD"),
    (None, "iUPD", False, "iUPD", "iUPD", "iCPD"),
    (None, None, False, "NED", "NED", "NED"),
    (None, None, True, "iUPD", "iUPD", "iCPD"),
    ("iCPD", "iCR", False, "iCPD", "iCPD", "iCPD"),
    ("iSD", "iCPD", False, "iCPD", "iCPD", "iCPD"),
]


@pytest.mark.parametrize(("target", "non_target", "is_new", "first", "again", "further"), IMMUNE_ROWS)
def test_immune_components_combine_as_published(
    target: str | None, non_target: str | None, is_new: bool, first: str, again: str, further: str
) -> None:
    words = [None if word is None else Response(word) for word in (target, non_target)]
    found = [
        immune_overall(*words, is_new=is_new, has_prior=prior, is_further=more)
        for prior, more in ((False, False), (True, False), (True, True))
    ]
    assert found == [first, again, further]
    # without a prior iUPD nothing can be confirmed
    assert immune_overall(*words, is_new=is_new, has_prior=False, is_further=True) == first
