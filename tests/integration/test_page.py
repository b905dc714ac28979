"""The patient page in a real browser: quiet, self-contained, and readable on a phone."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrresponse.domain import Failure
from mrresponse.report import summarise, write_index, write_report
from tests.reference_course import reference_course

pytestmark = pytest.mark.browser

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
HOSTILE = '<script>alert("x")</script>\'"&amp; \u202eevil\u202c 😀' + "W" * 300
PATIENCE_S = 60.0


class Chromium:
    """A headless browser spoken to in DevTools messages over two pipes."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def place_pipes() -> None:
            low, high = os.dup(to_browser), os.dup(from_browser)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self._process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}"],
            preexec_fn=place_pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask for one thing and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, page: Path, *, width: int, height: int = 900) -> None:
        """Show a page at a window size and wait until it has loaded."""
        self.events.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )
        self.send("Page.navigate", url=page.as_uri())
        until = time.monotonic() + PATIENCE_S
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < until, "the page did not load"
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """Evaluate a JavaScript expression in the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self) -> bytes:
        """Photograph the whole page as PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """End the browser."""
        self._session = None
        os.write(self._out, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))


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
    assert chromium.value("document.querySelectorAll('svg.picture image').length") == 16


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
    assert chromium.value("document.title") == ",".join(["120"] * 16)


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
    assert chromium.value("document.scripts.length") == 0
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


def complaints(chromium: Chromium) -> list[str]:
    """Errors and warnings that the browser logged since the page was opened."""
    chromium.value("1")
    kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [json.dumps(event["params"]) for event in chromium.events if event["method"] in kinds]


def requests(chromium: Chromium) -> list[str]:
    """Addresses that the page asked for, but for what it carries itself."""
    asked = [
        e["params"]["request"]["url"] for e in chromium.events if e["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in asked if not url.startswith("data:")]
