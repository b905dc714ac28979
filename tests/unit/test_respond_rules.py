"""Rules of a visit: comparison, target table, non-target table, typed values, settings."""

import subprocess
import sys
from dataclasses import replace

import pytest

from mrresponse.domain import MeasurementSource, MeasurementState, Response
from mrresponse.errors import ConfigError
from mrresponse.respond import (
    EASL,
    IRECIST,
    MRECIST,
    RECIST_1_1,
    VRECIST,
    WHO,
    RespondSettings,
    settings_id,
    target_response,
)
from mrresponse.respond.criteria import CRITERIA, sphere_diameter_mm, sphere_volume_ml
from mrresponse.respond.rules import (
    NonTargetEvidence,
    TargetEvidence,
    decide_non_target,
    decide_target,
    exceeds,
    falls_to,
    is_below,
    reaches,
)
from mrresponse.respond.settings import VolumeFloor, VolumeThresholds, criteria_of
from mrresponse.typed import parse_measurement


def test_boundaries_count_as_reached_in_binary_arithmetic() -> None:
    assert falls_to(9.8, 14.0 * 0.7)
    assert reaches(32.4, 27.0 * 1.2)
    assert reaches(8.2 - 3.2, 5.0)
    assert not exceeds(1.25 * 500.0, 625.0)
    assert not is_below(10.0, 10.0 + 1e-12)
    assert is_below(9.9, 10.0)


@pytest.mark.parametrize(
    ("criterion", "baseline", "nadir", "current", "expected"),
    [
        (RECIST_1_1, 100.0, 20.0, 25.0, Response.PD),  # +25 %, exactly +5 mm; progression wins over response
        (RECIST_1_1, 100.0, 20.0, 24.9, Response.PR),  # +24.5 % but +4.9 mm
        (MRECIST, 100.0, 20.0, 24.0, Response.PD),
        (EASL, 1000.0, 1000.0, 1250.0, Response.SD),  # +25 % exactly: strict
        (WHO, 1000.0, 1000.0, 1250.0, Response.PD),  # +25 % exactly: inclusive
        (EASL, 1000.0, 1000.0, 500.0, Response.PR),
        (VRECIST, 100.0, 100.0, 35.0, Response.PR),
        (VRECIST, 100.0, 100.0, 173.0, Response.PD),
        (VRECIST, 100.0, 100.0, 172.9, Response.SD),
        (RECIST_1_1, None, None, 10.0, Response.NE),
        (RECIST_1_1, 50.0, 50.0, None, Response.NE),
        (RECIST_1_1, 10.0, 0.0, 4.0, Response.PD),  # any target after a complete response
        (MRECIST, 10.0, 0.0, 4.0, Response.CR),  # equivocal: the category before is kept
    ],
)
def test_target_response_by_sums(
    criterion: object, baseline: float | None, nadir: float | None, current: float | None, expected: Response
) -> None:
    assert target_response(criterion, baseline=baseline, nadir=nadir, current=current) is expected  # type: ignore[arg-type]


def test_the_reason_holds_the_numbers_to_redo_the_decision() -> None:
    evidence = TargetEvidence(baseline=65.0, nadir=65.0, current=38.0)
    decision = decide_target(evidence, MRECIST)
    assert decision.response is Response.PR
    assert decision.sentence == "sum of viable diameters 38.0 mm is -41.5 % from baseline 65.0 mm (<= -30 %)"


def test_a_change_just_short_of_the_threshold_is_not_printed_as_the_threshold() -> None:
    evidence = TargetEvidence(baseline=300.0, nadir=300.0, current=210.1)
    decision = decide_target(evidence, RECIST_1_1)
    assert decision.response is Response.SD
    assert "-29.97 %" in decision.sentence


def test_targets_measured_alone_can_prove_progression() -> None:
    evidence = TargetEvidence(baseline=50.0, nadir=50.0, current=80.0, missing=("L03 not assessed: motion",))
    decision = decide_target(evidence, RECIST_1_1)
    assert decision.response is Response.PD
    assert "L03 not assessed: motion" in decision.sentence
    assert decide_target(replace(evidence, current=30.0), RECIST_1_1).response is Response.NE


def test_targets_without_any_value_prove_nothing() -> None:
    evidence = TargetEvidence(baseline=50.0, nadir=50.0, current=None, missing=("L01 not assessed: motion",))
    decision = decide_target(evidence, RECIST_1_1)
    assert (decision.response, decision.sentence) == (Response.NE, "not evaluable: L01 not assessed: motion")


@pytest.mark.parametrize(("size", "expected"), [(7.0, Response.PD), (4.0, Response.NE)])
def test_viable_tumour_that_is_back_beside_a_missing_target_is_no_trace_from_five_millimetres(
    size: float, expected: Response
) -> None:
    evidence = TargetEvidence(
        baseline=50.0, nadir=0.0, current=size, missing=("L02 not assessed: motion",), was_gone=True,
        reappeared=size, reappeared_sum=size, previous=Response.CR,
    )  # fmt: skip
    assert decide_target(evidence, MRECIST).response is expected


def test_a_node_growing_from_nadir_zero_needs_the_absolute_part_alone() -> None:
    evidence = TargetEvidence(baseline=18.0, nadir=0.0, current=4.9, was_gone=True)
    assert decide_target(evidence, RECIST_1_1).response is Response.PR
    assert decide_target(replace(evidence, current=5.0), RECIST_1_1).response is Response.PD


def test_reappearance_after_response_with_nodes_left_is_judged_by_the_lesion() -> None:
    # Nodes 7 mm are the nadir; 4 mm of viable tumour is a trace although the sum grew by 57 %.
    trace = TargetEvidence(
        baseline=50.0,
        nadir=7.0,
        current=11.0,
        was_gone=True,
        reappeared=4.0,
        reappeared_sum=4.0,
        previous=Response.CR,
    )
    assert decide_target(trace, MRECIST).response is Response.CR
    grown = replace(trace, current=17.0, reappeared=10.0, reappeared_sum=10.0)
    assert decide_target(grown, MRECIST).response is Response.PD
    nodes = replace(trace, current=16.0)
    assert decide_target(nodes, MRECIST).response is Response.PD


def test_non_target_table_lets_progression_win_and_missing_block_persistence() -> None:
    assert decide_non_target(NonTargetEvidence()) == (None, "no non-target disease")
    everything = NonTargetEvidence(progressing=("a",), missing=("b",), present=("c",), gone=("d",))
    assert decide_non_target(everything)[0] is Response.PD
    assert decide_non_target(everything._replace(progressing=()))[0] is Response.NE
    assert decide_non_target(NonTargetEvidence(present=("c",), gone=("d",)))[0] is Response.NON_CR_NON_PD
    assert decide_non_target(NonTargetEvidence(gone=("d",))) == (Response.CR, "gone: d")


def test_a_volume_must_grow_by_five_millimetres_of_the_sphere_when_segmented_automatically() -> None:
    settings = RespondSettings(criteria=("vRECIST",))
    (manual,) = criteria_of(settings, "course", source=MeasurementSource.MASK)
    (automatic,) = criteria_of(settings, "course", source=MeasurementSource.NETWORK)
    volume = sphere_volume_ml(10.0)
    assert volume == pytest.approx(0.5236, abs=1e-4)
    assert sphere_diameter_mm(volume) == pytest.approx(10.0)
    assert manual.floor_from(volume) == 0.0
    assert automatic.floor_from(volume) == pytest.approx(sphere_volume_ml(15.0) - volume)
    grown = 1.8 * volume  # +80 %, an equivalent diameter of 12.2 mm
    assert target_response(manual, baseline=volume, nadir=volume, current=grown) is Response.PD
    assert target_response(automatic, baseline=volume, nadir=volume, current=grown) is Response.SD
    never = replace(settings, volume_abs_floor=VolumeFloor.NEVER)
    (free,) = criteria_of(never, "course", source=MeasurementSource.NETWORK)
    assert free.floor_from(volume) == 0.0


def test_settings_choose_exact_volumes_floors_and_liver_targets() -> None:
    settings = RespondSettings(
        criteria=("vRECIST", "mRECIST"),
        volume_thresholds=VolumeThresholds.EXACT,
        mrecist_pd_abs_mm=5.0,
        mrecist_max_liver_targets=5,
    )
    volumes, viable = criteria_of(settings, "course", source=MeasurementSource.MASK)
    assert (volumes.response_decrease, volumes.progression_increase) == (0.657, 0.728)
    assert (viable.progression_floor, viable.max_liver_targets) == (5.0, 5)


def test_a_variant_replaces_a_criterion_and_phases_may_have_their_own() -> None:
    strict = replace(MRECIST, name="mRECIST strict", progression_floor=5.0)
    settings = RespondSettings(
        criteria=("mRECIST strict",), variants=(strict,), phase_criteria={"immunotherapy": ("iRECIST",)}
    )
    assert criteria_of(settings, "course", source=MeasurementSource.MASK) == (strict,)
    assert criteria_of(settings, "immunotherapy", source=MeasurementSource.MASK) == (IRECIST,)


def test_an_unknown_criterion_is_a_configuration_error_naming_the_key() -> None:
    with pytest.raises(ConfigError, match=r"respond\.criteria: unknown criterion 'RECIST 2'"):
        RespondSettings(criteria=("RECIST 2",))
    with pytest.raises(ConfigError, match=r"respond\.phase_criteria\.phase 1"):
        RespondSettings(phase_criteria={"phase 1": ("RECIST 2",)})


def test_any_other_setting_gives_another_settings_id() -> None:
    plain = settings_id(RespondSettings())
    assert plain == settings_id(RespondSettings())
    assert plain != settings_id(RespondSettings(sd_min_days=56))
    assert len(plain) == 10


def test_every_criterion_cites_its_source() -> None:
    assert set(CRITERIA) == {"RECIST 1.1", "iRECIST", "mRECIST", "EASL", "WHO", "vRECIST", "qEASL"}
    for criterion in CRITERIA.values():
        assert criterion.citation


@pytest.mark.parametrize(
    ("text", "state", "value"),
    [
        ("12.5", MeasurementState.MEASURED, 12.5),
        (12, MeasurementState.MEASURED, 12.0),
        (" .5 ", MeasurementState.MEASURED, 0.5),
        ("0", MeasurementState.ABSENT, 0.0),
        ("absent", MeasurementState.ABSENT, 0.0),
        ("Too small", MeasurementState.TOO_SMALL, None),
        ("not done", MeasurementState.NOT_ASSESSED, None),
        ("not assessable", MeasurementState.NOT_ASSESSED, None),
        ("  ", None, None),
        (None, None, None),
    ],
)
def test_typed_values_are_numbers_states_or_missing(
    text: str | float | None, state: MeasurementState | None, value: float | None
) -> None:
    parsed = parse_measurement(text)
    assert (parsed.state, parsed.value, parsed.problem) == (state, value, "")


@pytest.mark.parametrize("text", ["12mm", "<5", "1e2", "-1", -1, float("nan"), float("inf"), "1,5", "big"])
def test_anything_else_typed_is_invalid_with_a_message(text: str | float) -> None:
    parsed = parse_measurement(text)
    assert parsed.state is None
    assert parsed.value is None
    assert "expected a bare number" in parsed.problem


def test_the_numbers_half_imports_neither_torch_nor_pandas_nor_scipy() -> None:
    code = (
        "import sys, mrresponse.respond; "
        "print([m for m in ('torch', 'pandas', 'scipy', 'SimpleITK', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
