"""Roles at a baseline, each with the sentence that says why; and what holds where a reader set a role."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    AuditRow,
    LesionEdit,
    LesionRole,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Override,
    Patient,
    PatientEdits,
    Response,
    ResponseResult,
    RoleRecord,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.errors import DataError
from mrresponse.respond import RECIST_1_1, RespondSettings, contributions, respond, settings_id
from mrresponse.respond.roles import ineligibility
from mrresponse.respond.settings import ProbabilityMethod, TreatedLesions
from tests.readings import DAY, on, reading, respond_to, treatments_from

TARGET, NON_TARGET, NEW, EXCLUDED = LesionRole
CANDIDATE, DEFINITE, REJECTED = (
    NewLesionStatus.CANDIDATE, NewLesionStatus.DEFINITE, NewLesionStatus.REJECTED
)  # fmt: skip
NODE = {"organ": "nodes", "is_node": True}
TREATED = {"previously_treated": True}
PLAIN = RespondSettings(criteria=("RECIST 1.1",), probability=ProbabilityMethod.NONE)
WHEN = date(2024, 9, 1)


def lesion(number: int, name: str = "L01", size: float | None = 30.0, **more: Any) -> Measurement:
    return reading(number, name, size, **{"source": MeasurementSource.READER, **more})


def run(
    measurements: list[Measurement], settings: RespondSettings = PLAIN, *edits: LesionEdit, **more: Any
) -> ResponseResult:
    changes = PatientEdits(lesions=edits, overrides=more.pop("overrides", ()))
    return respond_to(measurements, settings, edits=changes, **more)


def under(criterion: str, **more: Any) -> RespondSettings:
    return replace(PLAIN, criteria=(criterion,), **more)


def roles(result: ResponseResult, reader: str = "A") -> dict[str, tuple[LesionRole, str]]:
    return {row.lesion_id: (row.role, row.reason) for row in result.roles if row.reader == reader}


def test_a_role_record_has_every_column() -> None:
    result = run([lesion(0, size=10.0)])
    assert result.roles == (
        RoleRecord(
            patient_id="P",
            treatment_phase="course",
            criterion="RECIST 1.1",
            reader="A",
            lesion_id="L01",
            role=TARGET,
            reason="longest diameter 10.0 mm >= 10.0 mm",
            quantity="longest diameter",
        ),
    )


ELIGIBILITY: list[tuple[str, dict[str, Any], LesionRole, str, str]] = [
    # criterion, measurement, role, reason, quantity
    ("RECIST 1.1", {"size": 9.9}, NON_TARGET, "longest diameter 9.9 mm < 10.0 mm", "longest diameter"),
    (
        "RECIST 1.1", {"size": 10.0, "slice_thickness_mm": 5.0}, TARGET, "longest diameter 10.0 mm >= 10.0 mm",
        "longest diameter",
    ),
    # thicker slices: twice their thickness
    (
        "RECIST 1.1", {"size": 11.9, "slice_thickness_mm": 6.0}, NON_TARGET, "longest diameter 11.9 mm < 12.0 mm",
        "longest diameter",
    ),
    (
        "RECIST 1.1", {"size": 12.0, "slice_thickness_mm": 6.0}, TARGET, "longest diameter 12.0 mm >= 10.0 mm",
        "longest diameter",
    ),
    (
        "RECIST 1.1", {"size": None}, NON_TARGET, "no longest diameter given", "longest diameter",
    ),
    (
        "RECIST 1.1", {"size": None, "state": MeasurementState.TOO_SMALL}, NON_TARGET,
        "longest diameter not given (too small to measure)", "longest diameter",
    ),
    ("RECIST 1.1", {"organ": "portal_vein"}, NON_TARGET, "tumour in a vein is not measurable", "longest diameter"),
    (
        "RECIST 1.1", {"pattern": "Thrombus"}, NON_TARGET, "tumour in a vein is not measurable", "longest diameter",
    ),
    ("RECIST 1.1", {"pattern": "Infiltrative HCC"}, NON_TARGET, "not well delineated", "longest diameter"),
    ("RECIST 1.1", {"well_delineated": False}, NON_TARGET, "not well delineated", "longest diameter"),
    ("RECIST 1.1", {"well_delineated": True}, TARGET, "longest diameter 30.0 mm >= 10.0 mm", "longest diameter"),
    ("RECIST 1.1", NODE, NON_TARGET, "no short axis given", "short axis"),
    (
        "RECIST 1.1", {**NODE, "perpendicular_diameter_mm": 10.0}, NON_TARGET, "node with short axis 10.0 mm < 15.0 mm",
        "short axis",
    ),
    (
        "RECIST 1.1", {**NODE, "perpendicular_diameter_mm": 14.9}, NON_TARGET, "node with short axis 14.9 mm < 15.0 mm",
        "short axis",
    ),
    (
        "RECIST 1.1", {**NODE, "perpendicular_diameter_mm": 15.0}, TARGET, "short axis 15.0 mm >= 15.0 mm",
        "short axis",
    ),
    # at the porta hepatis a node is disease from 20 mm on, where the criterion is one of the liver
    (
        "mRECIST", {**NODE, "organ": "porta hepatis", "perpendicular_diameter_mm": 20.0}, TARGET,
        "short axis 20.0 mm >= 15.0 mm", "short axis",
    ),
    (
        "RECIST 1.1", {**NODE, "organ": "porta hepatis", "perpendicular_diameter_mm": 16.0}, TARGET,
        "short axis 16.0 mm >= 15.0 mm", "short axis",
    ),
    (
        "RECIST 1.1", TREATED, NON_TARGET, "treated before, progression since then not shown", "longest diameter",
    ),
    ("RECIST 1.1", {"pattern": "cyst"}, EXCLUDED,
     "benign pattern (cyst): not eligible, not counted as disease", "longest diameter"),
    ("RECIST 1.1", {"size": None, "state": MeasurementState.NOT_FOUND}, NON_TARGET,
     "not measured at baseline: not found", "longest diameter"),
    ("RECIST 1.1", {"size": None, "state": MeasurementState.NOT_ASSESSED, "reason": "motion"}, NON_TARGET,
     "not measured at baseline: motion", "longest diameter"),
    ("RECIST 1.1", {"size": None, "state": MeasurementState.MERGED}, EXCLUDED,
     "measured with the lesion it merged into", "longest diameter"),
    ("mRECIST", {"viable_longest_diameter_mm": 10.0}, TARGET, "viable diameter 10.0 mm >= 10.0 mm",
     "viable diameter"),
    ("mRECIST", {"viable_longest_diameter_mm": 10.0, **TREATED}, TARGET, "viable diameter 10.0 mm >= 10.0 mm",
     "viable diameter"),
    ("mRECIST", {"viable_longest_diameter_mm": 9.9}, NON_TARGET, "viable diameter 9.9 mm < 10.0 mm",
     "viable diameter"),
    ("mRECIST", {"viable_longest_diameter_mm": 0.0}, NON_TARGET, "no arterial enhancement", "viable diameter"),
    ("mRECIST", {"aphe": True}, NON_TARGET, "no viable diameter given", "viable diameter"),
    ("mRECIST", {"size": 9.9, "viable_longest_diameter_mm": 9.9}, NON_TARGET, "longest diameter 9.9 mm < 10.0 mm",
     "viable diameter"),
    ("mRECIST", {"viable_state": MeasurementState.TOO_SMALL}, NON_TARGET, "viable part too small to measure",
     "viable diameter"),
    ("mRECIST", {"viable_state": MeasurementState.NOT_ASSESSED, "viable_reason": "no arterial phase"}, NON_TARGET,
     "viability not assessed: no arterial phase", "viable diameter"),
    ("mRECIST", {"size": None, "viable_longest_diameter_mm": 20.0}, NON_TARGET,
     "longest diameter not given (measured)", "viable diameter"),
    ("mRECIST", {"organ": "lung"}, TARGET, "longest diameter 30.0 mm >= 10.0 mm", "longest diameter"),
    ("mRECIST", {"organ": "lung", **TREATED}, NON_TARGET, "treated before, progression since then not shown",
     "longest diameter"),
    ("WHO", {"perpendicular_diameter_mm": 20.0}, TARGET, "product of diameters 600.0 mm2", "product of diameters"),
    ("WHO", {"size": 9.0, "perpendicular_diameter_mm": 8.0}, NON_TARGET, "longest diameter 9.0 mm < 10.0 mm",
     "product of diameters"),
    ("WHO", {**NODE, "perpendicular_diameter_mm": 15.0}, TARGET, "product of diameters 450.0 mm2",
     "product of diameters"),
    ("EASL", {"viable_longest_diameter_mm": 10.0, "viable_perpendicular_diameter_mm": 8.0}, TARGET,
     "product of viable diameters 80.0 mm2", "product of viable diameters"),
    ("EASL", {"viable_longest_diameter_mm": 9.9, "viable_perpendicular_diameter_mm": 8.0}, NON_TARGET,
     "viable diameter 9.9 mm < 10.0 mm", "product of viable diameters"),
    ("EASL", {"viable_longest_diameter_mm": 0.0}, NON_TARGET, "no arterial enhancement",
     "product of viable diameters"),
    ("EASL", {"organ": "lung", "perpendicular_diameter_mm": 20.0}, TARGET, "product of diameters 600.0 mm2",
     "product of diameters"),
    (
        "qEASL",
        {"organ": "lung", "volume_ml": 0.5},
        NON_TARGET,
        "volume 0.5 mL < 0.524",
        "volume",
    ),
    # a sphere of 10 mm has 0.524 mL
    ("vRECIST", {"volume_ml": 0.524}, TARGET, "volume 0.524 mL", "volume"),
    ("vRECIST", {"volume_ml": 0.523}, NON_TARGET, "volume 0.523 mL < 0.524", "volume"),
    ("vRECIST", {"volume_ml": 5.0, **TREATED}, NON_TARGET, "treated before, progression since then not shown",
     "volume"),
    ("vRECIST", {"volume_ml": 0.523, **TREATED}, NON_TARGET, "treated before, progression since then not shown",
     "volume"),
    ("vRECIST", {"volume_ml": 5.0, **NODE}, NON_TARGET, "short axis not given", "volume"),
    ("vRECIST", {"volume_ml": 5.0, **NODE, "perpendicular_diameter_mm": 15.0}, TARGET, "volume 5.0 mL", "volume"),
    ("qEASL", {"viable_volume_ml": 0.6, "viable_longest_diameter_mm": 10.0}, TARGET, "viable volume 0.6 mL",
     "viable volume"),
    ("qEASL", {"viable_volume_ml": 0.6}, NON_TARGET, "viable diameter not given", "viable volume"),
    ("qEASL", {"viable_volume_ml": 0.5, "viable_longest_diameter_mm": 10.0}, NON_TARGET,
     "viable volume 0.5 mL < 0.524", "viable volume"),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "given", "role", "reason", "quantity"), ELIGIBILITY)
def test_a_lesion_of_the_baseline_has_a_role_and_the_reason_for_it(
    criterion: str, given: dict[str, Any], role: LesionRole, reason: str, quantity: str
) -> None:
    # beside it a lesion that makes the study a baseline, whatever the first one is
    beside = lesion(0, "L99", volume_ml=9.0, viable_longest_diameter_mm=30.0, viable_volume_ml=9.0,
                    viable_perpendicular_diameter_mm=30.0, perpendicular_diameter_mm=30.0)  # fmt: skip
    result = run([lesion(0, **given), beside], under(criterion))
    (found,) = [row for row in result.roles if row.lesion_id == "L01"]
    assert (found.role, found.reason, found.quantity) == (role, reason, quantity)


def test_a_lesion_beyond_the_limit_says_which_limit() -> None:
    sizes = {"L01": 40.0, "L02": 30.0, "L03": 20.0}
    bones = {"organ": "iliac_bone"}
    result = run([lesion(0, name, size, **bones) for name, size in sizes.items()])
    assert roles(result)["L03"] == (
        NON_TARGET,
        "longest diameter 20.0 mm >= 10.0 mm; the limit of 2 targets in the iliac bone is reached",
    )
    six = {f"L0{number}": {"organ": organ} for number, organ in enumerate("abcdef")}
    result = run([lesion(0, name, **more) for name, more in six.items()])
    # of one size the first by name are taken
    assert [name for name, (role, _) in roles(result).items() if role is TARGET] == list(six)[:5]
    assert roles(result)["L05"][1] == "longest diameter 30.0 mm >= 10.0 mm; the limit of 5 targets is reached"


def test_under_mrecist_the_liver_has_its_own_limit_and_other_organs_two_each() -> None:
    rows = [lesion(0, f"L0{n}", viable_longest_diameter_mm=30.0) for n in range(4)]
    rows += [lesion(0, f"L1{n}", organ="lung") for n in range(3)]
    found = roles(run(rows, under("mRECIST", mrecist_max_liver_targets=3)))
    assert [name for name, (role, _) in found.items() if role is TARGET] == [
        "L00",
        "L01",
        "L02",
        "L10",
        "L11",
    ]
    assert (
        found["L03"][1]
        == "viable diameter 30.0 mm >= 10.0 mm; the limit of 3 targets in the liver is reached"
    )
    assert found["L12"][1] == "longest diameter 30.0 mm >= 10.0 mm; the limit of 5 targets is reached"
    only = roles(run(rows[4:], under("mRECIST")))
    assert (
        only["L12"][1] == "longest diameter 30.0 mm >= 10.0 mm; the limit of 2 targets in the lung is reached"
    )
    # EASL and WHO name no limit
    many = [lesion(0, f"L0{n}", perpendicular_diameter_mm=20.0) for n in range(7)]
    assert {role for role, _ in roles(run(many, under("WHO"))).values()} == {TARGET}


def test_the_two_of_a_pair_are_one_organ() -> None:
    sides = ("left_lung", "lung (right)", "lung")
    found = roles(run([lesion(0, f"L0{n}", 30.0 - n, organ=side) for n, side in enumerate(sides)]))
    assert [role for role, _ in found.values()] == [TARGET, TARGET, NON_TARGET]
    assert found["L02"][1].endswith("; the limit of 2 targets in the lung is reached")


def test_nodes_of_all_stations_are_one_organ() -> None:
    stations = ("axillary", "mediastinal", "coeliac")
    rows = [
        lesion(0, f"L0{n}", is_node=True, organ=station, perpendicular_diameter_mm=20.0 - n)
        for n, station in enumerate(stations)
    ]
    assert roles(run(rows))["L02"] == (
        NON_TARGET,
        "short axis 18.0 mm >= 15.0 mm; the limit of 2 targets in the lymph node is reached",
    )


@pytest.mark.parametrize(
    ("criterion", "site", "axis", "role"),
    [
        ("mRECIST", "porta hepatis", 19.9, None),
        ("mRECIST", "porta hepatis", 20.0, TARGET),
        ("mRECIST", "mediastinum", 9.9, None),
        ("mRECIST", "mediastinum", 10.0, NON_TARGET),
        ("RECIST 1.1", "porta hepatis", 9.9, None),
        ("RECIST 1.1", "porta hepatis", 10.0, NON_TARGET),
    ],
)
def test_a_node_below_its_normal_size_is_no_disease_and_new_once_it_is_above(
    criterion: str, site: str, axis: float, role: LesionRole | None
) -> None:
    node = {"is_node": True, "organ": site}
    result = run(
        [
            lesion(0, viable_longest_diameter_mm=30.0),
            lesion(0, "L02", perpendicular_diameter_mm=axis, **node),
            lesion(60, viable_longest_diameter_mm=30.0),
            lesion(60, "L02", perpendicular_diameter_mm=25.0, **node),
        ],
        under(criterion),
    )
    (row,) = [row for row in result.assessments if not row.is_baseline]
    found = roles(result)["L02"]
    if role is None:
        assert found == (NEW, "first seen 2024-03-01, not there at baseline")
        assert (row.new_lesions, row.overall) == ("definite", "PD")
        assert "L02 first seen 2024-03-01 (node, short axis 25.0 mm)" in row.reason
    else:
        assert found[0] is role
        assert row.new_lesions == "none"


def test_a_normal_node_that_stays_normal_is_excluded_with_its_size() -> None:
    node = {"is_node": True, "organ": "mediastinum", "perpendicular_diameter_mm": 9.0}
    result = run([lesion(0), lesion(0, "L02", **node), lesion(60), lesion(60, "L02", **node)])
    assert roles(result)["L02"] == (EXCLUDED, "normal node, short axis 9.0 mm")


def phases(*starts: int) -> dict[str, Any]:
    return {
        "treatments": tuple(
            Treatment(
                patient_id="P", treatment_phase=f"from {start}", name="x", kind=TreatmentKind.SYSTEMIC,
                start_date=on(start),
            )
            for start in starts
        )
    }  # fmt: skip


def phase_roles(result: ResponseResult, phase: str) -> dict[str, tuple[LesionRole, str]]:
    return {row.lesion_id: (row.role, row.reason) for row in result.roles if row.treatment_phase == phase}


@pytest.mark.parametrize(
    ("sizes", "setting", "is_target"),
    [
        # the least since the treatment is the reference: +20 % and 5 mm
        ((25.0, 30.0), TreatedLesions.IF_PROGRESSING, True),
        ((25.1, 30.0), TreatedLesions.IF_PROGRESSING, False),
        ((40.0, 25.0, 30.0), TreatedLesions.IF_PROGRESSING, True),
        ((25.0, 40.0, 30.0), TreatedLesions.IF_PROGRESSING, True),
        ((20.0, 24.9), TreatedLesions.IF_PROGRESSING, False),
        ((30.0, 35.0), TreatedLesions.IF_PROGRESSING, False),
        ((30.0, 36.0), TreatedLesions.IF_PROGRESSING, True),
        ((30.0,), TreatedLesions.IF_PROGRESSING, False),
        ((25.0, 30.0), TreatedLesions.NEVER, False),
        ((30.0, 30.0), TreatedLesions.ALWAYS, True),
    ],
)
def test_a_treated_lesion_is_a_target_where_it_grew_since_by_a_fifth_and_five_millimetres(
    sizes: tuple[float, ...], setting: TreatedLesions, is_target: bool
) -> None:
    first = -30 * (len(sizes) - 1)
    rows = [lesion(first + 30 * n, size=size, **TREATED) for n, size in enumerate(sizes)]
    # before its treatment it was small: that is no growth after it
    rows.insert(0, lesion(first - 30, size=10.0))
    result = run(rows, replace(PLAIN, treated_lesions=setting), **phases(0))
    role, reason = phase_roles(result, "from 0")["L01"]
    if is_target:
        assert (role, reason) == (TARGET, f"longest diameter {sizes[-1]} mm >= 10.0 mm")
    else:
        assert (role, reason) == (NON_TARGET, "treated before, progression since then not shown")


def test_what_was_known_before_the_baseline_has_a_role_although_it_is_not_measured_there() -> None:
    lost = {"state": MeasurementState.NOT_ASSESSED, "reason": "motion"}
    rows = [
        lesion(-60),
        lesion(-60, "L02"),
        lesion(-60, "L03"),
        lesion(-30, "L03", 0.0, state=MeasurementState.ABSENT),
        lesion(-60, "L04", pattern="haemangioma"),
        lesion(-60, "L05", pattern="cyst"),
        lesion(-30, "L05", None, **lost),
        lesion(-60, "L06"),
        lesion(-30, "L06", None, **lost),
        lesion(-60, "L07", pattern="cyst"),
        lesion(-30, "L07"),
        lesion(-60, "L08", 0.0, state=MeasurementState.ABSENT),
        lesion(-30, "L08", None, **lost),
        lesion(-30),
        lesion(60),
    ]
    result = run(rows, **phases(-30))
    assert phase_roles(result, "from -30") == {
        "L01": (TARGET, "longest diameter 30.0 mm >= 10.0 mm"),
        "L02": (NON_TARGET, "known from 2023-11-02, no measurement at baseline"),
        "L04": (EXCLUDED, "benign pattern (haemangioma): not eligible, not counted as disease"),
        "L05": (EXCLUDED, "benign pattern (cyst): not eligible, not counted as disease"),
        "L06": (NON_TARGET, "not measured at baseline: motion"),
        # once seen without the pattern it may be disease
        "L07": (TARGET, "longest diameter 30.0 mm >= 10.0 mm"),
    }


def test_a_change_of_perfusion_is_no_disease_until_it_shows_itself_as_tumour() -> None:
    perfusion = {"pattern": "perfusion-like", "source": MeasurementSource.NETWORK}
    tumour = {"aphe": True, "washout": True, "pattern": "hcc-like"}
    excluded = (EXCLUDED, "benign pattern (perfusion-like): not eligible, not counted as disease")
    rows = [lesion(0), lesion(60), lesion(120), *(lesion(day, "L02", **perfusion) for day in (0, 60))]
    for more, role, overall in (
        (perfusion, excluded, Response.SD),
        (tumour, (LesionRole.NEW, "first seen 2024-03-01, no disease at baseline"), Response.PD),
    ):
        result = run([*rows, lesion(120, "L02", **more)], **phases(0))
        assert phase_roles(result, "from 0")["L02"] == role
        assert [one.overall for one in result.assessments][-2:] == [Response.SD, overall]
    assert phase_roles(run(rows[:1] + rows[3:4], **phases(0)), "from 0")["L02"] == excluded


# --- roles that a reader set ---------------------------------------------------------------------------------------


def stated(name: str, role: LesionRole | None, **more: Any) -> LesionEdit:
    values = {"reader": "Dr C", "reason": "seen on CT", "when": WHEN, **more}
    return LesionEdit(patient_id="P", lesion_id=name, role=role, **values)


def test_a_stated_role_wins_and_the_audit_says_what_the_rules_gave() -> None:
    rows = [lesion(0, "L01", 40.0), lesion(0, "L02", 30.0), lesion(0, "L03", 20.0), lesion(0, "L04", 9.0)]
    edits = (stated("L01", NON_TARGET), stated("L04", TARGET), stated("L02", EXCLUDED), stated("L09", TARGET))
    result = run(rows, PLAIN, *edits)
    assert roles(result) == {
        "L01": (NON_TARGET, "set by Dr C: seen on CT"),
        "L02": (EXCLUDED, "set by Dr C: seen on CT"),
        "L03": (TARGET, "longest diameter 20.0 mm >= 10.0 mm"),
        "L04": (TARGET, "set by Dr C: seen on CT"),
    }
    (baseline,) = result.assessments
    assert baseline.reason == (
        "baseline: first evaluable study; no treatment table; sum of diameters 29.0 mm: L03 20.0 mm, L04 9.0 mm; "
        "non-targets: L01"
    )
    common = {"patient_id": "P", "study_date": DAY, "edit": "lesions.csv", "reader": "Dr C", "reason": "seen on CT",
              "what": "role for A, RECIST 1.1, course", "when": WHEN}  # fmt: skip
    assert result.audit == (
        AuditRow(lesion_id="L01", before="target", after="non_target", **common),
        AuditRow(lesion_id="L04", before="non_target", after="target", **common),
        AuditRow(lesion_id="L02", before="target", after="excluded", **common),
    )


def test_a_role_for_a_treatment_phase_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"L01.* found treatment phase 'TACE', expected one of course"
    ) as refused:
        run([lesion(0, "L01")], PLAIN, stated("L01", EXCLUDED, treatment_phase="TACE"))
    assert (refused.value.code, refused.value.patient_id) == ("bad_edit", "P")


@pytest.mark.parametrize("phase", ["", "course"])
def test_a_role_for_a_lesion_that_no_baseline_knows_is_refused(phase: str) -> None:
    """A new lesion has no role: without a word its progression would stand against the reader's decision."""
    rows = [
        lesion(0, "L01"),
        lesion(60, "L01"),
        lesion(60, "L02", new_lesion_status=NewLesionStatus.DEFINITE),
    ]
    with pytest.raises(DataError, match=r"L02.* found role excluded, expected new_lesion_status"):
        run(rows, PLAIN, stated("L02", EXCLUDED, treatment_phase=phase))


def test_targets_that_a_reader_set_count_towards_the_limits() -> None:
    rows = [lesion(0, "L01", 40.0), lesion(0, "L02", 30.0), lesion(0, "L03", 20.0)]
    found = roles(run(rows, PLAIN, stated("L03", TARGET)))
    assert found["L01"] == (TARGET, "longest diameter 40.0 mm >= 10.0 mm")
    assert found["L02"] == (
        NON_TARGET,
        "longest diameter 30.0 mm >= 10.0 mm; the limit of 2 targets in the liver is reached",
    )
    assert found["L03"] == (TARGET, "set by Dr C: seen on CT")
    # beyond the limit too, a reader's word holds
    both = roles(run(rows, PLAIN, *(stated(name, TARGET) for name in ("L01", "L02", "L03"))))
    assert {role for role, _ in both.values()} == {TARGET}
    five = [lesion(0, f"L0{n}", organ=organ) for n, organ in enumerate("abcdef")]
    found = roles(run(five, PLAIN, stated("L05", TARGET)))
    assert [name for name, (role, _) in found.items() if role is TARGET] == [
        "L00",
        "L01",
        "L02",
        "L03",
        "L05",
    ]


def test_a_role_set_for_one_phase_holds_there_and_one_set_for_all_elsewhere() -> None:
    rows = [lesion(day, name) for day in (0, 60, 120) for name in ("L01", "L02")]
    edits = (
        stated("L01", NON_TARGET),
        stated("L01", EXCLUDED, treatment_phase="from 60", reason="ablated"),
        stated("L02", NON_TARGET, treatment_phase="from 0"),
        # an edit of something else sets no role
        stated("L02", None, new_lesion_status=NewLesionStatus.DEFINITE, treatment_phase="from 60"),
    )
    result = run(rows, PLAIN, *edits, **phases(0, 60))
    rule = (TARGET, "longest diameter 30.0 mm >= 10.0 mm")
    every = (NON_TARGET, "set by Dr C: seen on CT")
    assert phase_roles(result, "from 0") == {"L01": every, "L02": every}
    assert phase_roles(result, "from 60") == {"L01": (EXCLUDED, "set by Dr C: ablated"), "L02": rule}
    assert phase_roles(result, "course") == {"L01": every, "L02": rule}
    assert [(row.lesion_id, row.what, row.study_date, row.after) for row in result.audit] == [
        ("L01", "role for A, RECIST 1.1, from 0", DAY, "non_target"),
        ("L02", "role for A, RECIST 1.1, from 0", DAY, "non_target"),
        ("L01", "role for A, RECIST 1.1, from 60", on(60), "excluded"),
        ("L01", "role for A, RECIST 1.1, course", DAY, "non_target"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"size": None},
        {"size": None, "state": MeasurementState.NOT_FOUND},
        {"size": 0.0, "state": MeasurementState.ABSENT},
    ],
)
def test_a_lesion_without_a_number_at_the_baseline_cannot_be_made_a_target(given: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        run([lesion(0, **given), lesion(0, "L02")], PLAIN, stated("L01", TARGET))
    assert caught.value.message == (
        "lesions.csv, L01, reader Dr C: found role target, expected another one: the lesion has no longest diameter "
        "at the baseline"
    )
    assert (caught.value.code, caught.value.patient_id) == ("bad_edit", "P")
    assert roles(run([lesion(0, **given), lesion(0, "L02")], PLAIN, stated("L01", NON_TARGET)))["L01"] == (
        NON_TARGET,
        "set by Dr C: seen on CT",
    )


def test_a_lesion_not_measured_at_the_baseline_study_cannot_be_made_a_target() -> None:
    rows = [lesion(-60), lesion(-60, "L02"), lesion(-10)]
    with pytest.raises(DataError, match="L02"):
        run(rows, PLAIN, stated("L02", TARGET, treatment_phase="from 0"), **phases(0))


def test_roles_that_a_reader_set_stand_in_the_contributions_of_the_restated_read() -> None:
    rows = [
        lesion(0, "L01", 40.0, reader="A"),
        lesion(0, "L02", 20.0, reader="A"),
        lesion(60, "L01", 40.0, reader="A"),
        lesion(60, "L02", 26.0, reader="A"),
        lesion(0, "L01", 41.0, reader="B"),
        lesion(60, "L01", 42.0, reader="B"),
    ]
    override = Override(
        patient_id="P", treatment_phase="course", criterion="RECIST 1.1", study_date=on(60), reader="Dr C",
        reason="a cyst", assessed_by="A", overall=Response.SD,
    )  # fmt: skip
    edits = PatientEdits(lesions=(stated("L01", NON_TARGET),), overrides=(override,))
    patient = Patient(patient_id="P", edits=edits)
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60)]
    result = respond(patient, studies, rows, PLAIN)
    given = contributions(patient, studies, rows, result, PLAIN)
    found = [(row.reader, row.study_date, row.lesion_id, row.role, row.value) for row in given]
    of_a = [
        (DAY, "L02", TARGET, 20.0),
        (DAY, "L01", NON_TARGET, 40.0),
        (on(60), "L02", TARGET, 26.0),
        (on(60), "L01", NON_TARGET, 40.0),
    ]
    assert found == [
        *(("A", *row) for row in of_a),
        # the adjudicated read is that of the reader it restates
        *(("adjudicated", *row) for row in of_a),
        ("B", DAY, "L01", NON_TARGET, 41.0),
        ("B", on(60), "L01", NON_TARGET, 42.0),
    ]
    assert roles(result, "adjudicated") == roles(result, "A")
    words: dict[str, list[Assessment]] = {}
    for row in result.assessments:
        words.setdefault(row.reader, []).append(row)
    # 20 to 26 mm: +30 % and 6 mm
    assert [row.overall for row in words["A"]] == [None, "PD"]
    assert [row.overall for row in words["adjudicated"]] == [None, "SD"]
    assert {row.settings_id for row in result.assessments} == {settings_id(PLAIN)}
    # one row for each role set, none of them twice because of the restated read
    assert [(row.edit, row.what) for row in result.audit] == [
        ("lesions.csv", "role for A, RECIST 1.1, course"),
        ("overrides.csv", "liver_response of A, RECIST 1.1, course"),
        ("overrides.csv", "overall of A, RECIST 1.1, course"),
        ("lesions.csv", "role for B, RECIST 1.1, course"),
    ]


def test_a_lesion_outside_a_course_is_eligible_by_the_same_rules() -> None:
    assert ineligibility([lesion(0, size=10.0)], RECIST_1_1, PLAIN) == ""
    assert ineligibility([lesion(-30, size=30.0), lesion(0, size=9.0)], RECIST_1_1, PLAIN) == (
        "longest diameter 9.0 mm < 10.0 mm"
    )
    node = lesion(0, perpendicular_diameter_mm=9.0, **NODE)
    assert ineligibility([node], RECIST_1_1, PLAIN) == "node with short axis 9.0 mm < 15.0 mm"
    treated = [lesion(-30, size=25.0, **TREATED), lesion(0, size=30.0, **TREATED)]
    assert ineligibility(treated, RECIST_1_1, PLAIN) == ""
    assert ineligibility(treated[1:], RECIST_1_1, PLAIN) == "treated before, progression since then not shown"


def test_a_lesion_that_was_gone_at_the_baseline_is_new_when_it_is_seen() -> None:
    result = run([lesion(0), lesion(0, "L02", 0.0), lesion(60), lesion(60, "L02", 15.0)])
    assert roles(result)["L02"] == (NEW, "first seen 2024-03-01, not there at baseline")
    edit = stated("L02", NON_TARGET)
    (row,) = run([lesion(0), lesion(0, "L02", 0.0)], PLAIN, edit).audit
    assert (row.before, row.after) == ("excluded", "non_target")


@pytest.mark.parametrize("word_at_day_0", [NewLesionStatus.REJECTED, None])
def test_a_rejected_lesion_makes_no_study_a_baseline(word_at_day_0: NewLesionStatus | None) -> None:
    """The only disease cannot be judged on day 0, so the study 20 days before the treatment is the baseline."""
    not_assessed = {"state": MeasurementState.NOT_ASSESSED, "longest_diameter_mm": None}
    rows = [
        *(lesion(day) for day in (-20, 60)),
        lesion(0, **not_assessed),
        lesion(-20, "L02", 20.0, new_lesion_status=NewLesionStatus.REJECTED),
        lesion(0, "L02", 21.0, new_lesion_status=word_at_day_0),
    ]
    result = run(rows, PLAIN, treatments=treatments_from(0))
    first = result.assessments[0]
    assert (first.study_date, first.is_baseline, first.baseline_burden) == (on(-20), True, 30.0)
    # taken up again, it is disease that was measured on day 0
    rows[-1] = replace(rows[-1], new_lesion_status=NewLesionStatus.DEFINITE)
    assert run(rows, PLAIN, treatments=treatments_from(0)).assessments[0].study_date == on(0)


def test_a_study_with_a_rejected_lesion_alone_is_a_baseline_without_disease() -> None:
    rows = [lesion(day, new_lesion_status=NewLesionStatus.REJECTED) for day in (0, 60)]
    result = run(rows, PLAIN, treatments=treatments_from(0))
    rows_of_phase = [row for row in result.assessments if row.treatment_phase == "from 0"]
    assert [(row.study_date, row.overall) for row in rows_of_phase] == [(on(0), None), (on(60), "NED")]


def test_a_rejected_lesion_is_no_disease_of_a_later_phase_either() -> None:
    rejected = {"new_lesion_status": NewLesionStatus.REJECTED}
    rows = [
        *(lesion(day) for day in (0, 60, 120)),
        lesion(60, "L02", 21.0, **rejected),
        lesion(120, "L02", 30.0, **rejected),
    ]
    phases = {"treatments": treatments_from(1, 61)}
    result = run(rows, PLAIN, **phases)
    assert [(row.treatment_phase, row.lesion_id, row.role, row.reason) for row in result.roles] == [
        ("from 1", "L01", TARGET, "longest diameter 30.0 mm >= 10.0 mm"),
        ("from 1", "L02", EXCLUDED, "rejected"),
        ("from 61", "L01", TARGET, "longest diameter 30.0 mm >= 10.0 mm"),
        ("from 61", "L02", EXCLUDED, "rejected"),
        ("course", "L01", TARGET, "longest diameter 30.0 mm >= 10.0 mm"),
        ("course", "L02", EXCLUDED, "rejected"),
    ]
    second = [row for row in result.assessments if row.treatment_phase == "from 61"]
    assert [(row.current_burden, row.new_lesions, row.overall) for row in second] == [
        (30.0, None, None),
        (30.0, "none", "SD"),
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((REJECTED, None, None), ["none", "none", "none"]),  # said once
        ((REJECTED, None, DEFINITE), ["none", "none", "definite"]),
        ((CANDIDATE, REJECTED, None), ["candidate", "none", "none"]),
        ((DEFINITE, REJECTED, None), ["definite", "none", "none"]),
    ],
)
def test_a_rejection_holds_until_another_word_is_said(
    words: tuple[NewLesionStatus | None, ...], found: list[str]
) -> None:
    days = (60, 120, 180)
    rows = [
        *(lesion(day) for day in (0, *days)),
        *(lesion(day, "L02", 20.0, new_lesion_status=word) for day, word in zip(days, words, strict=True)),
    ]
    result = run(rows)
    assert [row.new_lesions for row in result.assessments[1:]] == found
    # the phase that begins at the second follow-up goes by what was said before it
    later = run(rows, PLAIN, treatments=treatments_from(1, 121))
    new = [row.new_lesions for row in later.assessments if row.treatment_phase == "from 121"]
    assert new == [None, found[-1]]
    given = contributions(
        Patient(patient_id="P", treatments=treatments_from(1, 121)),
        [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, *days)],
        rows,
        later,
        PLAIN,
    )
    statuses = {
        row.new_lesion_status or "none" for row in given
        if (row.treatment_phase, row.lesion_id, row.study_date) == ("from 121", "L02", on(180))
    }  # fmt: skip
    assert statuses == {found[-1]}
