"""Settings of the tracking step."""

from dataclasses import dataclass, field

from mrresponse.registration import RegistrationSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSettings:
    """When two lesions of two studies are the same.

    Parameters
    ----------
    gate_mm
        Farthest distance between the registered place and the lesion found, beside the difference of radii:
        what remains after bringing two livers together.
    null_cost
        Cost of leaving one lesion unmatched; a pair costs up to 1.8.
    overlap_weight, size_weight
        Cost of no overlap, and of an eightfold difference in volume, beside 1 for a distance of ``gate_mm``.
    tolerance_mm
        How far from a lesion's registered outline a fragment of it, or a lesion that has taken it up, may lie; and by
        how much the radii of a matched pair may differ whose middles say how far registration is off.
    share
        Part of the smaller body that must lie there.
    least_union
        A lesion that took up two others is at least this share of both, and one that fell apart at least this share
        of its fragments.
    neighbour_mm
        Reach of the correction by lesions matched already.
    liver_like
        Farthest that the median signal at a place may be from that of the liver beside it, as a fraction, in a
        contrast phase, for the place to count as liver: where a new lesion was before, and where a lesion is that
        the network does not find. Enhancing HCC is at 1.5 and its washout at 0.87 times the liver; noise of a
        median over a centimetre is below 0.05.
    search_mm
        How far around its registered place a lesion is looked for before it is called absent: what registration
        leaves in the worst part of a liver.
    """

    gate_mm: float = 20.0
    null_cost: float = 0.8
    overlap_weight: float = 0.5
    size_weight: float = 0.3
    tolerance_mm: float = 4.0
    share: float = 0.5
    least_union: float = 0.7
    neighbour_mm: float = 60.0
    liver_like: float = 0.12
    search_mm: float = 8.0
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
