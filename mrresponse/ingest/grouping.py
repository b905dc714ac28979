"""DICOM slices become series, and series volumes.

Several volumes in one series (phases of a dynamic, echoes, Dixon images) are parted by the first of temporal position,
acquisition number, acquisition time, trigger time, echo and image type that leaves each slice position once in every
part, or by the first two of them that do together.
"""

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from mrresponse.ingest.headers import SliceHeader
from mrresponse.ingest.manifest import ManifestRow
from mrresponse.ingest.patterns import SeriesFacts

_PARTS: tuple[Callable[[SliceHeader], Hashable], ...] = (
    lambda item: item.temporal_position,
    lambda item: item.acquisition_number,
    lambda item: item.facts.acquired_at,
    lambda item: item.trigger_time_ms,
    lambda item: (item.echo_number, item.facts.echo_time_ms),
    lambda item: item.facts.image_type,
)


# What a copy has in common with its original, by `_slice_place` too; archives may rewrite the kind of an image.
_OF_A_COPY: tuple[Callable[[SliceHeader], Hashable], ...] = (
    lambda item: _slice_place(item),
    lambda item: item.temporal_position,
    lambda item: item.acquisition_number,
    lambda item: item.facts.acquired_at,
    lambda item: item.trigger_time_ms,
    lambda item: item.echo_number,
    lambda item: item.facts.echo_time_ms,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Slices that make one volume, unordered, and the manifest rows that name it.

    ``later`` is how long after the time in its headers it was acquired, where only the trigger time tells.
    """

    slices: tuple[SliceHeader, ...]
    rows: tuple[ManifestRow, ...] = ()
    later: timedelta = timedelta()

    @property
    def row(self) -> ManifestRow | None:
        """What the manifest says of the volume."""
        return next(iter(self.rows), None)

    @property
    def first(self) -> SliceHeader:
        """The slice that speaks for the volume."""
        return self.slices[0]

    @property
    def facts(self) -> SeriesFacts:
        """What the volume is, acquired when its first slice was."""
        times = [item.facts.acquired_at for item in self.slices if item.facts.acquired_at is not None]
        acquired_at = min(times, default=None)
        return replace(self.first.facts, acquired_at=acquired_at and acquired_at + self.later)

    @property
    def is_multiframe(self) -> bool:
        """Tell whether several slices lie in one file and cannot be told apart."""
        return any(item.multiframe for item in self.slices)


def series_of(slices: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    """Group slices by series, in the order of series numbers; copies of one image count once."""
    groups: dict[str, dict[str, SliceHeader]] = {}
    for item in slices:
        groups.setdefault(item.series, {}).setdefault(item.instance, item)
    series = [sorted(group.values(), key=lambda item: item.instance_number) for group in groups.values()]
    return sorted(series, key=lambda members: members[0].series_number or 0)


def reused_uids(slices: Iterable[SliceHeader]) -> Mapping[str, int]:
    """Return series whose different images share a SOPInstanceUID, with how many `series_of` drops for that.

    A copy lies where the other does and was acquired with it; what one of them does not state is no difference.
    """
    first: dict[tuple[str, str], SliceHeader] = {}
    counts: dict[str, int] = {}
    for item in slices:
        one = first.setdefault((item.series, item.instance), item)
        if any(len({part(one), part(item), None}) > 2 for part in _OF_A_COPY):
            counts[item.series] = counts.get(item.series, 0) + 1
    return counts


def volumes_of(
    slices: Sequence[SliceHeader], stated: Mapping[str, Sequence[ManifestRow]]
) -> tuple[Volume, ...]:
    """Return the volumes that the slices of one series make, with the manifest rows that name their images."""
    parts = _parted(_each_once(slices, stated))
    triggers = [part[0].trigger_time_ms for part in parts]
    at_once = len({part[0].facts.acquired_at for part in parts}) == 1 and None not in triggers
    first = min((trigger for trigger in triggers if trigger is not None), default=0.0)
    volumes = []
    for part, trigger in zip(parts, triggers, strict=True):
        rows = [row for item in part for row in stated.get(item.instance, ())]
        later = timedelta(milliseconds=(trigger or first) - first if at_once else 0.0)
        volumes.append(Volume(slices=tuple(part), rows=tuple(dict.fromkeys(rows)), later=later))
    return tuple(volumes)


def _each_once(slices: Sequence[SliceHeader], stated: Container[str]) -> list[SliceHeader]:
    """Drop images that were sent again under another UID: same place, times, echo, kind and number.

    Of two such the one that the manifest names is kept.
    """
    kept: dict[Hashable, SliceHeader] = {}
    for item in slices:
        place = _slice_place(item)
        key = (
            (place, item.instance_number, *(part(item) for part in _PARTS))
            if place is not None
            else item.instance
        )
        if key not in kept or (item.instance in stated and kept[key].instance not in stated):
            kept[key] = item
    return list(kept.values())


def _parted(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part the slices of one series so that each position stands once in every part."""
    places = {_slice_place(item) for item in slices}
    if len(places) == len(slices) or None in places:
        return [list(slices)]
    pairs = ((one, other) for at, one in enumerate(_PARTS) for other in _PARTS[at + 1 :])
    for keys in (*((key,) for key in _PARTS), *pairs):
        groups: dict[Hashable, list[SliceHeader]] = {}
        for item in slices:
            groups.setdefault(tuple(key(item) for key in keys), []).append(item)
        once = all(len({_slice_place(item) for item in group}) == len(group) for group in groups.values())
        # A slice may be missing from a part, which is found later; a part of few slices is no volume.
        whole = all(len(group) > len(places) / 2 for group in groups.values())
        if once and whole:
            return [groups[name] for name in sorted(groups, key=str)]
    return [list(slices)]


def _slice_place(item: SliceHeader) -> Hashable:
    if item.geometry is None:
        return None
    return (*(round(part, 2) for part in item.geometry.orientation), round(item.geometry.along_normal_mm, 2))
