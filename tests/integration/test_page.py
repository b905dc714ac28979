"""The patient page in a real browser: quiet, self-contained, and readable on a phone."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mrresponse.report import write_report
from tests.browser import PATIENCE_S, Chromium, complaints, requests
from tests.reference_course import reference_course

pytestmark = pytest.mark.browser

HOSTILE = '<script>alert("x")</script>\'"&amp; \u202eevil\u202c 😀' + "W" * 300


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_has_no_serious_fault_of_accessibility(
    chromium: Chromium, page: Path, axe: str, width: int, scheme: str
) -> None:
    with emulated(chromium, scheme):
        chromium.open(page, width=width)
        assert chromium.faults(axe) == []


FIRST = "section[aria-labelledby=lesion-1]"
SHOWN = f"document.querySelector('{FIRST} figure .plane').textContent"
Y = f"+document.querySelector('{FIRST} image').getAttribute('y')"


def test_stepping_moves_every_visit_of_the_lesion_to_the_next_slice(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    assert chromium.value(SHOWN) == "slice 31, in the plane"
    before = chromium.value(Y)
    chromium.click(f"{FIRST} button[data-by='1']")
    assert chromium.value(SHOWN) == "slice 32, 3 mm above"
    assert chromium.value(Y) == pytest.approx(before - 150.0)
    assert chromium.value(f"document.querySelector('{FIRST} output').textContent") == "3 mm towards the head"
    assert (
        chromium.value(
            f"new Set([...document.querySelectorAll('{FIRST} .plane')].map(one => one.textContent)).size"
        )
        == 1
    )
    # the other lesions stay
    assert chromium.value(
        "document.querySelectorAll('section.lesion')[1].querySelector('.plane').textContent"
    ) == ("slice 31, in the plane")


def test_arrow_keys_step_and_the_caliper_is_faint_off_its_slice(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=390)
    whole = f"document.querySelectorAll('{FIRST} .measure')[1].classList.contains('off')"
    assert chromium.value(whole) is False
    chromium.value(f"document.querySelector('{FIRST} input[type=range]').focus()")
    chromium.press("ArrowLeft", 37)
    chromium.press("ArrowLeft", 37)
    assert chromium.value(SHOWN) == "slice 29, 6 mm below"
    assert chromium.value(whole) is True


def test_each_visit_can_show_the_slice_it_was_measured_on(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    chromium.click(f"{FIRST} input[value=viable]")
    assert chromium.value(SHOWN) == "slice 32, 3 mm above"
    assert chromium.value(f"document.querySelector('{FIRST} button.step').disabled") is True


def test_outlines_can_be_hidden_and_the_reference_liver_shown(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    display = "getComputedStyle(document.querySelector('.slice.on .outline.{}')).display"
    assert chromium.value(display.format("reference")) == "none"
    chromium.click(f"{FIRST} input[name=reference]")
    assert chromium.value(display.format("reference")) == "inline"
    chromium.click(f"{FIRST} input[name=outlines]")
    assert chromium.value("getComputedStyle(document.querySelector('.slice.on')).display") == "none"


def test_tooltip_says_what_a_mark_means_and_leaves_with_the_mouse(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    mark = ".wide g.tip:has(.mark-text.r-pd)"
    chromium.hover(mark)
    assert chromium.value("document.getElementById('tip').textContent").startswith(
        "2020-09-10, RT + lenvatinib: PD."
    )
    assert chromium.value("document.getElementById('tip').hidden") is False
    chromium.hover("h1")
    assert chromium.value("document.getElementById('tip').hidden") is True


def test_picture_opens_large_and_escape_closes_it(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    chromium.click(f"{FIRST} button.enlarge")
    assert chromium.value("document.getElementById('large').open") is True
    assert chromium.value("document.querySelector('#large svg').getBoundingClientRect().width") > 400
    chromium.press("Escape", 27)
    assert chromium.value("document.getElementById('large').open") is False


def test_page_prints_with_everything_unfolded(chromium: Chromium, page: Path) -> None:
    chromium.open(page, width=1280)
    pdf = chromium.pdf()
    assert pdf.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 16


def test_dark_page_has_light_text_on_dark_ground(chromium: Chromium, page: Path) -> None:
    with emulated(chromium, "dark"):
        chromium.open(page, width=1280)
        ground = chromium.value("getComputedStyle(document.body).backgroundColor")
        ink = chromium.value("getComputedStyle(document.body).color")
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


@contextmanager
def emulated(chromium: Chromium, scheme: str) -> Iterator[None]:
    """Let the page believe in a light or dark surrounding."""
    chromium.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        yield
    finally:
        chromium.send("Emulation.setEmulatedMedia", features=[])
