"""Every snippet of README.md and docs/ runs on a tiny phantom; one that does not says why, and is skipped with that."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mrresponse import cli
from mrresponse.config import settings_from
from mrresponse.edits import read_edits
from mrresponse.synthetic.scenarios import generate

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
TUTORIAL = ("tutorial.md", "correcting.md", "figures.md", "python.md")
BLOCK = re.compile(r"(?:<!-- not run: ([^>]+) -->\n)?```([a-z]+)\n(.*?)```", re.DOTALL)

# What makes a long command short: options that stand before those of the page.
SHORT = {
    "mrresponse train": ["--minutes", "0.05"],
    "python scripts/evaluate_model.py": ["--cases", "1"],
}
# The tables of the README, by a column that only they have.
DATA_TABLES = {
    "contrast_phase": "manifest.csv",
    "kind,start_date": "treatments.csv",
    "cytology": "findings.csv",
    "qualifier": "markers.csv",
}
EDIT_TABLES = {
    "overall,reader": "overrides.csv",
    "viable_longest_diameter_mm": "measurements.csv",
    "same_as": "lesions.csv",
}


@dataclass(frozen=True)
class Snippet:
    """A block of a page; ``excuse`` says why it is not run."""

    page: str
    line: int
    kind: str
    text: str
    excuse: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(page: Path) -> Iterator[Snippet]:
    """Give the snippets of a page in order."""
    content = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(content):
        excuse, kind, text = found.groups()
        yield Snippet(
            page=page.name,
            line=content.count("\n", 0, found.start(2)) + 1,
            kind=kind,
            text=text,
            excuse=excuse or "",
        )


ALL = [snippet for page in PAGES for snippet in snippets(page)]


def run(snippet: Snippet, names: dict[str, object]) -> None:
    """Run a snippet in the current folder; Python ones share their names."""
    if snippet.kind == "python":
        exec(compile(snippet.text, snippet.place, "exec"), names)
    elif snippet.kind == "console":
        for line in re.findall(r"^\$ (.*)$", snippet.text, re.MULTILINE):
            _run_line(shlex.split(line), snippet.place)
    elif snippet.kind == "yaml":
        settings_from(yaml.safe_load(snippet.text))
    else:
        assert snippet.kind == "csv", snippet.place


def _run_line(words: list[str], place: str) -> None:
    words = words[:2] + SHORT.get(" ".join(words[:2]), []) + words[2:]
    if words[0] == "mrresponse":
        assert cli.main(words[1:]) == 0, place
        return
    assert words[0] == "python", place
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    subprocess.run([sys.executable, *words[1:]], check=True, env=environment, timeout=1200)


def run_page(name: str, names: dict[str, object]) -> None:
    """Run the snippets of a page that have no excuse."""
    for snippet in ALL:
        if snippet.page == name and not snippet.excuse:
            run(snippet, names)


@pytest.mark.parametrize("snippet", [each for each in ALL if each.excuse], ids=lambda each: each.place)
def test_a_snippet_that_is_not_run_says_why(snippet: Snippet) -> None:
    if snippet.kind == "python":
        compile(snippet.text, snippet.place, "exec")
    pytest.skip(snippet.excuse)


def test_every_page_with_snippets_is_run_here() -> None:
    run_here = {*TUTORIAL, "training.md", "README.md"}
    settings = {each.place for each in ALL if each.kind == "yaml"}
    rest = [each.place for each in ALL if each.page not in run_here and not each.excuse]
    assert set(rest) <= settings


@pytest.mark.parametrize(
    "snippet",
    [each for each in ALL if each.kind == "yaml" and not each.excuse],
    ids=lambda each: each.place,
)
def test_the_settings_of_a_page_can_be_loaded(snippet: Snippet) -> None:
    run(snippet, {})


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the pages of the tutorial were run one after another."""
    folder = tmp_path_factory.mktemp("tutorial")
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in TUTORIAL:
            run_page(name, names)
    return folder


@pytest.mark.slow
def test_the_tutorial_runs_from_dicom_to_corrected_tables_figures_and_scripts(tutorial: Path) -> None:
    assert (tutorial / "run" / "report" / "index.html").is_file()
    assert (tutorial / "figure-2.pdf").is_file()


@pytest.mark.slow
def test_the_training_page_trains_judges_and_packs_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("configs", "scripts", "models"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    _write_labelled_patients(tmp_path, count=5)
    monkeypatch.chdir(tmp_path)
    run_page("training.md", {})
    assert (tmp_path / "models" / "own" / "models" / "model.pt").is_file()


@pytest.mark.slow
def test_the_readme_runs_on_the_data_folder_that_its_tables_describe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write_tables(tmp_path / "DATA", DATA_TABLES)
    _write_images(tmp_path / "DATA", tmp_path / "images")
    run_page("README.md", {})
    assert (tmp_path / "RUN" / "export" / "xlsx").is_dir()
    treatments = (tmp_path / "RUN" / "treatments.csv").read_text(encoding="utf-8")
    assert "lenvatinib" in treatments


def test_the_edits_of_the_readme_are_read_without_a_complaint(tmp_path: Path) -> None:
    _write_tables(tmp_path / "edits", EDIT_TABLES)
    edits = read_edits(tmp_path)
    assert not edits.failures
    assert len(edits.overrides) == 1
    assert len(edits.measurements) == 2
    assert len(edits.lesions) == 3


def _write_tables(folder: Path, tables: dict[str, str]) -> None:
    """Write the tables of the README, each under the name that its columns tell."""
    folder.mkdir(parents=True, exist_ok=True)
    for column, name in tables.items():
        texts = [each.text for each in ALL if each.kind == "csv" and column in each.text.partition("\n")[0]]
        assert len(texts) == 1, name
        (folder / name).write_text(texts[0], encoding="utf-8")


def _write_images(data: Path, phantom: Path) -> None:
    """Put images of a phantom where the manifest of the README says that images are."""
    generate("R1", size="tiny", seed=1, image_format="nifti", out=phantom)
    studies = sorted((phantom / "data" / "images" / "R1").iterdir())
    for study, day in zip(studies, ("2020-06-07", "2020-09-14"), strict=True):
        shutil.copytree(study, data / "P001" / day)


def _write_labelled_patients(folder: Path, *, count: int) -> None:
    """Write a data folder and the masks of a run for as many patients as there are folds; all look the same."""
    generate("R1", size="tiny", seed=1, image_format="nifti", out=folder / "DATA")
    manifest = folder / "DATA" / "data" / "manifest.csv"
    header, *rows = manifest.read_text(encoding="utf-8").splitlines()
    first = [row.replace("images/", "data/images/") for row in rows if "2024-01-15" in row]
    names = [f"P{number}" for number in range(1, count + 1)]
    copies = [row.replace("R1,", f"{name},", 1) for name in names for row in first]
    manifest.unlink()
    (folder / "DATA" / "manifest.csv").write_text("\n".join([header, *copies]) + "\n", encoding="utf-8")
    for name in names:
        masks = folder / "DATA" / "truth" / "masks" / "R1" / "2024-01-15"
        shutil.copytree(masks, folder / "RUN" / "masks" / name / masks.name)
