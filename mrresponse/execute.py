"""Run one function over many items: here, in a pool of processes, or on a cluster; a lost worker costs nobody else.

All ways are a `Workplace`: how to open a ``concurrent.futures.Executor``, and how many items may be out at a time.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from importlib import import_module
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import BaseContext
from typing import Any, Self, TypeVar

from mrresponse.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")
Prepare = Callable[[int], None]

PROGRESS = "mrresponse.progress"
"""Logger of the steps that are under way, also of those in worker processes of this machine."""
_PER_WORKER = 2
"""Items handed out per worker: one at work, and one waiting so that no worker idles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where items are worked on.

    Parameters
    ----------
    open
        Gives an executor, ready to use, and closes it again. It is called anew after the loss of a worker.
    begun
        Within it the workers start, while the caller finds out what there is to do; ``open`` then finds them ready.
    in_flight
        Most items handed out and not yet returned; asked again each time, because a cluster may grow.
    workers
        Items worked on at once on one machine, which share its memory; 0 where that is the cluster's affair.
    """

    open: Callable[[], AbstractContextManager[Executor]]
    in_flight: Callable[[], int]
    workers: int
    begun: Callable[[], AbstractContextManager[None]] = nullcontext


# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


class _Loss(Enum):
    """Whose loss it is that a process died: the whole pool's, or the one item's."""

    OF_THE_POOL = auto()
    OF_THE_ITEM = auto()


class _Here(Executor):
    """An executor that does the work when it is handed out."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        # as every executor: what the function raises belongs to whoever asks for the result
        except Exception as error:
            future.set_exception(error)
        return future


class _Cluster(Executor):
    """A Dask executor whose worker processes keep the memory that they free."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._executor.submit(_keeping_memory, function, *args, **kwargs)


def _keeping_memory(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    _keep_freed_memory()
    return function(*args, **kwargs)


@cache
def _keep_freed_memory() -> None:
    """Have this process keep freed memory for its next image, as it does outside of Dask.

    Dask starts its workers with ``MALLOC_TRIM_THRESHOLD_=65536``: glibc then hands every array back to the system when
    it is freed, and the next one is paid for page by page; a patient took 1.6 times as long. The limits set here are
    those that glibc comes to by itself (mallopt(3), M_MMAP_THRESHOLD).
    """
    # other C libraries have no such call, and no such limit
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def cores() -> int:
    """Return how many processor cores this process may use, which a scheduler or ``taskset`` may have cut down."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of(asked: int) -> int:
    """Return how many threads this process should keep busy: those asked for, or as many as the libraries would.

    ``OMP_NUM_THREADS`` says it for torch and numpy, and Dask sets it for its workers. Processes that each start more
    threads than their share of the cores slow each other down (docs/batch.md).
    """
    if asked:
        return asked
    try:
        # OpenMP allows one number per level of nesting
        return max(1, int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]))
    except ValueError:
        return cores()


def here() -> Workplace:
    """Work in this process, one item after the other."""
    return Workplace(open=_Here, in_flight=lambda: 1, workers=1)


def load_ahead(module: str) -> None:
    """Begin to load a module for the workers of a pool that is yet to be made, while this process loads it too.

    On Linux the process that workers are copies of is started; elsewhere workers load for themselves.
    """
    if sys.platform == "linux":
        from multiprocessing import forkserver

        _context(module)
        forkserver.ensure_running()


def pool(workers: int, *, prepare: Callable[[], Prepare] | None = None, load: str = "") -> Workplace:
    """Work in `workers` processes of this machine.

    Each loads its own networks once and shares nothing that this one has made. A process ends when this one is gone,
    however it went.

    Parameters
    ----------
    prepare
        Gives, anew for each set of processes, what is called once in each of them with its number; that must be
        picklable. Anew, because a process that was killed may hold a lock that the next ones would wait for.
    load
        Module that the processes have loaded when they start. On Linux it is loaded once for all of them.
    """
    if workers == 1 and prepare is None:
        return here()
    processes = _Pool(workers, prepare, load)
    return Workplace(
        open=processes.open, begun=processes.begun, in_flight=lambda: _PER_WORKER * workers, workers=workers
    )


class _Pool:
    """Opens pools of worker processes, the first of them ahead of time where that is asked for."""

    def __init__(self, workers: int, prepare: Callable[[], Prepare] | None, load: str) -> None:
        self._workers = workers
        self._prepare = prepare
        self._load = load
        self._ahead: _Processes | None = None

    @contextmanager
    def begun(self) -> Iterator[None]:
        ahead = self._ahead = self._started()
        # a process starts with the first call that finds no other idle
        for _ in range(self._workers):
            ahead.executor.submit(_ready)
        try:
            yield
        except BaseException:
            # what was to be read cannot be
            self._ahead = None
            _end_processes(ahead.executor)
            ahead.close()
            raise

    @contextmanager
    def open(self) -> Iterator[Executor]:
        processes, self._ahead = self._ahead or self._started(), None
        try:
            yield processes.executor
        except BaseException:
            # interrupted: nobody waits for what is under way
            _end_processes(processes.executor)
            raise
        finally:
            processes.close()

    def _started(self) -> "_Processes":
        prepare = None if self._prepare is None else self._prepare()
        return _Processes.start(self._workers, prepare, self._load)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Processes:
    """The processes of one pool, and what hears the steps that they begin."""

    executor: ProcessPoolExecutor
    writers: Sequence[Connection]
    listener: threading.Thread

    @classmethod
    def start(cls, workers: int, prepare: Prepare | None, load: str) -> Self:
        context = _context(load)
        numbers = context.SimpleQueue()
        for number in range(workers):
            numbers.put(number)
        # a pipe for each: a process that is killed while it writes must not hold a lock that others need
        pipes = [context.Pipe(duplex=False) for _ in range(workers)]
        writers = [writer for _, writer in pipes]
        executor = ProcessPoolExecutor(
            max_workers=workers,
            mp_context=context,
            initializer=_start_worker,
            initargs=(numbers, writers, prepare),
        )
        listener = threading.Thread(target=_pass_steps_on, args=([one for one, _ in pipes],), daemon=True)
        listener.start()
        return cls(executor=executor, writers=writers, listener=listener)

    def close(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)
        for writer in self.writers:
            writer.close()
        self.listener.join()


def _context(load: str) -> BaseContext:
    """Return how processes are started: fresh ones, on Linux as copies of one that has loaded a module and no more.

    Loading takes each process a second of its core. A copy of this process itself would have its threads' locks and
    its CUDA context, neither of which works in a copy.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([load] if load else [])
    return context


def _load(module: str) -> None:
    """Load a module, in a worker of a cluster; it stays there."""
    import_module(module)


def _ready() -> None:
    """Do nothing, in a process that has started."""


def dask(address: str, *, resources: dict[str, float] | None = None, load: str = "") -> Workplace:
    """Work on the Dask cluster whose scheduler is at `address`; certificates are those of Dask's own configuration.

    Parameters
    ----------
    resources
        What an item takes of a worker's resources while it is worked on, as ``{"GPU": 1}``.
    load
        Module that the workers load while the caller finds out what there is to do.

    Raises
    ------
    ConfigError
        Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError("--dask: Dask is not installed; pip install 'mrresponse[dask]'") from None
    try:
        client = Client(address, timeout="20s", set_as_default=False)
    # what a wrong address, a refused certificate and a missing one raise has no common kind
    except Exception as error:
        raise ConfigError(
            f"--dask: no scheduler answers at '{address}' ({type(error).__name__}), expected tcp://HOST:PORT or "
            "tls://HOST:PORT"
        ) from None

    @contextmanager
    def opened() -> Iterator[Executor]:
        try:
            # not pure: two patients with equal inputs are still two patients
            yield _Cluster(client.get_executor(pure=False, resources=resources))
        finally:
            client.close()

    @contextmanager
    def begun() -> Iterator[None]:
        workers = client.scheduler_info(n_workers=-1)["workers"] if load else ()
        # a future that nobody holds is not worked on
        loading = [client.submit(_load, load, workers=[one], pure=False) for one in workers]
        yield
        del loading

    def in_flight() -> int:
        slots = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
        return max(1, _PER_WORKER * int(slots))

    return Workplace(open=opened, begun=begun, in_flight=in_flight, workers=0)


def run_on(
    workplace: Workplace,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    lost: Callable[[Item], Result],
) -> Iterator[Result]:
    """Yield ``function(item)`` as they finish, with few items out at a time.

    When a process of a pool dies, nobody can say whose fault it was. All items that were out are then worked on
    again, each alone: the one that ends its process once more gets ``lost(item)`` for its result. A cluster tries an
    item again by itself before it gives it up. An error that the function raises is raised here.
    """
    remaining = iter(items)
    while True:
        suspects = yield from _run_until_broken(workplace, function, remaining, lost)
        if not suspects:
            return
        for item in suspects:
            yield _alone(workplace, function, item, lost)


def _run_until_broken(
    workplace: Workplace,
    function: Callable[[Item], Result],
    remaining: Iterator[Item],
    lost: Callable[[Item], Result],
) -> Generator[Result, None, list[Item]]:
    """Yield results until all is done or a process dies; return the items that were out then."""
    running: dict[Future[Result], Item] = {}
    suspects: list[Item] = []
    with workplace.open() as executor:
        while True:
            if not suspects:
                for item in islice(remaining, max(0, workplace.in_flight() - len(running))):
                    running[_submitted(executor, function, item)] = item
            if not running:
                return suspects
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                match _loss(future):
                    case None:
                        yield future.result()
                    case _Loss.OF_THE_POOL:
                        suspects.append(item)
                    case _Loss.OF_THE_ITEM:
                        yield lost(item)


def _alone(
    workplace: Workplace, function: Callable[[Item], Result], item: Item, lost: Callable[[Item], Result]
) -> Result:
    with workplace.open() as executor:
        future = _submitted(executor, function, item)
        wait([future])
        return future.result() if _loss(future) is None else lost(item)


def _submitted(executor: Executor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """Hand an item out; a pool that broke just now takes it as one that was out."""
    try:
        return executor.submit(function, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _loss(future: Future[Any]) -> _Loss | None:
    """Tell whether the process that had the item died, in a pool or on a cluster."""
    if future.cancelled():
        raise ConfigError("--dask: the scheduler is gone; run again to continue")
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return _Loss.OF_THE_POOL
    # Dask's own error is known by its name: Dask is not installed everywhere
    return _Loss.OF_THE_ITEM if type(error).__name__ == "KilledWorker" else None


class _StepSender(logging.Handler):
    """Sends the steps of this worker to the process that started it."""

    def __init__(self, number: int, pipe: Connection) -> None:
        super().__init__(level=logging.DEBUG)
        self._number = number
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        # who is no longer listening needs no steps
        with suppress(OSError):
            self._pipe.send_bytes(f"worker {self._number + 1}: {record.getMessage()}".encode())


def _pass_steps_on(pipes: list[Connection]) -> None:
    """Log here what the workers send, until all of them have ended and their pipes are closed."""
    logger = logging.getLogger(PROGRESS)
    while pipes:
        for pipe in wait_for(pipes):
            assert isinstance(pipe, Connection)
            try:
                logger.debug("%s", pipe.recv_bytes().decode())
            except (EOFError, OSError):
                pipes.remove(pipe)
                pipe.close()


def _start_worker(numbers: Any, pipes: list[Connection], prepare: Prepare | None) -> None:
    # Ctrl-C is answered by the parent alone
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what is logged here goes back with the results; nothing is printed beside the progress
    logging.getLogger("mrresponse").addHandler(logging.NullHandler())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    number = numbers.get()
    progress = logging.getLogger(PROGRESS)
    progress.setLevel(logging.DEBUG)
    progress.propagate = False
    progress.addHandler(_StepSender(number, pipes[number]))
    if prepare is not None:
        prepare(number)


def _end_with_parent() -> None:
    """End this process when its parent is gone: a pool's worker would otherwise wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _end_processes(executor: ProcessPoolExecutor) -> None:
    # the pool has no public way to stop a call that is under way
    for process in list((getattr(executor, "_processes", None) or {}).values()):
        process.terminate()
