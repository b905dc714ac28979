r"""Which contrast phase a DICOM series is: written rules, each decision with its reason.

The rules, in order:

1. what the user says in the manifest;
2. series that are no T1-weighted dynamic image (localiser, subtraction, projection, diffusion, in- and
   opposed-phase, fat, T2, maps) are left out with the reason;
3. words and times in the series description (`_PHASE_WORDS`), if they speak for one contrast phase only;
4. the delay between the start of the injection and the acquisition, where both are in the header;
5. the order of acquisition among series of one description, where gaps and contrast attributes agree with a
   dynamic examination.

What none of them settles stays unknown, and the patient fails with the number of the series: nothing is guessed.
Delays: late arterial 20-40 s, portal venous 60-80 s, delayed 2-5 min, hepatobiliary from 10 min after gadoxetate
(LI-RADS v2018 core, technique; EASL 2018, section on MRI), widened to the middle between neighbours.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.ingest.inputs import IngestSettings

PRE, ART, PVP = ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS
DEL, HBP = ContrastPhase.DELAYED, ContrastPhase.HEPATOBILIARY


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """What the header of one volume says about its kind; ``None`` where it does not say."""

    description: str = ""
    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    b_value: float | None = None
    has_agent: bool = False
    agent: Agent | None = None
    acquired_at: datetime | None = None
    injected_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDecision:
    """The contrast phase of a volume and why, or the reason for leaving it out, or neither: unknown."""

    contrast_phase: ContrastPhase | None = None
    reason: str = ""
    left_out: bool = False


# Searched in the normalised description: lower case, no accents, blanks for punctuation.
_LEFT_OUT_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(loc\w*|scout|survey|topogram|u(e)?bersicht|3 ?plane|three plane|plan scan|reperage)\b", "localiser"),
    (r"\b(subs?|subtr\w*|soustr\w*|sottraz\w*|sub?str?acc?\w*)\b", "subtraction"),
    (r"\b(mip|minip|mpr|mpvr|vrt|projection\w*|reformat\w*)\b", "projection or reformat"),
    (r"\b(dwi?|diff\w*|e?adc|resolve|dti|ivim|b ?\d{2,4}( \d{2,4})*)\b|\bep2d\w*", "diffusion"),
    (r"\b(in|en|opp|out|opposed|out of|fuera de)( ?(and|und|et|e|y)? ?(in|opp|out))? ?(ph(ase)?|fase)\b",
     "in- or opposed-phase"),
    (r"\b(inphase|outphase|opp?phase|in opp|opp in|iop|ip oop|oop|opp|opposition|gegenphase|dual ?echo)\b",
     "in- or opposed-phase"),
    (r" in$", "in- or opposed-phase"),
    (r"\bfat ?(only|images?)\b|^fat\b|\b(vibe|dixon|lava|thrive|mdixon)\w*( \w+)* f$", "fat image"),
    (r"\bt2\w*|\b(haste|ssfse|sshtse|ssh|single ?shot|trufi\w*|fiesta|btfe|bffe|true ?fisp|blade|propeller|mrcp|"
     r"mrcholangio\w*|stir|flair|space|tse|fse|frfse|tirm)\b", "T2-weighted or fluid-sensitive sequence"),
    (r"\b(map|mapping|r2|r2star|pdff|ideal iq|fat ?frac\w*|ff|liverlab|multiecho|hispeed|elasto\w*|mre|stiffness|"
     r"molli)\b", "parameter map"),
    (r"\b(care ?bolus|test ?bolus|smart ?prep|bolus ?tra[ck]\w*|fluoro\w*|timing)\b", "bolus timing"),
    (r"\b(perf\w*|mra|angio\w*|tof|phase contrast|qflow|spectro\w*|svs|csi)\b", "angiography or perfusion"),
)  # fmt: skip

_LEFT_OUT_IMAGE_TYPES: Mapping[str, str] = {
    "LOCALIZER": "localiser",
    "SUBTRACTION": "subtraction",
    "SUBTRACT": "subtraction",
    "PROJECTION IMAGE": "projection or reformat",
    "MIP": "projection or reformat",
    "MPR": "projection or reformat",
    "REFORMATTED": "projection or reformat",
    "ADC": "diffusion",
    "DIFFUSION": "diffusion",
    "TRACEW": "diffusion",
    "IN_PHASE": "in- or opposed-phase",
    "OPP_PHASE": "in- or opposed-phase",
    "OUT_PHASE": "in- or opposed-phase",
    "FAT": "fat image",
    "FAT_FRACTION": "parameter map",
    "WATER_FRACTION": "parameter map",
    "R2_STAR": "parameter map",
    "T2_STAR": "parameter map",
    "T1 MAP": "parameter map",
    "PHASE MAP": "phase image",
    "P": "phase image",
    "SCREEN SAVE": "screen capture",
}

# English, German, French, Italian, Spanish, Portuguese and Dutch; the words of the vendors and their abbreviations.
_PHASE_WORDS: tuple[tuple[ContrastPhase, str], ...] = (
    (HBP, r"\bhbp\b|\bhb ?(ph\w*|fase)\b|\bh?epat\w*bil\w*|\bh?epato bil\w*|\bhepat[oi]c[yi]t\w*|\bhepatozyt\w*|"
          r"\bhepato ?spe[cz]\w*|\bleberspe[cz]\w*|\bepatocit\w*|\bhepatocel\w*"),
    (PRE, r"\bpre\b|\bpre ?(con\w*|kontr\w*|gd|gad\w*|km|kl|inj\w*|mdc|civ|dyn\w*)\b|\bnati\w*|\bnat\b|\bplain\b|"
          r"\bunenhanced\b|\bnon ?(con\w*|enh\w*)\b|\bwithout (con\w*|gd|gad\w*|iv)\b|\bohne (km|kontr\w*|gd)\b|"
          r"\bsans (inj\w*|con\w*|iv|gado\w*|produit)\b|\bsenza (mdc|contr\w*)\b|\bsin (con\w*|civ|gd|gado\w*)\b|"
          r"\bsem (con\w*|gd)\b|\bzonder (con\w*|gd)\b|\bblanco\b|\bbasale?\b|\bavant inj\w*|\bw ?o (con\w*|gd|c)\b"),
    (ART, r"\bart ?\d?\b|\barter\w*|\b[hle]ap\b|\blart\b"),
    (PVP, r"\bpvp?\b|\bport(al\w*|ae?|o ?v\w*)?\b|\bpfortader\w*|\bven\b|\bven(oe?s|ous|osa|oso|euse|eux|euze)\w*\b"),
    (DEL, r"\bdel\b|\bdelay\w*|\ba?e?quil\w*|\bspae?t(e[rs]?|phase\w*|ven\w*)?\b|\btard\w*|\btransit\w*|\blate\b|"
          r"\blaat\b|\blaattijd\w*|\bvertraagd\w*|\bretard\w*|\binterstit\w*"),
)  # fmt: skip

_WHEN = r"(late|early|spae?te?|frue?he?|tardiv?[aeo]?|tardia|precoce|precoz)"
_SECONDS = re.compile(r"\b(\d{1,3}) ?(s|sec|secs|sek|seg|seconds?|sekunden|secondes?)\b")
_MINUTES = re.compile(r"\b(\d{1,2}) ?(m|mn|min|mins|minutes?|minuten|minuti|minutos)\b")
_ART_FROM_S, _PVP_FROM_S, _DEL_FROM_S, _HBP_FROM_S = 10.0, 50.0, 100.0, 600.0

# A dynamic gradient-echo volume has a repetition time of 3-7 ms and an echo time of 1-3 ms. The times decide only
# where the description is silent: older scanners made dynamic images with longer repetition times.
_LONGEST_TR_MS = 50.0
_LONGEST_TE_MS = 8.0


def left_out_reason(facts: SeriesFacts) -> str | None:
    """Return why a volume is no T1-weighted dynamic image, or ``None`` where nothing speaks against it."""
    types = tuple(part.upper() for part in facts.image_type)
    for part in types:
        if part in _LEFT_OUT_IMAGE_TYPES:
            return _LEFT_OUT_IMAGE_TYPES[part]
    text = normalised(facts.description)
    for pattern, reason in _LEFT_OUT_WORDS:
        if re.search(pattern, text):
            return reason
    if types[1:2] == ("SECONDARY",) and "WATER" not in types:
        return "secondary image made from others"
    return _sequence_reason(facts)


def decide(
    volumes: Sequence[SeriesFacts], stated: Sequence[ContrastPhase | None], settings: IngestSettings
) -> tuple[PhaseDecision, ...]:
    """Decide for all volumes of one study; `stated` is what the manifest says of each.

    Two volumes may come out with the same contrast phase; choosing between them needs their geometry too.
    """
    agent = study_agent(volumes)
    decisions: list[PhaseDecision] = []
    for facts, said in zip(volumes, stated, strict=True):
        decisions.append(_alone(facts, said, agent, settings))
    return _by_order(volumes, decisions, agent)


def study_agent(volumes: Sequence[SeriesFacts]) -> Agent | None:
    """Return the agent of a study: the one that its volumes name, ``None`` where they name none or two."""
    named = {facts.agent for facts in volumes if facts.agent is not None}
    return named.pop() if len(named) == 1 else None


def agent_from_text(text: str) -> Agent | None:
    """Return the kind of contrast agent that a name stands for, ``None`` where it is not known."""
    low = normalised(text)
    if re.search(r"primovist|eovist|gadox|\beob\b|gd ?eob", low):
        return Agent.GADOXETATE
    names = (
        r"gad[ao]vist|gadobutrol|dotarem|dotagraf|clariscan|gadoter|artirem|cyclolux|magnevist|magnegita|gadopent|"
        r"prohance|gadoteridol|omniscan|gadodiamid|optimark|gadoversetamid|multihance|gadobenat|vueway|elucirem|"
        r"gadopiclenol|extracellular"
    )
    return Agent.EXTRACELLULAR if re.search(names, low) else None


def names_agent(text: str) -> bool:
    """Tell whether the contrast attribute of a header says that an agent was given."""
    return normalised(text) not in (
        "",
        "no",
        "none",
        "0",
        "nein",
        "non",
        "n a",
        "na",
        "without",
        "no contrast",
    )


def phase_from_text(text: str, agent: Agent | None, settings: IngestSettings) -> ContrastPhase | None:
    """Return the contrast phase that a description speaks for, ``None`` where it speaks for none or several."""
    phases = phases_in_text(text, agent, settings)
    return next(iter(phases)) if len(phases) == 1 else None


def phases_in_text(text: str, agent: Agent | None, settings: IngestSettings) -> Mapping[ContrastPhase, str]:
    """Return the contrast phases that a description speaks for, each with the words that say so."""
    low = normalised(text)
    for pattern, phase in settings.phase_patterns:
        match = re.search(pattern, low)
        if match:
            return {phase: match.group()}
    found: dict[ContrastPhase, str] = {}
    # "late arterial" is arterial and "late portal" portal: the adjective alone would speak for delayed.
    low = re.sub(rf"\b{_WHEN} ?(?=(art|port|pv|hep\w* art))", "", low)
    low = re.sub(rf"\b(art\w*|port\w*|pvp?) {_WHEN}\b", r"\1", low)
    for phase, pattern in _PHASE_WORDS:
        match = re.search(pattern, low)
        if match:
            found[phase] = match.group().strip()
    if HBP in found and DEL in found:
        del found[DEL]
    if DEL in found and PVP in found and re.search(r"\bven", found[PVP]):
        # "delayed venous" is the equilibrium phase.
        del found[PVP]
    if not found:
        found.update(_by_time_in_text(low, agent))
    return found


def normalised(text: str) -> str:
    """Return a description in lower case, without accents, with single blanks for punctuation."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss"))
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return re.sub(r"[^a-z0-9]+", " ", letters).strip()


def _sequence_reason(facts: SeriesFacts) -> str | None:
    sequence = {part.upper() for part in facts.scanning_sequence}
    if facts.b_value:
        return "diffusion"
    if "EP" in sequence:
        return "echo-planar sequence"
    if "SE" in sequence and "GR" not in sequence:
        return "spin-echo sequence"
    return None


def _timing_reason(facts: SeriesFacts) -> str | None:
    """Return why the times of a sequence are not those of a dynamic T1 image."""
    if facts.echo_time_ms is not None and facts.echo_time_ms > _LONGEST_TE_MS:
        return (
            f"echo time {facts.echo_time_ms:g} ms, expected at most {_LONGEST_TE_MS:g} for a dynamic T1 image"
        )
    prepared = facts.inversion_time_ms is not None or "IR" in facts.scanning_sequence
    if facts.repetition_time_ms is not None and facts.repetition_time_ms > _LONGEST_TR_MS and not prepared:
        found = f"repetition time {facts.repetition_time_ms:g} ms"
        return f"{found}, expected at most {_LONGEST_TR_MS:g} for a dynamic T1 image"
    return None


def _alone(
    facts: SeriesFacts, said: ContrastPhase | None, agent: Agent | None, settings: IngestSettings
) -> PhaseDecision:
    """Decide for a volume without looking at the others."""
    if said is not None:
        return PhaseDecision(contrast_phase=said, reason="stated in the manifest")
    reason = left_out_reason(facts)
    if reason is not None:
        return PhaseDecision(reason=reason, left_out=True)
    spoken = phases_in_text(facts.description, agent, settings)
    if len(spoken) == 1:
        phase, words = next(iter(spoken.items()))
        if phase is PRE and facts.injected_at and facts.acquired_at and facts.acquired_at > facts.injected_at:
            return PhaseDecision(reason="description says precontrast, times say after the injection")
        return PhaseDecision(contrast_phase=phase, reason=f"series description has '{words}'")
    if len(spoken) > 1:
        words = ", ".join(phase.value for phase in spoken)
        return PhaseDecision(reason=f"series description speaks for {words}")
    reason = _timing_reason(facts)
    return PhaseDecision(reason=reason, left_out=True) if reason else _by_injection(facts, agent)


def _by_injection(facts: SeriesFacts, agent: Agent | None) -> PhaseDecision:
    if facts.injected_at is None or facts.acquired_at is None:
        return PhaseDecision(reason="series description and times do not say it")
    delay = (facts.acquired_at - facts.injected_at).total_seconds()
    phase = PRE if delay < 0 else _phase_of_delay(delay, agent)
    if phase is None:
        return PhaseDecision(reason=f"acquired {delay:.0f} s after the injection")
    when = "before the injection" if delay < 0 else f"{delay:.0f} s after the injection"
    return PhaseDecision(contrast_phase=phase, reason=f"acquired {when}")


def _phase_of_delay(seconds: float, agent: Agent | None) -> ContrastPhase | None:
    if seconds < _ART_FROM_S:
        return None
    if seconds < _PVP_FROM_S:
        return ART
    if seconds < _DEL_FROM_S:
        return PVP
    if seconds < _HBP_FROM_S or agent is Agent.EXTRACELLULAR:
        return DEL
    return HBP if agent is Agent.GADOXETATE else None


def _by_time_in_text(text: str, agent: Agent | None) -> Mapping[ContrastPhase, str]:
    """Return what a delay written in the description says: ``70 s``, ``20 min``."""
    for pattern, factor in ((_MINUTES, 60.0), (_SECONDS, 1.0)):
        match = pattern.search(text)
        phase = _phase_of_delay(int(match.group(1)) * factor, agent) if match else None
        if match and phase is not None:
            return {phase: match.group().strip()}
    return {}


def _by_order(
    volumes: Sequence[SeriesFacts], decisions: Sequence[PhaseDecision], agent: Agent | None
) -> tuple[PhaseDecision, ...]:
    """Settle volumes of one description by their order in time."""
    settled = list(decisions)
    groups: dict[str, list[int]] = {}
    for index, (facts, decision) in enumerate(zip(volumes, decisions, strict=True)):
        if decision.contrast_phase is None and not decision.left_out:
            groups.setdefault(_stem(facts.description), []).append(index)
    for members in groups.values():
        times = [volumes[index].acquired_at for index in members]
        if len(members) < 3 or any(time is None for time in times):
            continue
        ordered = sorted(members, key=lambda index: volumes[index].acquired_at or datetime.min)
        phases = _dynamic_phases([volumes[index] for index in ordered], agent)
        for position, (index, phase) in enumerate(zip(ordered, phases, strict=False), start=1):
            settled[index] = PhaseDecision(
                contrast_phase=phase, reason=f"{position} of {len(ordered)} in the order of acquisition"
            )
    return tuple(settled)


def _stem(description: str) -> str:
    """Return a description without the numbers that count repetitions."""
    return re.sub(r"\b(dyn|ph|phase|measurement|meas)? ?\d+$", "", normalised(description)).strip()


def _dynamic_phases(volumes: Sequence[SeriesFacts], agent: Agent | None) -> tuple[ContrastPhase, ...]:
    """Return the contrast phases of a dynamic series in order, empty where it does not fit one.

    Expected: precontrast; arterial; portal venous 20-80 s later; delayed later still; with gadoxetate the last may
    be hepatobiliary, from 10 min after the arterial. The contrast attribute, where the volumes differ in it, must
    appear between the first and the second.
    """
    given = [facts.has_agent for facts in volumes]
    if len(volumes) not in (3, 4, 5) or (len(set(given)) == 2 and (given[0] or not all(given[1:]))):
        return ()
    times = [facts.acquired_at for facts in volumes if facts.acquired_at is not None]
    if len(times) != len(volumes):
        return ()
    after_arterial = [(time - times[1]).total_seconds() for time in times[2:]]
    if not 20.0 <= after_arterial[0] <= 80.0 or any(later < 80.0 for later in after_arterial[1:]):
        return ()
    phases = [PRE, ART, PVP]
    for delay in after_arterial[1:]:
        phase = _phase_of_delay(delay + _ART_FROM_S, agent)
        if phase is None or phase in phases:
            return ()
        phases.append(phase)
    return tuple(phases)
