"""Options and fixtures of the whole suite."""

import importlib.resources
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Deadlines say more about a busy machine than about the code; equal examples make a failure repeatable.
settings.register_profile("mrresponse", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("mrresponse")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-tools", action="store_true", help="a missing tool fails instead of skipping")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Top folder of the source tree."""
    return CHECKOUT


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> str:
    """Path of a Chromium that can open a page."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"none of {', '.join(BROWSERS)} is installed"
        if request.config.getoption("--require-tools"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def axe() -> str:
    """Source of the accessibility checker axe-core: of ``node_modules`` where that is there, else of its package."""
    newest = CHECKOUT / "node_modules" / "axe-core" / "axe.min.js"
    packaged = importlib.resources.files("axe_core_python") / "axe.min.js"
    return (newest if newest.is_file() else packaged).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of third-party images beside the checkout, for judging only."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/data beside the checkout")
    return folder
