"""New lesions visit by visit: how sure each is, why, and what becomes of the role; sizes worked by hand."""

from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Finding,
    FindingKind,
    FindingStatus,
    LesionEdit,
    LesionRole,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    PatientEdits,
    ResponseResult,
    StudyRecord,
)
from mrresponse.respond import RespondSettings, contributions, respond
from mrresponse.respond.settings import ProbabilityMethod
from tests.readings import reading

DAY = date(2024, 1, 1)
NETWORK, READER, MASK = MeasurementSource.NETWORK, MeasurementSource.READER, MeasurementSource.MASK
CANDIDATE, EQUIVOCAL, DEFINITE, REJECTED = NewLesionStatus
HCC = {"aphe": True, "washout": True}
LUNG = {"organ": "lung"}
NODE = {"is_node": True, "organ": "axilla"}
PORTA = {"is_node": True, "organ": "porta hepatis"}
LOST = {"state": MeasurementState.NOT_ASSESSED}
SMALL = {"state": MeasurementState.TOO_SMALL}
AXIS_6, AXIS_12, AXIS_16 = ({**NODE, "perpendicular_diameter_mm": axis} for axis in (6.0, 12.0, 16.0))
DOUBTFUL, SURE = ({**LUNG, "new_lesion_status": status} for status in (EQUIVOCAL, DEFINITE))
Seen = tuple[float | None, dict[str, Any]]


def on(number: int) -> date:
    return DAY + timedelta(days=60 * number)


def lesion(number: int, name: str, size: float | None, **more: Any) -> Measurement:
    values: dict[str, Any] = {
        "state": MeasurementState.ABSENT if size == 0.0 else MeasurementState.MEASURED,
        "viable_longest_diameter_mm": size,
        "viable_perpendicular_diameter_mm": size,
        **more,
    }
    return reading(60 * number, name, size, **values)


def settings(criterion: str, **more: Any) -> RespondSettings:
    return RespondSettings(criteria=(criterion,), probability=ProbabilityMethod.NONE, **more)


def run(
    *visits: Seen | None, criterion: str = "RECIST 1.1", unread: tuple[int, ...] = (), **more: Any
) -> ResponseResult:
    """Return a patient with a stable target and, at each follow-up visit, what is seen of lesion L02."""
    rows = [lesion(number, "L01", 30.0) for number in range(len(visits) + 1)]
    rows += [lesion(number, "L02", seen[0], **seen[1]) for number, seen in enumerate(visits, start=1) if seen]
    studies = [
        StudyRecord(patient_id="P", study_date=on(number), lesions_assessable=number not in unread)
        for number in range(len(visits) + 1)
    ]
    return respond(Patient(patient_id="P"), studies, rows, settings(criterion, **more))


def said(result: ResponseResult) -> list[tuple[str, str]]:
    """Return the word for new lesions of each visit and what the reason says of them."""
    found = []
    for row in result.assessments:
        if not row.is_baseline:
            text = row.reason.split("new lesions ")[1].split("; ")[0]
            found.append((str(row.new_lesions), text.partition(", ")[2]))
    return found


FIRST = "L02 first seen 2024-03-01"


@pytest.mark.parametrize(
    ("criterion", "size", "more", "word", "why"),
    [
        # outside the liver, or by RECIST: not there at baseline is new
        ("RECIST 1.1", 5.0, {}, "definite", "5.0 mm, not there at baseline"),
        ("RECIST 1.1", None, {}, "definite", "not there at baseline"),
        ("mRECIST", 5.0, LUNG, "definite", "5.0 mm, not there at baseline"),
        # a nodule of the liver: 10 mm with enhancement and washout, by criteria of the liver
        ("mRECIST", 10.0, HCC, "definite", "10.0 mm >= 10.0 mm, arterial enhancement with washout"),
        ("mRECIST", 9.9, HCC, "equivocal", "9.9 mm < 10.0 mm"),
        ("mRECIST", 10.0, {"aphe": True, "washout": False}, "equivocal",
         "10.0 mm without arterial enhancement and washout"),
        ("mRECIST", 10.0, {"aphe": False, "washout": True}, "equivocal",
         "10.0 mm without arterial enhancement and washout"),
        ("mRECIST", 10.0, {"aphe": True}, "equivocal", "10.0 mm without arterial enhancement and washout"),
        ("EASL", 10.0, HCC, "definite", "10.0 mm >= 10.0 mm, arterial enhancement with washout"),
        ("mRECIST", None, HCC, "equivocal", "no longest diameter given"),
        # what a reader says of it
        ("mRECIST", 9.0, {"new_lesion_status": DEFINITE}, "definite", "9.0 mm, stated definite"),
        ("mRECIST", 30.0, {**HCC, "new_lesion_status": EQUIVOCAL, "source": READER}, "equivocal",
         "30.0 mm, stated equivocal"),
        ("mRECIST", 30.0, {**HCC, "new_lesion_status": EQUIVOCAL}, "equivocal",
         "30.0 mm without arterial enhancement and washout"),
        ("RECIST 1.1", 30.0, {"new_lesion_status": CANDIDATE, "source": READER}, "candidate",
         "30.0 mm, stated candidate"),
        ("RECIST 1.1", 30.0, {"new_lesion_status": EQUIVOCAL}, "equivocal", "30.0 mm, stated equivocal"),
        ("RECIST 1.1", 30.0, {"new_lesion_status": DEFINITE, "pattern": "cyst"}, "definite",
         "30.0 mm, stated definite"),
        # what its images say of it, and a reader of what they say
        ("mRECIST", 30.0, {"new_lesion_status": DEFINITE, "new_lesion_reason": "30.0 mm; washout yes"}, "definite",
         "by its images: 30.0 mm, washout yes"),
        ("mRECIST", 30.0, {"new_lesion_status": DEFINITE, "new_lesion_reason": "washout no", "source": READER},
         "definite", "30.0 mm, stated definite"),
        # what the network says of it
        ("mRECIST", 30.0, {**HCC, "source": NETWORK}, "candidate", "30.0 mm, found by the network"),
        ("mRECIST", 30.0, {"source": NETWORK, "new_lesion_status": EQUIVOCAL}, "equivocal",
         "30.0 mm, found by the network"),
        # nodes by their short axis
        ("RECIST 1.1", 30.0, NODE, "equivocal", "node without a short axis"),
        ("RECIST 1.1", 30.0, {**NODE, "perpendicular_diameter_mm": 10.0}, "equivocal",
         "node, short axis 10.0 mm < 15.0 mm"),
        ("RECIST 1.1", 30.0, {**NODE, "perpendicular_diameter_mm": 14.9}, "equivocal",
         "node, short axis 14.9 mm < 15.0 mm"),
        ("RECIST 1.1", 30.0, {**NODE, "perpendicular_diameter_mm": 15.0}, "definite", "node, short axis 15.0 mm"),
        ("mRECIST", 30.0, {**PORTA, "perpendicular_diameter_mm": 20.0}, "definite", "node, short axis 20.0 mm"),
    ],
)  # fmt: skip
def test_a_lesion_that_was_not_there_is_as_new_as_its_reason_says(
    criterion: str, size: float | None, more: dict[str, Any], word: str, why: str
) -> None:
    result = run((size, more), criterion=criterion)
    assert said(result) == [(word, f"{FIRST} ({why})")]
    row = result.assessments[-1]
    assert row.overall == ("PD" if word == "definite" else "SD")
    assert row.flags == (() if word == "definite" else (f"new_lesion_{word}",))
    (role,) = [one for one in result.roles if one.lesion_id == "L02"]
    assert (role.role, role.reason) == (LesionRole.NEW, "first seen 2024-03-01, not there at baseline")


@pytest.mark.parametrize(
    ("criterion", "more", "why"),
    [
        ("RECIST 1.1", {"pattern": "cyst"}, "benign pattern (cyst)"),
        ("mRECIST", {"pattern": "Haemangioma-like", "source": NETWORK}, "benign pattern (Haemangioma-like)"),
        ("mRECIST", {"pattern": "perfusion-like", "source": NETWORK}, "benign pattern (perfusion-like)"),
        ("mRECIST", {"new_lesion_status": REJECTED, "source": NETWORK}, "rejected"),
        ("RECIST 1.1", {"new_lesion_status": REJECTED}, "rejected"),
        ("RECIST 1.1", {**NODE, "perpendicular_diameter_mm": 9.9}, "normal node, short axis 9.9 mm"),
        ("mRECIST", {**PORTA, "perpendicular_diameter_mm": 19.9}, "normal node, short axis 19.9 mm"),
    ],
)
def test_what_is_no_new_disease_is_excluded_with_the_reason(
    criterion: str, more: dict[str, Any], why: str
) -> None:
    result = run((30.0, more), criterion=criterion)
    assert said(result) == [("none", "")]
    assert result.assessments[-1].overall == "SD"
    (role,) = [one for one in result.roles if one.lesion_id == "L02"]
    assert (role.role, role.reason) == (LesionRole.EXCLUDED, why)


COURSES: list[tuple[str, tuple[Seen | None, ...], list[tuple[str, str]]]] = [
    # a nodule of 12 mm is established once it has grown by 10 mm, and stays so
    (
        "mRECIST",
        ((12.0, {}), (21.9, {}), (22.0, {}), (12.0, {})),
        [
            ("equivocal", "12.0 mm without arterial enhancement and washout"),
            ("equivocal", "21.9 mm without arterial enhancement and washout"),
            ("definite", "22.0 mm, grown by 10.0 mm since first seen"),
            ("definite", "22.0 mm, grown by 10.0 mm since first seen"),
        ],
    ),
    # from less than 10 mm as well
    ("mRECIST", ((5.0, {}), (15.0, {})), [("equivocal", "5.0 mm < 10.0 mm"),
                                          ("definite", "15.0 mm, grown by 10.0 mm since first seen")]),
    # a size that was not given is none to grow from: 10 mm is the first that is known
    (
        "mRECIST",
        ((None, {}), (10.0, {}), (19.9, {}), (20.0, {})),
        [
            ("equivocal", "no longest diameter given"),
            ("equivocal", "10.0 mm without arterial enhancement and washout"),
            ("equivocal", "19.9 mm without arterial enhancement and washout"),
            ("definite", "20.0 mm, grown by 10.0 mm since first seen"),
        ],
    ),
    # seen but too small to measure: it had at most 5 mm
    (
        "mRECIST",
        ((None, SMALL), (14.9, {}), (15.0, {})),
        [
            ("equivocal", "no longest diameter given"),
            ("equivocal", "14.9 mm without arterial enhancement and washout"),
            ("definite", "15.0 mm, grown by at least 10.0 mm since first seen"),
        ],
    ),
    # in a criterion of areas or volumes the size that it had at most is a length even so
    ("EASL", ((None, SMALL), (15.0, {})), [("equivocal", "no longest diameter given"),
                                           ("definite", "15.0 mm, grown by at least 10.0 mm since first seen")]),
    (
        "RECIST 1.1",
        ((None, {**SMALL, "new_lesion_status": EQUIVOCAL}), (14.9, {"new_lesion_status": EQUIVOCAL}),
         (15.0, {"new_lesion_status": EQUIVOCAL})),
        [("equivocal", "stated equivocal"), ("equivocal", "14.9 mm, stated equivocal"),
         ("definite", "15.0 mm, not there at baseline")],
    ),
    (
        "RECIST 1.1",
        ((None, {"new_lesion_status": EQUIVOCAL}), (10.0, {"new_lesion_status": EQUIVOCAL})),
        [("equivocal", "stated equivocal"), ("equivocal", "10.0 mm, stated equivocal")],
    ),
    (
        "RECIST 1.1",
        ((8.0, {"new_lesion_status": EQUIVOCAL}), (17.9, {"new_lesion_status": EQUIVOCAL}),
         (18.0, {"new_lesion_status": EQUIVOCAL})),
        [("equivocal", "8.0 mm, stated equivocal"), ("equivocal", "17.9 mm, stated equivocal"),
         ("definite", "18.0 mm, not there at baseline")],
    ),
    # what cannot be judged stays what it was; what is gone is new no longer
    (
        "RECIST 1.1",
        ((12.0, {}), (None, LOST), None, (0.0, {}), (None, LOST)),
        [("definite", "12.0 mm, not there at baseline")] * 3 + [("none", "")] * 2,
    ),
    # gone and back: judged as it is then
    (
        "RECIST 1.1",
        ((12.0, {}), (0.0, {}), (14.0, {})),
        [("definite", "12.0 mm, not there at baseline"), ("none", ""),
         ("definite", "14.0 mm, not there at baseline")],
    ),
    (
        "RECIST 1.1",
        ((12.0, {}), (12.0, {"new_lesion_status": REJECTED})),
        [("definite", "12.0 mm, not there at baseline"), ("none", "")],
    ),
    # it is followed from where it was seen, not from where it was looked for
    ("RECIST 1.1", ((None, LOST), (0.0, {})), [("none", ""), ("none", "")]),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "visits", "expected"), COURSES)
def test_a_new_lesion_through_time(
    criterion: str, visits: tuple[Seen | None, ...], expected: list[tuple[str, str]]
) -> None:
    found = said(run(*visits, criterion=criterion))
    assert found == [(word, f"{FIRST} ({why})" if why else "") for word, why in expected]


def test_other_limits_of_size_and_growth_are_settings() -> None:
    more = {"criterion": "mRECIST", "new_lesion_min_mm": 8.0, "new_lesion_growth_mm": 5.0}
    assert said(run((8.0, HCC), **more)) == [
        ("definite", f"{FIRST} (8.0 mm >= 8.0 mm, arterial enhancement with washout)")
    ]
    assert said(run((8.0, {}), (13.0, {}), **more))[1][1].endswith(
        "(13.0 mm, grown by 5.0 mm since first seen)"
    )


def test_at_a_visit_that_was_not_read_nothing_is_new() -> None:
    result = run((12.0, {}), (12.0, {}), unread=(1,))
    assert [row.new_lesions for row in result.assessments[1:]] == ["not assessed", "definite"]
    # seen in images that could not be used, it is dated there even so
    assert said(result)[1] == ("definite", f"{FIRST} (12.0 mm, not there at baseline)")


def test_the_surest_of_several_gives_the_word_and_is_named() -> None:
    rows = [lesion(number, "L01", 30.0) for number in (0, 1)]
    rows += [
        lesion(1, "L02", 9.0, new_lesion_status=CANDIDATE),
        lesion(1, "L03", 12.0, **LUNG),
        lesion(1, "L04", 13.0, **LUNG),
        lesion(1, "L05", 8.0, new_lesion_status=EQUIVOCAL),
    ]
    studies = [StudyRecord(patient_id="P", study_date=on(number)) for number in (0, 1)]
    patient, chosen = Patient(patient_id="P"), settings("RECIST 1.1")
    result = respond(patient, studies, rows, chosen)
    row = result.assessments[-1]
    assert row.reason.split("new lesions ")[1].split("; the liver")[0] == (
        "definite, L03 first seen 2024-03-01 (12.0 mm, not there at baseline); L04 first seen 2024-03-01 (13.0 mm, "
        "not there at baseline)"
    )
    assert row.reason.endswith("the liver alone is SD: target SD, non-target none, new lesions equivocal")
    assert (row.overall, row.liver_response, row.flags) == ("PD", "SD", ("new_lesion_equivocal",))
    given = {one.lesion_id: one.new_lesion_status for one in contributions(patient, studies, rows, result, chosen)
             if one.study_date == on(1)}  # fmt: skip
    assert given == {"L01": "", "L02": "candidate", "L03": "definite", "L04": "definite", "L05": "equivocal"}


def test_a_doubtful_lesion_that_is_established_dates_the_progression() -> None:
    result = run((12.0, {}), (15.0, {}), (22.0, {}), (30.0, {}), criterion="mRECIST")
    rows = result.assessments[1:]
    assert [row.overall for row in rows] == ["SD", "SD", "PD", "PD"]
    assert [row.dated_from for row in rows] == [None, None, on(1), None]
    assert [row.flags for row in rows] == [
        ("new_lesion_equivocal",), ("new_lesion_equivocal",), ("progression_dated_earlier",), (),
    ]  # fmt: skip
    assert rows[2].reason.endswith("; progression is dated 2024-03-01, when the lesion was first seen")
    overall = result.summaries[1]
    assert (overall.progression_date, overall.time_to_progression_days, overall.best_overall_response) == (
        on(1), 60, "PD",
    )  # fmt: skip


def test_a_candidate_of_the_network_that_is_confirmed_dates_the_progression_too() -> None:
    found = {"source": NETWORK, "new_lesion_status": CANDIDATE}
    result = run((12.0, found), (12.0, {"source": NETWORK, "new_lesion_status": DEFINITE}))
    assert [(row.new_lesions, row.dated_from) for row in result.assessments[1:]] == [
        ("candidate", None),
        ("definite", on(1)),
    ]


DATED: list[tuple[str, tuple[Seen | None, ...], int | None]] = [
    # what is seen at each follow-up visit, the last of which progresses, and the visit that dates the progression
    ("a node of normal size is no disease", ((9.0, AXIS_6), (15.0, AXIS_12), (19.0, AXIS_16)), 2),
    (
        "nor one that was of normal size once more",
        ((15.0, AXIS_12), (9.0, AXIS_6), (15.0, AXIS_12), (19.0, AXIS_16)),
        3,
    ),
    ("established at once", ((9.0, AXIS_6), (19.0, AXIS_16)), None),
    (
        "what was gone and came back came later",
        ((9.0, DOUBTFUL), (0.0, LUNG), (9.0, DOUBTFUL), (20.0, SURE)),
        3,
    ),
    ("and is established at once", ((9.0, DOUBTFUL), (0.0, LUNG), (20.0, SURE)), None),
    ("what was lost was there", ((9.0, DOUBTFUL), (None, {**LUNG, **LOST}), (20.0, SURE)), 1),
]


@pytest.mark.parametrize(("visits", "dated"), [case[1:] for case in DATED], ids=[case[0] for case in DATED])
def test_a_progression_is_dated_at_the_appearance_of_the_disease(
    visits: tuple[Seen | None, ...], dated: int | None
) -> None:
    result = run(*visits)
    last = result.assessments[-1]
    assert (last.overall, last.dated_from) == ("PD", None if dated is None else on(dated))
    assert ("progression_dated_earlier" in last.flags) is (dated is not None)
    first = len(visits) if dated is None else dated
    assert result.summaries[1].progression_date == on(first)
    assert f"L02 first seen {on(first).isoformat()}" in last.reason


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST"])
@pytest.mark.parametrize("status", [CANDIDATE, EQUIVOCAL])
def test_a_doubtful_lesion_of_the_network_that_grows_is_flagged(
    criterion: str, status: NewLesionStatus
) -> None:
    """Overlooked at baseline it is not new, but no less progression; 10 mm: Lencioni 2010.

    With the target of 30 mm it is 46 mm at first, and 56 mm, 22 % more, when it is 26 mm.
    """
    found = {"source": NETWORK, "new_lesion_status": status}
    result = run(
        (16.0, found), (25.9, found), (26.0, found), (47.0, found), (None, LOST), criterion=criterion
    )
    doubt = f"new_lesion_{status}"
    assert [row.flags for row in result.assessments[1:]] == [
        (doubt,), (doubt,), (doubt, "new_lesion_grows"), (doubt, "new_lesion_grows"), (doubt,),
    ]  # fmt: skip
    assert said(result)[2] == (
        status,
        f"{FIRST} (26.0 mm, found by the network, grown by 10.0 mm since first seen)",
    )
    assert [row.overall for row in result.assessments[1:]] == ["SD", "SD", "PD", "PD", "SD"]


def without_target(
    rest: dict[str, float], *doubtful: tuple[float, dict[str, Any]], criterion: str
) -> ResponseResult:
    """Return a patient with unchanged non-targets (``rest``), and a lesion L02 that the network finds later."""
    count = len(doubtful) + 1
    rows = [lesion(number, name, size) for number in range(count) for name, size in rest.items()]
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    rows += [
        lesion(number, "L02", mm, **{**found, **more}) for number, (mm, more) in enumerate(doubtful, start=1)
    ]
    studies = [
        StudyRecord(patient_id="P", study_date=on(number), lesions_assessable=True) for number in range(count)
    ]
    return respond(Patient(patient_id="P"), studies, rows, settings(criterion))


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST"])
def test_without_a_target_a_doubtful_lesion_that_grows_is_progression_new_or_overlooked(
    criterion: str,
) -> None:
    """9 mm and 16 mm at first, 9 mm and 26 mm later: 35 mm are 40 % more than 25 mm."""
    sizes = ((16.0, {}), (25.9, {}), (26.0, {}), (20.0, {}))
    result = without_target({"L01": 9.0}, *sizes, criterion=criterion)
    rows = result.assessments[1:]
    assert [row.overall for row in rows] == ["NON-CR/NON-PD"] * 2 + ["PD", "NON-CR/NON-PD"]
    assert [row.non_target for row in rows][2] == "PD"
    assert {row.new_lesions for row in rows} == {EQUIVOCAL}
    assert (
        "non-target diameters with L02, new or overlooked at baseline, 35.0 mm are +40.0 % from their nadir 25.0 mm"
        in rows[2].reason
    )
    assert ["new_lesion_grows" in row.flags for row in rows] == [False, False, True, False]


@pytest.mark.parametrize(
    ("criterion", "ends"),
    [
        (
            "RECIST 1.1",
            "the liver alone is PD: target none, non-target PD (unequivocal progression: non-target diameters 16.0 mm "
            "are +77.8 % from their nadir 9.0 mm), new lesions none",
        ),
        (
            "iRECIST",
            "non-target iUPD (unequivocal progression: non-target diameters 16.0 mm are +77.8 % from their nadir "
            "9.0 mm), new lesions none, first progression: to be confirmed after 4 to 8 weeks",
        ),
    ],
)
def test_a_progression_of_the_liver_alone_says_why(criterion: str, ends: str) -> None:
    """The only target lies in a lung: what grows in the liver progresses there, and beside that target does not."""
    rows = [lesion(number, "L01", 30.0, organ="lung") for number in range(2)]
    rows += [lesion(0, "L02", 9.0), lesion(1, "L02", 16.0)]
    studies = [StudyRecord(patient_id="P", study_date=on(n), lesions_assessable=True) for n in range(2)]
    (_, row) = respond(Patient(patient_id="P"), studies, rows, settings(criterion)).assessments
    assert row.overall in ("SD", "iSD")
    assert row.reason.endswith(ends)


def beside_targets(
    targets: dict[str, tuple[float | None, ...]], doubtful: tuple[float, ...], criterion: str
) -> list[Assessment]:
    """Return the follow-ups of a patient with targets and a lesion L02 that the network finds from then on."""
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    rows = [
        lesion(number, name, size, **(LOST if size is None else {}))
        for name, sizes in targets.items()
        for number, size in enumerate(sizes)
    ]
    rows += [lesion(number, "L02", mm, **found) for number, mm in enumerate(doubtful, start=1)]
    studies = [
        StudyRecord(patient_id="P", study_date=on(number), lesions_assessable=True)
        for number in range(len(doubtful) + 1)
    ]
    return list(respond(Patient(patient_id="P"), studies, rows, settings(criterion)).assessments[1:])


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST", "iRECIST"])
def test_beside_a_doubtful_lesion_that_has_grown_there_is_no_complete_response(criterion: str) -> None:
    """New it would be progression, overlooked a non-target that persists: 26 mm are less than 30 + 16 mm were."""
    rows = beside_targets({"L01": (30.0, 0.0)}, (26.0,), criterion)
    assert rows[0].overall.endswith("CR")
    # the target is gone only when the other one has grown
    rows = beside_targets({"L01": (30.0, 30.0, 0.0, 0.0)}, (16.0, 26.0, 17.0), criterion)
    i = "i" if criterion == "iRECIST" else ""
    assert [row.overall for row in rows] == [f"{i}SD", f"{i}PR", f"{i}CR"]
    assert "persists: L02 26.0 mm, new or overlooked at baseline" in rows[1].reason
    assert [row.target for row in rows] == [f"{i}SD", f"{i}CR", f"{i}CR"]


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST", "iRECIST"])
@pytest.mark.parametrize(
    ("target", "doubtful", "is_progression"),
    [
        # 30 + 16 at first, 0 + 16 at the nadir: 26 is 62 % and 10 mm more
        ((30.0, 0.0, 0.0), (16.0, 26.0), True),
        # 60 + 16 at first, 50 + 26 now
        ((60.0, 60.0, 50.0), (16.0, 26.0), False),
        # 34 + 16 and 34 + 26: exactly 20 %
        ((34.0, 34.0, 34.0), (16.0, 26.0), True),
        ((34.1, 34.1, 34.1), (16.0, 26.0), False),
        # by 9.9 mm it has not grown by what makes a new nodule definite
        ((30.0, 0.0, 0.0), (16.0, 25.9), False),
    ],
    ids=["the target is gone", "the target shrinks as much", "20 %", "below 20 %", "below 10 mm"],
)
def test_beside_a_target_a_doubtful_lesion_that_grows_is_progression_with_all_disease(
    target: tuple[float, ...], doubtful: tuple[float, ...], is_progression: bool, criterion: str
) -> None:
    """New it is progression; overlooked, the overall burden has risen by 20 % and 5 mm."""
    row = beside_targets({"L01": target}, doubtful, criterion)[-1]
    assert (row.overall in ("PD", "iUPD")) is is_progression
    assert row.new_lesions == EQUIVOCAL
    total = target[-1] + doubtful[-1]
    words = f"unequivocal progression: target and non-target diameters with L02, new or overlooked at baseline, {total}"
    assert (words in row.reason) is is_progression


def test_a_doubtful_lesion_that_grows_decides_nothing_where_a_target_is_missing() -> None:
    rows = beside_targets({"L01": (30.0, 0.0, None)}, (16.0, 26.0), "mRECIST")
    assert [row.overall for row in rows] == ["CR", "NE"]


def test_non_targets_count_in_the_burden_beside_which_a_doubtful_lesion_grows() -> None:
    """30 + 9 + 16 mm, and 26 in place of 16: 18 %; without the non-target it would be 22 %."""
    targets = {"L01": (30.0, 30.0, 30.0), "L03": (9.0, 9.0, 9.0)}
    assert [row.overall for row in beside_targets(targets, (16.0, 26.0), "RECIST 1.1")] == ["SD", "SD"]


def test_without_disease_at_baseline_a_doubtful_lesion_that_grows_is_progression() -> None:
    result = without_target({}, (16.0, {}), (26.0, {}), criterion="mRECIST")
    assert [row.overall for row in result.assessments[1:]] == ["NED", "PD"]


def test_a_doubtful_lesion_that_grows_beside_much_more_disease_is_not_enough() -> None:
    """Ten non-targets of 9 mm, and 16 mm that become 26: 116 mm are 9.4 % more than 106 mm."""
    rest = {f"L{number}": 9.0 for number in range(10, 20)}
    result = without_target(rest, (16.0, {}), (26.0, {}), criterion="RECIST 1.1")
    assert result.assessments[-1].overall == "NON-CR/NON-PD"
    assert "new_lesion_grows" in result.assessments[-1].flags


def test_a_doubtful_lesion_that_grows_decides_nothing_where_a_non_target_is_missing() -> None:
    """The other one may be gone: what all of them grew by is not known."""
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    rows = [lesion(0, "L01", 9.0), lesion(1, "L02", 16.0, **found), lesion(2, "L02", 26.0, **found)]
    rows += [lesion(1, "L01", None, **LOST), lesion(2, "L01", None, **LOST)]
    studies = [StudyRecord(patient_id="P", study_date=on(n), lesions_assessable=True) for n in range(3)]
    result = respond(Patient(patient_id="P"), studies, rows, settings("mRECIST"))
    assert [row.overall for row in result.assessments[1:]] == ["NE", "NE"]


@pytest.mark.parametrize(
    "later",
    [
        (27.0, {}, "iCPD", "confirms the iUPD of 2024-04-30: non-target sum 36.0 mm above 35.0 mm"),
        (26.0, {}, "iUPD", "no further change since the iUPD of 2024-04-30"),
        # the same lesion is no other one where somebody says that it is new after all
        (26.0, {"new_lesion_status": DEFINITE}, "iUPD", "no further change since the iUPD of 2024-04-30"),
        (20.0, {}, "NON-iCR/NON-iUPD", "20.0 mm, found by the network"),
        (0.0, {}, "NON-iCR/NON-iUPD", "new lesions none"),
        (None, LOST, "NE", "new lesion L02 not measured"),
    ],
    ids=["grows", "same", "said to be new", "shrinks", "gone", "not found"],
)
def test_a_doubtful_lesion_confirms_its_own_unconfirmed_progression(
    later: tuple[float | None, dict[str, Any], str, str],
) -> None:
    """9 mm beside 16 and 26 mm: an iUPD of the non-targets, 35 mm; what becomes of L02 decides the next visit."""
    size, more, response, why = later
    result = without_target({"L01": 9.0}, (16.0, {}), (26.0, {}), (size, more), criterion="iRECIST")
    assert [row.overall for row in result.assessments[1:]] == ["NON-iCR/NON-iUPD", "iUPD", response]
    assert why in result.assessments[-1].reason


def test_a_doubtful_lesion_that_is_not_found_leaves_a_progression_unconfirmed_and_dated() -> None:
    result = without_target({}, (16.0, {}), (26.0, {}), (None, LOST), criterion="iRECIST")
    assert [row.overall for row in result.assessments[1:]] == ["NED", "iUPD", "NE"]
    assert {row.progression_date for row in result.summaries} == {on(2)}


def test_a_doubtful_lesion_that_does_not_enhance_is_no_progression_of_viable_tumour() -> None:
    """A non-target without enhancement counts as gone, and so would this one if it had been overlooked."""
    dark = {"viable_longest_diameter_mm": 0.0, "viable_perpendicular_diameter_mm": 0.0, "aphe": False}
    sizes = ((16.0, dark), (26.0, dark))
    viable = without_target({"L01": 9.0}, *sizes, criterion="mRECIST")
    whole = without_target({"L01": 9.0}, *sizes, criterion="RECIST 1.1")
    assert [one.assessments[-1].overall for one in (viable, whole)] == ["NON-CR/NON-PD", "PD"]
    assert "new_lesion_grows" in viable.assessments[-1].flags


def test_a_doubtful_node_grows_by_its_short_axis() -> None:
    node = {"is_node": True, "organ": "lymph_node", "perpendicular_diameter_mm": 12.0}
    result = without_target({"L01": 9.0}, (16.0, node), (26.0, node), criterion="RECIST 1.1")
    assert result.assessments[-1].overall == "NON-CR/NON-PD"
    assert "new_lesion_grows" not in result.assessments[-1].flags


@pytest.mark.parametrize(
    ("others", "overall"),
    [
        # L03 merged into L02, which is as large as both together were
        ((10.0, None, {"state": MeasurementState.MERGED, "reason": "merged into L02"}), "NON-CR/NON-PD"),
        ((30.0, 10.0, {}), "NON-CR/NON-PD"),
        ((100.0, 100.0, {}), "NON-CR/NON-PD"),
        ((10.0, 10.0, {}), "PD"),
        ((10.0, None, LOST), "NON-CR/NON-PD"),
        ((4.0, None, LOST), "PD"),
    ],
    ids=["merged", "shrinks", "large", "small", "lost", "lost and small"],
)
def test_all_doubtful_lesions_would_be_non_targets_if_one_was_overlooked(
    others: tuple[float, float | None, dict[str, Any]], overall: str
) -> None:
    """9 mm, and 16 mm that become 26: with L03 the whole must have grown by 20 % and 5 mm."""
    first, later, more = others
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    rows = [lesion(number, "L01", 9.0) for number in range(3)]
    rows += [
        lesion(1, "L02", 16.0, **found),
        lesion(2, "L02", 26.0, **found),
        lesion(1, "L03", first, **found),
    ]
    rows.append(lesion(2, "L03", later, **found, **more))
    studies = [StudyRecord(patient_id="P", study_date=on(n), lesions_assessable=True) for n in range(3)]
    result = respond(Patient(patient_id="P"), studies, rows, settings("RECIST 1.1"))
    assert result.assessments[-1].overall == overall


def test_a_doubtful_lesion_that_grows_decides_nothing_beside_disease_without_a_diameter() -> None:
    """A thrombus is reported at every study: what all non-targets grew by is not known."""
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    rows = [lesion(1, "L02", 16.0, **found), lesion(2, "L02", 26.0, **found)]
    studies = [StudyRecord(patient_id="P", study_date=on(n), lesions_assessable=True) for n in range(3)]
    thrombus = [
        Finding(
            patient_id="P",
            date=on(n),
            kind=FindingKind.VEIN_THROMBUS,
            status=FindingStatus.PRESENT,
            site="portal",
        )
        for n in range(3)
    ]
    patient = Patient(patient_id="P", findings=tuple(thrombus))
    row = respond(patient, studies, rows, settings("mRECIST")).assessments[-1]
    assert (row.liver_response, row.overall) == ("NON-CR/NON-PD", "NON-CR/NON-PD")
    assert "new_lesion_grows" in row.flags


def test_a_lesion_that_grows_from_too_small_has_grown_by_at_least_so_much() -> None:
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    result = run((None, {**found, **SMALL}), (14.9, found), (15.0, found))
    assert ["new_lesion_grows" in row.flags for row in result.assessments[1:]] == [False, False, True]
    assert said(result)[2][1].endswith("grown by at least 10.0 mm since first seen)")


def test_a_growing_lesion_with_a_benign_pattern_is_no_progression() -> None:
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL, "pattern": "cyst-like"}
    result = run((16.0, found), (40.0, found))
    assert all("new_lesion_grows" not in row.flags for row in result.assessments)


def test_a_growing_doubtful_lesion_is_flagged_too_where_a_reader_typed_its_size() -> None:
    found = {"source": NETWORK, "new_lesion_status": EQUIVOCAL}
    result = run((16.0, found), (40.0, {**found, "source": READER}))
    assert result.assessments[-1].flags == ("new_lesion_equivocal", "new_lesion_grows")


WORD = LesionEdit(
    patient_id="P", lesion_id="L02", reader="B", reason="a scar", new_lesion_status=NewLesionStatus.EQUIVOCAL
)


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST", "iRECIST"])
@pytest.mark.parametrize(
    ("source", "edits"),
    [
        (NETWORK, PatientEdits(lesions=(WORD,))),
        (MASK, PatientEdits(lesions=(WORD,))),
        (READER, PatientEdits()),
    ],
    ids=["of a network", "of a mask", "typed"],
)
@pytest.mark.parametrize("target_mm", [9.0, 30.0], ids=["no target", "target"])
def test_the_word_of_a_reader_that_a_lesion_is_equivocal_stands_however_it_grows(
    criterion: str, source: MeasurementSource, edits: PatientEdits, target_mm: float
) -> None:
    found = {"source": source, "new_lesion_status": EQUIVOCAL}
    rows = [lesion(number, "L01", target_mm, source=source) for number in range(3)]
    rows += [lesion(1, "L02", 16.0, **found), lesion(2, "L02", 26.0, **found)]
    studies = [StudyRecord(patient_id="P", study_date=on(n), lesions_assessable=True) for n in range(3)]
    result = respond(Patient(patient_id="P", edits=edits), studies, rows, settings(criterion))
    last = result.assessments[-1]
    assert last.new_lesions == "equivocal"
    assert last.overall in ("SD", "iSD", "NON-CR/NON-PD", "NON-iCR/NON-iUPD")
    assert "new_lesion_grows" not in last.flags


@pytest.mark.parametrize(
    ("later_mm", "word"),
    [(23.0, "equivocal"), (32.9, "equivocal"), (33.0, "definite")],
)
def test_what_a_new_lesion_gains_by_a_merger_is_no_growth(later_mm: float, word: str) -> None:
    """12 mm, and 23 mm when another lesion became one with it: 10 mm of growth are there from 33 mm on."""
    rows = [lesion(number, "L01", 30.0) for number in range(4)]
    rows += [lesion(1, "L02", 12.0), lesion(2, "L02", 23.0), lesion(3, "L02", later_mm)]
    joined = {"state": MeasurementState.MERGED, "reason": "merged into L02"}
    rows += [lesion(1, "L03", 9.0), lesion(2, "L03", None, **joined), lesion(3, "L03", None, **joined)]
    studies = [StudyRecord(patient_id="P", study_date=on(n), lesions_assessable=True) for n in range(4)]
    result = respond(Patient(patient_id="P"), studies, rows, settings("mRECIST"))
    assert [row.new_lesions for row in result.assessments[1:]] == ["equivocal", "equivocal", word]
