"""Settings come from one YAML file, and a misspelt key is never ignored."""

from pathlib import Path

import pytest

from mrresponse.config import Settings, as_mapping, load_settings, settings_digest, settings_from
from mrresponse.errors import ConfigError
from mrresponse.resources import configs_folder


def test_an_unknown_key_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"segment\.divice: unknown key; did you mean 'device'\?"):
        settings_from({"segment": {"divice": "cpu"}})


def test_an_unknown_section_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour: unknown key"):
        settings_from({"colour": {}})


def test_a_wrong_type_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"segment\.overlap"):
        settings_from({"segment": {"overlap": "wide"}})


@pytest.mark.parametrize("content", [["a"], "text", {"segment": 3}])
def test_something_else_than_a_table_is_refused(content: object) -> None:
    with pytest.raises(ConfigError):
        settings_from(content)


def test_yaml_that_cannot_be_parsed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("segment: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        load_settings(file)


@pytest.mark.parametrize(
    "text",
    [
        "measure:\n  aphe_sd: 1.0\n  aphe_sd: 2.0\n",
        "measure:\n  aphe_sd: 1.0\nlesions: {}\nmeasure:\n  thin_mm: 1.0\n",
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"found the key '(aphe_sd|measure)' twice"):
        load_settings(file)


def test_a_table_may_be_merged_into_another_and_its_keys_be_set_anew(tmp_path: Path) -> None:
    file = tmp_path / "anchor.yaml"
    file.write_text(
        "prepare: {registration: &own {iterations: 3, coarse_mm: 9}}\n"
        "track: {registration: {<<: *own, iterations: 4}}\n"
    )
    settings = load_settings(file)
    assert (settings.prepare.registration.iterations, settings.track.registration.iterations) == (3, 4)
    assert settings.track.registration.coarse_mm == 9


def test_yaml_tags_are_not_executed(tmp_path: Path) -> None:
    file = tmp_path / "tag.yaml"
    file.write_text("segment: !!python/object/apply:os.getcwd []", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        load_settings(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_settings(tmp_path / "none.yaml")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("", encoding="utf-8")
    assert load_settings(file) == Settings()


def test_the_shipped_default_configuration_equals_the_defaults() -> None:
    assert load_settings(configs_folder() / "default.yaml") == Settings()


def test_settings_survive_the_run_record() -> None:
    assert settings_from(as_mapping(Settings())) == Settings()


def test_the_digest_tells_settings_apart() -> None:
    other = settings_from({"segment": {"overlap": 0.5}})
    assert settings_digest(other) != settings_digest(Settings())
    assert settings_digest(Settings()) == settings_digest(Settings())
