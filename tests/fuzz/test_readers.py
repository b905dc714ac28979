"""No damaged input crashes a reader, hangs it, or gets a row without a sign: it is read, or refused by name.

Inputs are good ones with a few bytes or words changed, by a seed that a failure names. Most changes leave the header
alone, so that what is behind the first check is reached too. The default run tries a few per reader; the slow one
more than 10,000 in all, and counts how many passed the header.
"""

import gzip
import json
import logging
import random
import shutil
import signal
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mrresponse import Settings
from mrresponse.config import load_settings
from mrresponse.domain import ContrastPhase, Image, LabelMap
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.ingest import ingest, read_patient_tables, read_series
from mrresponse.nifti import read_grid, read_image, read_label_map, write_image, write_label_map
from mrresponse.segment.bundle import read_model_card, verify_weights
from tests.dicom_files import write_dynamic
from tests.phantoms import LIVER, Body, ball, grid_around, label_map

LONGEST_S = 5
NIFTI_HEADER = 352


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How one reader is tried: `good` writes a good input, `damage` spoils it, `read` reads it.

    ``read`` returns whether the input got past the header; it may raise what a user is told.
    """

    good: Callable[[Path], None]
    damage: Callable[[Path, random.Random], None]
    read: Callable[[Path], bool]
    inputs: int


# --- damage -------------------------------------------------------------------------------------------------------


def damaged_bytes(content: bytes, chance: random.Random, *, first: int = 0) -> bytes:
    """Flip, overwrite, cut out, insert or repeat something at or after a position."""
    spoiled = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        at = chance.randrange(min(first, max(0, len(spoiled) - 1)), max(1, len(spoiled)))
        match chance.randrange(6):
            case 0 if spoiled:
                spoiled[at] ^= 1 << chance.randrange(8)
            case 1:
                spoiled[at : at + 4] = chance.choice(
                    [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", struct.pack("<f", float("nan"))]
                )
            case 2:
                spoiled[at : at + 2] = struct.pack("<h", chance.choice([-32768, 32767, -1, 0, 1, 7]))
            case 3:
                del spoiled[at : at + chance.choice([1, 4, 64])]
            case 4:
                spoiled[at:at] = chance.randbytes(chance.choice([1, 4, 64]))
            case _ if chance.random() < 0.2:
                del spoiled[at:]
    return bytes(spoiled)


WORDS = (
    *("", " ", "-", "0", "-1", "nan", "inf", "1e999", "9" * 400, "12mm", "<5", "true", "null", "LATE", "ART"),
    *(
        "2024-02-30",
        "0000-00-00",
        "99999-01-01",
        "../../etc/passwd",
        "/etc/passwd",
        "=1+1",
        "@x",
        ";",
        "\t",
        "\r",
    ),
    *("\u202ea", "é", "😀", "\0", "'", '"', '"x', "{}", "[]", "a: b: c", "- - -", "&a [*a, *a]"),
    "!!python/object/apply:os.system ['true']",
)


def damaged_text(content: str, chance: random.Random) -> bytes:
    """Change lines, cells and letters of a text; seldom its encoding."""
    lines = content.split("\n")
    for _ in range(chance.choice([1, 1, 2, 3])):
        # the first line is the header of a table: it is spared most of the time
        at = chance.randrange(0 if chance.random() < 0.2 else min(1, len(lines) - 1), len(lines))
        cells = lines[at].split(",")
        match chance.randrange(7):
            case 0:
                cells[chance.randrange(len(cells))] = chance.choice(WORDS)
                lines[at] = ",".join(cells)
            case 1:
                lines[at] = ",".join(chance.sample(cells, len(cells)))
            case 2:
                lines.insert(at, chance.choice(lines))
            case 3:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + chance.choice(WORDS) + lines[at][place:]
            case 4:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            case 5 if len(lines) > 2:
                del lines[at]
            case _:
                lines[at] = lines[at].swapcase()
    spoiled = "\n".join(lines).encode("utf-8", "surrogatepass")
    return damaged_bytes(spoiled, chance) if chance.random() < 0.05 else spoiled


def damage_nifti(path: Path, chance: random.Random) -> None:
    """Damage the packed bytes, the header, or what is behind it; packed again or left plain."""
    content = path.read_bytes()
    kind = chance.random()
    if kind < 0.15:
        path.write_bytes(damaged_bytes(content, chance))
        return
    whole = damaged_bytes(gzip.decompress(content), chance, first=0 if kind < 0.4 else NIFTI_HEADER)
    path.write_bytes(gzip.compress(whole, 1) if kind < 0.75 else whole)


def damage_one_dicom(folder: Path, chance: random.Random) -> None:
    files = sorted(path for path in folder.rglob("IM*"))
    path = chance.choice(files)
    path.write_bytes(damaged_bytes(path.read_bytes(), chance, first=132))


def damage_table(name: str) -> Callable[[Path, random.Random], None]:
    def damage(folder: Path, chance: random.Random) -> None:
        file = folder / name
        file.write_bytes(damaged_text(file.read_text(encoding="utf-8"), chance))

    return damage


# --- good inputs --------------------------------------------------------------------------------------------------

GRID = grid_around(LIVER, spacing_mm=(16.0, 16.0, 16.0))
LESION = ball((-25.0, 0.0, 0.0), 44.0)


def good_image(path: Path) -> None:
    write_image(
        path, Image(voxels=Body(lesions=(LESION,)).image(GRID, ContrastPhase.ARTERIAL).voxels, grid=GRID)
    )


def good_mask(path: Path) -> None:
    drawn = label_map([LESION], GRID)
    write_label_map(path, LabelMap(voxels=drawn.voxels, grid=GRID))


TABLES: Mapping[str, str] = {
    "manifest.csv": "patient_id,study_date,contrast_phase,path,series_description,agent\n"
    + "".join(
        f"P{patient},2024-0{month}-05,{phase},{month}-{phase}.nii.gz,T1 VIBE,gadoxetate\n"
        for patient in (1, 2)
        for month in (1, 4)
        for phase in ("PRE", "ART")
    ),
    "treatments.csv": "patient_id,treatment_phase,name,kind,start_date,end_date,details\n"
    "P1,one,TACE,locoregional,2024-01-10,,\nP1,two,lenvatinib,systemic,2024-05-01,2024-09-01,8 mg\n"
    "P2,one,RT,radiotherapy,2024-01-20,,50 Gy\n",
    "markers.csv": "patient_id,date,name,value,unit,qualifier\n"
    "P1,2024-01-05,AFP,1210,ng/mL,>\nP1,2024-04-05,AFP,310.5,ng/mL,\nP2,2024-01-05,PIVKA-II,40,mAU/mL,<\n",
    "findings.csv": "patient_id,date,kind,status,site,size_mm,cytology,affects,author,note\n"
    "P1,2024-01-05,vein_thrombus,present,left portal vein,,,both,reader A,Vp3\n"
    "P1,2024-04-05,effusion,new,right,12.5,positive,overall,reader A,\nP2,2024-01-05,other,stable,,,,,,\n",
}
SETTINGS = Path(__file__).resolve().parents[2] / "configs" / "default.yaml"
MODEL = Path(__file__).resolve().parents[2] / "models" / "liver-mr"


def good_data(folder: Path) -> None:
    folder.mkdir()
    for name in ("1-PRE", "1-ART", "4-PRE", "4-ART"):
        good_image(folder / f"{name}.nii.gz")
    for name, content in TABLES.items():
        (folder / name).write_text(content, encoding="utf-8")


def good_dicom(folder: Path) -> None:
    write_dynamic(folder / "tree", patient="A", rows=8, columns=8)
    (folder / "identities.csv").write_text("dicom_patient_id,patient_id\nA,P1\n", encoding="utf-8")


def good_model(folder: Path) -> None:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    shutil.copy(MODEL / "configs" / "metadata.json", folder / "configs" / "metadata.json")
    (folder / "models" / "model.pt").write_bytes(b"not the weights")


# --- readers ------------------------------------------------------------------------------------------------------


def passes_header(path: Path) -> bool:
    try:
        read_grid(path)
    except DataError:
        return False
    return True


def read_one(read: Callable[[Path], Image | LabelMap]) -> Callable[[Path], bool]:
    def reading(path: Path) -> bool:
        passed = passes_header(path)
        try:
            volume = read(path)
        except DataError:
            return passed
        assert np.isfinite(volume.voxels).all()
        return passed

    return reading


def read_data(folder: Path) -> bool:
    """Ingest a folder; what is found is read, what is not has a name."""
    found = ingest(folder, Settings().ingest)
    for patient in found.patients:
        for study in patient.studies:
            for series in study.series:
                with suppress(DataError):
                    read_series(series, patient_id=patient.patient_id, study_date=study.study_date)
    assert all(failure.code and failure.message for failure in found.failures)
    return bool(found.patients or found.failures)


def read_tables(folder: Path) -> bool:
    read_patient_tables(folder)
    return True


def read_settings(path: Path) -> bool:
    import yaml

    try:
        load_settings(path)
    except ConfigError:
        try:
            return isinstance(yaml.safe_load(path.read_bytes()), dict)
        except (yaml.YAMLError, UnicodeDecodeError, ValueError):
            return False
    return True


def read_model(folder: Path) -> bool:
    card = read_model_card(str(folder))
    with pytest.raises(ModelError):
        verify_weights(card)
    return True


def good_settings(path: Path) -> None:
    shutil.copyfile(SETTINGS, path)


def damage_settings(path: Path, chance: random.Random) -> None:
    path.write_bytes(damaged_text(path.read_text(encoding="utf-8"), chance))


READERS: Mapping[str, Reader] = {
    "image": Reader(good=good_image, damage=damage_nifti, read=read_one(read_image), inputs=4000),
    "mask": Reader(good=good_mask, damage=damage_nifti, read=read_one(read_label_map), inputs=2000),
    "dicom": Reader(good=good_dicom, damage=damage_one_dicom, read=read_data, inputs=1200),
    "manifest.csv": Reader(good=good_data, damage=damage_table("manifest.csv"), read=read_data, inputs=800),
    "treatments.csv": Reader(
        good=good_data, damage=damage_table("treatments.csv"), read=read_tables, inputs=600
    ),
    "markers.csv": Reader(good=good_data, damage=damage_table("markers.csv"), read=read_tables, inputs=600),
    "findings.csv": Reader(good=good_data, damage=damage_table("findings.csv"), read=read_tables, inputs=600),
    "settings": Reader(good=good_settings, damage=damage_settings, read=read_settings, inputs=300),
    "model": Reader(
        good=good_model, damage=damage_table("configs/metadata.json"), read=read_model, inputs=600
    ),
}


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Fail where a reader takes longer than it may."""

    def stop(_signal: int, _frame: Any) -> None:
        raise TimeoutError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tried(reader: Reader, good: Path, place: Path, seed: int) -> bool:
    """Damage a copy of a good input and read it; return whether it got past the header."""
    if place.is_dir():
        shutil.rmtree(place)
    if good.is_dir():
        shutil.copytree(good, place)
    else:
        shutil.copyfile(good, place)
    reader.damage(place, random.Random(seed))
    with bounded(LONGEST_S):
        try:
            return reader.read(place)
        except (ConfigError, ModelError):
            return False
        except DataError as error:
            refused = str(error)
    # one sentence for the user, and no place on the disk in it
    assert refused
    assert str(place.parent) not in refused
    return False


@pytest.fixture(scope="module", params=sorted(READERS))
def good_input(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Reader, Path, Path]:
    reader = READERS[request.param]
    folder = tmp_path_factory.mktemp("fuzz")
    suffix = ".nii.gz" if request.param in {"image", "mask"} else ""
    reader.good(folder / f"good{suffix}")
    return reader, folder / f"good{suffix}", folder / f"damaged{suffix}"


def test_a_good_input_is_read(good_input: tuple[Reader, Path, Path]) -> None:
    reader, good, _ = good_input
    assert reader.read(good)


@examples(max_examples=25)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_a_damaged_input_is_read_or_refused(good_input: tuple[Reader, Path, Path], seed: int) -> None:
    reader, good, damaged = good_input
    tried(reader, good, damaged, seed)


@pytest.mark.slow
def test_ten_thousand_damaged_inputs_are_read_or_refused(tmp_path: Path) -> None:
    passed: dict[str, tuple[int, int]] = {}
    for name, reader in READERS.items():
        suffix = ".nii.gz" if name in {"image", "mask"} else ""
        good, place = tmp_path / f"{name}-good{suffix}", tmp_path / f"{name}-damaged{suffix}"
        reader.good(good)
        count = sum(tried(reader, good, place, seed) for seed in range(reader.inputs))
        passed[name] = (count, reader.inputs)
    logging.getLogger(__name__).info("past the header: %s", json.dumps(passed))
    assert sum(inputs for _, inputs in passed.values()) >= 10_000
    assert sum(count for count, _ in passed.values()) >= 5_000
