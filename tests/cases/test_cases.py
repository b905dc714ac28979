"""Third-party response cases, each row through the public functions."""

from tests.cases.adapter import Case


def test_case_agrees_with_its_source(case: Case) -> None:
    case.check()
