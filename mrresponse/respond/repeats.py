"""The error of one reading from readings that were repeated (Bland JM, Altman DG 1996, BMJ 312:1654-1655)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mrresponse.domain import Measurement
from mrresponse.errors import DataError
from mrresponse.respond.settings import MeasurementError

LEAST_REPEATS = 10
DIAMETERS = (
    "longest_diameter_mm",
    "perpendicular_diameter_mm",
    "viable_longest_diameter_mm",
    "viable_perpendicular_diameter_mm",
)
VOLUMES = ("volume_ml", "viable_volume_ml")


class _Spread(NamedTuple):
    """Readings of one quantity of one lesion and study: their mean, squared deviations, and degrees of freedom."""

    mean: float
    squares: float
    freedom: int


def error_of_repeats(repeats: Sequence[Measurement], otherwise: MeasurementError) -> MeasurementError:
    """Return the standard deviation of one reading within a lesion and study.

    Parameters
    ----------
    repeats
        Rows of ``measurements.csv`` in which every reading of a lesion has a ``reader`` of its own
        (``A/1``, ``A/2``); different observers give the error between observers.
    otherwise
        What holds for a quantity that was not repeated.

    Returns
    -------
    MeasurementError
        For diameters a constant deviation or a constant share, whichever is likelier; for volumes a share.

    Raises
    ------
    DataError
        ``bad_repeats``: fewer than 10 repeated readings of the diameters.
    """
    diameters = _spreads(repeats, DIAMETERS)
    freedom = sum(one.freedom for one in diameters)
    if freedom < LEAST_REPEATS:
        raise DataError(
            f"repeats.csv: found {freedom} repeated readings of a diameter, expected at least {LEAST_REPEATS}: "
            "two rows of one lesion and study under two readers",
            code="bad_repeats",
        )
    constant = math.sqrt(sum(one.squares for one in diameters) / freedom)
    share = _share(diameters)
    is_share_likelier = math.log(share) + _mean_log(diameters) < math.log(constant) if share > 0.0 else False
    volumes = _spreads(repeats, VOLUMES)
    return MeasurementError(
        diameter_fraction=share if is_share_likelier else 0.0,
        diameter_floor_mm=0.0 if is_share_likelier else constant,
        volume_fraction=(
            _share(volumes)
            if sum(one.freedom for one in volumes) >= LEAST_REPEATS
            else otherwise.volume_fraction
        ),
    )


def _spreads(repeats: Sequence[Measurement], quantities: Sequence[str]) -> list[_Spread]:
    groups: dict[tuple[object, ...], list[float]] = {}
    for m in repeats:
        for quantity in quantities:
            value = getattr(m, quantity)
            if value:
                groups.setdefault((m.patient_id, m.lesion_id, m.study_date, quantity), []).append(value)
    found = []
    for values in groups.values():
        mean = math.fsum(values) / len(values)
        squares = math.fsum((value - mean) ** 2 for value in values)
        if len(values) > 1:
            found.append(_Spread(mean, squares, len(values) - 1))
    return found


def _share(spreads: Sequence[_Spread]) -> float:
    freedom = sum(one.freedom for one in spreads)
    return math.sqrt(sum(one.squares / one.mean**2 for one in spreads) / freedom)


def _mean_log(spreads: Sequence[_Spread]) -> float:
    freedom = sum(one.freedom for one in spreads)
    return sum(one.freedom * math.log(one.mean) for one in spreads) / freedom
