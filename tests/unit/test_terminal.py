"""Progress on a terminal and in a log."""

import io
import logging
import re
from collections.abc import Iterator
from datetime import date

import pytest

from mrresponse.domain import Failure, Outcome, Patient, PatientResult, Study
from mrresponse.pipeline import _Clock
from mrresponse.terminal import print_table, with_progress

PATIENTS = tuple(
    Patient(
        patient_id=f"P{number}",
        studies=tuple(
            Study(patient_id=f"P{number}", study_date=date(2024, month, 1)) for month in range(1, 4)
        ),
    )
    for number in (1, 2)
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def outcomes() -> Iterator[Outcome]:
    clock = _Clock()
    with clock.time("prepare"):
        pass
    yield PatientResult(patient=PATIENTS[0], seconds={"prepare": 2.0, "measure": 0.5})
    yield Failure(patient_id="P2", code="no_liver", message="no liver found")


def test_in_a_log_each_finished_patient_is_a_plain_line_with_the_time_left() -> None:
    log = io.StringIO()
    passed = list(with_progress(outcomes(), PATIENTS, stream=log))
    assert [type(one).__name__ for one in passed] == ["PatientResult", "Failure"]
    assert log.getvalue() == "[1/2] P1: 3 studies, 2.5 s; about 0 s left\n[2/2] P2: failed\n"


def test_on_a_terminal_the_bar_has_patients_studies_step_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    assert len(list(with_progress(outcomes(), PATIENTS, stream=terminal))) == 2
    last = (
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).replace("\r", "\n").strip().split("\n")[-1]
    )
    assert "2/2 patients" in last
    assert "6/6 studies" in last
    assert "prepare" in last
    assert re.search(r"\d:\d\d:\d\d 0:00:00 left", last)


def test_steps_are_shown_only_while_a_bar_is_there_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("mrresponse.progress")
    list(with_progress(outcomes(), PATIENTS, stream=Terminal()))
    assert caplog.records == []
    assert (logger.level, logger.handlers, logger.propagate) == (logging.NOTSET, [], True)


def test_table_shows_marks_of_the_terminal_language_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("[bold]T[/bold]", ["[red]a"], [["[link=x]b[/link]"]])
    shown = capsys.readouterr().out
    assert "[bold]T[/bold]" in shown
    assert "[link=x]b[/link]" in shown
    assert "\x1b" not in shown
