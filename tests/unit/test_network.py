"""Networks are built from verified weights, and a probability comes back on the grid that went in."""

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrresponse.domain import ContrastPhase, Grid, Image, LabelMap, PreparedStudy, Series, Study
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.nifti import write_label_map
from mrresponse.segment import SegmentSettings, make_segmenter
from mrresponse.segment.bundle import read_model_card
from mrresponse.segment.models import check_models
from mrresponse.segment.network import (
    LESION_CHANNELS,
    fitting_window,
    lesion_probability,
    liver_probability,
    load_lesion_network,
    load_liver_network,
    load_network,
    resolve_device,
)
from mrresponse.segment.precision import autocast

torch = pytest.importorskip("torch")

ARGUMENTS = {"spatial_dims": 3, "init_filters": 8, "blocks_down": [1, 1, 1, 1], "blocks_up": [1, 1, 1]}
FLOAT32 = SegmentSettings(device="cpu", precision="float32", threads=1)
STEP = 1 / 4096
"""Probabilities are rounded to this."""


def make_model(
    folder: Path, *, channels: int, classes: int, window: tuple[int, int, int], **changes: Any
) -> Path:
    """Write a model folder with random weights of a fixed seed."""
    from mrresponse.segment.architectures import ARCHITECTURES

    arguments = {
        **ARGUMENTS,
        "in_channels": channels,
        "out_channels": classes,
        "upsample_mode": "nontrainable",
    }
    torch.manual_seed(3)
    network = ARCHITECTURES["segresnet"](**arguments)
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    weights = folder / "models" / "model.pt"
    torch.save({name: value.half() for name, value in network.state_dict().items()}, weights)
    metadata = {
        "name": folder.name,
        "version": "0",
        "architecture": "segresnet",
        "architecture_arguments": arguments,
        "spacing_mm": [3.0, 3.0, 3.0],
        "window": window,
        "normalisation": "window_lesion_input",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    metadata.update(changes)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def liver_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "liver", channels=1, classes=2, window=(32, 32, 16))


@pytest.fixture(scope="module")
def lesion_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(
        tmp_path_factory.mktemp("models") / "lesion", channels=6, classes=3, window=(32, 32, 16)
    )


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    i, j, k = spacing
    return Grid(shape=shape, affine_rows=((i, 0.0, 0.0, 0.0), (0.0, j, 0.0, 0.0), (0.0, 0.0, k, 0.0)))


def study_of(image: Image, phase: ContrastPhase = ContrastPhase.PORTAL_VENOUS) -> PreparedStudy:
    """Return a prepared study of one image that is liver everywhere."""
    return PreparedStudy(
        study=Study(patient_id="P1", study_date=date(2024, 1, 1)),
        grid=image.grid,
        native_grid=image.grid,
        crop_start=(0, 0, 0),
        images={phase: image},
        reference=phase,
        liver=LabelMap(voxels=np.ones(image.grid.shape, np.uint16), grid=image.grid),
        liver_probability=replace(image, voxels=np.ones(image.grid.shape, np.float32)),
    )


def noise_image(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Image:
    voxels = np.random.default_rng(5).uniform(10, 200, shape).astype(np.float32)
    return Image(voxels=voxels, grid=grid(shape, spacing))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((50, 41, 9), (1.5, 1.5, 7.7)), ((24, 24, 16), (3.0, 3.0, 3.0)), ((7, 5, 3), (2, 2, 2))],
)
def test_liver_probability_lies_on_the_grid_that_went_in(
    liver_model: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    network = load_network(read_model_card(str(liver_model)), FLOAT32)
    image = noise_image(shape, spacing)
    probability = liver_probability(network, image)
    assert probability.grid == image.grid
    assert probability.voxels.shape == shape
    assert probability.voxels.dtype == np.float32
    assert 0.0 <= float(probability.voxels.min()) <= float(probability.voxels.max()) <= 1.0


def test_an_empty_image_is_answered_without_a_number_that_is_not_one(liver_model: Path) -> None:
    network = load_network(read_model_card(str(liver_model)), FLOAT32)
    blank = Image(voxels=np.zeros((16, 16, 8), np.float32), grid=grid((16, 16, 8), (3, 3, 3)))
    assert np.isfinite(liver_probability(network, blank).voxels).all()


def test_intensity_scale_does_not_matter_to_the_liver_network(liver_model: Path) -> None:
    network = load_network(read_model_card(str(liver_model)), FLOAT32)
    image = noise_image((24, 24, 16), (3.0, 3.0, 3.0))
    louder = replace(image, voxels=image.voxels * 40)
    np.testing.assert_allclose(
        liver_probability(network, image).voxels, liver_probability(network, louder).voxels, atol=STEP
    )


def test_windows_answered_together_are_answered_as_one_by_one(liver_model: Path) -> None:
    network = load_network(read_model_card(str(liver_model)), FLOAT32)
    image = noise_image((60, 44, 36), (3.0, 3.0, 3.0))
    asked: list[int] = []

    def counted(inputs: Any) -> Any:
        asked.append(len(inputs))
        return network.module(inputs)

    together = liver_probability(replace(network, module=counted, windows_at_once=4), image)
    # windows of 32 x 32 x 16 that overlap by a quarter, on 64 x 48 x 40 voxels: 3 x 2 x 3
    assert asked == [4, 4, 4, 4, 2]
    np.testing.assert_allclose(together.voxels, liver_probability(network, image).voxels, atol=STEP)


def test_float32_on_cuda_keeps_all_its_digits() -> None:
    assert torch.backends.cudnn.allow_tf32
    with autocast("cuda", "float32")():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("asked", "has", "formats"),
    [
        ("auto", {"avx512_bf16": True}, (torch.bfloat16, torch.float32)),
        ("auto", {"avx512_bf16": True, "cpu_name": "Intel Xeon"}, (torch.float32, torch.float32)),
        ("auto", {"amx_bf16": True, "cpu_name": "Intel Xeon"}, (torch.bfloat16, torch.float32)),
        ("auto", {}, (torch.float32, torch.float32)),
        ("bfloat16", {}, (torch.bfloat16, torch.bfloat16)),
        ("float32", {"amx_bf16": True}, (torch.float32, torch.float32)),
    ],
)
def test_by_itself_the_liver_network_alone_computes_in_bfloat16_where_that_is_faster(
    liver_model: Path,
    lesion_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    has: dict[str, Any],
    formats: tuple[Any, Any],
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    settings = replace(FLOAT32, precision=asked, liver_model=str(liver_model), lesion_model=str(lesion_model))
    networks = load_liver_network(settings), load_lesion_network(settings)
    for network, expected in zip(networks, formats, strict=True):
        with torch.inference_mode(), network.autocast():
            channels = network.card.architecture_arguments["in_channels"]
            assert network.module(torch.zeros(1, channels, 8, 8, 8)).dtype is expected


@pytest.mark.gpu
def test_cuda_answers_as_the_processor_does() -> None:
    answers = []
    for device in ("cpu", "cuda"):
        settings = replace(SegmentSettings(), device=device)
        network = load_network(read_model_card(settings.lesion_model), settings)
        images = {phase: noise_image((96, 80, 48), (3.0, 3.0, 3.0)) for phase in LESION_CHANNELS[:4]}
        study = study_of(images[ContrastPhase.ARTERIAL], ContrastPhase.ARTERIAL)
        answers.append(lesion_probability(network, replace(study, images=images)).voxels)
    np.testing.assert_allclose(*answers, atol=4 * STEP)


def out_of_memory_above(largest: int) -> Any:
    """Return a network that finds the graphics memory too small for windows of more voxels."""

    def network(inputs: Any) -> Any:
        if inputs[0, 0].numel() > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros((1, 2, *inputs.shape[2:]))

    return network


def test_a_graphics_memory_that_is_too_small_is_a_failure_by_name(liver_model: Path) -> None:
    network = replace(load_network(read_model_card(str(liver_model)), FLOAT32), module=out_of_memory_above(0))
    with pytest.raises(DataError, match="graphics memory is too small") as refused:
        liver_probability(network, noise_image((16, 16, 8), (3.0, 3.0, 3.0)))
    assert refused.value.code == "gpu_memory"


def test_windows_can_be_a_share_of_the_models(liver_model: Path) -> None:
    card = read_model_card(str(liver_model))
    assert load_network(card, FLOAT32).window == card.window
    halves = load_network(card, replace(FLOAT32, window_share=0.5)).window
    assert halves == tuple(max(8, size // 2 // 8 * 8) for size in card.window)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_of_windows_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"segment\.window_share"):
        check_models(replace(FLOAT32, window_share=share))


def test_lesion_network_takes_any_subset_of_contrast_phases(lesion_model: Path) -> None:
    network = load_network(read_model_card(str(lesion_model)), FLOAT32)
    image = noise_image((20, 20, 10), (1.5, 1.5, 3.0))
    prepared = study_of(image)
    one_phase = lesion_probability(network, prepared)
    assert one_phase.grid == image.grid
    both = replace(prepared, images={**prepared.images, ContrastPhase.ARTERIAL: image})
    assert not np.allclose(one_phase.voxels, lesion_probability(network, both).voxels)


def test_lesions_are_not_looked_for_in_another_contrast(lesion_model: Path) -> None:
    network = load_network(read_model_card(str(lesion_model)), FLOAT32)
    prepared = study_of(noise_image((20, 20, 10), (1.5, 1.5, 3.0)), ContrastPhase.OTHER)
    assert not lesion_probability(network, prepared).voxels.any()


def test_cuda_where_there_is_none_is_an_error_and_not_a_fallback() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match=r"'cuda' asked for, found 0 CUDA device"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "CUDA", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "odd", channels=1, classes=2, window=(32, 32, 16))
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    metadata["architecture_arguments"]["init_filters"] = 16
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ModelError, match="do not fit"):
        load_network(read_model_card(str(folder)), FLOAT32)


def test_an_unknown_architecture_is_refused(tmp_path: Path, lesion_model: Path) -> None:
    folder = make_model(tmp_path / "odd", channels=1, classes=2, window=(32, 32, 16), architecture="oracle")
    settings = replace(FLOAT32, liver_model=str(folder), lesion_model=str(lesion_model))
    with pytest.raises(ModelError, match="unknown architecture 'oracle'"):
        check_models(settings)


def test_a_lesion_model_of_an_unknown_normalisation_is_refused(tmp_path: Path, liver_model: Path) -> None:
    folder = make_model(
        tmp_path / "odd", channels=6, classes=3, window=(32, 32, 16), normalisation="normalise_me"
    )
    settings = replace(FLOAT32, liver_model=str(liver_model), lesion_model=str(folder))
    with pytest.raises(ModelError, match="unknown normalisation 'normalise_me'"):
        check_models(settings)


def test_what_lies_far_from_the_liver_does_not_matter_to_the_lesion_network(lesion_model: Path) -> None:
    network = load_network(read_model_card(str(lesion_model)), FLOAT32)
    image = noise_image((32, 16, 8), (3.0, 3.0, 3.0))
    liver = np.zeros(image.grid.shape, np.uint16)
    liver[:8] = 1
    prepared = replace(
        study_of(image),
        liver=LabelMap(voxels=liver, grid=image.grid),
        liver_probability=replace(image, voxels=liver.astype(np.float32)),
    )
    changed = image.voxels.copy()
    changed[12:] *= 3  # 12 mm from the liver
    other = replace(prepared, images={ContrastPhase.PORTAL_VENOUS: replace(image, voxels=changed)})
    np.testing.assert_array_equal(
        lesion_probability(network, prepared).voxels, lesion_probability(network, other).voxels
    )


@pytest.mark.parametrize(
    ("size", "limit", "expected"), [(40, 80, 40), (80, 80, 80), (120, 80, 72), (104, 80, 64), (400, 80, 80)]
)
def test_windows_are_no_longer_than_the_volume_needs(size: int, limit: int, expected: int) -> None:
    window = fitting_window(size, limit, 0.25)
    assert window == expected
    assert window % 8 == 0

    def count(length: int) -> int:
        return 1 if length >= size else -(-(size - length) // int(length * 0.75)) + 1

    assert count(window) == count(limit)


def test_averaging_views_changes_a_probability_and_keeps_its_grid(liver_model: Path) -> None:
    card = read_model_card(str(liver_model))
    image = noise_image((24, 24, 16), (3.0, 3.0, 3.0))
    plain = liver_probability(load_network(card, FLOAT32), image)
    averaged = liver_probability(load_network(card, replace(FLOAT32, average_views=True)), image)
    assert averaged.grid == plain.grid
    assert 0.0 < float(np.abs(averaged.voxels - plain.voxels).max()) < 0.5


@pytest.mark.parametrize(
    ("settings", "axes", "same"),
    [
        (replace(FLOAT32, average_views=True), (0,), True),
        (replace(FLOAT32, lesion_views=4), (0,), True),
        (replace(FLOAT32, lesion_views=2), (0, 1), True),
        (replace(FLOAT32, lesion_views=2), (0,), False),
        (replace(FLOAT32, lesion_views=1), (0, 1), False),
    ],
)
def test_the_average_over_mirror_images_is_mirrored_with_its_image(
    lesion_model: Path, settings: SegmentSettings, axes: tuple[int, ...], *, same: bool
) -> None:
    network = load_network(read_model_card(str(lesion_model)), settings)
    image = noise_image((16, 16, 8), (3.0, 3.0, 3.0))
    turned = replace(image, voxels=np.flip(image.voxels, axes).copy())
    found = lesion_probability(network, study_of(image)).voxels
    mirrored = lesion_probability(network, study_of(turned)).voxels
    assert np.allclose(found, np.flip(mirrored, axes), atol=1e-5) is same


@pytest.mark.parametrize(("at_once", "shown"), [(1, [1, 1, 1, 1]), (4, [3, 1])])
def test_a_further_view_is_looked_at_only_where_the_first_shows_something(
    lesion_model: Path, at_once: int, shown: list[int]
) -> None:
    """Three windows of 32 voxels over 64; the one bright place lies in one of them, of the image and of its mirror."""
    network = load_network(read_model_card(str(lesion_model)), replace(FLOAT32, lesion_views=2))
    voxels = np.full((64, 24, 16), 100.0, np.float32)
    voxels[2:6, 4:8, 4:8] = 180.0
    image = Image(voxels=voxels, grid=grid((64, 24, 16), (3.0, 3.0, 3.0)))
    asked: list[int] = []

    def bright_is_lesion(inputs: Any) -> Any:
        asked.append(len(inputs))
        portal_venous = inputs[:, LESION_CHANNELS.index(ContrastPhase.PORTAL_VENOUS)]
        zeros = torch.zeros_like(portal_venous)
        return torch.stack([zeros, zeros, 20.0 * portal_venous - 10.0], dim=1)

    found = lesion_probability(
        replace(network, module=bright_is_lesion, windows_at_once=at_once), study_of(image)
    )
    assert asked == shown
    np.testing.assert_array_equal(found.voxels > 0.5, voxels == 180.0)


@pytest.mark.parametrize(
    ("key", "value"), [("overlap", 1.0), ("overlap", -0.1), ("precision", "half"), ("lesion_views", 3)]
)
def test_settings_out_of_range_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"segment.{key}"):
        check_models(replace(FLOAT32, **{key: value}))  # type: ignore[arg-type]


def test_the_segmenter_is_named_by_its_models(liver_model: Path, lesion_model: Path) -> None:
    settings = replace(FLOAT32, liver_model=str(liver_model), lesion_model=str(lesion_model))
    assert make_segmenter(settings).name == "liver 0 + lesion 0"


def test_livers_of_another_program_replace_the_liver_network_alone(
    tmp_path: Path, liver_model: Path, lesion_model: Path
) -> None:
    image = noise_image((16, 16, 8), (3.0, 3.0, 3.0))
    prepared = study_of(image)
    study = prepared.study
    series = Series(path=Path("pvp"), contrast_phase=ContrastPhase.PORTAL_VENOUS, phase_reason="stated")
    liver = LabelMap(voxels=(image.voxels > 100).astype(np.uint16), grid=image.grid)
    write_label_map(tmp_path / study.patient_id / study.study_date.isoformat() / "liver.nii.gz", liver)
    settings = replace(FLOAT32, liver_model=str(liver_model), lesion_model=str(lesion_model))
    networks = make_segmenter(settings)
    given = make_segmenter(replace(settings, liver_masks=tmp_path))
    assert given.name == "given livers + lesion 0"
    found = given.liver(study, series, image)
    assert found is not None
    np.testing.assert_array_equal(found.voxels, liver.voxels)
    mine, theirs = given.lesions(prepared), networks.lesions(prepared)
    assert isinstance(mine, Image)
    assert isinstance(theirs, Image)
    np.testing.assert_array_equal(mine.voxels, theirs.voxels)
    with pytest.raises(DataError, match=r"liver\.nii\.gz"):
        given.liver(replace(study, patient_id="P2"), series, image)
    with pytest.raises(ConfigError, match="liver_masks"):
        make_segmenter(replace(settings, liver_masks=tmp_path / "none"))


def test_a_masks_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--masks"):
        make_segmenter(FLOAT32, masks=tmp_path / "none")
