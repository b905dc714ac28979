"""What is loaded when: each question is put to a fresh interpreter and answered from its list of modules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mrresponse

HEAVY = ("torch", "monai", "SimpleITK", "skimage", "scipy", "matplotlib", "pandas", "nibabel", "pydicom")


def loaded_modules(code: str, folder: Path) -> set[str]:
    """Run code in a fresh interpreter and return the modules that it loaded."""
    report = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", report], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_importing_the_package_loads_no_heavy_library(checkout: Path) -> None:
    loaded = loaded_modules("import mrresponse", checkout)
    assert loaded.isdisjoint(HEAVY)
    assert not {name for name in loaded if name.startswith("mrresponse.")} - {"mrresponse.errors"}


def test_every_public_name_can_be_had_from_the_package(checkout: Path) -> None:
    loaded_modules("import mrresponse\nfor name in mrresponse.__all__: getattr(mrresponse, name)", checkout)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        mrresponse.no_such_name  # noqa: B018  (reading the attribute is the test)


@pytest.mark.parametrize("arguments", [["--help"], ["respond", "--help"], ["run", "--help"]])
def test_help_loads_no_heavy_library(arguments: list[str], checkout: Path) -> None:
    loaded = loaded_modules(f"from mrresponse.cli import main\nassert main({arguments}) == 0", checkout)
    assert loaded.isdisjoint(HEAVY)


def test_respond_runs_without_torch(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP1,2020-01-01\nP1,2020-03-01\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,reader,state,longest_diameter_mm\n"
        "P1,L01,2020-01-01,A,measured,50.0\n"
        "P1,L01,2020-03-01,A,measured,30.0\n"
    )
    respond = f"from mrresponse.cli import main\nassert main(['respond', {str(tmp_path)!r}]) == 0"
    loaded = loaded_modules(respond, checkout)
    assert loaded.isdisjoint({"torch", "monai"})
    assert (tmp_path / "assessments.csv").is_file()
