"""States, sums, rounding and new-lesion status of measurements."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest

from mrresponse.domain import (
    Caliper,
    ContrastPhase,
    ExaminedStudy,
    Flag,
    Grid,
    Image,
    LabelMap,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Observation,
    TrackEvent,
)
from mrresponse.geometry import world_to_voxel
from mrresponse.measure import MeasureSettings, measure
from mrresponse.measure.lesion import round_length, round_volume
from mrresponse.measure.new_lesion import merger_dates, with_new_lesion_status
from tests.phantoms import (
    Body,
    Ellipsoid,
    ball,
    grid_around,
    label_map,
    lesion_map,
    prepared_study,
    refused_registration,
    world_points,
)

LIVER = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(58.0, 45.0, 38.0))
GRID = grid_around(LIVER, (2.0, 2.0, 4.0))
DAY, LATER = date(2024, 1, 10), date(2024, 4, 10)
BIG, SMALL = ball((-20.0, 5.0, 0.0), 24.0, core=0.4), ball((25.0, 0.0, 4.0), 14.0)
LOW = ball((25.0, 0.0, -16.0), 14.0)
BELOW = world_points(GRID)[..., 2] < 2.0
ALL = (
    ContrastPhase.PRECONTRAST,
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
)
SETTINGS = MeasureSettings()
NO_NUMBERS = (
    "longest_diameter_mm",
    "perpendicular_diameter_mm",
    "volume_ml",
    "viable_longest_diameter_mm",
    "viable_perpendicular_diameter_mm",
    "viable_volume_ml",
)


@cache
def examined(
    lesions: tuple[Ellipsoid, ...],
    phases: tuple[ContrastPhase, ...] = ALL,
    source: MeasurementSource = MeasurementSource.MASK,
    day: date = DAY,
) -> ExaminedStudy:
    body = Body(liver=LIVER, lesions=lesions)
    prepared = prepared_study(body=body, grid=GRID, phases=phases, study_date=day, noise_sd=0.03)
    return ExaminedStudy(prepared=prepared, lesion_map=lesion_map(label_map(lesions, GRID), source))


def seen(event: TrackEvent, *labels: int, day: date = DAY, evidence: str = "") -> Observation:
    return Observation(study_date=day, event=event, labels=labels, evidence=evidence)


def tracked(*observations: Observation, merged_into: str | None = None) -> LesionTrack:
    return LesionTrack(patient_id="P001", lesion_id="L01", observations=observations, merged_into=merged_into)


def cut(study: ExaminedStudy, phase: ContrastPhase) -> ExaminedStudy:
    """Let the field of view of a phase end 2 mm above the middle of the liver."""
    image = study.prepared.images[phase]
    ended = replace(image, voxels=np.where(BELOW, image.voxels, np.float32(0.0)))
    prepared = replace(study.prepared, images={**study.prepared.images, phase: ended}, fields={phase: BELOW})
    return replace(study, prepared=prepared)


def only(studies: Sequence[ExaminedStudy], track: LesionTrack) -> Measurement:
    rows = measure(studies, [track], SETTINGS)
    assert len(rows) == len(track.observations)
    return rows[-1]


def painted(
    signals: dict[ContrastPhase, float],
    source: MeasurementSource,
    semi_axes_mm: tuple[float, float, float] = (9.0, 9.0, 9.0),
) -> ExaminedStudy:
    """Give a plain liver of which a body is so many times as bright; what was found of it lies a little within."""
    plain = prepared_study(body=Body(liver=LIVER), grid=GRID, phases=ALL, study_date=DAY)
    i, j, k = semi_axes_mm
    shown = Ellipsoid(centre_mm=(-20.0, 5.0, 0.0), semi_axes_mm=(i + 2.0, j + 2.0, k + 2.0))
    place = label_map((shown,), GRID).voxels > 0
    noise = np.random.default_rng(3)
    images = {
        phase: Image(
            voxels=np.where(place, 100.0 * signal, 100.0).astype(np.float32)
            + noise.normal(0.0, 5.0, place.shape).astype(np.float32),
            grid=GRID,
        )
        for phase, signal in signals.items()
    }
    found = label_map((Ellipsoid(centre_mm=shown.centre_mm, semi_axes_mm=semi_axes_mm),), GRID)
    return ExaminedStudy(prepared=replace(plain, images=images), lesion_map=lesion_map(found, source))


PRE, ART, PVP, DEL = ALL
NETWORK = MeasurementSource.NETWORK


@pytest.mark.parametrize(
    ("signals", "source", "is_perfusion"),
    [
        ({PRE: 1.0, ART: 1.3, PVP: 1.0, DEL: 1.0}, NETWORK, True),
        ({PRE: 1.0, ART: 1.3, PVP: 1.0}, NETWORK, True),
        # near the coil everything is brighter
        ({PRE: 1.12, ART: 1.45, PVP: 1.1, DEL: 1.1}, NETWORK, True),
        # a reader drew it
        ({PRE: 1.0, ART: 1.3, PVP: 1.0, DEL: 1.0}, MeasurementSource.MASK, False),
        # darker than liver in one phase, brighter in one, too little in the arterial one
        ({PRE: 0.92, ART: 1.3, PVP: 0.92, DEL: 0.92}, NETWORK, False),
        ({PRE: 1.0, ART: 1.3, PVP: 0.92, DEL: 1.0}, NETWORK, False),
        # washout, although as little beside its look before contrast
        ({PRE: 0.96, ART: 1.5, PVP: 0.96, DEL: 0.94}, NETWORK, False),
        ({PRE: 1.0, ART: 1.3, PVP: 1.0, DEL: 0.92}, NETWORK, False),
        ({PRE: 1.0, ART: 1.3, PVP: 1.0, DEL: 1.08}, NETWORK, False),
        ({PRE: 1.12, ART: 1.3, PVP: 1.0, DEL: 1.0}, NETWORK, False),
        ({PRE: 1.0, ART: 1.07, PVP: 1.0, DEL: 1.0}, NETWORK, False),
        # not judged without the phases that tell
        ({ART: 1.3, PVP: 1.0, DEL: 1.0}, NETWORK, False),
        ({PRE: 1.0, PVP: 1.0, DEL: 1.0}, NETWORK, False),
        ({PRE: 1.0, ART: 1.3, DEL: 1.0}, NETWORK, False),
    ],
)
def test_liver_but_for_its_arterial_supply_is_perfusion_like(
    signals: dict[ContrastPhase, float], source: MeasurementSource, is_perfusion: bool
) -> None:
    row = only([painted(signals, source)], tracked(seen(TrackEvent.FIRST, 1)))
    assert (row.pattern == "perfusion-like") is is_perfusion


@pytest.mark.parametrize(
    ("semi_axes_mm", "is_perfusion"),
    [
        ((12.0, 12.0, 12.0), False),
        ((17.0, 17.0, 17.0), False),
        ((16.0, 13.0, 14.0), False),
        # a wedge
        ((16.0, 9.0, 8.0), True),
    ],
)
def test_a_rounded_mass_is_no_change_of_perfusion(
    semi_axes_mm: tuple[float, float, float], is_perfusion: bool
) -> None:
    study = painted({PRE: 1.0, ART: 1.4, PVP: 1.0, DEL: 1.0}, NETWORK, semi_axes_mm)
    row = only([study], tracked(seen(TrackEvent.FIRST, 1)))
    assert (row.pattern == "perfusion-like") is is_perfusion


@pytest.mark.parametrize(
    ("signals", "beside", "is_perfusion"),
    [
        # a dark piece of the liver's texture, of which the arterial enhancement goes on to one side
        ({PRE: 0.92, ART: 1.2, PVP: 0.92, DEL: 0.93}, 1.3, True),
        ({PRE: 1.0, ART: 1.3, PVP: 1.0, DEL: 1.0}, 1.3, True),
        # it does not go on, or less than half as bright
        ({PRE: 0.92, ART: 1.2, PVP: 0.92, DEL: 0.93}, 1.0, False),
        ({PRE: 0.92, ART: 1.4, PVP: 0.92, DEL: 0.93}, 1.15, False),
        # a tumour beside a change of perfusion: darker later than before contrast, or too dark before
        ({PRE: 0.97, ART: 1.3, PVP: 0.9, DEL: 0.85}, 1.3, False),
        ({PRE: 0.92, ART: 1.2, PVP: 0.92, DEL: 0.85}, 1.3, False),
        ({PRE: 0.8, ART: 1.1, PVP: 0.8, DEL: 0.8}, 1.3, False),
        # no brighter than usual in the arterial phase
        ({PRE: 1.0, ART: 1.05, PVP: 1.0, DEL: 1.0}, 1.05, False),
    ],
)
def test_what_enhances_on_into_the_liver_around_it_is_a_piece_of_a_change_of_perfusion(
    signals: dict[ContrastPhase, float], beside: float, is_perfusion: bool
) -> None:
    study = painted(signals, NETWORK)
    arterial = study.prepared.images[ART]
    near = label_map((Ellipsoid(centre_mm=(-20.0, 5.0, 0.0), semi_axes_mm=(26.0, 26.0, 26.0)),), GRID)
    body = label_map((Ellipsoid(centre_mm=(-20.0, 5.0, 0.0), semi_axes_mm=(11.0, 11.0, 11.0)),), GRID)
    side = world_points(GRID)[..., 1] > 5.0
    goes_on = (near.voxels > 0) & (body.voxels == 0) & side
    images = dict(study.prepared.images)
    images[ART] = replace(
        arterial, voxels=np.where(goes_on, np.float32(beside) * arterial.voxels, arterial.voxels)
    )
    study = replace(study, prepared=replace(study.prepared, images=images))
    row = only([study], tracked(seen(TrackEvent.FIRST, 1)))
    assert (row.pattern == "perfusion-like") is is_perfusion


def test_a_phase_out_of_register_does_not_tell_a_perfusion_anomaly() -> None:
    study = painted({PRE: 1.0, ART: 1.3, PVP: 1.0, DEL: 1.0}, NETWORK)
    refused = replace(study.prepared, registrations=(refused_registration(PVP),))
    row = only([replace(study, prepared=refused)], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.pattern is None


def test_a_lesion_is_measured_whole_and_viable() -> None:
    row = only([examined((BIG, SMALL))], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.state is MeasurementState.MEASURED
    assert row.longest_diameter_mm == pytest.approx(24.0, abs=2.5)
    assert row.volume_ml == pytest.approx(BIG.volume_ml, rel=0.05)
    assert row.viable_state is MeasurementState.MEASURED
    assert row.viable_volume_ml == pytest.approx(BIG.viable_volume_ml, rel=0.08)
    # The longest chord beside the core of 4.8 mm radius: 2 sqrt(12^2 - 4.8^2).
    assert row.viable_longest_diameter_mm == pytest.approx(22.0, abs=2.5)
    assert row.slice_thickness_mm == 4.0
    assert row.reader == "mask"
    assert (row.aphe, row.washout, row.pattern, row.well_delineated) == (True, True, "hcc-like", True)
    assert row.previously_treated is None
    assert row.new_lesion_status is None
    assert row.longest_diameter_mm_sd is not None


def test_caliper_ends_are_as_far_apart_as_the_diameter_and_lie_on_one_slice() -> None:
    row = only([examined((BIG, SMALL))], tracked(seen(TrackEvent.FIRST, 2)))
    assert row.caliper is not None
    start, end = np.array(row.caliper.start_mm), np.array(row.caliper.end_mm)
    assert row.longest_diameter_mm == pytest.approx(float(np.linalg.norm(end - start)), abs=0.06)
    assert start[2] == end[2]
    assert (start + end) / 2.0 == pytest.approx(SMALL.centre_mm, abs=2.5)


def test_the_slice_of_a_caliper_counts_in_the_native_file() -> None:
    study = examined((BIG, SMALL))
    count = GRID.shape[2] + 7
    # The file runs from superior to inferior and starts 3 slices above the crop.
    rows = [list(row) for row in GRID.affine_rows]
    top = world_to_voxel(GRID, [(0.0, 0.0, 0.0)])[0, 2]
    assert top == pytest.approx((GRID.shape[2] - 1) / 2)
    rows[2][3] += rows[2][2] * (GRID.shape[2] + 2)
    rows[2][2] *= -1.0
    native = Grid(shape=(GRID.shape[0], GRID.shape[1], count), affine_rows=tuple(tuple(row) for row in rows))
    turned = replace(study, prepared=replace(study.prepared, native_grid=native, crop_start=(0, 0, 4)))
    plain = only([study], tracked(seen(TrackEvent.FIRST, 1)))
    flipped = only([turned], tracked(seen(TrackEvent.FIRST, 1)))
    assert plain.caliper is not None
    assert flipped.caliper is not None
    assert flipped.caliper.slice_index == GRID.shape[2] + 2 - plain.caliper.slice_index
    assert flipped.caliper.start_mm == plain.caliper.start_mm


def test_fragments_of_a_track_are_added() -> None:
    study = examined((BIG, SMALL))
    one = only([study], tracked(seen(TrackEvent.FIRST, 1)))
    other = only([study], tracked(seen(TrackEvent.FIRST, 2)))
    both = only([study], tracked(seen(TrackEvent.SPLIT, 1, 2)))
    assert both.state is MeasurementState.SPLIT
    assert one.longest_diameter_mm is not None
    assert other.longest_diameter_mm is not None
    assert one.volume_ml is not None
    assert other.volume_ml is not None
    assert both.longest_diameter_mm == pytest.approx(
        one.longest_diameter_mm + other.longest_diameter_mm, abs=0.11
    )
    assert both.volume_ml == pytest.approx(one.volume_ml + other.volume_ml, abs=0.0011)
    assert both.caliper == one.caliper


def test_a_coalesced_lesion_is_counted_once() -> None:
    study = examined((BIG, SMALL))
    parent = only([study], tracked(seen(TrackEvent.MERGED, 1)))
    child = only([study], tracked(seen(TrackEvent.MERGED, 1), merged_into="L02"))
    assert parent.state is MeasurementState.MERGED
    assert parent.longest_diameter_mm is not None
    assert child.state is MeasurementState.MERGED
    assert child.longest_diameter_mm is None
    assert child.reason == "merged into L02 and counted there"


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (TrackEvent.NOT_FOUND, MeasurementState.NOT_FOUND, "nothing there"),
        (TrackEvent.OUTSIDE, MeasurementState.NOT_ASSESSED, "outside the field of view: nothing there"),
    ],
)
def test_a_number_never_stands_for_its_absence(
    event: TrackEvent, state: MeasurementState, reason: str
) -> None:
    row = only([examined((BIG,))], tracked(seen(event, evidence="nothing there")))
    assert (row.state, row.reason) == (state, reason)
    assert all(getattr(row, name) is None for name in NO_NUMBERS)


def test_a_lesion_shown_to_be_gone_is_zero() -> None:
    row = only([examined((BIG,))], tracked(seen(TrackEvent.ABSENT)))
    assert row.state is MeasurementState.ABSENT
    assert row.viable_state is MeasurementState.ABSENT
    assert all(getattr(row, name) == 0.0 for name in NO_NUMBERS)


def test_lesions_that_were_not_looked_for_are_not_assessed() -> None:
    study = examined((BIG,))
    blind = replace(study, lesion_map=replace(study.lesion_map, not_assessable="no T1 contrast phase"))
    row = only([blind], tracked(seen(TrackEvent.NOT_FOUND)))
    assert row.state is MeasurementState.NOT_ASSESSED
    assert row.reason == "no T1 contrast phase"
    assert all(getattr(row, name) is None for name in NO_NUMBERS)


def test_a_lesion_below_five_millimetres_is_too_small_and_keeps_its_caliper() -> None:
    tiny = ball((-20.0, 5.0, 0.0), 4.2)
    row = only([examined((tiny,))], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.state is MeasurementState.TOO_SMALL
    assert row.longest_diameter_mm is None
    assert row.caliper is not None
    assert "too small to measure reliably" in row.reason


def test_a_small_lesion_above_five_millimetres_is_measured() -> None:
    row = only([examined((ball((-20.0, 5.0, 0.0), 8.0),))], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.state is MeasurementState.MEASURED
    assert row.longest_diameter_mm == pytest.approx(8.0, abs=2.0)


def test_a_lesion_without_enhancement_has_a_viable_size_of_zero() -> None:
    dead = ball((-20.0, 5.0, 0.0), 24.0, core=1.0)
    row = only([examined((dead,))], tracked(seen(TrackEvent.MATCHED, 1)))
    assert row.state is MeasurementState.MEASURED
    assert row.viable_state is MeasurementState.ABSENT
    assert row.viable_longest_diameter_mm == 0.0
    assert row.viable_volume_ml == 0.0
    assert row.aphe is False


def test_without_an_arterial_phase_the_viable_size_is_unknown_and_not_zero() -> None:
    study = examined((BIG,), (ContrastPhase.PORTAL_VENOUS,))
    row = only([study], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.longest_diameter_mm is not None
    assert row.viable_state is MeasurementState.NOT_ASSESSED
    assert row.viable_reason == "no arterial phase"
    assert row.viable_longest_diameter_mm is None
    assert row.aphe is None
    assert row.washout is True


def test_a_given_viable_mask_that_is_empty_means_no_viable_part() -> None:
    study = examined((BIG,))
    none = LabelMap(voxels=np.zeros(GRID.shape, dtype=np.uint16), grid=GRID)
    given = replace(study, lesion_map=replace(study.lesion_map, viable=none))
    row = only([given], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.viable_state is MeasurementState.ABSENT
    assert row.viable_longest_diameter_mm == 0.0


@pytest.mark.parametrize("phase", [ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL])
def test_a_lesion_that_a_phase_does_not_show_whole_has_no_viability(phase: ContrastPhase) -> None:
    dead = ball((-20.0, 5.0, 0.0), 24.0, core=1.0)
    study = cut(examined((dead, LOW)), phase)
    row = only([study], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.state is MeasurementState.MEASURED
    assert row.viable_state is MeasurementState.NOT_ASSESSED
    assert row.viable_reason == f"the lesion is not wholly in the field of view of {phase.value}"
    assert (row.viable_longest_diameter_mm, row.viable_volume_ml, row.viable_caliper) == (None, None, None)
    assert (row.aphe, row.pattern) == (None, None)
    # nor has it together with a part of it that is shown
    both = only([study], tracked(seen(TrackEvent.SPLIT, 1, 2)))
    assert both.viable_state is MeasurementState.NOT_ASSESSED


@pytest.mark.parametrize("phase", ALL)
def test_a_lesion_that_every_phase_shows_whole_is_measured_as_if_nothing_were_cut(
    phase: ContrastPhase,
) -> None:
    study = examined((BIG, LOW))
    # the phase is cut for the lesion above alone: its image is left as it is
    noted = replace(study, prepared=replace(study.prepared, fields={phase: BELOW}))
    track = tracked(seen(TrackEvent.FIRST, 2))
    row, whole = only([noted], track), only([study], track)
    # the liver that it is compared with is another, and named
    assert replace(row, viable_reason="") == replace(whole, viable_reason="")


def test_washout_is_judged_on_phases_that_show_the_lesion_whole() -> None:
    study = examined((BIG, LOW))
    track = tracked(seen(TrackEvent.FIRST, 1))
    # without portal venous phase the delayed one decides: 1.57 of 1.80
    assert only([cut(study, ContrastPhase.PORTAL_VENOUS)], track).washout is True
    portal_alone = examined((BIG, LOW), ALL[:3])
    row = only([cut(portal_alone, ContrastPhase.PORTAL_VENOUS)], track)
    assert (row.aphe, row.washout, row.pattern) == (True, None, None)
    assert row.viable_state is MeasurementState.MEASURED


def refused(study: ExaminedStudy, phase: ContrastPhase, shift: int) -> ExaminedStudy:
    """Leave a phase where it is, some voxels along x off its place, since it could not be brought into register."""
    image = study.prepared.images[phase]
    moved = replace(image, voxels=np.roll(image.voxels, shift, axis=0))
    images = {**study.prepared.images, phase: moved}
    record = refused_registration(phase)
    return replace(
        study,
        prepared=replace(study.prepared, images=images, registrations=(record,)),
    )


def test_nothing_is_judged_on_a_phase_that_is_out_of_register() -> None:
    # beside BIG, 40 mm to the side, the precontrast and the portal venous phase show other things
    study = examined((BIG, SMALL), ALL[:3])
    track = tracked(seen(TrackEvent.NEW, 1))
    row = only([refused(study, ContrastPhase.PRECONTRAST, 20)], track)
    assert row.viable_state is MeasurementState.NOT_ASSESSED
    assert (row.aphe, row.washout, row.pattern) == (None, True, None)
    assert row.new_lesion_status is NewLesionStatus.EQUIVOCAL
    assert "arterial hyperenhancement not assessed" in row.new_lesion_reason
    row = only([refused(study, ContrastPhase.PORTAL_VENOUS, 20)], track)
    assert (row.aphe, row.washout, row.pattern) == (True, None, None)
    assert row.viable_state is MeasurementState.MEASURED


@pytest.mark.parametrize("is_mistimed", [True, False])
def test_hyperenhancement_is_not_called_absent_where_the_arterial_phase_cannot_show_it(
    is_mistimed: bool,
) -> None:
    study = examined((BIG, ball((25.0, 0.0, 4.0), 14.0, core=1.0)))
    flag = Flag(patient_id="P001", study_date=DAY, code="mistimed_arterial", message="too late")
    row = only([replace(study, flags=(flag,) if is_mistimed else ())], tracked(seen(TrackEvent.NEW, 2)))
    assert row.viable_state is (MeasurementState.NOT_ASSESSED if is_mistimed else MeasurementState.ABSENT)
    assert row.aphe is (None if is_mistimed else False)
    assert f"arterial hyperenhancement {'not assessed' if is_mistimed else 'absent'}" in row.new_lesion_reason


def test_the_reader_can_be_named() -> None:
    (row,) = measure([examined((BIG,))], [tracked(seen(TrackEvent.FIRST, 1))], SETTINGS, reader="model 0.1")
    assert row.reader == "model 0.1"


def test_a_new_nodule_with_the_pattern_and_ten_millimetres_is_definite() -> None:
    row = only([examined((BIG, SMALL))], tracked(seen(TrackEvent.NEW, 2)))
    assert row.new_lesion_status is NewLesionStatus.DEFINITE
    assert row.new_lesion_reason == (
        "15.2 mm; arterial hyperenhancement present; washout present; pattern hcc-like; "
        "its place in earlier studies was not assessed"
    )


def test_a_new_nodule_below_ten_millimetres_is_equivocal() -> None:
    study = examined((BIG, ball((25.0, 0.0, 4.0), 7.0)))
    row = only([study], tracked(seen(TrackEvent.NEW, 2)))
    assert row.longest_diameter_mm is not None
    assert row.longest_diameter_mm < 10.0
    assert row.new_lesion_status is NewLesionStatus.EQUIVOCAL


def test_a_new_nodule_without_the_pattern_is_definite_once_it_has_grown_ten_millimetres() -> None:
    phases = (ContrastPhase.PORTAL_VENOUS,)
    small, large = ball((25.0, 0.0, 0.0), 12.0), ball((22.0, 0.0, 0.0), 25.0)
    studies = [examined((small,), phases), examined((large,), phases, day=LATER)]
    track = tracked(seen(TrackEvent.NEW, 1), seen(TrackEvent.MATCHED, 1, day=LATER))
    first, second = measure(studies, [track], SETTINGS)
    assert first.new_lesion_status is NewLesionStatus.EQUIVOCAL
    assert second.new_lesion_status is NewLesionStatus.DEFINITE
    assert first.longest_diameter_mm is not None
    assert second.longest_diameter_mm is not None
    growth = second.longest_diameter_mm - first.longest_diameter_mm
    assert f"; {growth:+.1f} mm since 2024-01-10; " in second.new_lesion_reason
    assert "since" not in first.new_lesion_reason


def sized(day: date, length_mm: float | None, caliper_mm: float = 0.0) -> Measurement:
    """Give a new lesion without the pattern: measured, or too small with a caliper of that length."""
    end = (caliper_mm if length_mm is None else length_mm, 0.0, 0.0)
    return Measurement(
        patient_id="P001",
        lesion_id="L01",
        study_date=day,
        reader="mask",
        source=MeasurementSource.MASK,
        state=MeasurementState.TOO_SMALL if length_mm is None else MeasurementState.MEASURED,
        longest_diameter_mm=length_mm,
        caliper=Caliper(slice_index=0, start_mm=(0.0, 0.0, 0.0), end_mm=end),
    )


@pytest.mark.parametrize(
    ("caliper_mm", "later_mm", "status", "growth"),
    [
        # at most 5 mm at first: 15 mm has grown by 10 mm at least
        (4.2, 15.0, NewLesionStatus.DEFINITE, "+10.0 mm or more since 2024-01-10"),
        (4.2, 14.9, NewLesionStatus.EQUIVOCAL, "+9.9 mm or more since 2024-01-10"),
        # too few voxels, in a row of 6 mm: then it had at most 6 mm
        (6.0, 16.0, NewLesionStatus.DEFINITE, "+10.0 mm or more since 2024-01-10"),
        (6.0, 15.9, NewLesionStatus.EQUIVOCAL, "+9.9 mm or more since 2024-01-10"),
    ],
)
def test_growth_of_a_new_nodule_first_seen_too_small_counts_from_the_most_it_can_have_had(
    caliper_mm: float, later_mm: float, status: NewLesionStatus, growth: str
) -> None:
    track = tracked(seen(TrackEvent.NEW, 1), seen(TrackEvent.MATCHED, 1, day=LATER))
    rows = [sized(DAY, None, caliper_mm), sized(LATER, later_mm)]
    first, second = with_new_lesion_status(track, rows, SETTINGS)
    assert first.new_lesion_status is NewLesionStatus.EQUIVOCAL
    assert first.new_lesion_reason.startswith("too small to measure; ")
    assert "since" not in first.new_lesion_reason
    assert second.new_lesion_status is status
    assert f"; {growth}; " in second.new_lesion_reason


@pytest.mark.parametrize(
    ("last_mm", "status"), [(32.9, NewLesionStatus.EQUIVOCAL), (33.0, NewLesionStatus.DEFINITE)]
)
def test_what_a_new_nodule_gains_by_a_merger_is_no_growth(last_mm: float, status: NewLesionStatus) -> None:
    """12 mm, 23 mm when another one became one with it, and then as much again as makes a nodule definite."""
    last = date(2024, 9, 10)
    track = tracked(seen(TrackEvent.NEW, 1), *(seen(TrackEvent.MATCHED, 1, day=day) for day in (LATER, last)))
    other = LesionTrack(
        patient_id="P001",
        lesion_id="L02",
        observations=tuple(seen(TrackEvent.MERGED, day=day) for day in (LATER, last)),
        merged_into="L01",
    )
    rows = [sized(DAY, 12.0), sized(LATER, 23.0), sized(last, last_mm)]
    found = with_new_lesion_status(track, rows, SETTINGS, merger_dates("L01", (track, other)))
    assert [row.new_lesion_status for row in found] == [NewLesionStatus.EQUIVOCAL] * 2 + [status]
    assert "; +0.0 mm since 2024-01-10; " in found[1].new_lesion_reason


@pytest.mark.parametrize(
    ("was_liver", "words"),
    [
        (True, "its place was like liver in every earlier study"),
        (False, "its place was not like liver before"),
        (None, "its place in earlier studies was not assessed"),
    ],
)
def test_a_new_lesion_says_what_its_place_was_before(was_liver: bool | None, words: str) -> None:
    found = replace(seen(TrackEvent.NEW, 2), was_liver_before=was_liver)
    row = only([examined((BIG, SMALL))], tracked(found))
    assert row.new_lesion_reason.endswith(words)


def test_a_lesion_that_was_there_at_first_needs_no_reason_for_being_new() -> None:
    row = only([examined((BIG,))], tracked(seen(TrackEvent.FIRST, 1)))
    assert row.new_lesion_reason == ""


def test_the_weighted_volume_is_near_that_of_the_body_and_absent_where_the_border_is_unclear() -> None:
    study = examined((BIG, SMALL))
    row = only([study], tracked(seen(TrackEvent.FIRST, 2)))
    # a ball of 14 mm, of which half a voxel of partial volume along the border is 7 %
    assert row.weighted_volume_ml == pytest.approx(math.pi / 6.0 * 1.4**3, rel=0.07)
    grey = {
        phase: replace(image, voxels=np.full(GRID.shape, 100.0, dtype=np.float32))
        for phase, image in study.prepared.images.items()
    }
    flat = replace(study, prepared=replace(study.prepared, images=grey))
    unclear = only([flat], tracked(seen(TrackEvent.FIRST, 2)))
    assert unclear.volume_ml == row.volume_ml
    assert unclear.weighted_volume_ml is None


@pytest.mark.parametrize(
    ("length", "rounded"), [(12.34, 12.3), (12.35, 12.4), (0.05, 0.1), (9.949999, 9.9), (10.0, 10.0)]
)
def test_lengths_are_rounded_to_a_tenth_with_halves_up(length: float, rounded: float) -> None:
    assert round_length(length) == rounded


def test_volumes_of_whole_voxels_round_halves_up_in_spite_of_binary_fractions() -> None:
    # 0.0125 mL voxels: 3 x 0.0125 = 0.0375, exactly half way.
    assert round_volume(3 * 0.0125) == 0.038
    assert round_volume(0.0125 + 0.0125 + 0.0125) == 0.038
    assert round_volume(1.0005) == 1.001


def test_a_given_label_in_pieces_is_a_lesion_that_fell_apart() -> None:
    """RECIST 1.1: of a lesion that split the longest diameters of the fragments are added."""
    balls = (ball((-26.0, 0.0, 0.0), 22.0, core=0.4), ball((6.0, 0.0, 0.0), 18.0))
    study = examined(balls)
    row = only([under_one_label(study)], tracked(seen(TrackEvent.FIRST, 1)))
    apart = only([study], tracked(seen(TrackEvent.SPLIT, 1, 2)))
    assert row.state is MeasurementState.SPLIT
    assert row.reason == "2 fragments: diameters and volumes added"
    assert row.longest_diameter_mm == pytest.approx(40.0, abs=2.5)
    assert row.perpendicular_diameter_mm == pytest.approx(20.0, abs=2.0)
    names = (*NO_NUMBERS, "caliper", "perpendicular_caliper", "viable_caliper")
    assert {name: getattr(row, name) for name in names} == {name: getattr(apart, name) for name in names}


def test_what_a_network_found_is_not_parted_again() -> None:
    study = under_one_label(examined((ball((-26.0, 0.0, 0.0), 22.0), ball((6.0, 0.0, 0.0), 18.0))))
    by_network = replace(study, lesion_map=replace(study.lesion_map, source=NETWORK))
    assert only([by_network], tracked(seen(TrackEvent.FIRST, 1))).state is MeasurementState.MEASURED


def test_a_lesion_of_which_one_slice_was_left_out_did_not_fall_apart() -> None:
    study = examined((ball((0.0, 0.0, 0.0), 30.0),))
    voxels = study.lesion_map.labels.voxels.copy()
    low, high = study.lesion_map.lesions[0].bounding_box[2]
    voxels[:, :, (low + high) // 2 + 1] = 0
    gap = replace(study, lesion_map=lesion_map(replace(study.lesion_map.labels, voxels=voxels)))
    whole, row = (only([one], tracked(seen(TrackEvent.FIRST, 1))) for one in (study, gap))
    assert row.state is MeasurementState.MEASURED
    assert row.longest_diameter_mm == whole.longest_diameter_mm


def test_a_speck_of_a_given_label_adds_to_its_volume_alone() -> None:
    study = examined((ball((0.0, 0.0, 0.0), 30.0),))
    voxels = study.lesion_map.labels.voxels.copy()
    i, j, k = (high for _, high in study.lesion_map.lesions[0].bounding_box)
    voxels[i + 3, j, k : k + 2] = 1
    specked = replace(study, lesion_map=lesion_map(replace(study.lesion_map.labels, voxels=voxels)))
    plain, row = (only([one], tracked(seen(TrackEvent.FIRST, 1))) for one in (study, specked))
    assert row.state is MeasurementState.MEASURED
    assert row.longest_diameter_mm == plain.longest_diameter_mm
    assert row.volume_ml == pytest.approx((plain.volume_ml or 0.0) + 2 * GRID.voxel_volume_ml, abs=1e-3)


def under_one_label(study: ExaminedStudy) -> ExaminedStudy:
    voxels = (study.lesion_map.labels.voxels > 0).astype(np.uint16)
    return replace(study, lesion_map=lesion_map(replace(study.prepared.liver, voxels=voxels)))
