"""All figures of a run as files."""

from collections.abc import Iterator
from pathlib import Path

from mrresponse.cohort import CohortFigure
from mrresponse.domain import PatientResult
from mrresponse.errors import ConfigError
from mrresponse.figures.cohort import spider, survival, swimmer, waterfall
from mrresponse.figures.patient import course, lesion_strip
from mrresponse.figures.style import FORMATS, save
from mrresponse.report import summarise
from mrresponse.report.names import file_stem
from mrresponse.store import RunFolder, figures_of


def write_figures(run: Path, out: Path, *, file_format: str = "svg") -> tuple[Path, ...]:
    """Draw every figure of a run folder into ``out``: those of each group under ``cohort/``, and of each patient.

    A group has at least two patients.

    Raises
    ------
    ConfigError
        The format is unknown, or the folder is no run.
    DataError
        A table or a picture of the run cannot be read.
    """
    if file_format not in FORMATS:
        raise ConfigError(f"--format: '{file_format}' is unknown, expected one of {', '.join(FORMATS)}")
    folder = RunFolder.open(run)
    results, _ = folder.read()
    settings = folder.info().settings.respond
    lines = [summarise(result) for result in results]
    figures = figures_of(lines, level=settings.interval_level, day_count=settings.day_count)
    written = [
        path for figure in figures if figure.n > 1 for path in _of_group(figure, out / "cohort", file_format)
    ]
    written += [path for result in results for path in _of_patient(result, out, file_format)]
    return tuple(written)


def _of_group(figure: CohortFigure, out: Path, file_format: str) -> Iterator[Path]:
    group = figure.group
    stem = file_stem(f"{group.treatment_phase}_{group.criterion}_{group.basis}_{group.reader}")
    for name, has_data, draw in (
        ("waterfall", figure.bars, waterfall),
        ("spider", figure.lines, spider),
        ("swimmer", figure.lanes, swimmer),
    ):
        if has_data:
            yield save(draw(figure), out / stem / f"{name}.{file_format}")
    for curve in figure.curves:
        yield save(survival(curve), out / stem / f"{curve.endpoint.value}.{file_format}")


def _of_patient(result: PatientResult, out: Path, file_format: str) -> Iterator[Path]:
    stem = file_stem(result.patient.patient_id)
    if result.studies:
        yield save(course(result), out / stem / f"course.{file_format}")
    for lesion_id in sorted({snapshot.lesion_id for snapshot in result.snapshots}):
        yield save(lesion_strip(result, lesion_id), out / stem / f"{file_stem(lesion_id)}.{file_format}")
