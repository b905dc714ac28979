"""Files of other projects, whole and damaged, are read or refused with one line, in bounded time and memory."""

import subprocess
import sys
from pathlib import Path

import nibabel
import pydicom.data
import pytest

_LEAST_FILES = 100
# Two cores that are busy with other things; alone it takes a few seconds.
_SECONDS = 240
_BYTES = 6 * 1024**3

PROGRAM = """
import resource, shutil, sys
from pathlib import Path
from mrresponse.errors import DataError
from mrresponse.ingest import IngestSettings, ingest
from mrresponse.ingest.headers import read_headers
from mrresponse.ingest.volume import read_volume

resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
work, damage = Path(sys.argv[1]), sys.argv[2]

def spoilt(content, damage):
    half = len(content) // 2
    match damage:
        case "whole":
            return content
        case "cut":
            return content[:half]
        case "cut in the header":
            return content[:400]
        case "flipped":
            return bytes(255 - byte if at % 97 == 50 and at > 140 else byte for at, byte in enumerate(content))

def outcome(file):
    data = work / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    copy = data / "file"
    copy.write_bytes(spoilt(file.read_bytes(), damage))
    said = []
    try:
        found = ingest(data, IngestSettings())
        said += [failure.code for failure in found.failures]
    except DataError as error:
        said.append(error.code)
    for item in read_headers(copy).slices[:1]:
        frames = [] if item.frame is None else [0, 1]
        try:
            read_volume([copy] * max(len(frames), 1), frames)
            said.append("read")
        except DataError as error:
            assert "\\n" not in error.message and str(work) not in error.message
            said.append(error.code)
    return said

for line in sys.stdin:
    print(outcome(Path(line.strip())))
"""


def corpus():
    homes = [Path(pydicom.data.__file__).parent, Path(nibabel.__file__).parent]
    found = [
        path
        for home in homes
        for path in sorted(home.rglob("*"))
        if path.suffix in (".dcm", ".dicom", ".img") or path.name.startswith(("DICOMDIR", "dicomdir"))
    ]
    return [path for path in found if path.is_file()]


@pytest.mark.parametrize("damage", ["whole", "cut", "cut in the header", "flipped"])
def test_every_file_is_read_or_refused_with_one_line(tmp_path, damage):
    files = corpus()
    assert len(files) >= _LEAST_FILES
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(limit=_BYTES), str(tmp_path), damage],
        input="\n".join(map(str, files)),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(files)
    assert "Traceback" not in done.stderr
