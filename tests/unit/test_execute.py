"""The same work here and in several processes gives the same results, and a lost process costs nobody else."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import pytest

from mrresponse.execute import Workplace, cores, here, pool, run_on, threads_of


def cubed(number: int) -> int:
    return number**3


def fails_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def dies_on_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies_once(folder: Path) -> str:
    mark = folder / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return folder.name


def process_id(_item: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def never_lost(item: object) -> object:
    raise AssertionError(f"{item} was given up")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which cores a process may use")
def test_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)


@pytest.mark.parametrize(
    ("said", "asked", "threads"), [("1", 0, 1), ("3", 0, 3), ("4,2", 0, 4), ("1", 5, 5), ("0", 0, 1)]
)
def test_threads_are_those_asked_for_or_those_of_the_libraries(
    said: str, asked: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads_of(asked) == threads


@pytest.mark.parametrize("said", [None, "", "many"])
def test_without_a_number_that_is_understood_every_core_has_a_thread(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads_of(0) == cores()


def test_work_here_computes_only_what_is_asked_for() -> None:
    seen = []

    def items() -> Iterator[int]:
        for number in range(5):
            seen.append(number)
            yield number

    results = run_on(here(), cubed, items(), lost=never_lost)
    assert next(results) == 0
    assert seen == [0]


def test_few_items_are_out_at_a_time() -> None:
    handed_out = 0

    def items() -> Iterator[int]:
        nonlocal handed_out
        for number in range(40):
            handed_out += 1
            yield number

    for done, _ in enumerate(run_on(pool(2), cubed, items(), lost=never_lost), start=1):
        assert handed_out - done <= 2 * 2


def test_a_pool_gives_every_result_once() -> None:
    results = run_on(pool(2), cubed, range(9), lost=never_lost)
    assert sorted(results) == [number**3 for number in range(9)]


@pytest.mark.parametrize("workplace", [here(), pool(2)], ids=["here", "pool"])
def test_an_error_of_the_work_reaches_the_caller(workplace: Workplace) -> None:
    with pytest.raises(ValueError, match="two"):
        list(run_on(workplace, fails_on_two, range(4), lost=never_lost))


def test_an_item_that_kills_its_process_is_given_up_and_the_others_are_done() -> None:
    results = list(run_on(pool(2), dies_on_two, range(8), lost=lambda item: -item))
    assert sorted(results) == [-2, 0, 1, 3, 4, 5, 6, 7]


def test_an_item_whose_process_was_killed_from_outside_is_done_again(tmp_path: Path) -> None:
    assert list(run_on(pool(2), dies_once, [tmp_path], lost=never_lost)) == [tmp_path.name]


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "from mrresponse.execute import pool, run_on\n"
        "from tests.unit.test_execute import process_id\n"
        "if __name__ == '__main__':\n"
        "    for worker in run_on(pool(2), process_id, iter(int, 1), lost=print):\n"
        "        print(worker, flush=True)\n"
    )
    file = tmp_path / "parent.py"
    file.write_text(script)
    top = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(top)},
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def run_with_slow_module(folder: Path, *lines: str) -> list[str]:
    """Run the lines in a fresh process; each load of ``slow_to_load`` leaves a file. Give the words they print."""
    (folder / "slow_to_load.py").write_text(
        "import os, pathlib\n(pathlib.Path(__file__).parent / f'loaded-{os.getpid()}').touch()\n"
    )
    (folder / "parent.py").write_text(
        "import pathlib, sys, time\n"
        "from mrresponse.execute import load_ahead, pool, run_on\n"
        "from tests.unit.test_execute import process_id\n"
        "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in lines)
    )
    top = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, str(folder / "parent.py"), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{top}{os.pathsep}{folder}"},
    )
    return found.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="copies of a process")
def test_a_module_is_loaded_once_for_all_workers(tmp_path: Path) -> None:
    workers = run_with_slow_module(
        tmp_path,
        "place = pool(3, load='slow_to_load')",
        "print(*set(run_on(place, process_id, range(30), lost=print)))",
    )
    assert len(list(tmp_path.glob("loaded-*"))) == 1
    assert not list(tmp_path.glob(f"loaded-{workers[0]}"))


@pytest.mark.skipif(sys.platform != "linux", reason="copies of a process")
def test_a_module_is_loaded_before_there_is_a_pool_and_not_again(tmp_path: Path) -> None:
    loaded = "len(list(pathlib.Path(sys.argv[1]).glob('loaded-*')))"
    before = run_with_slow_module(
        tmp_path,
        "load_ahead('slow_to_load')",
        "deadline = time.monotonic() + 30",
        f"while not {loaded} and time.monotonic() < deadline: time.sleep(0.05)",
        f"print({loaded})",
        "list(run_on(pool(2, load='slow_to_load'), process_id, range(9), lost=print))",
    )
    assert before == ["1"]
    assert len(list(tmp_path.glob("loaded-*"))) == 1


def children() -> set[int]:
    """Give the processes that this one has started, without the helpers of their module."""
    return {process.pid for process in active_children() if process.pid is not None}


def started(names: Path) -> int:
    return len(list(names.iterdir()))


def notes_itself(number: int, folder: Path) -> None:
    (folder / str(number)).touch()


def test_workers_start_while_the_caller_finds_out_what_there_is_to_do(tmp_path: Path) -> None:
    others = children()
    place = pool(2, prepare=lambda: partial(notes_itself, folder=tmp_path))
    with place.begun():
        deadline = time.monotonic() + 30
        while started(tmp_path) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert started(tmp_path) == 2
        waiting = children()
    assert set(run_on(place, process_id, range(8), lost=never_lost)) <= waiting - others
    assert children() <= others


def takes_its_turn(_number: int, turn: Any) -> None:
    global _turn
    _turn = turn


def dies_in_its_turn(folder: Path) -> str:
    """Die the first time while holding what the other workers wait for."""
    with _turn:
        if not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return folder.name


def test_a_turn_that_died_with_its_worker_holds_up_nobody(tmp_path: Path) -> None:
    place = pool(2, prepare=lambda: partial(takes_its_turn, turn=get_context("spawn").Lock()))
    assert list(run_on(place, dies_in_its_turn, [tmp_path] * 3, lost=never_lost)) == [tmp_path.name] * 3


def test_workers_end_when_there_is_nothing_to_do_after_all(tmp_path: Path) -> None:
    others = children()
    place = pool(2, prepare=lambda: partial(notes_itself, folder=tmp_path))
    with pytest.raises(ValueError, match="unreadable"), place.begun():
        raise ValueError("unreadable")
    assert children() <= others
    assert sorted(run_on(place, cubed, range(3), lost=never_lost)) == [0, 1, 8]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's limits")
def test_freed_memory_is_kept_where_the_environment_says_to_hand_it_back() -> None:
    # every page of memory that was handed back is a fault when it is asked for again: 1 MiB is 256 of 4 KiB
    script = (
        "import resource, numpy\n"
        "from mrresponse.execute import _keep_freed_memory\n"
        "def faults():\n"
        "    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(50): numpy.ones(1 << 17)\n"
        "    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun) / 50\n"
        "before = faults(); _keep_freed_memory(); faults(); print(before, faults())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"},
    )
    before, after = map(float, found.stdout.split())
    if before < 64:
        pytest.skip("this C library, or huge pages, hand nothing back")
    assert after < before / 10


def says_its_step(item: int) -> int:
    logging.getLogger("mrresponse.progress").debug("%s", f"step of {item}")
    return dies_on_two(item)


def test_steps_of_workers_are_logged_here_and_a_killed_worker_silences_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="mrresponse.progress")
    list(run_on(pool(2), says_its_step, range(4), lost=lambda item: -item))
    said = {record.getMessage() for record in caplog.records}
    assert {text.partition(": ")[2] for text in said} == {f"step of {item}" for item in range(4)}
    assert {text.partition(": ")[0] for text in said} <= {"worker 1", "worker 2"}
