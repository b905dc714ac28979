"""The catalogue of synthetic patients: complete, consistent with itself, and with the arithmetic of the criteria."""

import pytest

from mrresponse.errors import ConfigError
from mrresponse.synthetic.catalogue import SCENARIOS, find_scenario
from mrresponse.synthetic.plans import PatientPlan

NAMES = {
    "hcc-course",
    *(f"R{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9, 10)),
    *(f"R6{letter}" for letter in "abcd"),
    *(f"N{number}" for number in range(1, 5)),
    "H1",
    *(f"Q{number}" for number in range(1, 7)),
    *(f"M{number}" for number in range(1, 5)),
}
# Sum of the longest diameters and of the viable ones at every study, new lesions left out.
SUMS = {
    "R1": ((32, 30), (32, 0)),
    "R2": ((65, 62), (65, 38)),
    "R3": ((30, 33), (30, 33)),
    "R4": ((20, 27), (20, 27)),
    "R5": ((30, 30), (30, 30)),
    "R7": ((15, 19), (15, 19)),
    "R8": ((30, 38), (30, 18)),
    "R10": ((25, 0), (25, 0)),
}
PERCENT = {"R6a": -28, "R6b": -32, "R6c": 18, "R6d": 22}


def only_patient(name: str) -> PatientPlan:
    (patient,) = SCENARIOS[name].patients
    return patient


def sums(patient: PatientPlan) -> tuple[tuple[float, ...], tuple[float, ...]]:
    known = [lesion for lesion in patient.lesions if lesion.sizes[0] is not None]
    by_study = list(zip(*(lesion.sizes for lesion in known), strict=True))
    whole = tuple(sum(size.whole_mm for size in sizes if size) for sizes in by_study)
    viable = tuple(sum(size.viable_mm for size in sizes if size) for sizes in by_study)
    return whole, viable


def responses(patient: PatientPlan, criterion: str, phase: str = "course") -> list[tuple[str, str]]:
    return [
        (str(row.liver_response), str(row.overall))
        for row in patient.expected
        if row.criterion == criterion and row.treatment_phase == phase and not row.is_baseline
    ]


def test_every_scenario_is_there() -> None:
    assert set(SCENARIOS) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_lesion_has_a_size_for_every_study(name: str) -> None:
    for patient in SCENARIOS[name].patients:
        for lesion in patient.lesions:
            assert len(lesion.sizes) == len(patient.studies)
            assert all(size.viable_mm <= size.whole_mm for size in lesion.sizes if size)
        dates = [study.study_date for study in patient.studies]
        assert dates == sorted(set(dates))
        assert {row.study_date for row in patient.expected} <= set(dates)


@pytest.mark.parametrize("name", sorted(SUMS))
def test_the_sizes_are_those_of_the_specification(name: str) -> None:
    assert sums(only_patient(name)) == SUMS[name]


@pytest.mark.parametrize("name", sorted(PERCENT))
def test_the_sums_change_by_the_stated_percentage(name: str) -> None:
    whole, viable = sums(only_patient(name))
    assert whole == viable
    assert 100 * (whole[1] / whole[0] - 1) == pytest.approx(PERCENT[name])


def test_the_new_lesion_of_r5_is_a_12_mm_carcinoma() -> None:
    new = [lesion for lesion in only_patient("R5").lesions if lesion.sizes[0] is None]
    assert [(lesion.subtype.value, lesion.sizes[1].whole_mm) for lesion in new if lesion.sizes[1]] == [
        ("hcc", 12)
    ]


@pytest.mark.parametrize(
    ("name", "recist", "mrecist"),
    [
        ("R1", "SD", "CR"),
        ("R2", "SD", "PR"),
        ("R3", "SD", "SD"),
        ("R4", "PD", "PD"),
        ("R5", "PD", "PD"),
        ("R6a", "SD", "SD"),
        ("R6b", "PR", "PR"),
        ("R6c", "SD", "SD"),
        ("R6d", "PD", "PD"),
        ("R7", "SD", "PD"),
        ("R8", "PD", "PR"),
        ("R10", "CR", "CR"),
        ("H1", "SD", "CR"),
        ("M1", "SD", "NE"),
        ("M4", "SD", "NE"),
    ],
)
def test_the_expected_responses_are_those_of_the_specification(name: str, recist: str, mrecist: str) -> None:
    assert responses(only_patient(name), "RECIST 1.1") == [(recist, recist)]
    assert responses(only_patient(name), "mRECIST") == [(mrecist, mrecist)]


def test_r9_progresses_from_its_nadir() -> None:
    patient = only_patient("R9")
    assert sums(patient) == ((40, 24, 31), (40, 24, 31))
    assert responses(patient, "mRECIST") == [("PR", "PR"), ("PD", "PD")]


def test_the_reference_course_keeps_the_dates_of_the_report() -> None:
    patient = only_patient("hcc-course")
    starts = {row.treatment_phase: row.start_date.isoformat() for row in patient.treatments}
    assert patient.studies[0].study_date.isoformat() == "2020-06-07"
    assert patient.studies[3].study_date.isoformat() == "2021-03-22"
    assert starts["phase 1"] == "2020-06-25"
    assert starts["phase 3"] == "2021-03-15"
    assert starts["phase 4"] == "2021-06-25"


def test_the_liver_of_the_reference_course_responds_for_nine_months() -> None:
    rows = [
        row
        for row in only_patient("hcc-course").expected
        if row.treatment_phase == "course" and row.criterion == "mRECIST" and not row.is_baseline
    ]
    response = next(row.study_date for row in rows if row.liver_response == "PR")
    progression = next(row.study_date for row in rows if row.liver_response == "PD")
    assert (progression - response).days == 277


def test_a_new_bone_metastasis_separates_liver_and_overall_response() -> None:
    assert responses(only_patient("hcc-course"), "mRECIST", "phase 1") == [("PR", "PD")]
    assert responses(only_patient("hcc-course"), "mRECIST", "phase 2") == [("SD", "SD")]


def test_names_are_found_in_any_case() -> None:
    assert find_scenario("r6A", seed=1).name == "R6a"


def test_a_cohort_has_the_asked_number_of_patients_and_depends_on_the_seed() -> None:
    cohort = find_scenario("cohort-12", seed=3)
    assert len({patient.patient_id for patient in cohort.patients}) == 12
    assert cohort == find_scenario("cohort-12", seed=3)
    assert cohort != find_scenario("cohort-12", seed=4)


@pytest.mark.parametrize("name", ["R11", "cohort-0", "cohort-", ""])
def test_an_unknown_scenario_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="--scenario: found"):
        find_scenario(name, seed=1)
