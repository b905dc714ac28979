"""The site: it builds without a warning, and the snippets of its pages run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrresponse import cli

TUTORIAL = ("tutorial.md", "correcting.md", "figures.md")
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(console|python)\n(.*?)```", re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[str, str, bool]]:
    """Give the kind and text of every snippet of a page, and whether it is to be run."""
    for excuse, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield kind, text, not excuse


def run_page(page: Path, names: dict[str, object]) -> None:
    """Run the snippets of a page in order, in the current folder; Python ones share their names."""
    for kind, text, is_run in blocks(page):
        if not is_run:
            continue
        if kind == "python":
            exec(compile(text, page.name, "exec"), names)
            continue
        for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
            words = shlex.split(line)
            assert words[0] == "mrresponse", line
            assert cli.main(words[1:]) == 0, line


def test_every_python_snippet_compiles(checkout: Path) -> None:
    pages = sorted((checkout / "docs").glob("*.md"))
    snippets = [text for page in pages for kind, text, _ in blocks(page) if kind == "python"]
    assert len(snippets) >= 7
    for text in snippets:
        compile(text, "snippet", "exec")


def test_every_page_is_in_the_navigation(checkout: Path) -> None:
    listed = re.findall(
        r": ([a-z-]+\.md)$", (checkout / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(page.name for page in (checkout / "docs").glob("*.md"))


@pytest.mark.slow
def test_the_tutorial_runs_from_dicom_to_corrected_tables_and_figures(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for name in TUTORIAL:
        run_page(checkout / "docs" / name, names)
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert (tmp_path / "figure-2.pdf").is_file()


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_a_network(
    checkout: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=checkout,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(
        r"<(?:script|img)[^>]*src=\"([^\"]+)\"|<link[^>]*rel=\"stylesheet\"[^>]*href=\"([^\"]+)\"", home
    )
    assert loaded
    assert not [
        address for pair in loaded for address in pair if address.startswith(("http:", "https:", "//"))
    ]
