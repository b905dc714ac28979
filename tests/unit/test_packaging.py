"""The wheel carries what the program needs, and says what it is."""

import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import mrresponse
from mrresponse import resources


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the tree by the build backend of this environment, so nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, checkout)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel; the libraries are borrowed from this one by a path file."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile",
        "--prefix", folder, "--ignore-installed", wheel,
    )  # fmt: skip
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command, fail with what it said, and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names_in(archive: Path, folder: str) -> set[str]:
    """List the files of an archive below a folder."""
    return {
        name.removeprefix(f"{folder}/")
        for name in zipfile.ZipFile(archive).namelist()
        if name.startswith(f"{folder}/")
    }


def distribution(name: str) -> str:
    """Write the name of a distribution as package indexes compare it."""
    return name.replace("_", "-").casefold()


def files_below(folder: Path) -> set[str]:
    """List the files below a folder, as an archive would name them."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_version_is_the_same_everywhere(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert mrresponse.__version__ == project["version"]
    assert f"## [{project['version']}]" in (checkout / "CHANGELOG.md").read_text()


def test_every_dependency_has_a_tested_version(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    lines = (checkout / "scripts" / "constraints.txt").read_text().splitlines()
    tested = {distribution(line.partition("==")[0]) for line in lines if "==" in line}
    assert {distribution(requirement.partition(">")[0]) for requirement in wanted} <= tested


def test_a_checkout_uses_the_folders_at_its_top(checkout: Path) -> None:
    assert resources.configs_folder() == checkout / "configs"
    assert resources.models_folder() == checkout / "models"


def test_the_wheel_carries_configs_and_models_whole(checkout: Path, wheel: Path) -> None:
    assert names_in(wheel, "mrresponse/_data/configs") == files_below(checkout / "configs")
    assert names_in(wheel, "mrresponse/_data/models") == files_below(checkout / "models")


def test_the_wheel_carries_every_module_and_template_and_nothing_else(checkout: Path, wheel: Path) -> None:
    package = {name for name in files_below(checkout / "mrresponse") if "__pycache__" not in name}
    carried = {name for name in names_in(wheel, "mrresponse") if not name.startswith("_data/")}
    assert carried == package
    assert {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()} == {
        "mrresponse",
        f"mrresponse-{mrresponse.__version__}.dist-info",
    }


def test_the_installed_wheel_finds_its_own_files(empty_environment: Path, tmp_path: Path) -> None:
    code = "from mrresponse import resources as r; print(r.configs_folder(), r.models_folder(), sep='\\n')"
    configs, models = run(empty_environment / "bin" / "python", "-c", code, cwd=tmp_path).splitlines()
    assert configs.startswith(str(empty_environment))
    assert (Path(configs) / "default.yaml").is_file()
    assert list(Path(models).glob("*/configs/metadata.json"))


def test_the_installed_command_runs_from_another_folder(empty_environment: Path, tmp_path: Path) -> None:
    command = empty_environment / "bin" / "mrresponse"
    command.write_text(f"#!{empty_environment}/bin/python\n" + command.read_text().partition("\n")[2])
    assert "check" in run(command, "--help", cwd=tmp_path)
    assert mrresponse.__version__ in run(command, "--version", cwd=tmp_path)


@pytest.mark.slow
def test_the_installed_wheel_assesses_a_synthetic_patient(empty_environment: Path, tmp_path: Path) -> None:
    program = (empty_environment / "bin" / "python", "-c", "from mrresponse.cli import entry; entry()")
    run(*program, "phantom", "--scenario", "R1", "--size", "tiny", "--out", "p", cwd=tmp_path)
    run(*program, "run", "p/data", "--masks", "p/truth/masks", "--out", "r", cwd=tmp_path)
    run(*program, "run", "p/data", "--out", "n", cwd=tmp_path)
    assert (tmp_path / "r" / "assessments.csv").is_file()
    assert (tmp_path / "n" / "assessments.csv").is_file()


def test_the_source_distribution_builds_the_same_wheel(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, checkout)
    (again,) = tmp_path.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_the_package_is_the_command() -> None:
    assert (
        run(sys.executable, "-m", "mrresponse", "--version").strip() == f"mrresponse {mrresponse.__version__}"
    )
