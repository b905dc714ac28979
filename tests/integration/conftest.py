"""Fixtures of the tests that open pages."""

from collections.abc import Iterator

import pytest

from tests.browser import Chromium


@pytest.fixture(scope="module")
def chromium(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(browser, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()
