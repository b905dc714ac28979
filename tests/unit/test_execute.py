"""The same work in one process and in several gives the same results."""

from collections.abc import Iterator

import pytest

from mrresponse.execute import run_in_pool, run_serially


def cubed(number: int) -> int:
    return number**3


def fails_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def test_serial_run_computes_only_what_is_asked_for() -> None:
    seen = []

    def items() -> Iterator[int]:
        for number in range(5):
            seen.append(number)
            yield number

    results = run_serially(cubed, items())
    assert next(results) == 0
    assert seen == [0]


def test_a_pool_gives_every_result_once() -> None:
    assert sorted(run_in_pool(cubed, range(9), workers=2)) == [number**3 for number in range(9)]


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="two"):
        list(run_in_pool(fails_on_two, range(4), workers=2))
