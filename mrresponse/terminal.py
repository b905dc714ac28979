"""What a person sees on the terminal: tables, and how far a batch is; plain lines where the output is a file."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, TextIO

import typer

from mrresponse.execute import PROGRESS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from mrresponse.domain import Outcome, Patient

# A log file has no width of its own; this keeps a response row on one line.
_LOG_WIDTH = 160


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose text is only ever text."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", show_lines=False)
    for heading in headings:
        table.add_column(escape(heading), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console(sys.stdout).print(table)


def console(stream: TextIO) -> "Console":
    """Give a console on a stream: as wide as the terminal, or as a log's lines."""
    from rich.console import Console

    return Console(file=stream, width=None if stream.isatty() else _LOG_WIDTH, highlight=False)


def with_progress(
    outcomes: "Iterable[Outcome]", patients: "Sequence[Patient]", *, stream: TextIO | None = None
) -> "Iterator[Outcome]":
    """Show how far a batch is, and pass its outcomes on.

    On a terminal a bar has patients, studies, the step that was begun last, with its worker, and the time that is left;
    elsewhere each finished patient is one line. ``stream`` is by default the standard error.
    """
    shown = sys.stderr if stream is None else stream
    if shown.isatty():
        yield from _with_bar(outcomes, patients, console(shown))
    else:
        yield from _with_lines(outcomes, patients, shown)


def _with_lines(
    outcomes: "Iterable[Outcome]", patients: "Sequence[Patient]", stream: TextIO
) -> "Iterator[Outcome]":
    begun = perf_counter()
    for number, outcome in enumerate(outcomes, start=1):
        left = (perf_counter() - begun) / number * (len(patients) - number)
        rest = f"; about {_duration(left)} left" if number < len(patients) else ""
        typer.echo(f"[{number}/{len(patients)}] {_words(outcome)}{rest}", file=stream)
        yield outcome


def _words(outcome: "Outcome") -> str:
    from mrresponse.domain import Failure

    if isinstance(outcome, Failure):
        return f"{outcome.patient_id}: failed"
    studies = len(outcome.patient.studies)
    noun = "study" if studies == 1 else "studies"
    return f"{outcome.patient.patient_id}: {studies} {noun}, {sum(outcome.seconds.values()):.1f} s"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _with_bar(
    outcomes: "Iterable[Outcome]", patients: "Sequence[Patient]", shown: "Console"
) -> "Iterator[Outcome]":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from mrresponse.domain import Failure

    studies = {patient.patient_id: len(patient.studies) for patient in patients}
    columns = (
        TextColumn("{task.completed:.0f}/{task.total:.0f} patients"),
        BarColumn(),
        TextColumn("{task.fields[studies]}/{task.fields[all_studies]} studies"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[step]}", markup=False),
    )
    with Progress(*columns, console=shown) as progress:
        task = progress.add_task(
            "", total=len(patients), studies=0, all_studies=sum(studies.values()), step=""
        )
        finished = 0
        with _steps_shown(progress, task):
            for outcome in outcomes:
                name = outcome.patient_id if isinstance(outcome, Failure) else outcome.patient.patient_id
                finished += studies.get(name, 0)
                progress.update(task, advance=1, studies=finished)
                yield outcome


@contextmanager
def _steps_shown(progress: "Progress", task: "TaskID") -> Iterator[None]:
    """Show each step of the line as it begins in this process or in a worker on this machine; Dask's work unseen."""
    logger = logging.getLogger(PROGRESS)
    handler = _StepHandler(progress, task)
    level, spreads = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = spreads


class _StepHandler(logging.Handler):
    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        super().__init__(level=logging.DEBUG)
        self._shown = progress
        self._task = task

    def emit(self, record: logging.LogRecord) -> None:
        self._shown.update(self._task, step=record.getMessage())
