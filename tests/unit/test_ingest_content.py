"""Images tell their contrast phase where the headers do not, and never a wrong one."""

import numpy as np
import pytest
from pydicom import dcmread

from mrresponse.domain import Agent, ContrastPhase, Grid, Image
from mrresponse.ingest import IngestSettings, ingest
from mrresponse.ingest.content import Appearance, appearance, content_evidence
from mrresponse.ingest.phases import weigh
from mrresponse.synthetic.catalogue import find_scenario
from mrresponse.synthetic.placement import place_patient
from mrresponse.synthetic.render import render_study
from mrresponse.synthetic.study_geometry import SIZES
from tests.dicom_files import SeriesPlan, write_series

LEAST = IngestSettings().least_phase_confidence


@pytest.fixture(scope="module")
def rendered():
    plan = find_scenario("R1", seed=1).patients[0]
    return render_study(place_patient(plan, seed=7), 0, size=SIZES["tiny"], seed=7)


def test_an_appearance_is_brightness_beside_the_liver():
    spacing = 5.0
    rows = ((spacing, 0.0, 0.0, 0.0), (0.0, spacing, 0.0, 0.0), (0.0, 0.0, spacing, 0.0))
    grid = Grid(shape=(40, 24, 20), affine_rows=rows)
    voxels = np.full(grid.shape, 60.0, dtype=np.float32)
    liver = np.zeros(grid.shape, dtype=np.bool_)
    liver[22:36, 4:20, 4:16] = True
    voxels[liver] = 100.0
    voxels[8:14, 8:14, :] = 300.0
    found = appearance(Image(voxels=voxels, grid=grid), liver)
    assert found is not None
    assert found.blood == pytest.approx(np.log(3.0), abs=1e-6)
    assert found.tissue == pytest.approx(np.log(0.6), abs=1e-6)
    gained = appearance(Image(voxels=voxels * 7, grid=grid), liver)
    assert gained is not None
    assert (gained.blood, gained.tissue) == pytest.approx((found.blood, found.tissue), abs=1e-6)


def test_without_a_liver_an_image_says_nothing(rendered):
    image = Image(voxels=rendered.images[ContrastPhase.ARTERIAL].astype(np.float32), grid=rendered.grid)
    assert appearance(image, np.zeros_like(rendered.liver)) is None


def test_an_image_alone_is_right_or_asked_for(rendered):
    decided = {}
    for phase, voxels in rendered.images.items():
        seen = appearance(Image(voxels=voxels.astype(np.float32), grid=rendered.grid), rendered.liver)
        (evidence,) = content_evidence({0: seen}, {0: None}, rendered.plan.agent).values()
        decided[phase] = weigh([evidence], LEAST).contrast_phase
    assert decided[ContrastPhase.ARTERIAL] is ContrastPhase.ARTERIAL
    assert all(found in (None, phase) for phase, found in decided.items())


def test_hepatobiliary_is_not_thought_of_after_an_extracellular_agent():
    seen = {0: Appearance(blood=0.0, tissue=-1.05)}
    points = content_evidence(seen, {0: None}, Agent.EXTRACELLULAR)[0].points
    assert points[ContrastPhase.HEPATOBILIARY] == min(points.values()) == -4.0
    points = content_evidence(seen, {0: None}, Agent.GADOXETATE)[0].points
    assert max(points, key=points.get) is ContrastPhase.HEPATOBILIARY


def write_silent(folder, rendered):
    """Write the images of a study as series that say only when they were acquired and whether agent was given."""
    for number, (phase, time) in enumerate(
        (("PRE", "100000"), ("ART", "101000"), ("PVP", "101045"), ("DEL", "101300")), start=1
    ):
        voxels = rendered.images[ContrastPhase(phase)]
        agent = {} if phase == "PRE" else {"ContrastBolusAgent": "yes"}
        i, j, k = voxels.shape
        plan = SeriesPlan(
            number=number, description=f"series {'abcd'[number - 1]}", time=time, slices=k, rows=j, columns=i,
            spacing=tuple(rendered.grid.spacing_mm[axis] for axis in (1, 0, 2)), orientation=(-1, 0, 0, 0, -1, 0),
            extra=agent,
        )  # fmt: skip
        for place, file in enumerate(write_series(folder / str(number), plan)):
            dataset = dcmread(file)
            dataset.PixelData = np.ascontiguousarray(voxels[:, :, place].T.astype("<u2")).tobytes()
            dataset.save_as(file)
    return folder


def test_series_that_say_nothing_are_settled_by_their_images(tmp_path, rendered):
    data = write_silent(tmp_path, rendered)
    asked = ingest(data, IngestSettings())
    assert {failure.code for failure in asked.failures} == {"unknown_contrast_phase"}

    def liver_of(study, series, image):
        return Image(voxels=rendered.liver.astype(np.float32), grid=image.grid)

    found = ingest(data, IngestSettings(), liver_of=liver_of)
    assert found.failures == ()
    series = found.patients[0].studies[0].series
    assert {item.series_number: item.contrast_phase.value for item in series} == {
        1: "PRE", 2: "ART", 3: "PVP", 4: "DEL",
    }  # fmt: skip
    assert all("as bright as the liver" in item.phase_reason for item in series)


def test_where_no_liver_is_found_the_series_is_asked_for(tmp_path, rendered):
    data = write_silent(tmp_path, rendered)
    found = ingest(data, IngestSettings(), liver_of=lambda study, series, image: None)
    assert {failure.code for failure in found.failures} == {"unknown_contrast_phase"}
