"""Settings of the measuring step."""

from dataclasses import dataclass
from enum import StrEnum


class WithoutPrecontrast(StrEnum):
    """What is said of viability where there is no precontrast phase."""

    NOT_ASSESSED = "not_assessed"
    ARTERIAL = "arterial"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """How lesions are measured.

    Parameters
    ----------
    too_small_mm, least_voxels
        Below this longest diameter, or with fewer voxels, a lesion is seen but not measured reliably; the
        criteria then give it their default value (RECIST 1.1: 5 mm).
    boundary_sd_mm
        Uncertainty of one end of a diameter by the contour. Two reads of ~28 mm HCC on MRI differ by about
        2 mm SD (Acad Radiol 2020, doi 10.1016/j.acra.2019.05.021): 2 mm / sqrt(2 reads) / sqrt(2 ends).
    repeat_longest_pixels, repeat_perpendicular_pixels, repeat_volume_pixels
        Standard deviation, in pixels, of a diameter, or of that of a ball of the volume, when the same lesion is imaged
        again and outlined in the same way (``scripts/repeatability_study.py --repeats 200``, pixels of 1.6 mm).
    viable_k_sd
        Viable is what enhances more than the reference liver's mean plus this many standard deviations.
    sensitivity_k_sd
        Multiples for which the viable volume is stated beside the result.
    reference_erosion_mm, reference_gap_mm, reference_least_ml
        The reference liver lies this deep in the liver and this far off lesions, and has this volume; both
        distances are halved once where it is smaller.
    vessel_mad
        Voxels brighter than the median plus this many median absolute deviations in the portal venous phase
        are vessels and no reference.
    vessel_level
        From this share of the way between liver and blood in the portal venous phase on, what enhances along the edge
        of a lesion may be a vessel (see `vessels`); 1 leaves vessels in.
    gain_low, gain_high
        A signal ratio of fat and muscle, arterial to pre-contrast, outside these limits is a change of gain.
    without_precontrast
        ``not_assessed`` says nothing of viability without a precontrast phase; ``arterial`` lets the arterial
        signal alone decide, with less confidence: haemorrhage then counts as viable.
    largest_reference_sd
        Where the enhancement of the reference liver scatters by more than this standard deviation, in units of
        pre-contrast liver, motion or noise hide enhancement: twice as much is what weakly enhancing HCC is above
        the liver (signal model: 0.63 - 0.24 = 0.39).
    treated_rim_mm
        Thickest smooth rim of a lesion after local treatment that is not viable tumour (see `rim`); at most 5 mm
        and most often 1 to 2 mm are seen [Ahmed 2014].
    thin_mm
        Islands and threads thinner than this are removed from the viable part, and enclosed holes filled.
    gap_mm, gap_fraction
        Non-viable tissue that a viable diameter may cross: the larger of a length and a share of the
        diameter.
    aphe_sd, aphe_ratio
        Arterial hyperenhancement: excess over the reference in its standard deviations, and signal over
        liver.
    washout_ratio
        Washout: signal over liver below this in the portal venous (extracellular agent: or delayed) phase
        [Kloeckner 2016].
    cyst_ratio, cyst_enhancement, cyst_cv
        Cyst-like: pre-contrast signal over liver, and enhancement and spread in units of pre-contrast
        liver, below these.
    haemangioma_precontrast_ratio, haemangioma_late_ratio, haemangioma_gadoxetate_ratio
        Haemangioma-like: pre-contrast signal over liver below, portal venous and delayed above; with gadoxetate
        portal venous above the last, and above arterial.
    isointense
        Perfusion-like: brighter than the liver around it in the arterial phase, by `aphe_ratio`, and within this share
        of it in every other, without washout.
    least_solidity, delineation_sd
        Well delineated: share of the outline's convex hull, and contrast with the surroundings in standard
        deviations of the reference liver, in at least one phase.
    definite_new_mm, new_growth_mm
        A new nodule of this size with arterial hyperenhancement and washout is definite, and one that has
        grown by this much [Lencioni 2010].
    snapshot_least_mm, snapshot_pixel_mm
        Side of the smallest picture, and its pixels; large lesions get larger pixels.
    snapshot_slices
        Slices pictured around a lesion at each study, an odd number; those of the calipers come besides.
    """

    too_small_mm: float = 5.0
    least_voxels: int = 4
    boundary_sd_mm: float = 1.0
    repeat_longest_pixels: float = 0.23
    repeat_perpendicular_pixels: float = 0.51
    repeat_volume_pixels: float = 0.23
    viable_k_sd: float = 2.0
    sensitivity_k_sd: tuple[float, ...] = (1.5, 2.0, 3.0)
    reference_erosion_mm: float = 6.0
    reference_gap_mm: float = 10.0
    reference_least_ml: float = 5.0
    vessel_mad: float = 2.0
    vessel_level: float = 0.35
    gain_low: float = 0.8
    gain_high: float = 1.25
    without_precontrast: WithoutPrecontrast = WithoutPrecontrast.NOT_ASSESSED
    largest_reference_sd: float = 0.2
    treated_rim_mm: float = 3.0
    thin_mm: float = 2.0
    gap_mm: float = 2.0
    gap_fraction: float = 0.1
    aphe_sd: float = 2.0
    aphe_ratio: float = 1.1
    washout_ratio: float = 0.98
    cyst_ratio: float = 0.6
    cyst_enhancement: float = 0.15
    cyst_cv: float = 0.15
    haemangioma_precontrast_ratio: float = 0.7
    haemangioma_late_ratio: float = 1.05
    haemangioma_gadoxetate_ratio: float = 1.0
    isointense: float = 0.05
    least_solidity: float = 0.7
    delineation_sd: float = 1.0
    definite_new_mm: float = 10.0
    new_growth_mm: float = 10.0
    snapshot_least_mm: float = 80.0
    snapshot_pixel_mm: float = 0.8
    snapshot_slices: int = 9
