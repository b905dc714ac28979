"""Nothing that identifies a person leaves the private folder: no table, file name, header, picture or log has it.

Identifiers are planted in every text element of the DICOM dictionary, in private elements, in an overlay and in the
names of files and folders; then everything that the program wrote or printed is searched.
"""

import contextlib
import gzip
import io
import logging
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.tag import Tag

from mrresponse.cli import main
from mrresponse.domain import Grid, LabelMap
from mrresponse.nifti import write_label_map
from tests.dicom_files import SeriesPlan, write_series

SHAPE, SPACING = (32, 28, 10), (6.0, 6.0, 6.0)
# A text of ours with the tag in it fits every text element; the UIDs of the fictitious person have pydicom's root.
PLANTED = re.compile(rb"ZQ-[0-9A-F]{8}|Zq private|ZQFOLDER|19500203|HOSP-4711|Doe\^Jane|8\.498\.\d{20}")
_TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "UC"}
# What a scanner must say for the series to be understood; the description is planted too, behind the word.
_NEEDED = {
    "PatientID",
    "SeriesDescription",
    "ContrastBolusAgent",
    "CodeValue",
    "CodeMeaning",
    "CodingSchemeDesignator",
}


def plant(file: Path) -> None:
    """Write an identifier into every text element, into private elements and into an overlay."""
    dataset = dcmread(file)
    for number, (kind, _, _, retired, keyword) in DicomDictionary.items():
        tag = Tag(number)
        if kind in _TEXTS and keyword and not retired and keyword not in _NEEDED and tag.group > 2:
            dataset.add_new(tag, kind, f"ZQ-{number:08X}")
    block = dataset.private_block(0x0029, "ZQ-00290010", create=True)
    block.add_new(0x01, "LO", "Zq private text")
    block.add_new(0x02, "OB", b"Zq private bytes ")
    block.add_new(0x03, "UN", b"Zq private unknown")
    dataset.add_new(0x60000010, "US", dataset.Rows)
    dataset.add_new(0x60000011, "US", dataset.Columns)
    dataset.add_new(0x60000022, "LO", "ZQ-60000022")
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", b"Zq private" * (dataset.Rows * dataset.Columns // 80 + 1))
    dataset.BurnedInAnnotation = "YES"
    dataset.save_as(file)


def body() -> dict[str, np.ndarray]:
    """A body with a liver and a lesion, in three contrast phases, ``[i, j, k]``."""
    i, j, k = np.indices(SHAPE)
    trunk = ((i - 16) / 15) ** 2 + ((j - 14) / 13) ** 2 < 1
    liver = ((i - 21) / 7) ** 2 + ((j - 15) / 7) ** 2 + ((k - 5) / 4.5) ** 2 < 1
    lesion = (i - 22) ** 2 + (j - 15) ** 2 + (k - 5) ** 2 < 6
    vessel = (i - 11) ** 2 + (j - 10) ** 2 < 4
    noise = np.random.default_rng(1).integers(0, 12, SHAPE)
    images = {}
    for word, levels in {"pre": (200, 150, 120), "art": (230, 420, 700), "portal": (380, 330, 500)}.items():
        image = np.where(trunk, 100, 0)
        for mask, level in zip((liver, lesion, vessel), levels, strict=True):
            image = np.where(mask, level, image)
        images[word] = (image + noise).astype(np.uint16)
    return images | {"liver": liver, "lesion": lesion}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Run everything over planted files; return the folders and what was printed."""
    home = tmp_path_factory.mktemp("privacy")
    data = home / "ZQFOLDER Doe^Jane HOSP-4711"
    images = body()
    for visit, day in enumerate(("20240105", "20240405"), start=1):
        for number, (word, time) in enumerate(
            (("pre", "100000"), ("art", "101000"), ("portal", "101045")), start=1
        ):
            plan = SeriesPlan(
                study=str(visit), study_date=day, number=number, time=time, slices=SHAPE[2], rows=SHAPE[1],
                columns=SHAPE[0], spacing=SPACING, description=f"t1 {word} ZQ-0008103E",
            )  # fmt: skip
            for place, file in enumerate(write_series(data / f"ZQFOLDER {visit}" / word, plan)):
                dataset = dcmread(file)
                dataset.PixelData = np.ascontiguousarray(images[word][:, :, place].T).tobytes()
                dataset.save_as(file)
                # In one file of every series: writing thousands of elements takes its time.
                if place in (0, 5):
                    plant(file)
                file.rename(file.with_name(f"ZQFOLDER{place}"))
    (data / "identities.csv").write_text("dicom_patient_id,patient_id\nHOSP-4711,P1\n")
    affine = ((-6.0, 0.0, 0.0, 20.0), (0.0, -6.0, 0.0, -30.0), (0.0, 0.0, 6.0, -50.0))
    grid = Grid(shape=SHAPE, affine_rows=affine)
    for day in ("2024-01-05", "2024-04-05"):
        for name in ("liver", "lesion"):
            file = home / "masks" / "P1" / day / {"liver": "liver.nii.gz", "lesion": "lesions.nii.gz"}[name]
            write_label_map(file, LabelMap(voxels=images[name].astype(np.uint16), grid=grid))
    return home, data


@pytest.fixture(scope="module")
def run(searched):
    home, data = searched
    out = home / "run"
    printed = _captured(
        [
            ["run", str(data), "--masks", str(home / "masks"), "--out", str(out), "-v"],
            ["respond", str(out)],
            ["report", str(out)],
            ["export", str(out), *(word for name in ("csv", "xlsx", "parquet") for word in ("--to", name))],
            ["export", str(out), "--to", "dicom-seg", "--to", "dicom-sr", "--deidentify"],
            ["export", str(out), "--to", "dicom-seg", "--to", "dicom-sr"],
        ]
    )
    return out, printed


def _captured(commands):
    """Run commands in this process; return what they print and log."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            codes = [main(command) for command in commands]
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(before)
    assert codes == [0] * len(commands), stream.getvalue()[-3000:]
    return stream.getvalue()


def contents(file: Path):
    """Yield everything that a file holds, unpacked."""
    raw = file.read_bytes()
    yield raw
    if file.suffix == ".gz":
        yield gzip.decompress(raw)
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif file.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(file)
        yield repr((table.to_pydict(), table.schema.metadata)).encode()


def test_what_was_planted_is_found_where_it_may_be(searched, run):
    out, _ = run
    assert PLANTED.search((next((searched[1] / "ZQFOLDER 1" / "art").iterdir())).read_bytes())
    kept = b"".join(file.read_bytes() for file in (out / "private").rglob("*") if file.is_file())
    assert PLANTED.search(kept)


def test_no_file_outside_the_private_folder_holds_an_identifier(run):
    out, _ = run
    seen = 0
    for file in out.rglob("*"):
        name = file.relative_to(out).as_posix()
        if name.startswith("private"):
            continue
        assert not PLANTED.search(name.encode()), name
        if file.is_file():
            seen += 1
            for content in contents(file):
                found = PLANTED.search(content)
                assert found is None, (name, found)
    assert seen > 40


def test_nothing_that_is_printed_or_logged_holds_an_identifier(run):
    _, printed = run
    assert len(printed) > 1000
    assert PLANTED.search(printed.encode()) is None


def test_the_private_folder_is_for_its_owner_only(run):
    out, _ = run
    assert (out / "private").stat().st_mode & 0o777 == 0o700


def test_what_check_prints_holds_no_identifier_but_the_descriptions(searched):
    _, data = searched
    printed = _captured([["check", str(data)]]).replace("ZQ-0008103E", "")
    assert PLANTED.search(printed.encode()) is None


@pytest.mark.slow
def test_a_failure_names_no_file_and_no_person(searched, tmp_path):
    _, data = searched
    bad = tmp_path / "ZQFOLDER"
    shutil.copytree(data, bad)
    victim = next((bad / "ZQFOLDER 1" / "art").iterdir())
    victim.write_bytes(victim.read_bytes()[:-500])
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        code = main(
            ["run", str(bad), "--masks", str(searched[0] / "masks"), "--out", str(tmp_path / "run"), "-v"]
        )
    assert code == 1
    said = stream.getvalue().replace(str(tmp_path), "")
    assert "error:" in said
    assert PLANTED.search(said.encode()) is None
    assert PLANTED.search((tmp_path / "run" / "failures.csv").read_bytes()) is None


@pytest.mark.slow
def test_pictures_show_no_overlay(searched, run, tmp_path):
    out, _ = run
    home, data = searched
    bare = tmp_path / "data"
    shutil.copytree(data, bare)
    for file in bare.rglob("ZQFOLDER?"):
        if file.is_file():
            dataset = dcmread(file)
            for element in [item for item in dataset if item.tag.group == 0x6000]:
                del dataset[element.tag]
            dataset.save_as(file)
    _captured([["run", str(bare), "--masks", str(home / "masks"), "--out", str(tmp_path / "run")]])
    pictures = sorted(path.relative_to(out) for path in (out / "snapshots").rglob("*.png"))
    assert pictures
    assert all((out / path).read_bytes() == (tmp_path / "run" / path).read_bytes() for path in pictures)
