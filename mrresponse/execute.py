"""Run one function over many patients: one after the other, or in a pool of processes."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_serially(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed as they are asked for."""
    return map(function, items)


def run_in_pool(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Yield ``function(item)`` as they finish, computed in ``workers`` processes.

    Processes are spawned, so each loads its own networks once, and nothing of this process is shared.
    """
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        yield from run_on(pool, function, items, in_flight=2 * workers)


def run_on(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, in_flight: int
) -> Iterator[Result]:
    """Yield results of any executor as they finish, with at most ``in_flight`` items handed out at a time."""
    remaining = iter(items)
    running: set[Future[Result]] = {executor.submit(function, item) for item in islice(remaining, in_flight)}
    while running:
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield future.result()
        running |= {executor.submit(function, item) for item in islice(remaining, len(finished))}
