"""A hospital's export of one patient: 60 series at 5 visits, with what scanners, archives and people do to them.

`QUIRKS` lists every volume with the kind of trouble it brings and what is to become of it: a contrast phase, ``left
out`` with a reason, or ``asks`` where nobody could know. Images are tiny.
"""

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

from tests.dicom_files import AXIAL, CORONAL, SECRETS, SeriesPlan, pixel_values, write_enhanced, write_series
from tests.jpeg_lossless import encode

LEFT_OUT, ASKS = "left out", "asks"
VISITS = ("20240105", "20240405", "20240705", "20241005", "20250105")
OBLIQUE = (0.0, 1.0, 0.0, 0.6, 0.0, -0.8)


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """One series of the hospital: what is odd about it, and what must become of it."""

    name: str
    visit: int
    number: int
    description: str
    time: str = "100000"
    becomes: str
    reason: str = ""
    orientation: Sequence[float] = AXIAL
    extra: tuple[tuple[str, Any], ...] = ()
    slope: float = 1.0

    @property
    def plan(self) -> SeriesPlan:
        """The series as it is written."""
        return SeriesPlan(
            study=f"visit {self.visit}",
            study_date=VISITS[self.visit - 1],
            number=self.number,
            description=self.description,
            time=self.time,
            orientation=self.orientation,
            rows=32,
            columns=33,
            extra=dict(self.extra),
        )


def _image_type(*parts: str) -> tuple[tuple[str, Any], ...]:
    return (("ImageType", list(parts)),)


_AGENT = (("ContrastBolusAgent", "Gadovist"),)
_INJECTED = (("ContrastBolusStartTime", "235930"),)

QUIRKS = (
    # 1: Siemens, German, Dixon images as series of their own, nested folders.
    Quirk(name="three-plane localiser", visit=1, number=1, description="loc", becomes=LEFT_OUT, reason="localiser"),
    Quirk(name="Dixon in-phase series", visit=1, number=2, description="t1_vibe_dixon_tra_nativ_in",
          becomes=LEFT_OUT, reason="in- or opposed-phase"),
    Quirk(name="Dixon opposed-phase series", visit=1, number=3, description="t1_vibe_dixon_tra_nativ_opp",
          becomes=LEFT_OUT, reason="in- or opposed-phase"),
    Quirk(name="Dixon fat series", visit=1, number=4, description="t1_vibe_dixon_tra_nativ_F", becomes=LEFT_OUT,
          reason="fat image"),
    Quirk(name="Dixon water series, German native", visit=1, number=5, description="t1_vibe_dixon_tra_nativ_W",
          becomes="PRE"),
    Quirk(name="German arterial with umlaut", visit=1, number=6, description="VIBE spätarteriell_W", time="101000",
          becomes="ART", extra=(("SpecificCharacterSet", "ISO_IR 100"),)),
    Quirk(name="subtraction series", visit=1, number=7, description="t1_vibe_art_SUB", time="101000",
          becomes=LEFT_OUT, reason="subtraction", extra=_image_type("DERIVED", "SECONDARY", "SUBTRACTION")),
    Quirk(name="German portal venous", visit=1, number=8, description="t1_vibe_portalvenös_W", time="101045",
          becomes="PVP", extra=(("SpecificCharacterSet", "ISO_IR 100"),)),
    Quirk(name="German late phase", visit=1, number=9, description="t1_vibe_Spätphase_W", time="101300",
          becomes="DEL", extra=(("SpecificCharacterSet", "ISO_IR 192"),)),
    Quirk(name="T2 series", visit=1, number=10, description="t2_haste_cor", becomes=LEFT_OUT, reason="T2"),
    Quirk(name="diffusion series", visit=1, number=11, description="ep2d_diff_b50_800", becomes=LEFT_OUT,
          reason="diffusion"),
    Quirk(name="ADC map", visit=1, number=12, description="resolve_ADC", becomes=LEFT_OUT, reason="diffusion",
          extra=_image_type("DERIVED", "PRIMARY", "ADC")),
    Quirk(name="gaps between the slices, hepatobiliary", visit=1, number=13, description="t1_vibe_hbp", time="103000",
          becomes="HBP", extra=(("SliceThickness", 2.0), ("SpacingBetweenSlices", 3.0))),
    Quirk(name="early arterial beside late arterial", visit=1, number=14, description="t1_vibe_early art",
          time="100950", becomes=LEFT_OUT, reason="early arterial"),
    # 2: GE, English: a dynamic in one series told apart by the trigger time only; slices from head to feet.
    Quirk(name="GE trigger time, precontrast", visit=2, number=1, description="Ax LAVA Multi-Phase", becomes="PRE"),
    Quirk(name="GE trigger time, arterial", visit=2, number=1, description="Ax LAVA Multi-Phase", becomes="ART"),
    Quirk(name="GE trigger time, portal venous", visit=2, number=1, description="Ax LAVA Multi-Phase", becomes="PVP"),
    Quirk(name="GE trigger time, delayed", visit=2, number=1, description="Ax LAVA Multi-Phase", becomes="DEL"),
    Quirk(name="GE in-phase prefix", visit=2, number=20, description="InPhase: Ax LAVA-Flex", becomes=LEFT_OUT,
          reason="in- or opposed-phase"),
    Quirk(name="GE fat prefix", visit=2, number=21, description="FAT: Ax LAVA-Flex", becomes=LEFT_OUT,
          reason="fat image"),
    Quirk(name="GE water prefix, hepatobiliary by minutes", visit=2, number=22, description="WATER: Ax LAVA 20 min",
          time="103000", becomes="HBP", extra=(("ContrastBolusAgent", "EOVIST"),)),
    Quirk(name="coronal beside axial", visit=2, number=23, description="Cor LAVA arterial", time="100930",
          becomes=LEFT_OUT, reason="not axial", orientation=CORONAL),
    Quirk(name="three-plane localiser without a word for it", visit=2, number=24, description="FGRE",
          becomes=LEFT_OUT, reason="localiser: slices in 3 directions"),
    Quirk(name="projection", visit=2, number=25, description="Ax LAVA art MIP", becomes=LEFT_OUT,
          reason="projection"),
    Quirk(name="screen capture", visit=2, number=26, description="Screen Save", becomes=LEFT_OUT,
          reason="screen capture", extra=_image_type("DERIVED", "SECONDARY", "SCREEN SAVE")),
    Quirk(name="bolus tracking", visit=2, number=27, description="SmartPrep", becomes=LEFT_OUT,
          reason="bolus timing"),
    # 3: Philips, French: an enhanced file with the whole dynamic, private scaling, mDIXON images in one series.
    Quirk(name="enhanced multi-frame, precontrast", visit=3, number=3, description="dyn eTHRIVE", time="100000",
          becomes="PRE", slope=2.0),
    Quirk(name="enhanced multi-frame, arterial", visit=3, number=3, description="dyn eTHRIVE", time="101000",
          becomes="ART", slope=2.0),
    Quirk(name="enhanced multi-frame, portal venous", visit=3, number=3, description="dyn eTHRIVE", time="101045",
          becomes="PVP", slope=2.0),
    Quirk(name="mDIXON water among four images of one series", visit=3, number=4,
          description="mDIXON phase tardive", time="101300", becomes="DEL", slope=4.0),
    Quirk(name="mDIXON in-phase of the same series", visit=3, number=4, description="mDIXON phase tardive",
          time="101300", becomes=LEFT_OUT, reason="in- or opposed-phase"),
    Quirk(name="mDIXON opposed-phase of the same series", visit=3, number=4, description="mDIXON phase tardive",
          time="101300", becomes=LEFT_OUT, reason="in- or opposed-phase"),
    Quirk(name="mDIXON fat of the same series", visit=3, number=4, description="mDIXON phase tardive",
          time="101300", becomes=LEFT_OUT, reason="fat image"),
    Quirk(name="French localiser", visit=3, number=6, description="Repérage", becomes=LEFT_OUT, reason="localiser",
          extra=(("SpecificCharacterSet", "ISO_IR 100"),)),
    Quirk(name="French subtraction", visit=3, number=7, description="Soustraction artérielle", becomes=LEFT_OUT,
          reason="subtraction", extra=(("SpecificCharacterSet", "ISO_IR 100"),)),
    Quirk(name="parameter map", visit=3, number=8, description="PDFF map", becomes=LEFT_OUT, reason="parameter map"),
    Quirk(name="report beside images", visit=3, number=9, description="SR", becomes=LEFT_OUT,
          reason="modality SR, expected MR", extra=(("Modality", "SR"),)),
    Quirk(name="magnetic resonance cholangiography", visit=3, number=10, description="MRCP 3D", becomes=LEFT_OUT,
          reason="T2"),
    Quirk(name="second delayed series", visit=3, number=11, description="phase tardive 10 min", time="102000",
          becomes=LEFT_OUT, reason="another series of this contrast phase"),
    Quirk(name="image made from others", visit=3, number=12, description="artérielle", becomes=LEFT_OUT,
          reason="secondary image",
          extra=(*_image_type("DERIVED", "SECONDARY"), ("SpecificCharacterSet", "ISO_IR 100"))),
    Quirk(name="Philips survey", visit=3, number=13, description="Survey_BH", becomes=LEFT_OUT, reason="localiser"),
    # 4: Italian and Spanish, every compressed syntax, oblique, in a zip archive.
    Quirk(name="JPEG lossless, Italian", visit=4, number=3, description="THRIVE senza mdc", becomes="PRE"),
    Quirk(name="JPEG 2000, oblique", visit=4, number=4, description="fase arteriosa", time="101000", becomes="ART",
          orientation=OBLIQUE),
    Quirk(name="JPEG-LS", visit=4, number=5, description="fase portale", time="101045", becomes="PVP"),
    Quirk(name="RLE, Spanish", visit=4, number=6, description="fase tardía", time="101300", becomes="DEL",
          extra=(("SpecificCharacterSet", "ISO_IR 100"),)),
    Quirk(name="Spanish opposed phase", visit=4, number=7, description="T1 fuera de fase", becomes=LEFT_OUT,
          reason="in- or opposed-phase"),
    Quirk(name="Spanish localiser", visit=4, number=8, description="localizador", becomes=LEFT_OUT,
          reason="localiser"),
    Quirk(name="fluid-sensitive sequence", visit=4, number=9, description="STIR", becomes=LEFT_OUT, reason="T2"),
    Quirk(name="phase image", visit=4, number=10, description="T1", becomes=LEFT_OUT, reason="phase image",
          extra=_image_type("ORIGINAL", "PRIMARY", "P")),
    Quirk(name="echo time of another sequence", visit=4, number=11, description="axial", becomes=LEFT_OUT,
          reason="echo time 90 ms", extra=(("EchoTime", 90.0),)),
    Quirk(name="spin echo", visit=4, number=12, description="T1 ax", becomes=LEFT_OUT, reason="spin-echo",
          extra=(("ScanningSequence", "SE"),)),
    Quirk(name="diffusion by its b-value", visit=4, number=13, description="ax", becomes=LEFT_OUT,
          reason="diffusion", extra=(("DiffusionBValue", 800.0),)),
    Quirk(name="curved reformat", visit=4, number=14, description="MPR cor", becomes=LEFT_OUT,
          reason="projection or reformat"),
    Quirk(name="echo-planar sequence", visit=4, number=15, description="ax", becomes=LEFT_OUT, reason="echo-planar",
          extra=(("ScanningSequence", "EP"),)),
    Quirk(name="repetition time of another sequence", visit=4, number=16, description="axial", becomes=LEFT_OUT,
          reason="repetition time 500 ms", extra=(("RepetitionTime", 500.0),)),
    # 5: Dutch, silent descriptions, an examination over midnight, sent twice, on a disc with a DICOMDIR.
    Quirk(name="silent, before the injection", visit=5, number=3, description="mobiview", time="235500",
          becomes="PRE", extra=_INJECTED),
    Quirk(name="silent, 28 s after the injection over midnight", visit=5, number=4, description="axiaal",
          time="235958", becomes="ART", extra=_INJECTED + _AGENT),
    Quirk(name="acquired after midnight", visit=5, number=5, description="axiaal", time="000040", becomes="PVP",
          extra=(*_INJECTED, *_AGENT, ("AcquisitionDate", "20250106"))),
    Quirk(name="Dutch late phase, sent twice", visit=5, number=6, description="laat", time="000300", becomes="DEL",
          extra=(("AcquisitionDate", "20250106"), *_AGENT)),
    Quirk(name="two phases in one description", visit=5, number=7, description="art/port", time="000100",
          becomes=ASKS, reason="ART, PVP", extra=(("AcquisitionDate", "20250106"), *_AGENT)),
    Quirk(name="description against the clock", visit=5, number=8, description="blanco", time="000200", becomes=ASKS,
          reason="'blanco'; acquired 150 s after the injection",
          extra=(("AcquisitionDate", "20250106"), ("ContrastBolusStartTime", "235930"), *_AGENT)),
    Quirk(name="nothing to tell from", visit=5, number=9, description="Series 9", becomes=ASKS,
          extra=(("AcquisitionTime", ""), *_AGENT)),
    Quirk(name="single image", visit=5, number=10, description="Snapshot", becomes=LEFT_OUT,
          reason="a single image"),
    Quirk(name="angiography", visit=5, number=11, description="MRA aorta", becomes=LEFT_OUT, reason="angiography"),
    Quirk(name="another modality at the visit", visit=5, number=12, description="US", becomes=LEFT_OUT,
          reason="modality US, expected MR", extra=(("Modality", "US"),)),
    Quirk(name="Dutch opposed phase", visit=5, number=13, description="dual echo", becomes=LEFT_OUT,
          reason="in- or opposed-phase"),
    Quirk(name="coronal repeat of unclear time", visit=5, number=14, description="cor", orientation=CORONAL,
          becomes=LEFT_OUT, reason="not axial", extra=(("AcquisitionTime", ""), *_AGENT)),
    Quirk(name="Portuguese subtraction", visit=5, number=15, description="subtração", becomes=LEFT_OUT,
          reason="subtraction", extra=(("SpecificCharacterSet", "ISO_IR 100"),)),
)  # fmt: skip
_COMPRESSED = {3: JPEGLosslessSV1, 4: JPEG2000Lossless, 5: JPEGLSLossless, 6: RLELossless}
_MDIXON = {"mDIXON water": "W", "mDIXON in-phase": "IP", "mDIXON opposed": "OP", "mDIXON fat": "F"}


def build(folder: Path) -> Path:
    """Write the hospital's export; return the data folder."""
    for quirk in QUIRKS:
        if quirk.visit in (1, 5):
            _write_plain(folder, quirk)
    _three_directions(folder / "1/001")
    _write_visit_2(folder)
    _write_visit_3(folder)
    _write_visit_4(folder)
    _finish_visit_5(folder)
    return folder


def _write_plain(folder: Path, quirk: Quirk) -> None:
    files = write_series(folder / f"{quirk.visit}/{quirk.number:03d}", quirk.plan)
    if quirk.number % 2:
        # Interleaved: the odd slices were acquired and numbered first.
        for place, file in enumerate(files):
            dataset = dcmread(file)
            dataset.InstanceNumber = place // 2 + 1 + (len(files) + 1) // 2 * (place % 2)
            dataset.save_as(file)


def _three_directions(folder: Path) -> None:
    for file, orientation in zip(
        sorted(folder.iterdir()), (AXIAL, CORONAL, (0, 1, 0, 0, 0, -1)), strict=False
    ):
        dataset = dcmread(file)
        dataset.ImageOrientationPatient = list(orientation)
        dataset.save_as(file)


def _write_visit_2(folder: Path) -> None:
    home = folder / "2 GE"
    for position, (quirk, trigger) in enumerate(
        zip([item for item in QUIRKS if item.visit == 2][:4], (0, 580_000, 625_000, 780_000), strict=True)
    ):
        plan = quirk.plan
        plan.extra.update(TriggerTime=float(trigger), InstanceNumber=None)
        files = write_series(home / f"LAVA{position}", plan)
        for place, file in enumerate(files):
            dataset = dcmread(file)
            dataset.InstanceNumber = 4 * (len(files) - place) + position
            dataset.save_as(file)
    for quirk in QUIRKS:
        if quirk.visit == 2 and quirk.number > 1:
            write_series(home / f"{quirk.number}", quirk.plan)
    _three_directions(home / "24")


def _write_visit_3(folder: Path) -> None:
    home = folder / "3"
    members = [item for item in QUIRKS if item.visit == 3]
    dynamic = [item.plan for item in members if item.number == 3]
    write_enhanced(home / "EnhancedMR", dynamic, private_slope=0.5)
    for quirk in members:
        if quirk.number == 4:
            kind = next(letter for name, letter in _MDIXON.items() if quirk.name.startswith(name))
            plan = quirk.plan
            plan.extra.update(ImageType=["DERIVED", "PRIMARY", kind, kind, "DERIVED"], RescaleSlope=3.0)
            for file in write_series(home / f"mdixon {kind}", plan):
                dataset = dcmread(file)
                block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
                block.add_new(0x0E, "FL", 0.25)
                dataset.save_as(file)
        elif quirk.number > 4:
            write_series(home / f"{quirk.number}", quirk.plan)


def _write_visit_4(folder: Path) -> None:
    home = folder / "unpacked"
    for quirk in QUIRKS:
        if quirk.visit != 4:
            continue
        for file in write_series(home / f"{quirk.number}", quirk.plan):
            if quirk.number in _COMPRESSED:
                compress(file, _COMPRESSED[quirk.number])
    with zipfile.ZipFile(folder / f"{SECRETS[0]} export.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(sorted(home.rglob("IM*"))):
            archive.write(file, f"../../{SECRETS[0]}/{number}")
    shutil.rmtree(home)


def compress(file: Path, syntax: str) -> None:
    """Compress the pixels of a file without loss."""
    dataset = dcmread(file)
    if syntax == JPEGLosslessSV1:
        dataset.PixelData = encapsulate([encode(dataset.pixel_array)])
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(file)


def _finish_visit_5(folder: Path) -> None:
    home = folder / "5"
    for file in sorted((home / "006").iterdir()):
        dataset = dcmread(file)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=[file.name]
        )
        dataset.save_as(file.with_name(f"{file.name} (copy)"))
    for file in sorted((home / "010").iterdir())[1:]:
        file.unlink()
    files = FileSet()
    for file in sorted(home.rglob("IM*")):
        files.add(file)
    files.write(folder / "disc")
    # pydicom leaves the folder it stages files in to the garbage collector, which warns.
    files._stage["t"].cleanup()
    shutil.rmtree(home)


def stored_values(quirk: Quirk) -> np.ndarray[Any, Any]:
    """Return the intensities that a quirk's volume must have, ``[column, row, slice]``."""
    planes = [pixel_values(quirk.plan, index).T for index in range(quirk.plan.slices)]
    return np.stack(planes, axis=2) * quirk.slope
