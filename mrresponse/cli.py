"""The command line: parse, load, call, print. The only place that prints and the only one that chooses an exit code.

0 all done; 1 some patients failed, each a row in ``failures.csv``; 2 nothing was run.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from mrresponse import __version__
from mrresponse.errors import ConfigError, DataError, MrresponseError
from mrresponse.terminal import print_table, with_progress

if TYPE_CHECKING:
    from mrresponse.batch import BatchOptions
    from mrresponse.config import Settings
    from mrresponse.domain import Failure, Outcome, PatientResult
    from mrresponse.execute import Workplace
    from mrresponse.ingest import Ingested
    from mrresponse.run_record import RunInfo
    from mrresponse.shards import Shard
    from mrresponse.store import RunFolder

_PATIENTS_SHOWN = 20
_STUDY = "MRRESPONSE"

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


class FigureFormat(StrEnum):
    """Format of figures."""

    SVG = "svg"
    PDF = "pdf"
    PNG = "png"


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
Dask = Annotated[
    str | None,
    typer.Option("--dask", help="Address of a Dask scheduler: the work is done on its cluster, not here."),
]
DaskResources = Annotated[
    str | None,
    typer.Option("--dask-resources", help="What a patient takes of a Dask worker's resources, as GPU=1."),
]
ShardPart = Annotated[
    str | None,
    typer.Option("--shard", help="i/N: do the i-th of N parts only; `merge` puts the parts together."),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory", min=0.1, max=1e6, help="GiB of memory the run may use. Default: 90 % of what is free."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try patients again that failed before and have not changed.")
]
KeepStudies = Annotated[
    bool,
    typer.Option(
        "--keep-studies",
        help="Keep aligned images (about 40 MB per study), for other settings of later steps.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what every step does.")]


@app.command()
def check(
    data: DataFolder,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            help="Folder for the inferred manifest.csv and identities.csv, to edit; an edited one stays.",
        ),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Look at the images of series whose headers do not say enough.")
    ] = False,
    config: ConfigFile = None,
    key: KeyFile = None,
    show_paths: ShowPaths = False,
) -> None:
    """Show what was found for each patient and study, and what is missing; reads headers only."""
    from mrresponse.ingest.check import check_report, with_refused_scales, write_identities, write_manifest

    ingested = with_refused_scales(_ingest(data, _settings(config), key, images=images))
    if write is not None:
        _refuse_to_write_over(write, ingested)
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
    print_table("What was found", headings, rows)
    if write is not None:
        write_manifest(write / "manifest.csv", ingested)
        write_identities(write / "identities.csv", ingested)
        _print(
            f"manifest.csv and identities.csv written to {write}; edit them and put them into the data folder"
        )
    _print_notes(ingested.notes)
    _finish(ingested.failures, show_paths=show_paths)


def _refuse_to_write_over(folder: Path, ingested: "Ingested") -> None:
    """Keep the tables that somebody may have edited: one of the same name is as it would be written, or stays."""
    from mrresponse.ingest.check import tables_in_the_way

    for name in tables_in_the_way(folder, ingested):
        raise ConfigError(
            f"--write: found {name} there, other than what is inferred now, expected a folder without one; it may "
            "have been edited"
        )


@app.command()
def run(
    data: DataFolder,
    out: OutFolder,
    config: ConfigFile = None,
    masks: MasksFolder = None,
    device: Device = None,
    workers: Workers = 1,
    dask: Dask = None,
    dask_resources: DaskResources = None,
    shard: ShardPart = None,
    memory: Memory = None,
    retry_failed: RetryFailed = False,
    keep_studies: KeepStudies = False,
    key: KeyFile = None,
    show_paths: ShowPaths = False,
    verbose: Verbose = False,
) -> None:
    """Assess every patient: masks, measurements, responses, tables and a page each; run again to go on."""
    # before anything is loaded: a slip of the finger should not take seconds to be told
    _check_data(data)
    if dask is None:
        _load_ahead(workers)
    from mrresponse.batch import BatchOptions, choose_workplace
    from mrresponse.run_record import run_info
    from mrresponse.shards import Shard
    from mrresponse.store import RunFolder

    _log_to_terminal(verbose=verbose)
    settings = _settings(config, device=device)
    part = None if shard is None else Shard.parse(shard)
    _check_apart(masks, out)
    info = run_info(settings, masks)
    workplace = choose_workplace(settings, masks, workers=workers, address=dask, resources=dask_resources)
    with workplace.begun():
        ingested = _ingest(data, settings, key, masks=masks)
    folder = RunFolder.create(out)
    options = BatchOptions(
        retry_failed=retry_failed,
        keep_studies=keep_studies,
        memory_bytes=None if memory is None else int(memory * (1 << 30)),
    )
    with folder.locked("" if part is None else part.name) as alone:
        if not alone:
            _print_notes(["--out: this file system cannot lock; see that no other run writes there"])
        _assess(
            ingested,
            folder,
            info,
            masks=masks,
            workplace=workplace,
            options=options,
            part=part,
            show_paths=show_paths,
        )


def _check_apart(masks: Path | None, out: Path) -> None:
    """Refuse given masks where the run writes its own: it would write over them."""
    if masks is not None and masks.resolve().is_relative_to(out.resolve()):
        raise ConfigError(
            "--masks: found a folder within that of --out, which the run writes, expected another one; copy the masks, "
            "or put corrected ones into edits/masks"
        )


def _load_ahead(workers: int) -> None:
    """Let the processes that a run will need load the program while this one does: it takes each of them a second."""
    if workers > 1:
        from mrresponse.execute import load_ahead

        load_ahead("mrresponse.batch")


def _assess(
    ingested: "Ingested",
    folder: "RunFolder",
    info: "RunInfo",
    *,
    masks: Path | None,
    workplace: "Workplace",
    options: "BatchOptions",
    part: "Shard | None",
    show_paths: bool,
) -> None:
    """Assess the patients of a run, or of one part of it, and write what follows."""
    from mrresponse.batch import assess_cohort
    from mrresponse.domain import Failure
    from mrresponse.edits import read_edits, with_edits
    from mrresponse.respond.cohort import load_curves
    from mrresponse.shards import all_names, forget_shards, keep_shard, part_of

    edits = read_edits(folder.path)
    _print_notes([*ingested.notes, *edits.notes])
    patients, unedited = with_edits(ingested.patients, edits, folder.earlier_tracks())
    failures = [*ingested.failures, *unedited]
    if part is None:
        forget_shards(folder)
    log = folder.begin(info)
    names: tuple[str, ...] = ()
    if part is not None:
        names = all_names(patients, failures)
        ids = part.ids(names)
        patients, failures = part_of(patients, ids), list(part_of(failures, ids))
        keep_shard(folder, part, names, failures, info, is_done=False)
    unread = tuple(failures)
    if part is None and workplace.workers != 1:
        # while others work, this process loads what the tables need: it takes two seconds
        Thread(target=load_curves).start()
    finished: list[str] = []
    assessed = assess_cohort(
        patients,
        info.settings,
        masks=masks,
        folder=folder,
        workplace=workplace,
        options=replace(options, log=log),
    )
    for outcome in with_progress(assessed, patients):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            finished.append(outcome.patient.patient_id)
    if part is None:
        _write(folder, finished, failures, info)
    else:
        keep_shard(folder, part, names, unread, info, is_done=True)
        _print(
            f"{len(finished)} patients of {part.name} finished; after all parts: mrresponse merge {folder.path}"
        )
    _finish(failures, show_paths=show_paths)


def _write(
    folder: "RunFolder", finished: Sequence[str], failures: "Sequence[Failure]", info: "RunInfo"
) -> None:
    results = folder.finish(finished, failures, info)
    _print_responses(results)
    _print(f"Tables in {folder.path}, pages in {folder.pages}")


@app.command()
def merge(
    folder: Annotated[Path, typer.Argument(help="The run folder that all parts were given.")],
    show_paths: ShowPaths = False,
) -> None:
    """Put the parts of a run together that was divided by --shard: all tables, from what is finished."""
    from mrresponse.shards import merge as merge_shards
    from mrresponse.store import RunFolder

    if not (folder / "run.json").is_file():
        raise ConfigError(f"DIR: '{folder.name}' is no run folder")
    run_folder = RunFolder(path=folder)
    with run_folder.locked():
        finished, failures = merge_shards(run_folder)
        _write(run_folder, finished, failures, run_folder.info())
    _finish(failures, show_paths=show_paths)


@app.command()
def segment(
    data: DataFolder,
    out: OutFolder,
    config: ConfigFile = None,
    device: Device = None,
    workers: Workers = 1,
    key: KeyFile = None,
    show_paths: ShowPaths = False,
    verbose: Verbose = False,
) -> None:
    """Write the masks of liver and lesions only."""
    _check_data(data)
    _load_ahead(workers)
    from mrresponse.batch import BatchOptions, assess_cohort, choose_workplace
    from mrresponse.run_record import run_info
    from mrresponse.shards import forget_shards
    from mrresponse.store import RunFolder

    _log_to_terminal(verbose=verbose)
    settings = _settings(config, device=device)
    info = run_info(settings, None)
    workplace = choose_workplace(settings, None, workers=workers)
    with workplace.begun():
        ingested = _ingest(data, settings, key)
    folder = RunFolder.create(out)
    _print_notes(ingested.notes)
    with folder.locked():
        forget_shards(folder)
        options = BatchOptions(masks_only=True, log=folder.begin(info))
        segmented = assess_cohort(
            ingested.patients, settings, folder=folder, workplace=workplace, options=options
        )
        failures = [*ingested.failures, *_failures(with_progress(segmented, ingested.patients))]
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
    from mrresponse.numbers import respond_again, with_repeats
    from mrresponse.store import RunFolder

    _log_to_terminal(verbose=False)
    run_folder = RunFolder.open(folder)
    info = run_folder.info()
    if config is not None:
        info = replace(info, settings=_settings(config))
    settings = with_repeats(info.settings.respond, folder)
    info = replace(info, settings=replace(info.settings, respond=settings))
    numbers, unread = run_folder.read()
    outcomes = [*unread, *respond_again(numbers, settings, info.settings.measure)]
    results = [outcome for outcome in outcomes if isinstance(outcome, PatientResult)]
    assessed = [result.patient.patient_id for result in results]
    failures = run_folder.write_response_failures(_failures(outcomes), assessed)
    run_folder.write_responses(results, info)
    _print_responses(results)
    _finish(failures, show_paths=False)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the lesion table and the pages again from the stored rows."""
    from mrresponse.store import RunFolder

    _log_to_terminal(verbose=False)
    run_folder = RunFolder.open(folder)
    results, failures = run_folder.read()
    run_folder.write_pages(results, run_folder.info())
    _print(f"Pages in {run_folder.pages}")
    _finish(failures, show_paths=False)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[list[str], typer.Option("--to", help="Format; give it again for more than one.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder to write to. Default: export in the run folder, or in its private folder."
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option("--study", help=f"Study identifier, for formats that carry one. Default: {_STUDY}."),
    ] = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="DICOM without the patient's identity: the basic profile.")
    ] = False,
) -> None:
    """Write the results in other formats, each into a folder of its name."""
    from mrresponse.numbers import finished_run
    from mrresponse.report import EXPORTERS, IDENTIFYING
    from mrresponse.store import RunFolder

    unknown = [name for name in to if name not in EXPORTERS]
    if unknown:
        raise ConfigError(f"--to: unknown format {unknown[0]!r}; known: {', '.join(EXPORTERS)}")
    _check_honoured(to, study=study, deidentify=deidentify)
    _log_to_terminal(verbose=False)
    run_folder = RunFolder.open(folder)
    study_id = _STUDY if study is None else study
    finished = replace(finished_run(run_folder, study_id=study_id), deidentify=deidentify)
    for name in dict.fromkeys(to):
        hidden = name in IDENTIFYING and not deidentify
        target = (out or (folder / "private" if hidden else folder) / "export") / name
        EXPORTERS[name](finished, target)
        _print(f"{name}: {target}")
    _finish(finished.failures, show_paths=False)


def _check_honoured(formats: Sequence[str], *, study: str | None, deidentify: bool) -> None:
    """Refuse options that would be passed over: nobody should take tables with dates for anonymous ones."""
    from mrresponse.report import IDENTIFYING, NAMING_STUDY

    dated = [name for name in dict.fromkeys(formats) if name not in IDENTIFYING]
    if deidentify and dated:
        raise ConfigError(
            f"--deidentify: it is for {', '.join(sorted(IDENTIFYING))} alone, found {', '.join(dated)}: tables and "
            "pages have pseudonyms in any case, and keep the dates"
        )
    if study is not None and NAMING_STUDY.isdisjoint(formats):
        raise ConfigError(
            f"--study: found {', '.join(dict.fromkeys(formats))}, which carry no study identifier, expected "
            f"{' or '.join(sorted(NAMING_STUDY))} among them"
        )


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    out: OutFolder,
    file_format: Annotated[FigureFormat, typer.Option("--format", help="File format.")] = FigureFormat.SVG,
) -> None:
    """Draw the figures for papers: of the cohort, and of each patient and lesion."""
    from mrresponse.figures import write_figures

    written = write_figures(folder, out, file_format=file_format.value)
    _print(f"{len(written)} figures in {out}")


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
        print_table("Scenarios", ["name", "what it shows"], rows)
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
        float | None,
        typer.Option("--minutes", min=0.0, help="Stop after so many minutes; run again to go on."),
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
    except OSError as error:
        # of the file only the kind of trouble: its name may be one of the source
        _print_error(f"a file or folder cannot be read or written ({error.strerror or type(error).__name__})")
        return 2
    except KeyboardInterrupt:
        _print_error("interrupted; run again to go on")
        return 130
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


def _check_data(data: Path) -> None:
    if not data.is_dir():
        raise ConfigError(f"DATA: '{data.name}' is not a folder")


def _ingest(
    data: Path, settings: "Settings", key: Path | None, *, images: bool = True, masks: Path | None = None
) -> "Ingested":
    from mrresponse.ingest import ingest
    from mrresponse.segment import lazy_liver

    _check_data(data)
    liver_of = lazy_liver(settings.segment, masks=masks) if images else None
    return ingest(data, settings.ingest, key_file=key, liver_of=liver_of)


def _failures(outcomes: "Iterable[Outcome]") -> "list[Failure]":
    from mrresponse.domain import Failure

    return [outcome for outcome in outcomes if isinstance(outcome, Failure)]


def _print_responses(results: "Sequence[PatientResult]") -> None:
    from mrresponse.report import response_table

    shown = results[:_PATIENTS_SHOWN]
    for result in shown:
        headings, rows = response_table(result)
        print_table(f"Patient {result.patient.patient_id}", headings, rows)
    if len(results) > len(shown):
        _print(f"… and {len(results) - len(shown)} more patients; see assessments.csv")


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


def _log_to_terminal(*, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    # the level is the terminal's, not the program's: the log of a run takes more than is shown
    handler.setLevel(logging.INFO if verbose else logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
