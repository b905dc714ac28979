"""The documents say what the program has: commands, options, settings, columns; and their examples run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mrresponse import cli, config, domain, edits, run_rows
from mrresponse.report import LesionTableRow
from mrresponse.respond import AgreementRow, CohortRow
from mrresponse.tables import column_names

COMMANDS: dict[str, Any] = getattr(typer.main.get_command(cli.app), "commands")  # noqa: B009  (click's group)

TABLES = {
    "studies.csv": domain.StudyRecord,
    "tracks.csv": run_rows.TrackRow,
    "registrations.csv": domain.RegistrationRecord,
    "measurements.csv": domain.Measurement,
    "assessments.csv": domain.Assessment,
    "phases.csv": domain.PhaseSummary,
    "roles.csv": domain.RoleRecord,
    "treatment_phases.csv": domain.TreatmentPhase,
    "marker_responses.csv": domain.MarkerSummary,
    "cohort.csv": CohortRow,
    "agreement.csv": AgreementRow,
    "agreement_visits.csv": domain.AgreementVisit,
    "flags.csv": domain.Flag,
    "failures.csv": run_rows.FailureRow,
    "audit.csv": domain.AuditRow,
    "patients.csv": run_rows.PatientRow,
    "treatments.csv": domain.Treatment,
    "findings.csv": domain.Finding,
    "markers.csv": domain.Marker,
}
GIVEN = {
    **{name: TABLES[name] for name in ("treatments.csv", "findings.csv", "markers.csv", "patients.csv")},
    "overrides.csv": domain.Override,
    "edits/measurements.csv": domain.MeasurementEdit,
    "edits/lesions.csv": domain.LesionEdit,
    "edits/masks.csv": edits.MaskReader,
}


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    return (checkout / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outputs(readme: str) -> str:
    return readme.split("\n## Columns of every table\n")[1].split("\n## ")[0]


def console_lines(text: str) -> list[str]:
    """Collect the commands of the console blocks of a page."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    return [
        line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")
    ]


def documented_names(text: str) -> set[str]:
    """Collect everything that a page writes as code."""
    return set(re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_has_help(command: str, readme: str) -> None:
    assert re.search(rf"`(mrresponse )?{command}\b", readme)
    assert COMMANDS[command].help
    assert all(parameter.help for parameter in COMMANDS[command].params if hasattr(parameter, "help"))


def test_every_command_line_of_the_readme_names_commands_and_options_that_exist(readme: str) -> None:
    lines = [shlex.split(line) for line in console_lines(readme)]
    own = [words for words in lines if words[0] == "mrresponse"]
    assert own
    for words in own:
        options = {name for parameter in COMMANDS[words[1]].params for name in parameter.opts}
        assert {word for word in words[2:] if word.startswith("--")} <= options, words


def test_every_script_of_the_readme_exists(readme: str, checkout: Path) -> None:
    for line in console_lines(readme):
        if line.startswith("scripts/"):
            assert (checkout / line).stat().st_mode & 0o111, line


def test_every_option_the_readme_mentions_exists(readme: str, checkout: Path) -> None:
    known = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}
    for script in (checkout / "scripts").glob("*.py"):
        known |= set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script.read_text(encoding="utf-8")))
    mentioned = {word for name in documented_names(readme) for word in re.findall(r"--[a-z-]+", name)}
    assert mentioned - {"--help", "--index-url", "--all"} <= known


def test_every_link_between_the_documents_leads_somewhere(checkout: Path) -> None:
    for page in [checkout / "README.md", checkout / "SECURITY.md", *sorted((checkout / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_column_of_a_table_is_documented(table: str, outputs: str) -> None:
    names = documented_names(outputs)
    families = tuple(name.removesuffix("…") for name in names if name.endswith("_…"))
    missing = {
        name for name in column_names(TABLES[table]) if name not in names and not name.startswith(families)
    }
    assert table in outputs
    assert not missing


def test_every_column_of_the_lesion_table_is_documented(outputs: str) -> None:
    columns = {field.name for field in fields(LesionTableRow)} - {"cells"}
    assert columns <= documented_names(outputs)


@pytest.mark.parametrize("table", sorted(GIVEN))
def test_every_column_that_a_user_can_give_is_in_the_readme(table: str, readme: str) -> None:
    assert table in readme
    assert set(column_names(GIVEN[table])) <= documented_names(readme)


@pytest.mark.parametrize(
    "words", [domain.MeasurementState, domain.FindingKind, domain.ContrastPhase, domain.NewLesionStatus]
)
def test_every_word_of_the_tables_is_in_the_readme(words: type[domain.MeasurementState], readme: str) -> None:
    assert {word.value for word in words} <= documented_names(readme)


def test_the_python_example_of_the_readme_is_valid_and_uses_public_names(readme: str) -> None:
    import mrresponse

    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    compile(example, "README.md", "exec")
    (names,) = re.findall(r"from mrresponse import (.*)", example)
    assert set(names.split(", ")) <= set(mrresponse.__all__)


def test_the_default_configuration_equals_the_defaults_of_the_code(checkout: Path) -> None:
    assert config.load_settings(checkout / "configs" / "default.yaml") == config.Settings()


def test_the_default_configuration_states_every_setting(checkout: Path) -> None:
    stated = yaml.safe_load((checkout / "configs" / "default.yaml").read_text(encoding="utf-8"))
    assert set(setting_names(config.Settings())) == set(leaf_names(stated, config.Settings()))


def test_every_setting_of_the_default_configuration_has_a_comment(checkout: Path) -> None:
    explained = False
    for line in (checkout / "configs" / "default.yaml").read_text(encoding="utf-8").splitlines():
        if re.match(r" +[a-z_]+:", line):
            assert explained or "# " in line, line
        else:
            explained = line.lstrip().startswith("#")


@pytest.mark.parametrize("name", ["default.yaml", "cpu.yaml"])
def test_every_published_configuration_can_be_loaded(name: str, checkout: Path) -> None:
    config.load_settings(checkout / "configs" / name)


def test_the_readme_commands_marked_as_tested_run(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(
        r"<!-- these commands are run by the tests -->\n(```console\n.*?```)", readme, flags=re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    for line in console_lines(block):
        assert cli.main(shlex.split(line)[1:]) == 0, line + capsys.readouterr().err
    (outputs,) = re.findall(r"\n## Outputs\n(.*?)\n### ", readme, flags=re.DOTALL)
    for name in documented_names(outputs):
        assert (tmp_path / "run" / name).exists(), name
    assert list((tmp_path / "run" / "report").glob("*.html"))


def setting_names(settings: Any, prefix: str = "") -> Iterator[str]:
    """Name every setting by its dotted key, nested ones by their own."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from setting_names(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def leaf_names(stated: dict[str, Any], settings: Any, prefix: str = "") -> Iterator[str]:
    """Name every stated key in the same way."""
    for key, value in stated.items():
        inner = getattr(settings, key)
        if is_dataclass(inner):
            yield from leaf_names(value, inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
