"""The patient page in a real browser: quiet, self-contained, and readable on a phone."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mrresponse.domain import Failure
from mrresponse.report import summarise, write_index, write_report
from tests.browser import PATIENCE_S, Chromium, complaints, requests
from tests.reference_course import reference_course

pytestmark = pytest.mark.browser

HOSTILE = '<script>alert("x")</script>\'"&amp; \u202eevil\u202c 😀' + "W" * 300


@pytest.fixture(scope="module")
def chromium(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(browser, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(reference_course(), tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_page_is_quiet_asks_no_network_and_never_scrolls_sideways(
    chromium: Chromium, page: Path, width: int
) -> None:
    chromium.open(page, width=width)
    assert complaints(chromium) == []
    assert requests(chromium) == [page.as_uri()]
    assert chromium.value("document.documentElement.scrollWidth") <= width
    assert chromium.value("document.querySelectorAll('svg.picture image').length") == 32


def test_page_shows_its_pictures(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    chromium.value(
        "Promise.all([...document.querySelectorAll('image')].map(async drawn => {"
        "const image = new Image(); image.src = drawn.href.baseVal; await image.decode();"
        "return image.naturalWidth})).then(widths => {document.title = widths.join()})"
    )
    until = time.monotonic() + PATIENCE_S
    while not str(chromium.value("document.title")).startswith("120") and time.monotonic() < until:
        time.sleep(0.1)
    assert chromium.value("document.title") == ",".join(["120"] * 32)


def test_dark_page_has_light_text_on_dark_ground(chromium: Chromium, page: Path) -> None:
    chromium.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    chromium.open(page, width=1280)
    ground = chromium.value("getComputedStyle(document.body).backgroundColor")
    ink = chromium.value("getComputedStyle(document.body).color")
    chromium.send("Emulation.setEmulatedMedia", features=[])
    assert (ground, ink) == ("rgb(20, 23, 26)", "rgb(232, 234, 237)")


def test_hostile_text_shows_as_text_and_fits_a_phone(chromium: Chromium, tmp_path: Path) -> None:
    course = reference_course()
    assessments = tuple(replace(row, reason=HOSTILE, flags=(HOSTILE,)) for row in course.response.assessments)
    patient = replace(
        course.patient,
        patient_id=HOSTILE,
        findings=tuple(replace(row, site=HOSTILE, note=HOSTILE) for row in course.patient.findings),
        treatments=tuple(replace(row, name=HOSTILE, details=HOSTILE) for row in course.patient.treatments),
        markers=tuple(replace(row, name=HOSTILE) for row in course.patient.markers),
    )
    phases = tuple(replace(row, name=row.name + HOSTILE) for row in course.response.phases)
    hostile = replace(
        course, patient=patient, response=replace(course.response, assessments=assessments, phases=phases)
    )
    path = write_report(hostile, tmp_path)
    chromium.open(path, width=390)
    assert complaints(chromium) == []
    assert requests(chromium) == [path.as_uri()]
    assert chromium.value("document.documentElement.scrollWidth") <= 390
    assert chromium.value("document.scripts.length") == 1
    assert chromium.value("document.querySelector('h1').textContent") == f"Patient {HOSTILE}"


def test_list_of_patients_links_to_pages_and_fits_a_phone(chromium: Chromium, tmp_path: Path) -> None:
    course = reference_course()
    page = write_report(course, tmp_path)
    failure = Failure(patient_id="P2", code="no_liver", message="no liver found in the arterial phase")
    path = write_index([summarise(course)], tmp_path, failures=[failure])
    chromium.open(path, width=390)
    assert complaints(chromium) == []
    assert chromium.value("document.querySelector('a').href") == page.as_uri()
    assert chromium.value("document.documentElement.scrollWidth") <= 390
