"""What an MRI sequence makes of the tissues: mean signal per tissue, and images from a tissue map.

Spoiled gradient echo: ``S = PD sin(a) (1-E) / (1 - E cos(a)) exp(-TE (1/T2* + r2s C))`` with ``E = exp(-TR (1/T1 + r1
C))``. Relaxivities: doi in Szomolanyi 2019, PMC6738537 (gadobutrol); gadoxetate from general knowledge. T1 at 1.5 T
is about 0.83 of the 3 T value (de Bazelaire 2004).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.synthetic.tissues import BENIGN_PARENCHYMA, PARENCHYMA, PROPERTIES, TISSUE_COUNT, Tissue

RELAXIVITY_PER_MM_S = {Agent.EXTRACELLULAR: 5.0, Agent.GADOXETATE: 6.2}
_TABLE_ORDER = (
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Settings of a T1-weighted spoiled gradient echo sequence."""

    tr_ms: float = 4.2
    flip_deg: float = 11.0
    te_ms: float = 1.6
    t1_factor: float = 1.0
    r1_factor: float = 1.0
    r2_star_per_mm_s: float = 6.0
    fat_density: float = 0.18


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueSpread:
    """How far one person's tissues may stray from the table (standard deviations or half ranges as fractions)."""

    t1: float = 0.10
    proton_density: float = 0.08
    concentration: tuple[float, float] = (0.7, 1.35)
    phase_mixing: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueState:
    """One person's tissue values: T1, PD and concentrations after ``TissueSpread``, arrays over :class:`Tissue`."""

    t1_ms: torch.Tensor
    proton_density: torch.Tensor
    t2_star_ms: torch.Tensor
    concentration_mm: dict[ContrastPhase, torch.Tensor]


def draw_protocol(rng: np.random.Generator) -> Protocol:
    """Draw a plausible protocol; fat suppression is full in 75 %, partial in 10 % and absent in 15 %."""
    fat = rng.choice([0.18, 0.38, 0.80], p=[0.75, 0.10, 0.15])
    return Protocol(
        tr_ms=float(rng.uniform(3, 6)),
        flip_deg=float(rng.uniform(8, 15)),
        te_ms=float(rng.uniform(1.1, 2.5)),
        t1_factor=float(rng.choice([1.0, 0.83])),
        r1_factor=float(rng.uniform(0.8, 1.2)),
        fat_density=float(fat * rng.uniform(0.75, 1.25)),
    )


def table_state(agent: Agent) -> TissueState:
    """Return the tissue values of the table without any variation."""
    return _state({phase: _table_concentration(agent, phase) for phase in ContrastPhase})


def draw_state(agent: Agent, rng: np.random.Generator, spread: TissueSpread | None = None) -> TissueState:
    """Draw one person's tissue values; phase timing is mixed between neighbouring phases."""
    spread = spread or TissueSpread()
    phases = [
        p for p in _TABLE_ORDER if not (p is ContrastPhase.HEPATOBILIARY and agent is Agent.EXTRACELLULAR)
    ]
    dose = rng.uniform(*spread.concentration, TISSUE_COUNT) ** 0.7 * rng.uniform(0.85, 1.15)
    uptake = float(rng.uniform(0.3, 1.15))
    concentrations = {phase: _table_concentration(agent, phase) for phase in ContrastPhase}
    mixed = dict(concentrations)
    for index, phase in enumerate(phases):
        neighbour = phases[int(np.clip(index + rng.choice([-1, 1]), 0, len(phases) - 1))]
        if ContrastPhase.HEPATOBILIARY in (phase, neighbour):
            neighbour = phase
        share = float(rng.uniform(0, spread.phase_mixing))
        mixed[phase] = (1 - share) * concentrations[phase] + share * concentrations[neighbour]
        mixed[phase] = mixed[phase] * torch.from_numpy(dose).float()
    hepatobiliary = mixed[ContrastPhase.HEPATOBILIARY].clone()
    for tissue in (Tissue.LIVER_CIRRHOTIC, Tissue.REGENERATIVE_NODULE, Tissue.HCC_UPTAKE):
        hepatobiliary[tissue] *= uptake
    mixed[ContrastPhase.HEPATOBILIARY] = hepatobiliary
    state = _state(mixed)
    t1 = torch.from_numpy(np.exp(rng.normal(0, spread.t1, TISSUE_COUNT))).float()
    density = torch.from_numpy(np.exp(rng.normal(0, spread.proton_density, TISSUE_COUNT))).float()
    return TissueState(
        t1_ms=state.t1_ms * t1,
        proton_density=state.proton_density * density,
        t2_star_ms=state.t2_star_ms,
        concentration_mm=mixed,
    )


def with_iron(state: TissueState, t2_star_ms: float) -> TissueState:
    """Return a person's tissue values with iron in the hepatocytes: the liver's own T2* is at most ``t2_star_ms``.

    The signal of a tissue whose T2* was ``T`` becomes ``exp(-TE (1/t2_star_ms - 1/T))`` of what it was, in every
    contrast phase. Lesions are free of iron, as hepatocellular carcinoma in such livers usually is (review: doi
    10.3390/diagnostics12040891), and so are blood, bile and spleen (as in haemochromatosis; transfusions darken the
    spleen too). Iron shortens T1 as well, which is left out: it would take a little of the darkness back.
    """
    t2_star = state.t2_star_ms.clone()
    for tissue in (*PARENCHYMA, *BENIGN_PARENCHYMA):
        t2_star[tissue] = t2_star[tissue].clamp(max=t2_star_ms)
    return replace(state, t2_star_ms=t2_star)


def with_perfusion_of(state: TissueState, parenchyma: Tissue, rng: np.random.Generator) -> TissueState:
    """Return a person's tissue values in which a perfusion anomaly is parenchyma but for its arterial supply.

    Drawn on its own, as tumours are, it would be darker or brighter than the liver in every contrast phase, and nothing
    but its shape would tell it from one. It is left to stray by 2 % (standard deviation).
    """

    def stray() -> float:
        return float(np.exp(rng.normal(0, 0.02)))

    anomaly = int(Tissue.PERFUSION_ANOMALY)
    t1, density, t2_star = state.t1_ms.clone(), state.proton_density.clone(), state.t2_star_ms.clone()
    t1[anomaly], density[anomaly] = t1[parenchyma] * stray(), density[parenchyma] * stray()
    t2_star[anomaly] = t2_star[parenchyma]
    concentrations = {}
    for phase, values in state.concentration_mm.items():
        own = values.clone()
        if phase is not ContrastPhase.ARTERIAL:
            own[anomaly] = own[parenchyma] * stray()
        concentrations[phase] = own
    return TissueState(t1_ms=t1, proton_density=density, t2_star_ms=t2_star, concentration_mm=concentrations)


def signal_means(
    agent: Agent,
    contrast_phase: ContrastPhase,
    protocol: Protocol,
    rng: np.random.Generator | None = None,
) -> torch.Tensor:
    """Return the mean signal of every tissue in one contrast phase.

    Without ``rng`` the values of the table are used; with it one person's values are drawn. For several phases of one
    study draw a :class:`TissueState` once and call :func:`state_means`.
    """
    state = table_state(agent) if rng is None else draw_state(agent, rng)
    return state_means(agent, contrast_phase, protocol, state)


def state_means(
    agent: Agent, contrast_phase: ContrastPhase, protocol: Protocol, state: TissueState
) -> torch.Tensor:
    """Return the mean signal of every tissue for one person's tissue values."""
    concentration = state.concentration_mm[contrast_phase]
    density = state.proton_density.clone()
    for fat in (Tissue.FAT, Tissue.SUBCUTANEOUS_FAT):
        density[fat] = density[fat] / PROPERTIES[fat].proton_density * protocol.fat_density
    r1 = RELAXIVITY_PER_MM_S[agent] * protocol.r1_factor
    rate_per_ms = 1.0 / (state.t1_ms * protocol.t1_factor) + r1 * concentration / 1000.0
    decay = torch.exp(-protocol.tr_ms * rate_per_ms)
    angle = torch.deg2rad(torch.tensor(protocol.flip_deg))
    steady = torch.sin(angle) * (1 - decay) / (1 - decay * torch.cos(angle))
    r2_star = 1.0 / state.t2_star_ms + protocol.r2_star_per_mm_s * concentration / 1000.0
    return density * steady * torch.exp(-protocol.te_ms * r2_star)


def t2_weighted_means(rng: np.random.Generator) -> torch.Tensor:
    """Draw mean signals of a T2-weighted spin echo, ``S = PD exp(-TE/T2)``, fat suppressed in most draws."""
    spread = float(rng.uniform(0.12, 0.32))
    te_ms = float(rng.uniform(50, 110))
    t2 = _column("t2_ms") * np.exp(rng.normal(0, spread, TISSUE_COUNT))
    density = _column("proton_density") * np.exp(rng.normal(0, 0.12, TISSUE_COUNT))
    suppression = rng.choice([0.10, 0.30, 1.0], p=[0.65, 0.15, 0.20])
    for fat in (Tissue.FAT, Tissue.SUBCUTANEOUS_FAT):
        # multi-echo trains keep fat bright where it is not suppressed
        density[fat], t2[fat] = suppression * rng.uniform(0.6, 1.4), 110.0
    density[Tissue.MARROW] *= 0.5 + 0.8 * suppression
    signal = density * np.exp(-te_ms / t2)
    _draw_blood(signal, rng)
    _draw_bowel(signal, rng)
    return torch.from_numpy(signal).float()


def _draw_blood(signal: np.ndarray, rng: np.random.Generator) -> None:
    """Make flowing blood bright or void, independently in arteries, veins, heart and liver vessels."""
    top = float(signal[Tissue.SPLEEN])
    groups = [
        (Tissue.AORTA, Tissue.HEPATIC_ARTERY),
        (Tissue.PORTAL_TRUNK, Tissue.PORTAL_BRANCH),
        (Tissue.VENA_CAVA, Tissue.HEPATIC_VEIN),
        (Tissue.HEART_BLOOD,),
    ]
    for group in groups:
        void = rng.random() < 0.55
        value = top * (rng.uniform(0.02, 0.35) if void else rng.uniform(0.6, 1.8))
        for tissue in group:
            signal[tissue] = value * rng.uniform(0.85, 1.15)


def _draw_bowel(signal: np.ndarray, rng: np.random.Generator) -> None:
    top = float(signal[Tissue.GALLBLADDER])
    for tissue in (
        Tissue.STOMACH_CONTENT,
        Tissue.BOWEL_CONTENT_A,
        Tissue.BOWEL_CONTENT_B,
        Tissue.BOWEL_CONTENT_C,
    ):
        signal[tissue] = top * rng.uniform(0.03, 1.0)


def random_means(rng: np.random.Generator) -> torch.Tensor:
    """Draw fully random tissue means in 0.05-1, air near zero (domain randomisation as in SynthSeg, PMC10154424)."""
    means = rng.uniform(0.05, 1.0, TISSUE_COUNT)
    alike = [
        (Tissue.FAT, Tissue.SUBCUTANEOUS_FAT),
        (Tissue.PORTAL_BRANCH, Tissue.PORTAL_TRUNK),
        (Tissue.HEPATIC_VEIN, Tissue.VENA_CAVA),
    ]
    for first, second in alike:
        if rng.random() < 0.7:
            means[second] = means[first] * rng.uniform(0.9, 1.1)
    means[Tissue.LUNG] = rng.uniform(0.0, 0.25)
    means[Tissue.BOWEL_GAS] = means[Tissue.CLIP] = rng.uniform(0.0, 0.1)
    means[Tissue.AIR] = rng.uniform(0.0, 0.03)
    return torch.from_numpy(means).float()


def randomise_bowel(means: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Give stomach and bowel contents signals of their own between void and twice the liver's."""
    values = means.numpy().copy()
    liver = float(values[Tissue.LIVER])
    for tissue in (
        Tissue.STOMACH_CONTENT,
        Tissue.BOWEL_CONTENT_A,
        Tissue.BOWEL_CONTENT_B,
        Tissue.BOWEL_CONTENT_C,
    ):
        values[tissue] = liver * rng.uniform(0.1, 2.0)
    return torch.from_numpy(values)


def monotone_curve(means: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Bend the grey scale by a random gamma of 0.6-1.6."""
    top = means.max().clamp(min=1e-6)
    return (means / top).clamp(min=0) ** float(rng.uniform(0.6, 1.6)) * top


def render(tissue: torch.Tensor, means: torch.Tensor, texture: torch.Tensor | None = None) -> torch.Tensor:
    """Return the ideal signal of a tissue map; ``texture`` multiplies it as ``1 + texture``."""
    signal = means.to(tissue.device)[tissue.long()]
    return signal if texture is None else signal * (1.0 + texture)


def _state(concentrations: dict[ContrastPhase, torch.Tensor]) -> TissueState:
    return TissueState(
        t1_ms=torch.from_numpy(_column("t1_ms")).float(),
        proton_density=torch.from_numpy(_column("proton_density")).float(),
        t2_star_ms=torch.from_numpy(_column("t2_star_ms")).float(),
        concentration_mm=concentrations,
    )


def _column(name: str) -> np.ndarray:
    values = np.ones(TISSUE_COUNT)
    for tissue, properties in PROPERTIES.items():
        values[tissue] = getattr(properties, name)
    return values


def _table_concentration(agent: Agent, phase: ContrastPhase) -> torch.Tensor:
    """Return concentrations in mM; zero before contrast and for ``OTHER``; extracellular HBP equals delayed."""
    values = torch.zeros(TISSUE_COUNT)
    if phase not in _TABLE_ORDER:
        return values
    index = _TABLE_ORDER.index(phase)
    for tissue, properties in PROPERTIES.items():
        row = properties.extracellular if agent is Agent.EXTRACELLULAR else properties.gadoxetate
        values[tissue] = row[min(index, len(row) - 1)] if row else 0.0
    return values
