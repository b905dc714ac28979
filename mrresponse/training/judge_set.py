"""Judge a set piece by piece: every case is kept as soon as it is judged, and none is judged twice."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mrresponse import __version__
from mrresponse.config import Settings
from mrresponse.errors import ConfigError
from mrresponse.files import write_atomically
from mrresponse.resume import effective
from mrresponse.segment import Segmenter
from mrresponse.synthetic.judging import JudgingSet, judging_case
from mrresponse.training.judge import JudgedCase, judge_case


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedWith:
    """All that decides what is made of a case, beside its number."""

    set: str
    version: str
    model: str
    settings: str
    """Digest of the settings that make a difference; neither the device nor the number of threads does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    judged_with: JudgedWith
    judged: JudgedCase


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCases:
    """Judged cases on disk, a file for each, written whole or not at all; several processes may write at once."""

    folder: Path
    judged_with: JudgedWith

    @classmethod
    def open(cls, folder: Path, judged_with: JudgedWith) -> "KeptCases":
        """Use a folder, which is made where it is absent.

        Raises
        ------
        ConfigError
            The folder cannot be written, or holds a case that cannot be read or was judged with something else.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder.name}: this folder cannot be made: {error.strerror}") from error
        kept = cls(folder=folder, judged_with=judged_with)
        # all of them before the first hour of work, not each when it is its turn
        for file in sorted(folder.glob("*.json")):
            kept._read(file)
        return kept

    def read(self, number: int) -> JudgedCase | None:
        """Return a kept case; ``None`` where it is not judged yet.

        Raises
        ------
        ConfigError
            It cannot be read, or was judged with something else.
        """
        file = self._file(number)
        return self._read(file) if file.exists() else None

    def keep(self, number: int, judged: JudgedCase) -> None:
        """Write a judged case."""
        content = asdict(_Kept(judged_with=self.judged_with, judged=judged))
        write_atomically(self._file(number), json.dumps(content, indent=1).encode())

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.json"

    def _read(self, file: Path) -> JudgedCase:
        from pydantic import TypeAdapter, ValidationError

        try:
            kept = TypeAdapter(_Kept).validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(
                f"{self.folder.name}/{file.name}: not a judged case; remove the file to have it judged again"
            ) from error
        expected = asdict(self.judged_with)
        for name, found in asdict(kept.judged_with).items():
            if found != expected[name]:
                raise ConfigError(
                    f"{self.folder.name}/{file.name}: judged with {name} '{found}', expected '{expected[name]}'; "
                    "remove the folder, or name another file with --out"
                )
        return kept.judged


def judged_with(which: JudgingSet, model: str, settings: Settings) -> JudgedWith:
    """Describe what judges a set.

    Parameters
    ----------
    model
        The networks with their digests.
    """
    steps = (settings.prepare, settings.segment, settings.lesions, settings.quality)
    content = json.dumps([effective(step) for step in steps], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return JudgedWith(set=which.value, version=__version__, model=model, settings=digest)


def judge_set(
    which: JudgingSet,
    segmenter: Segmenter,
    settings: Settings,
    *,
    numbers: Iterable[int],
    kept: KeptCases | None = None,
) -> Iterator[JudgedCase]:
    """Give the cases of a set with these numbers (from 0): kept ones as they are, the others judged now and kept."""
    for number in numbers:
        judged = None if kept is None else kept.read(number)
        if judged is None:
            judged = judge_case(judging_case(which, number), segmenter, settings)
            if kept is not None:
                kept.keep(number, judged)
        yield judged
