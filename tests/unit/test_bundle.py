"""Model folders are trusted only when complete and unaltered."""

import hashlib
import json
from pathlib import Path

import pytest

from mrresponse.domain import Certainty
from mrresponse.errors import ModelError
from mrresponse.segment.bundle import read_model_card, verify_weights

WEIGHTS = b"not really weights"


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models" / "model.pt").write_bytes(WEIGHTS)
    write_metadata(folder)
    return folder


def write_metadata(folder: Path, **changes: object) -> None:
    metadata: dict[str, object] = {
        "name": "liver-mr",
        "version": "0.1.0",
        "architecture": "segresnet",
        "architecture_arguments": {"spatial_dims": 3},
        "spacing_mm": [3.0, 3.0, 3.0],
        "window": [128, 112, 64],
        "normalisation": "normalise_liver_input",
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    }
    metadata.update(changes)
    kept = {key: value for key, value in metadata.items() if value is not None}
    (folder / "configs" / "metadata.json").write_text(json.dumps(kept), encoding="utf-8")


def test_card_holds_what_the_metadata_says(model_folder: Path) -> None:
    card = read_model_card(str(model_folder))
    assert card.title == "liver-mr 0.1.0"
    assert card.spacing_mm == (3.0, 3.0, 3.0)
    assert card.window == (128, 112, 64)
    verify_weights(card)


def test_altered_weights_are_refused(model_folder: Path) -> None:
    card = read_model_card(str(model_folder))
    (model_folder / "models" / "model.pt").write_bytes(WEIGHTS + b"!")
    with pytest.raises(ModelError, match="SHA-256"):
        verify_weights(card)


def test_missing_weights_are_named(model_folder: Path) -> None:
    card = read_model_card(str(model_folder))
    card.weights.unlink()
    with pytest.raises(ModelError, match=r"model\.pt cannot be read"):
        verify_weights(card)


@pytest.mark.parametrize("key", ["name", "architecture", "window", "sha256"])
def test_a_missing_field_is_named(model_folder: Path, key: str) -> None:
    write_metadata(model_folder, **{key: None})
    with pytest.raises(ModelError, match=key):
        read_model_card(str(model_folder))


@pytest.mark.parametrize("window", [[128, 112], "large", [1, 2, "x"]])
def test_a_malformed_field_is_refused(model_folder: Path, window: object) -> None:
    write_metadata(model_folder, window=window)
    with pytest.raises(ModelError, match="malformed"):
        read_model_card(str(model_folder))


def test_a_network_says_how_sure_it_must_be(model_folder: Path) -> None:
    assert read_model_card(str(model_folder)).certainty == Certainty(
        threshold=0.5, least_peak=0.7, least_mean=0.5
    )
    write_metadata(model_folder, certainty={"threshold": 0.75, "least_peak": 0.95})
    assert read_model_card(str(model_folder)).certainty == Certainty(
        threshold=0.75, least_peak=0.95, least_mean=0.5
    )


@pytest.mark.parametrize(
    "certainty",
    [{"threshold": 0}, {"threshold": 1.5}, {"peak": 0.9}, {"least_mean": "high"}, [0.75, 0.9], 0.75],
)
def test_a_malformed_certainty_is_refused(model_folder: Path, certainty: object) -> None:
    write_metadata(model_folder, certainty=certainty)
    with pytest.raises(ModelError, match="malformed"):
        read_model_card(str(model_folder))


def test_a_model_that_is_run_otherwise_is_another_one(model_folder: Path) -> None:
    """Finished studies are computed again where anything that decides is another, and not where it is told of only."""

    def digest(**changes: object) -> str:
        write_metadata(model_folder, **changes)
        return read_model_card(str(model_folder)).description_digest

    before = digest()
    assert digest(figures={"liver_dice": 0.9}, version="0.1.1") == before
    changes: list[dict[str, object]] = [
        {"certainty": {"threshold": 0.6}},
        {"window": [96, 96, 48]},
        {"spacing_mm": [2.0, 2.0, 3.0]},
        {"normalisation": "window_lesion_input"},
        {"architecture_arguments": {"spatial_dims": 2}},
    ]
    assert len({before, *(digest(**change) for change in changes)}) == 6


def test_an_unknown_model_name_is_refused() -> None:
    with pytest.raises(ModelError, match="no-such-model"):
        read_model_card("no-such-model")


def test_metadata_that_is_not_json_is_refused(model_folder: Path) -> None:
    (model_folder / "configs" / "metadata.json").write_text("name: x", encoding="utf-8")
    with pytest.raises(ModelError, match="not JSON"):
        read_model_card(str(model_folder))
