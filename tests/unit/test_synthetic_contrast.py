"""The signal model meets the published and measured ratios it was fitted to."""

import numpy as np
import pytest
import torch

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.synthetic.contrast import (
    Protocol,
    TissueSpread,
    draw_protocol,
    draw_state,
    random_means,
    render,
    signal_means,
    state_means,
    t2_weighted_means,
    table_state,
    with_iron,
)
from mrresponse.synthetic.tissues import PROPERTIES, Tissue

PRE, ART, PVP, DEL, HBP = (
    ContrastPhase.PRECONTRAST,
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
)


def _signal(agent: Agent, phase: ContrastPhase, tissue: Tissue) -> float:
    return float(signal_means(agent, phase, Protocol())[tissue])


@pytest.mark.parametrize(
    ("agent", "phase", "expected"),
    [
        (Agent.EXTRACELLULAR, ART, 0.24),
        (Agent.EXTRACELLULAR, PVP, 0.93),
        (Agent.EXTRACELLULAR, DEL, 0.80),
        (Agent.GADOXETATE, ART, 0.19),
        (Agent.GADOXETATE, PVP, 0.74),
        (Agent.GADOXETATE, DEL, 0.79),
        (Agent.GADOXETATE, HBP, 1.12),
    ],
)
def test_liver_enhances_as_measured(agent: Agent, phase: ContrastPhase, expected: float) -> None:
    enhancement = _signal(agent, phase, Tissue.LIVER) / _signal(agent, PRE, Tissue.LIVER) - 1
    assert enhancement == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("agent", "phase", "tissue", "expected"),
    [
        (Agent.EXTRACELLULAR, PRE, Tissue.SPLEEN, 0.71),
        (Agent.EXTRACELLULAR, ART, Tissue.HCC, 1.54),
        (Agent.EXTRACELLULAR, PVP, Tissue.HCC, 0.87),
        (Agent.EXTRACELLULAR, ART, Tissue.AORTA, 3.20),
        (Agent.EXTRACELLULAR, ART, Tissue.HAEMORRHAGE, 1.08),
        (Agent.EXTRACELLULAR, DEL, Tissue.CAPSULE, 1.22),
        (Agent.EXTRACELLULAR, DEL, Tissue.SIDEROTIC_NODULE, 0.70),
        (Agent.GADOXETATE, ART, Tissue.HCC, 1.37),
        (Agent.GADOXETATE, HBP, Tissue.HCC, 0.56),
        (Agent.GADOXETATE, HBP, Tissue.SPLEEN, 0.49),
        (Agent.GADOXETATE, HBP, Tissue.BILE_DUCT, 1.71),
        (Agent.GADOXETATE, HBP, Tissue.HCC_UPTAKE, 1.06),
        (Agent.GADOXETATE, PVP, Tissue.FAT, 0.22),
    ],
)
def test_tissues_stand_in_the_stated_ratio_to_liver(
    agent: Agent, phase: ContrastPhase, tissue: Tissue, expected: float
) -> None:
    ratio = _signal(agent, phase, tissue) / _signal(agent, phase, Tissue.LIVER)
    assert ratio == pytest.approx(expected, abs=0.015)


def test_washout_of_hcc_in_cirrhosis_lies_in_the_measured_range() -> None:
    for phase in (PVP, DEL):
        ratio = _signal(Agent.EXTRACELLULAR, phase, Tissue.HCC) / _signal(
            Agent.EXTRACELLULAR, phase, Tissue.LIVER_CIRRHOTIC
        )
        assert 0.85 <= ratio <= 0.935


@pytest.mark.parametrize("agent", list(Agent))
@pytest.mark.parametrize("phase", [PRE, ART, PVP, DEL, HBP])
def test_iron_darkens_the_liver_alone_by_the_decay_of_the_echo(agent: Agent, phase: ContrastPhase) -> None:
    plain = table_state(agent)
    before, after = (
        state_means(agent, phase, Protocol(te_ms=1.6), state) for state in (plain, with_iron(plain, 1.5))
    )
    # exp(-1.6 ms (1 / 1.5 ms - 1 / 25 ms)); the nodule had 6 ms, the clip 1 ms
    kept = {
        Tissue.LIVER: 0.3669,
        Tissue.LIVER_CIRRHOTIC: 0.3669,
        Tissue.REGENERATIVE_NODULE: 0.3669,
        Tissue.PERFUSION_ANOMALY: 0.3669,
        Tissue.FOCAL_FAT: 0.3669,
        Tissue.SIDEROTIC_NODULE: 0.4493,
    }
    for tissue in set(Tissue) - {Tissue.AIR}:
        assert float(after[tissue] / before[tissue]) == pytest.approx(kept.get(tissue, 1.0), abs=1e-4), tissue
    # every vital lesion is brighter than the liver now, also where it was darker before
    for lesion in (Tissue.HCC, Tissue.HCC_WEAK, Tissue.HCC_UPTAKE):
        assert after[lesion] > 1.4 * after[Tissue.LIVER]
    assert torch.equal(plain.t2_star_ms, table_state(agent).t2_star_ms)


def test_necrosis_does_not_enhance_in_the_arterial_phase() -> None:
    for tissue in (Tissue.NECROSIS, Tissue.HAEMORRHAGE):
        gain = _signal(Agent.EXTRACELLULAR, ART, tissue) - _signal(Agent.EXTRACELLULAR, PRE, tissue)
        assert abs(gain) < 0.01 * _signal(Agent.EXTRACELLULAR, PRE, Tissue.LIVER)


def test_every_tissue_has_properties() -> None:
    assert set(PROPERTIES) == set(Tissue)


def test_equal_seeds_give_equal_contrast_and_other_seeds_another() -> None:
    first = signal_means(Agent.GADOXETATE, HBP, Protocol(), np.random.default_rng(3))
    again = signal_means(Agent.GADOXETATE, HBP, Protocol(), np.random.default_rng(3))
    other = signal_means(Agent.GADOXETATE, HBP, Protocol(), np.random.default_rng(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_spread_a_person_is_the_table() -> None:
    spread = TissueSpread(t1=0.0, proton_density=0.0, concentration=(1.0, 1.0), phase_mixing=0.0)
    state = draw_state(Agent.EXTRACELLULAR, np.random.default_rng(1), spread)
    assert float(state.t1_ms[Tissue.LIVER]) == pytest.approx(809.0)
    assert float(state.concentration_mm[PRE].max()) == 0.0


def test_fluid_is_bright_and_liver_dark_on_t2() -> None:
    for seed in range(5):
        means = t2_weighted_means(np.random.default_rng(seed))
        assert means[Tissue.GALLBLADDER] > 1.5 * means[Tissue.LIVER]
        assert means[Tissue.SPLEEN] > means[Tissue.LIVER] * 0.9


def test_drawn_protocols_and_random_means_stay_in_range() -> None:
    for seed in range(20):
        protocol = draw_protocol(np.random.default_rng(seed))
        assert 3 <= protocol.tr_ms <= 6
        assert 8 <= protocol.flip_deg <= 15
        means = random_means(np.random.default_rng(seed))
        assert float(means.min()) >= 0.0
        assert float(means.max()) <= 1.11


def test_render_looks_each_tissue_up() -> None:
    tissue = torch.tensor([[[int(Tissue.AIR), int(Tissue.LIVER)]]], dtype=torch.uint8)
    means = torch.zeros(len(Tissue))
    means[Tissue.LIVER] = 2.0
    assert render(tissue, means).tolist() == [[[0.0, 2.0]]]
    assert render(tissue, means, torch.full((1, 1, 2), 0.5)).tolist() == [[[0.0, 3.0]]]
