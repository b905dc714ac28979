"""The site builds without a warning, with every page in its navigation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_every_page_is_in_the_navigation(checkout: Path) -> None:
    listed = re.findall(
        r": ([a-z-]+\.md)$", (checkout / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(page.name for page in (checkout / "docs").glob("*.md"))


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
