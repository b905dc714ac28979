"""Words, image types and times by which scanners and hospitals name their series.

The tables are searched in the normalised description: lower case, no accents, blanks for punctuation. A site adds its
own with ``ingest.phase_patterns`` and ``ingest.left_out_patterns``, which come first.

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


# Searched in the normalised description: lower case, no accents, blanks for punctuation.
_LEFT_OUT_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(loc\w*|scout|survey|topogram|u(e)?bersicht|3 ?plane|three plane|plan scan|reperage)\b", "localiser"),
    (r"\b(subs?|sub ?\d+|subt\w*|soustr\w*|sottraz\w*|sub?str?acc?\w*|restas?)\b", "subtraction"),
    (r"\b(mip|minip|mpr|mpvr|vrt|projection\w*|reformat\w*)\b", "projection or reformat"),
    (r"\b(dwi?|diff\w*|e?adc|resolve|dti|ivim|b ?\d{2,4}( \d{2,4})*)\b|\bep2d\w*", "diffusion"),
    # French, Spanish and Italian "en phase portale", "en fase arterial", "in fase tardiva" are contrast phases
    (r"\b(?!(en phase|[ei]n fase) (arter|port|vein|ven[ao]|tard|equil|h?epat|transi|interst|precoc|precoz))"
     r"(in|en|opp|out|opposed|out of|fuera de)( ?(and|und|et|e|y)? ?(in|opp|out))? ?(ph(ase)?|fase)\b",
     "in- or opposed-phase"),
    (r"\b(inphase|outphase|opp?phase|in opp|opp in|iop|ip oop|oop|opp|opposition|gegenphase|dual ?echo)\b",
     "in- or opposed-phase"),
    (r" in$|dixon\w* (in|en|ip|op|out)\b|\bip\b", "in- or opposed-phase"),
    # "pre op" and "post op" are times of an operation
    (r"^op\b|\b(t1w?|[23]d|tra|ax(ial)?|fl[23]d|flash|fspgr|spgr|ffe|gre|lava|vibe|e?thrive) op\b",
     "in- or opposed-phase"),
    # "fat" begins or ends the name, or follows the method; "fat sat" and "without fat" are no fat images
    (r"\bfat ?(only|images?)\b|^fat\b(?! ?su?[ap])|(?<!without )(?<!w o )(?<!no )\bfat$|"
     r"dixon\w* (f|fat)\b(?! ?su?[ap])|\b(vibe|dixon|lava|thrive|mdixon)\w*( \w+)* f$", "fat image"),
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
    "SUB": "subtraction",
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
    "IP": "in- or opposed-phase",
    "OP": "in- or opposed-phase",
    "FAT": "fat image",
    "F": "fat image",
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
    # Spanish "del" before a part of the body means "of the"
    (DEL, r"\bdel\b(?! (higado|abdomen|cuerpo|tronco))|"
          r"\bdelay\w*|\ba?e?quil\w*|\bspae?t(e[rs]?|phase\w*|ven\w*)?\b|\btard\w*|\btransit\w*|\blate\b|"
          r"\blaat\b|\blaattijd\w*|\bvertraagd\w*|\bretard\w*|\binterstit\w*"),
)  # fmt: skip

_WHEN = r"(late|early|spae?te?|frue?he?|tardiv?[aeo]?|tardia|precoce|precoz)"
# Signs within a number, which are blanks in the normalised description: 1.5 min is not 5 min, nor is 2:05 min.
_POINT, _COLON = (r"(?<=\d)[.,](?=\d)", "point"), (r"(?<=\d):(?=\d)", "colon")
_SECONDS = re.compile(r"\b(\d{1,3}(?:point\d+)?) ?(s|sec|secs|sek|seg|seconds?|sekunden|secondes?)\b")
_MINUTES = re.compile(r"\b(\d{1,2}(?:point\d+)?) ?(m|mn|min|mins|minutes?|minuten|minuti|minutos)\b")
# How long patients hold their breath, not when.
_BREATH_HOLD = r"\bbh ?([12]\d|30) ?s(ec|ek)?\b"
# Words that may name the interval and not the phase: "30 sec delay".
_INTERVAL = r"delay|ret?ard|ritard|vertraagd"
# A series of all phases is not the precontrast one that its name begins with.
_WHOLE_DYNAMIC = (
    r"\b(pre|vor|avant|prima|antes)( \w+){0,2} (post|nach|apres|dopo|despues)\b|"
    r"\bw( con\w*)?( and)? ?w ?o\b|\bw ?o( con\w*)?( and)? w\b|\bwith (con\w* )?(and|or) without\b|"
    r"\bwithout (con\w* )?and with\b"
)
ART_FROM_S, _PVP_FROM_S, _DEL_FROM_S, _HBP_FROM_S = 10.0, 50.0, 100.0, 600.0
# Delayed images of other agents are taken up to 10 min, hepatobiliary ones of gadoxetate most often at 15 to 20 min.
_HBP_USUAL_FROM_S = 900.0

# A dynamic gradient-echo volume has a repetition time of 3-7 ms and an echo time of 1-3 ms. The times decide only
# where the description is silent: older scanners made dynamic images with longer repetition times.
_LONGEST_TR_MS = 50.0
_LONGEST_TE_MS = 8.0


def left_out_reason(facts: SeriesFacts, settings: IngestSettings) -> str | None:
    """Return why a volume is no T1-weighted dynamic image, or ``None`` where nothing speaks against it."""
    text = normalised(facts.description)
    for pattern, reason in settings.left_out_patterns:
        if re.search(pattern, text):
            return reason
    types = tuple(part.upper() for part in facts.image_type)
    for part in types:
        if part in _LEFT_OUT_IMAGE_TYPES:
            return _LEFT_OUT_IMAGE_TYPES[part]
    for pattern, reason in _LEFT_OUT_WORDS:
        if re.search(pattern, text):
            return reason
    if types[1:2] == ("SECONDARY",) and "WATER" not in types:
        return "secondary image made from others"
    return _sequence_reason(facts)


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
    if PRE in found and re.search(_WHOLE_DYNAMIC, low):
        del found[PRE]
    if not found or set(found) == {DEL}:
        return _with_time(found, text, agent)
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


def timing_reason(facts: SeriesFacts) -> str | None:
    """Return why the times of a sequence are not those of a dynamic T1 image."""
    if facts.echo_time_ms is not None and facts.echo_time_ms > _LONGEST_TE_MS:
        return (
            f"echo time {facts.echo_time_ms:g} ms, expected at most {_LONGEST_TE_MS:g} for a dynamic T1 image"
        )
    # GE writes an inversion time of 0 where there is no such pulse
    prepared = bool(facts.inversion_time_ms) or "IR" in facts.scanning_sequence
    if facts.repetition_time_ms is not None and facts.repetition_time_ms > _LONGEST_TR_MS and not prepared:
        found = f"repetition time {facts.repetition_time_ms:g} ms"
        return f"{found}, expected at most {_LONGEST_TR_MS:g} for a dynamic T1 image"
    return None


def phase_of_delay(seconds: float, agent: Agent | None) -> ContrastPhase | None:
    if seconds < ART_FROM_S:
        return None
    if seconds < _PVP_FROM_S:
        return ART
    if seconds < _DEL_FROM_S:
        return PVP
    if seconds < _HBP_FROM_S or agent is Agent.EXTRACELLULAR:
        return DEL
    return HBP if agent is Agent.GADOXETATE else None


def _with_time(
    found: Mapping[ContrastPhase, str], text: str, agent: Agent | None
) -> Mapping[ContrastPhase, str]:
    """Return what a delay written in the description says, ``70 s``, ``20 min``, beside a word for delayed or alone."""
    seconds, words = _time_in_text(text)
    if seconds is None or seconds < ART_FROM_S:
        return found
    phase = phase_of_delay(seconds, agent)
    if not found or phase is DEL:
        return found or ({} if phase is None else {phase: words})
    if phase is None:
        # of an agent that is not known: so late, delayed may be hepatobiliary
        return {**found, HBP: words} if seconds >= _HBP_USUAL_FROM_S else found
    if phase is HBP or re.match(_INTERVAL, found[DEL]):
        return {phase: words}
    return {**found, phase: words}


def _time_in_text(text: str) -> tuple[float | None, str]:
    """Return the seconds that a description states and how it does."""
    for sign, word in (_POINT, _COLON):
        text = re.sub(sign, word, text)
    low = normalised(text)
    low = re.sub(_BREATH_HOLD, "", low)
    for pattern, factor in ((_MINUTES, 60.0), (_SECONDS, 1.0)):
        match = pattern.search(low)
        if match:
            return float(match.group(1).replace("point", ".")) * factor, match.group().replace("point", ".")
    return None, ""
