"""The command line: parse, load, call, print. The only place that prints and the only one that chooses an exit code.

0 all done; 1 some patients failed, each a row in ``failures.csv``; 2 nothing was run.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrresponse import __version__
from mrresponse.errors import ConfigError, DataError, MrresponseError

if TYPE_CHECKING:
    from rich.console import Console

    from mrresponse.config import Settings
    from mrresponse.domain import Failure, Outcome, PatientResult
    from mrresponse.ingest import Ingested

_PATIENTS_SHOWN = 20

app = typer.Typer(
    name="mrresponse",
    help="Serial liver MRI in, tumour response of every treatment phase out. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Size(StrEnum):
    """Size of a synthetic patient's images."""

    TINY = "tiny"
    STANDARD = "standard"
    CLINICAL = "clinical"
    FINE = "fine"


class FileFormat(StrEnum):
    """Format of a synthetic patient's images."""

    NIFTI = "nifti"
    DICOM = "dicom"


DataFolder = Annotated[
    Path, typer.Argument(help="Folder with a DICOM tree, a BIDS-like tree, or manifest.csv and NIfTI files.")
]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML settings; what it leaves out keeps its default.")
]
MasksFolder = Annotated[
    Path | None, typer.Option("--masks", help="Given liver and lesion masks, used instead of the networks.")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", help="Key of the DICOM pseudonyms. Default: mrresponse.key in the data folder."),
]
ShowPaths = Annotated[bool, typer.Option("--show-paths", help="Show source paths in messages.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Patients assessed at the same time.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what every step does.")]


@app.command()
def check(
    data: DataFolder,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Write the inferred manifest.csv and identities.csv here, for editing."),
    ] = None,
    config: ConfigFile = None,
    key: KeyFile = None,
    show_paths: ShowPaths = False,
) -> None:
    """Show what was found for each patient and study, and what is missing; reads headers only."""
    from mrresponse.ingest.check import check_report, write_identities, write_manifest

    ingested = _ingest(data, _settings(config), key)
    headings = ["patient", "study", "status", "series", "contrast phase", "agent", "why", "description"]
    rows = [
        (
            row.patient_id,
            row.study_date.isoformat() if row.study_date else "",
            row.status,
            row.series,
            row.contrast_phase or "",
            row.agent or "",
            row.why,
            row.description,
        )
        for row in check_report(ingested)
    ]
    _print_table("What was found", headings, rows)
    if write is not None:
        write_manifest(write / "manifest.csv", ingested)
        write_identities(write / "identities.csv", ingested)
        _print(
            f"manifest.csv and identities.csv written to {write}; edit them and put them into the data folder"
        )
    _print_notes(ingested.notes)
    _finish(ingested.failures, show_paths=show_paths)


@app.command()
def run(
    data: DataFolder,
    out: OutFolder,
    config: ConfigFile = None,
    masks: MasksFolder = None,
    device: Device = None,
    workers: Workers = 1,
    key: KeyFile = None,
    show_paths: ShowPaths = False,
    verbose: Verbose = False,
) -> None:
    """Assess every patient: masks, measurements, responses, tables and a page each."""
    from mrresponse.edits import read_edits, with_edits
    from mrresponse.pipeline import assess_cohort
    from mrresponse.store import RunFolder, run_info

    _log_to_terminal(verbose=verbose)
    settings = _settings(config, device=device)
    info = run_info(settings, masks)
    ingested = _ingest(data, settings, key)
    folder = RunFolder.create(out)
    edits = read_edits(out)
    _print_notes([*ingested.notes, *edits.notes])
    patients, unedited = with_edits(ingested.patients, edits)
    assessed = assess_cohort(patients, settings, masks=masks, keep_masks=folder.keep_masks, workers=workers)
    outcomes = [*ingested.failures, *unedited, *_with_progress(assessed, total=len(patients))]
    results = folder.write(outcomes, info)
    _print_responses(results)
    _print(f"Tables in {folder.path}, pages in {folder.pages}")
    _finish(_failures(outcomes), show_paths=show_paths)


@app.command()
def segment(
    data: DataFolder,
    out: OutFolder,
    config: ConfigFile = None,
    device: Device = None,
    key: KeyFile = None,
    show_paths: ShowPaths = False,
    verbose: Verbose = False,
) -> None:
    """Write the masks of liver and lesions only."""
    from mrresponse.pipeline import segment_cohort
    from mrresponse.store import RunFolder, run_info

    _log_to_terminal(verbose=verbose)
    settings = _settings(config, device=device)
    run_info(settings, None)
    ingested = _ingest(data, settings, key)
    folder = RunFolder.create(out)
    _print_notes(ingested.notes)
    segmented = segment_cohort(ingested.patients, settings, keep_masks=folder.keep_masks)
    failures = [*ingested.failures, *_failures(_with_progress(segmented, total=len(ingested.patients)))]
    folder.write_failures(failures)
    _print(f"Masks in {folder.masks}")
    _finish(failures, show_paths=show_paths)


@app.command()
def respond(
    folder: Annotated[
        Path, typer.Argument(help="A run folder, or one with studies, treatments and measurements tables.")
    ],
    config: ConfigFile = None,
) -> None:
    """Classify every visit again from the tables of numbers and the edits; no image is read."""
    from mrresponse.domain import PatientResult
    from mrresponse.numbers import respond_again
    from mrresponse.store import RunFolder

    run_folder = RunFolder.open(folder)
    info = run_folder.info()
    if config is not None:
        info = replace(info, settings=_settings(config))
    numbers, unread = run_folder.read()
    outcomes = [*unread, *respond_again(numbers, info.settings.respond)]
    results = [outcome for outcome in outcomes if isinstance(outcome, PatientResult)]
    failures = _failures(outcomes)
    run_folder.write_response_failures(failures)
    run_folder.write_responses(results, info)
    _print_responses(results)
    _finish(failures, show_paths=False)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the lesion table and the pages again from the stored rows."""
    from mrresponse.store import RunFolder

    run_folder = RunFolder.open(folder)
    results, failures = run_folder.read()
    run_folder.write_pages(results)
    _print(f"Pages in {run_folder.pages}")
    _finish(failures, show_paths=False)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[list[str], typer.Option("--to", help="Format; give it again for more than one.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to. Default: export in the run folder.")
    ] = None,
    study: Annotated[
        str, typer.Option("--study", help="Study identifier, for formats that carry one.")
    ] = "MRRESPONSE",
) -> None:
    """Write the results in other formats, each into a folder of its name."""
    from mrresponse.numbers import finished_run
    from mrresponse.report import EXPORTERS
    from mrresponse.store import RunFolder

    unknown = [name for name in to if name not in EXPORTERS]
    if unknown:
        raise ConfigError(f"--to: unknown format {unknown[0]!r}; known: {', '.join(EXPORTERS)}")
    run_folder = RunFolder.open(folder)
    finished = finished_run(run_folder, study_id=study)
    for name in dict.fromkeys(to):
        target = (out or folder / "export") / name
        EXPORTERS[name](finished, target)
        _print(f"{name}: {target}")
    _finish(finished.failures, show_paths=False)


@app.command()
def phantom(
    scenario: Annotated[str, typer.Option("--scenario", help="Name of a scenario, or 'list' to see them.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for data/ and truth/.")] = None,
    size: Annotated[Size, typer.Option("--size", help="Matrix and spacing.")] = Size.STANDARD,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")] = 1,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Image format.")] = FileFormat.NIFTI,
) -> None:
    """Make a synthetic patient with known truth: DIR/data as a hospital hands it over, DIR/truth the answers."""
    from mrresponse.synthetic.scenarios import SCENARIOS, generate

    if scenario == "list":
        rows = [[name, entry.summary] for name, entry in SCENARIOS.items()]
        _print_table("Scenarios", ["name", "what it shows"], rows)
        return
    if out is None:
        raise ConfigError("--out: missing, expected a folder")
    patients = generate(scenario, size=size.value, seed=seed, image_format=file_format.value, out=out)
    _print(f"{scenario} ({', '.join(patients)}): input in {out / 'data'}, truth in {out / 'truth'}")


@app.command()
def train(
    config: Annotated[Path, typer.Option("--config", help="YAML training settings.")],
    out: OutFolder,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Stop after so many minutes; run again to go on.")
    ] = None,
) -> None:
    """Train or fine-tune a model; run again to resume."""
    from mrresponse.training import load_training_settings
    from mrresponse.training import train as train_network

    _log_to_terminal(verbose=True)
    train_network(load_training_settings(config), out, minutes=minutes)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mrresponse {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Serial liver MRI in, tumour response of every treatment phase out. Research use only."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        app(args=None if argv is None else list(argv), prog_name="mrresponse")
    except MrresponseError as error:
        _print_error(str(error))
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def entry() -> None:
    """Console script ``mrresponse``."""
    sys.exit(main())


def _settings(config: Path | None, *, device: str | None = None) -> "Settings":
    from mrresponse.config import load_settings

    settings = load_settings(config)
    if device is None:
        return settings
    return replace(settings, segment=replace(settings.segment, device=device))


def _ingest(data: Path, settings: "Settings", key: Path | None) -> "Ingested":
    from mrresponse.ingest import ingest

    if not data.is_dir():
        raise ConfigError(f"DATA: '{data.name}' is not a folder")
    return ingest(data, settings.ingest, key_file=key)


def _failures(outcomes: "Iterable[Outcome]") -> "list[Failure]":
    from mrresponse.domain import Failure

    return [outcome for outcome in outcomes if isinstance(outcome, Failure)]


def _with_progress(outcomes: "Iterator[Outcome]", *, total: int) -> "Iterator[Outcome]":
    """Show a bar on a terminal, and one line per finished patient elsewhere."""
    from rich.progress import track

    from mrresponse.domain import Failure

    if sys.stderr.isatty():
        yield from track(outcomes, description="patients", total=total, console=_console(stderr=True))
        return
    for number, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, Failure):
            line = f"{outcome.patient_id}: failed"
        else:
            line = f"{outcome.patient.patient_id}: {sum(outcome.seconds.values()):.1f} s"
        typer.echo(f"[{number}/{total}] {line}", err=True)
        yield outcome


def _print_responses(results: "Sequence[PatientResult]") -> None:
    from mrresponse.report import response_table

    shown = results[:_PATIENTS_SHOWN]
    for result in shown:
        headings, rows = response_table(result)
        _print_table(f"Patient {result.patient.patient_id}", headings, rows)
    if len(results) > len(shown):
        _print(f"… and {len(results) - len(shown)} more patients; see assessments.csv")


def _print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", show_lines=False)
    for heading in headings:
        table.add_column(escape(heading), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _console().print(table)


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _finish(failures: "Sequence[Failure]", *, show_paths: bool) -> None:
    """Print one line per failed patient; if there is one, stop with exit code 1."""
    for failure in failures:
        error = DataError(
            failure.message,
            code=failure.code,
            patient_id=failure.patient_id,
            study_date=failure.study_date,
            series=failure.series,
        )
        shown = f" [{failure.path}]" if show_paths and failure.path else ""
        _print_error(f"{error}{shown}")
    if failures:
        raise typer.Exit(code=1)


def _print(text: str) -> None:
    typer.echo(text)


def _print_error(text: str) -> None:
    typer.echo(f"error: {text}", err=True)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    # a log file has no width of its own; 160 columns keep a response row on one line
    return Console(stderr=stderr, width=None if sys.stdout.isatty() else 160, highlight=False)


def _log_to_terminal(*, verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
