"""The contrast phase follows from written rules, or stays unknown."""

from datetime import datetime, timedelta

import pytest

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.ingest.inputs import IngestSettings
from mrresponse.ingest.patterns import (
    SeriesFacts,
    agent_from_text,
    left_out_reason,
    names_agent,
    phase_from_text,
    phases_in_text,
)
from mrresponse.ingest.phases import decide

PLAIN = IngestSettings()
NOON = datetime(2024, 1, 5, 12, 0)
FOUR = ["PRE", "ART", "PVP", "DEL"]


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("t1_vibe_fs_tra_bh_nativ", "PRE"),
        ("Ax LAVA PRE", "PRE"),
        ("T1 VIBE ohne KM", "PRE"),
        ("T1 sans injection", "PRE"),
        ("eTHRIVE senza mdc", "PRE"),
        ("T1 FS sin contraste", "PRE"),
        ("AX T1 w/o contrast", "PRE"),
        ("t1_vibe_fs_tra_bh_art", "ART"),
        ("T1 VIBE art post OP", "ART"),
        ("AX LAVA LATE ARTERIAL", "ART"),
        ("VIBE spätarteriell", "ART"),
        ("T1 artérielle tardive", "ART"),
        ("THRIVE fase arteriosa", "ART"),
        ("Hepatic arterial phase", "ART"),
        ("dyn 25 sec", "ART"),
        ("t1_vibe_dixon_tra_portal_W", "PVP"),
        ("VIBE portalvenös", "PVP"),
        ("T1 portale", "PVP"),
        ("LAVA veneux", "PVP"),
        ("T1 +C 70s", "PVP"),
        ("t1 vibe spät", "DEL"),
        ("Delayed venous", "DEL"),
        ("Ax 3min", "DEL"),
        ("THRIVE equilibrium", "DEL"),
        ("transitional phase", "DEL"),
        ("fase tardiva", "DEL"),
        ("T1 VIBE HBP", "HBP"),
        ("Hepatobiliary delayed", "HBP"),
        ("phase hépatobiliaire", "HBP"),
        ("leberspezifische Spätphase", "HBP"),
        ("AX T1 30 SEC DELAY", "ART"),
        ("Ax LAVA delay 70s", "PVP"),
        ("VIBE DELAYED 180S", "DEL"),
        ("t1_vibe_delayed_bh_20s", "DEL"),
        ("Ax LAVA 1.5 min", "PVP"),
        ("LAVA 2,5 min", "DEL"),
    ],
)
def test_words_of_several_languages_and_vendors_are_understood(description, phase):
    assert left_out_reason(SeriesFacts(description=description), PLAIN) is None
    assert phase_from_text(description, None, PLAIN) == ContrastPhase(phase)


@pytest.mark.parametrize(
    "description",
    [
        "t1_vibe_fs_tra",
        "T1 VIBE del hígado",
        "T1 +C",
        "high spatial resolution",
        "porter dynamic",
        "without fat sat",
        "dyn 20 min",
        "dyn pre/post Gd",
        "T1 VIBE pre and post",
        "AX T1 W WO CONTRAST",
        "LAVA 2:05 min",
    ],
)
def test_a_description_that_does_not_say_it_is_not_guessed(description):
    assert phases_in_text(description, None, PLAIN) == {}


def test_twenty_minutes_mean_hepatobiliary_only_after_gadoxetate():
    assert phase_from_text("t1 20 min", Agent.GADOXETATE, PLAIN) is ContrastPhase.HEPATOBILIARY
    assert phase_from_text("t1 20 min", Agent.EXTRACELLULAR, PLAIN) is ContrastPhase.DELAYED


@pytest.mark.parametrize("description", ["AX LAVA 20 MIN DELAY", "t1 vibe spät 20 min", "Delayed 15min"])
def test_so_late_a_delay_is_hepatobiliary_after_gadoxetate_and_open_after_an_unknown_agent(description):
    assert phase_from_text(description, Agent.GADOXETATE, PLAIN) is ContrastPhase.HEPATOBILIARY
    assert phase_from_text(description, Agent.EXTRACELLULAR, PLAIN) is ContrastPhase.DELAYED
    assert set(phases_in_text(description, None, PLAIN)) == {
        ContrastPhase.DELAYED,
        ContrastPhase.HEPATOBILIARY,
    }


def test_two_phases_in_one_description_are_not_chosen_between():
    (decision,) = decide([SeriesFacts(description="art / portal")], [None], PLAIN)
    assert decision.contrast_phase is None
    assert not decision.left_out
    assert "ART, PVP" in decision.reason


def test_a_sites_own_pattern_comes_first():
    settings = IngestSettings(phase_patterns=((r"\bkm1\b", ContrastPhase.ARTERIAL),))
    assert phase_from_text("Leber KM1 nativ", None, settings) is ContrastPhase.ARTERIAL


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"description": "3-plane loc"}, "localiser"),
        ({"description": "LAVA art SUB"}, "subtraction"),
        ({"description": "T1 ART SUBT"}, "subtraction"),
        ({"description": "t1_vibe_art_sub1"}, "subtraction"),
        ({"description": "fase arterial RESTA"}, "subtraction"),
        (
            {"description": "t1_vibe_art", "image_type": ("DERIVED", "PRIMARY", "M", "SUB", "NORM")},
            "subtraction",
        ),
        ({"description": "art MIP"}, "projection or reformat"),
        ({"description": "ep2d_diff_b50_400_800"}, "diffusion"),
        ({"description": "T1 in/opp phase"}, "in- or opposed-phase"),
        ({"description": "T1 en fase y fuera de fase"}, "in- or opposed-phase"),
        ({"description": "LAVA in phase arterial"}, "in- or opposed-phase"),
        ({"description": "mDIXON en phase tardive"}, "in- or opposed-phase"),
        ({"description": "THRIVE en phase portale"}, None),
        ({"description": "THRIVE en fase arterial"}, None),
        ({"description": "THRIVE in fase arteriosa tardiva"}, None),
        ({"description": "t1_vibe_dixon_tra_opp"}, "in- or opposed-phase"),
        ({"description": "t1_vibe_dixon_tra_pre_F"}, "fat image"),
        ({"description": "t1_vibe_dixon_F_pre"}, "fat image"),
        ({"description": "VIBE Dixon FAT pre"}, "fat image"),
        ({"description": "Ax T1 pre FAT"}, "fat image"),
        ({"description": "FAT: Ax LAVA pre"}, "fat image"),
        ({"description": "t1_vibe_dixon_op_pre"}, "in- or opposed-phase"),
        ({"description": "mDIXON-IP pre"}, "in- or opposed-phase"),
        ({"description": "T1 IP pre"}, "in- or opposed-phase"),
        ({"description": "LAVA pre_IP"}, "in- or opposed-phase"),
        ({"description": "AX T1 OP PRE"}, "in- or opposed-phase"),
        ({"description": "OP native"}, "in- or opposed-phase"),
        ({"description": "Fat Sat LAVA pre"}, None),
        ({"description": "FAT-SUPPRESSED T1 pre"}, None),
        ({"description": "VIBE Dixon fat sat pre"}, None),
        ({"description": "T1 pre without fat"}, None),
        ({"description": "mDIXON-W pre"}, None),
        ({"description": "t2_haste_cor"}, "T2-weighted or fluid-sensitive sequence"),
        ({"description": "art", "image_type": ("DERIVED", "PRIMARY", "SUBTRACTION")}, "subtraction"),
        (
            {"description": "pre", "image_type": ("DERIVED", "PRIMARY", "DIXON", "IN_PHASE")},
            "in- or opposed-phase",
        ),
        ({"description": "art", "image_type": ("DERIVED", "SECONDARY")}, "secondary image made from others"),
        ({"description": "art", "scanning_sequence": ("SE",)}, "spin-echo sequence"),
        ({"description": "art", "scanning_sequence": ("EP",)}, "echo-planar sequence"),
        ({"description": "ax", "b_value": 800.0}, "diffusion"),
    ],
)
def test_what_is_no_dynamic_t1_image_is_left_out_with_the_reason(facts, reason):
    assert left_out_reason(SeriesFacts(**facts), PLAIN) == reason


def test_a_silent_description_with_the_times_of_another_sequence_is_left_out():
    (decision,) = decide([SeriesFacts(description="ax", echo_time_ms=90.0)], [None], PLAIN)
    assert decision.left_out
    assert "echo time 90 ms" in decision.reason


@pytest.mark.parametrize(("inversion_ms", "left_out"), [(None, True), (0.0, True), (600.0, False)])
def test_an_inversion_time_of_nought_is_none(inversion_ms, left_out):
    facts = SeriesFacts(description="ax", repetition_time_ms=500.0, inversion_time_ms=inversion_ms)
    (decision,) = decide([facts], [None], PLAIN)
    assert decision.left_out is left_out


def test_the_manifest_wins_over_every_rule():
    (decision,) = decide([SeriesFacts(description="t2_haste")], [ContrastPhase.OTHER], PLAIN)
    assert decision.contrast_phase is ContrastPhase.OTHER
    assert decision.reason == "stated in the manifest"


@pytest.mark.parametrize(
    ("seconds", "agent", "phase"),
    [
        (-60, None, "PRE"),
        (5, None, None),
        (30, None, "ART"),
        (70, None, "PVP"),
        (180, None, "DEL"),
        (1200, Agent.GADOXETATE, "HBP"),
        (1200, Agent.EXTRACELLULAR, "DEL"),
        (1200, None, None),
    ],
)
def test_the_delay_after_the_injection_decides_where_the_description_is_silent(seconds, agent, phase):
    facts = SeriesFacts(
        description="t1", agent=agent, injected_at=NOON, acquired_at=NOON + timedelta(seconds=seconds)
    )
    (decision,) = decide([facts], [None], PLAIN)
    assert decision.contrast_phase == (phase and ContrastPhase(phase))


def dynamic(*seconds: float, agent: Agent | None = None, given: tuple[bool, ...] | None = None):
    volumes = [
        SeriesFacts(
            description=f"t1_dyn_{number}",
            acquired_at=NOON + timedelta(seconds=delay),
            agent=agent,
            has_agent=given[number] if given else False,
        )
        for number, delay in enumerate(seconds)
    ]
    decisions = decide(volumes, [None] * len(volumes), PLAIN)
    return [decision.contrast_phase and decision.contrast_phase.value for decision in decisions]


def test_the_order_in_time_decides_for_a_dynamic_series():
    assert dynamic(0, 120, 165, 300) == FOUR
    assert dynamic(0, 120, 165, 300, given=(False, True, True, True)) == FOUR
    assert dynamic(0, 120, 165, 300, 1320, agent=Agent.GADOXETATE) == [*FOUR, "HBP"]


@pytest.mark.parametrize(
    ("seconds", "given"),
    [
        ((0, 120, 128, 136), None),  # three arterial volumes
        ((0, 120), None),
        ((0, 15, 50, 170), None),  # early and late arterial, portal venous, delayed
        ((0, 120, 165, 300), (True, False, True, True)),
        ((0, 120, 165, 200), None),
        ((0, 120, 165, 300, 420), None),  # two delayed volumes
    ],
)
def test_an_order_that_fits_no_dynamic_examination_decides_nothing(seconds, given):
    assert dynamic(*seconds, given=given) == [None] * len(seconds)


@pytest.mark.parametrize("given", [None, (True, True, True), (False, False, False)])
def test_a_dynamic_beside_a_precontrast_series_may_begin_with_the_arterial_phase(given):
    # arterial at 25 s, portal venous at 70 s, delayed at 2 min
    volumes = [SeriesFacts(description="t1_vibe_pre", acquired_at=NOON)]
    volumes += [
        SeriesFacts(
            description="t1_dyn",
            acquired_at=NOON + timedelta(seconds=300 + delay),
            has_agent=bool(given and given[index]),
        )
        for index, delay in enumerate((25, 70, 120))
    ]
    decisions = decide(volumes, [None] * len(volumes), PLAIN)
    assert [decision.contrast_phase for decision in decisions] == [
        ContrastPhase.PRECONTRAST,
        None,
        None,
        None,
    ]


def test_a_dynamic_of_four_beside_a_precontrast_series_is_known_by_its_contrast_attribute():
    volumes = [SeriesFacts(description="t1_vibe_pre", acquired_at=NOON)]
    volumes += [
        SeriesFacts(
            description="t1_dyn", acquired_at=NOON + timedelta(seconds=300 + delay), has_agent=delay > 0
        )
        for delay in (0, 60, 105, 240)
    ]
    decisions = decide(volumes, [None] * len(volumes), PLAIN)
    assert [decision.contrast_phase.value for decision in decisions] == ["PRE", *FOUR]


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("Primovist 10ml", Agent.GADOXETATE),
        ("GD-EOB-DTPA", Agent.GADOXETATE),
        ("Gadovist", Agent.EXTRACELLULAR),
        ("DOTAREM", Agent.EXTRACELLULAR),
        ("contrast", None),
    ],
)
def test_agents_are_known_by_their_names(name, agent):
    assert agent_from_text(name) is agent
    assert names_agent(name)


@pytest.mark.parametrize("name", ["", "NONE", "no", "N/A"])
def test_no_agent_is_no_agent(name):
    assert not names_agent(name)
