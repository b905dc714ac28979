"""Training: settings, losses, the fused normalisation, resuming, packaging, judging."""

import json
import os
import signal
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mrresponse.domain import Certainty
from mrresponse.errors import ConfigError
from mrresponse.resources import configs_folder
from mrresponse.segment.architectures import ARCHITECTURES
from mrresponse.segment.bundle import read_model_card, verify_weights
from mrresponse.segment.normalise import (
    near_liver,
    normalise_lesion_input,
    normalise_liver_input,
    window_lesion_input,
)
from mrresponse.segment.precision import autocast
from mrresponse.synthetic.examples import LiverExampleSettings, liver_examples
from mrresponse.synthetic.lesion_examples import (
    LesionExampleSettings,
    draw_phases,
    imperfect_liver,
    lesion_examples,
    mistaken_liver,
)
from mrresponse.synthetic.noise import centred_affine, grid_points
from mrresponse.synthetic.tissues import Tissue
from mrresponse.training import loop
from mrresponse.training.evaluate import dice, tally_lesions
from mrresponse.training.fused_norm import NormRelu, fuse_norm_and_relu
from mrresponse.training.loop import architecture_arguments, learning_rate, train
from mrresponse.training.losses import (
    IGNORED,
    dice_cross_entropy,
    lesionwise_loss,
    soft_dice,
    tversky_loss,
)
from mrresponse.training.package import write_bundle
from mrresponse.training.settings import TrainingSettings, load_training_settings

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {
    "stage": "liver",
    "name": "tiny",
    "spacing_mm": [16.0, 16.0, 16.0],
    # 3 x 3 x 2 voxels at the coarsest level: with 2 x 2 x 2, bfloat16 gives random gradients on some processors
    "patch_shapes": [[24, 24, 16]],
    "window": [32, 32, 32],
    "batch": 1,
    "pool_size": 1,
    "workers": 0,
    "log_every": 1,
}


def _settings(**changes: object) -> TrainingSettings:
    return TrainingSettings.model_validate({**TINY, **changes})


@pytest.mark.parametrize("name", sorted(file.name for file in CONFIGS.glob("train-*.yaml")))
def test_published_configs_load(name: str) -> None:
    assert load_training_settings(CONFIGS / name).minutes > 0


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(json.dumps({**TINY, "learning_rat": 1}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"training\.learning_rat"):
        load_training_settings(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"patch_shapes": [[24, 24, 16], [24, 20, 16]]},
            r"training\.patch_shapes\.1\.1: .*multiple of 8 \(found 20\)",
        ),
        ({"patch_shapes": [[24, 24, 0]]}, r"training\.patch_shapes\.0\.2: .*equal to 8 \(found 0\)"),
        ({"spacing_mm": [16.0, 16.0, 0.0]}, r"training\.spacing_mm\.2: .*greater than 0 \(found 0\.0\)"),
        (
            {"spacing_mm": [16.0, 16.0, 12.0]},
            r"training\.spacing_mm: .*equal on the three axes in stage liver.*\(found \[16\.0, 16\.0, 12\.0\]\)",
        ),
    ],
)
def test_a_grid_that_no_example_can_be_drawn_on_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(json.dumps({**TINY, **changes}), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_training_settings(file)


def test_the_lesion_network_may_have_longer_voxels_along_one_axis() -> None:
    assert _settings(stage="lesions", spacing_mm=[16.0, 16.0, 12.0]).spacing_mm == (16.0, 16.0, 12.0)


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_training_settings(tmp_path / "none.yaml")


def test_a_perfect_prediction_costs_almost_nothing_and_a_wrong_one_much() -> None:
    target = torch.zeros((1, 8, 8, 8), dtype=torch.long)
    target[:, 2:6, 2:6, 2:6] = 1
    logits = torch.stack([10.0 * (target == 0), 10.0 * (target == 1)], dim=1)
    weights = torch.ones(2)
    assert float(dice_cross_entropy(logits, target, class_weights=weights)) < 0.01
    assert float(dice_cross_entropy(-logits, target, class_weights=weights)) > 5


def test_soft_dice_of_an_absent_structure_not_found_is_one() -> None:
    empty = torch.zeros((1, 4, 4, 4))
    assert float(soft_dice(empty, empty)) == pytest.approx(1.0)


def test_tversky_punishes_misses_more_than_false_alarms() -> None:
    mask = torch.zeros(10_000)
    mask[:5_000] = 1
    missing, extra = mask.clone(), mask.clone()
    missing[:1_000] = 0
    extra[5_000:6_000] = 1
    assert float(tversky_loss(missing, mask)) > float(tversky_loss(extra, mask))


def test_a_missed_small_lesion_costs_as_much_as_a_missed_large_one() -> None:
    target = torch.zeros((1, 40, 20, 20), dtype=torch.int64)
    target[0, 2:12, 5:15, 5:15] = 2
    target[0, 30:33, 5:8, 5:8] = 2
    small_missed, large_missed = torch.zeros(target.shape), torch.zeros(target.shape)
    small_missed[0, 2:12, 5:15, 5:15] = 1.0
    large_missed[0, 30:33, 5:8, 5:8] = 1.0
    # 1 - (2 * 0 + 10) / (0 + voxels + 10), halved by the one that was found
    assert float(lesionwise_loss(small_missed, target)) == pytest.approx((1 - 10 / 37) / 2)
    assert float(lesionwise_loss(large_missed, target)) == pytest.approx((1 - 10 / 1010) / 2)


def test_a_lesion_is_compared_without_its_neighbours_and_what_nobody_knows() -> None:
    target = torch.ones((1, 16, 8, 8), dtype=torch.int64)
    target[0, 4:6, 3:5, 3:5] = 2
    target[0, 7:9, 3:5, 3:5] = 2
    target[0, :3] = IGNORED
    found = (target == 2).float()
    found[0, :3] = 1.0
    assert float(lesionwise_loss(found, target)) == pytest.approx(0.0)
    found[0, 4:6, 1, 3:5] = 1.0
    # four false voxels in the boxes of both lesions of eight voxels
    assert float(lesionwise_loss(found, target)) == pytest.approx(1 - 26 / 30)


def test_a_batch_without_a_lesion_costs_nothing_lesion_by_lesion() -> None:
    found = torch.full((2, 8, 8, 8), 0.7, requires_grad=True)
    loss = lesionwise_loss(found, torch.zeros((2, 8, 8, 8), dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert found.grad is not None
    assert float(found.grad.abs().sum()) == 0.0


def test_the_fused_norm_equals_group_norm_then_relu_with_its_gradients() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 16, 8, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    plain = nn.GroupNorm(8, 16)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    fused = NormRelu(8, 16)
    fused.load_state_dict(plain.state_dict())
    first, second = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    upstream = torch.randn_like(inputs)
    expected, found = plain(first).relu(), fused(second)
    (expected * upstream).sum().backward()
    (found * upstream).sum().backward()
    assert torch.allclose(expected, found, atol=1e-5)
    assert first.grad is not None
    assert second.grad is not None
    assert torch.allclose(first.grad, second.grad, atol=1e-4)
    assert plain.weight.grad is not None
    assert fused.weight.grad is not None
    assert torch.allclose(plain.weight.grad, fused.weight.grad, rtol=1e-3, atol=1e-3)


def test_fusing_a_segresnet_changes_neither_its_output_nor_its_names() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["segresnet"](**architecture_arguments(_settings(stage="lesions"))).eval()
    image = torch.randn(1, 6, 16, 16, 8).contiguous(memory_format=torch.channels_last_3d)
    names = list(network.state_dict())
    before = network(image)
    fuse_norm_and_relu(network)
    assert list(network.state_dict()) == names
    assert torch.allclose(network(image), before, atol=1e-3)


def test_the_learning_rate_warms_up_and_falls() -> None:
    settings = _settings(learning_rate=1e-3, warm_up_steps=10)
    rates = [
        learning_rate(settings, step=step, progress=progress)
        for step, progress in ((0, 0.0), (9, 0.0), (99, 0.5), (99, 1.0))
    ]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[1] == pytest.approx(1e-3)
    assert rates[1] > rates[2] > rates[3]
    assert rates[3] == pytest.approx(1e-5)


def test_training_resumes_and_its_bundle_passes_the_check_of_inference(tmp_path: Path) -> None:
    settings = _settings(minutes=0.001)
    first = torch.load(train(settings, tmp_path / "run"), weights_only=True)
    checkpoint = train(settings, tmp_path / "run")
    second = torch.load(checkpoint, weights_only=True)
    assert second["step"] > first["step"] > 0
    assert not list((tmp_path / "run").glob("*.partial"))
    figures = {
        "liver_dice_mean": 0.5,
        "whole_studies": {"unseen": {"models": "a 1 + b 2", "cases": 7, "liver_dice_worst": 0.25}},
    }
    certainty = Certainty(threshold=0.6, least_peak=0.9, least_mean=0.8)
    write_bundle(settings, checkpoint, tmp_path / "model", figures=figures, certainty=certainty)
    page = (tmp_path / "model" / "docs" / "README.md").read_text(encoding="utf-8")
    assert "- liver dice mean: 0.5\n" in page
    assert "- liver dice worst: 0.25\n" in page
    assert "8 initial filters (1.2 million parameters)" in page
    assert "evaluate.py synthetic --set unseen --cases 7" in page
    card = read_model_card(str(tmp_path / "model"))
    verify_weights(card)
    assert card.certainty == certainty
    network = ARCHITECTURES[card.architecture](**card.architecture_arguments)
    state = torch.load(card.weights, weights_only=True)
    network.load_state_dict({name: value.float() for name, value in state.items()})
    metadata = json.loads((tmp_path / "model" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["training"]["patients"] == 0
    assert metadata["training"]["dataset"] == "synthetic images only"


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, nullcontext()), (signal.SIGINT, pytest.raises(KeyboardInterrupt))]
)
def test_a_signal_to_all_processes_of_a_training_keeps_its_work(
    tmp_path: Path, number: signal.Signals, ends: AbstractContextManager[object]
) -> None:
    """As a scheduler or a terminal sends it: to the processes that draw examples, and to the one that trains."""
    out = tmp_path / "run"
    alive: list[bool] = []

    def send() -> None:
        while not (out / "log.jsonl").exists():
            time.sleep(0.05)
        drawing = active_children()
        for one in drawing:
            os.kill(one.pid or 0, number)
        time.sleep(1.0)
        alive.extend(one.is_alive() for one in drawing)
        os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    sender = threading.Thread(target=send)
    sender.start()
    with ends:
        train(_settings(workers=1, minutes=5, checkpoint_minutes=5, device="cpu"), out)
    sender.join()
    assert alive == [True]
    state = torch.load(out / loop.CHECKPOINT, weights_only=True)
    assert state["step"] == len((out / "log.jsonl").read_text(encoding="utf-8").splitlines()) > 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_training_that_fails_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caught error keeps the frame that held them, and they are deaf to SIGTERM: the program would never end."""
    drawing: list[BaseProcess] = []

    def fail(*_: object) -> float:
        drawing.extend(active_children())
        raise RuntimeError("out of memory")

    monkeypatch.setattr(loop, "_step", fail)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        train(_settings(workers=1, device="cpu"), tmp_path)
    drawing[0].join(timeout=20)
    assert not drawing[0].is_alive()
    assert caught.tb is not None


def test_a_run_starts_from_the_weights_of_a_model_folder(tmp_path: Path) -> None:
    first = train(_settings(minutes=0.001), tmp_path / "first")
    write_bundle(_settings(), first, tmp_path / "model", figures={})
    shipped = torch.load(tmp_path / "model" / "models" / "model.pt", weights_only=True)
    # a rate of almost nothing leaves the weights where they started
    still = _settings(minutes=0.001, initial=tmp_path / "model", learning_rate=1e-9, final_learning_rate=1e-9)
    state = torch.load(train(still, tmp_path / "second"), weights_only=True)
    for name, value in shipped.items():
        assert torch.allclose(state["averaged"][name], value.float(), atol=1e-4), name


def test_a_run_starts_from_a_narrower_network_but_not_from_a_wider_one(tmp_path: Path) -> None:
    wide = _settings(minutes=0.001, filters=16)
    write_bundle(wide, train(wide, tmp_path / "wide"), tmp_path / "model", figures={})
    message = r"training\.filters: found 8, expected 16, as in the network that training\.initial names"
    for initial in (tmp_path / "model", tmp_path / "wide" / "checkpoint.pt"):
        with pytest.raises(ConfigError, match=message):
            train(_settings(minutes=0.001, initial=initial), tmp_path / "narrow")
    with pytest.raises(ConfigError, match="found 24, expected 16"):
        train(_settings(minutes=0.001, initial=tmp_path / "model", filters=24), tmp_path / "between")
    state = torch.load(
        train(_settings(minutes=0.001, initial=tmp_path / "model", filters=32), tmp_path / "wider"),
        weights_only=True,
    )
    assert state["averaged"]["convInit.conv.weight"].shape[0] == 32


def test_a_step_without_finite_gradients_leaves_the_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(_settings(minutes=0.001), tmp_path / "first")
    before = torch.load(first, weights_only=True)["averaged"]
    broken = torch.full((1, 1, 24, 24, 16), float("nan")), torch.zeros((1, 24, 24, 16), dtype=torch.int64)
    monkeypatch.setattr(loop, "make_batches", lambda _settings, _cases, seed: repeat(broken))
    state = torch.load(train(_settings(minutes=0.001, initial=first), tmp_path / "second"), weights_only=True)
    assert state["step"] > 0
    for name, value in before.items():
        torch.testing.assert_close(state["raw"][name], value, msg=name)


@pytest.mark.parametrize("name", ["own", "atlas", "chaos"])
def test_training_that_starts_from_a_shipped_network_keeps_its_grid(name: str) -> None:
    settings = load_training_settings(configs_folder() / f"train-{name}.yaml")
    assert settings.initial is not None
    card = read_model_card(settings.initial.name)
    assert (settings.spacing_mm, settings.window) == (card.spacing_mm, card.window)
    assert settings.filters == card.architecture_arguments["init_filters"]


def test_emulated_bfloat16_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def dtype(**has: bool) -> torch.dtype:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
        with autocast("cpu", "auto")():
            return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    assert dtype() is torch.float32
    assert dtype(avx512_bf16=True) is torch.bfloat16


def test_liver_examples_repeat_with_their_seed() -> None:
    settings = LiverExampleSettings(spacing_mm=12.0, patch_shapes=((24, 24, 16),), pool_size=1)
    first, second = (next(liver_examples(settings, seed=3, batch=1)) for _ in range(2))
    assert first[0].shape == (1, 1, 24, 24, 16)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert set(first[1].unique().tolist()) <= {0, 1}


def test_lesion_examples_have_six_channels_and_three_classes() -> None:
    settings = LesionExampleSettings(
        spacing_mm=(4.0, 4.0, 4.0), patch_shapes=((24, 24, 16),), pool_size=1, share_without_lesion=0.0
    )
    stream = lesion_examples(settings, seed=3, batch=1)
    images, classes = zip(*(next(stream) for _ in range(3)), strict=True)
    assert images[0].shape == (1, 6, 24, 24, 16)
    assert all(float(image.min()) >= -1.5 and float(image.max()) <= 2 for image in images)
    assert {int(value) for c in classes for value in c.unique()} == {0, 1, 2}


def test_gadoxetate_alone_has_a_hepatobiliary_phase() -> None:
    for seed in range(60):
        agent, phases = draw_phases(np.random.default_rng(seed))
        assert phases
        assert agent == "gadoxetate" or "HBP" not in phases


def test_the_imperfect_liver_resembles_the_true_one() -> None:
    liver = torch.zeros((32, 32, 16), dtype=torch.bool)
    liver[6:26, 6:26, 3:13] = True
    for seed in range(5):
        found = imperfect_liver(
            liver,
            torch.zeros_like(liver),
            (3.0, 3.0, 3.0),
            rng=np.random.default_rng(seed),
            generator=torch.Generator().manual_seed(seed),
        )
        assert float(found.min()) >= 0.0
        assert float(found.max()) <= 1.0
        assert dice((found > 0.5).numpy(), liver.numpy()) > 0.6


def test_a_mistaken_liver_takes_from_its_neighbours_and_loses_at_its_edge() -> None:
    tissue = torch.full((32, 32, 16), int(Tissue.AIR), dtype=torch.uint8)
    tissue[4:28, 4:28] = int(Tissue.FAT)
    tissue[12:28, 4:28, 2:14] = int(Tissue.LIVER)
    tissue[18:22, 2:4, 6:10] = int(Tissue.GALLBLADDER)
    liver = tissue == int(Tissue.LIVER)
    points = grid_points((32, 32, 16), centred_affine((32, 32, 16), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0)))
    taken, lost = torch.zeros_like(liver), torch.zeros_like(liver)
    for seed in range(40):
        mistaken = mistaken_liver(liver, tissue, points, np.random.default_rng(seed))
        assert not bool((mistaken & (tissue == int(Tissue.AIR))).any())
        taken |= mistaken & ~liver
        lost |= liver & ~mistaken
    assert {int(kind) for kind in tissue[taken].unique()} == {int(Tissue.FAT), int(Tissue.GALLBLADDER)}
    assert bool(lost.any())


def test_a_liver_in_air_cannot_be_mistaken() -> None:
    tissue = torch.full((8, 8, 8), int(Tissue.AIR), dtype=torch.uint8)
    tissue[2:6, 2:6, 2:6] = int(Tissue.LIVER)
    liver = tissue == int(Tissue.LIVER)
    points = grid_points((8, 8, 8), centred_affine((8, 8, 8), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0)))
    assert torch.equal(mistaken_liver(liver, tissue, points, np.random.default_rng(1)), liver)


def test_liver_input_is_standardised_over_the_body() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((20, 20, 20), dtype=np.float32)
    image[5:15] = rng.normal(100, 10, (10, 20, 20))
    found = normalise_liver_input(image)
    assert abs(float(found[5:15].mean())) < 0.02
    assert float(found[5:15].std()) == pytest.approx(1.0, abs=0.05)
    assert float(found[0].max()) < -5
    assert np.allclose(normalise_liver_input(7 * image), found, atol=1e-3)


def test_an_empty_image_is_normalised_to_zeros() -> None:
    empty = np.zeros((4, 4, 4), dtype=np.float32)
    assert not normalise_liver_input(empty).any()
    assert not normalise_lesion_input(empty, np.ones((4, 4, 4), dtype=bool)).any()


def test_lesion_input_is_relative_to_the_liver_and_clipped() -> None:
    image = np.array([[[100.0, 150.0, 900.0, 0.0]]], dtype=np.float32)
    liver = np.array([[[True, False, False, False]]])
    assert normalise_lesion_input(image, liver).ravel().tolist() == pytest.approx([0.0, 0.5, 3.0, -1.0])
    assert not normalise_lesion_input(image, np.zeros_like(liver)).any()


def test_the_lesion_window_is_twice_the_relative_contrast() -> None:
    image = np.array([[[100.0, 150.0, 900.0, 0.0]]], dtype=np.float32)
    liver = np.array([[[True, False, False, False]]])
    assert window_lesion_input(image, liver).ravel().tolist() == pytest.approx([0.0, 1.0, 2.0, -1.5])


def test_near_the_liver_is_within_nine_millimetres() -> None:
    probability = np.zeros((21, 21, 21), dtype=np.float32)
    probability[10, 10, 10] = 1.0
    near = near_liver(probability, (1.0, 3.0, 9.0))
    assert near.sum() == 19 * 7 * 3


def test_lesions_are_matched_by_overlap() -> None:
    truth = np.zeros((40, 40, 20), dtype=bool)
    truth[5:17, 5:17, 4:16] = True
    truth[25:37, 5:17, 4:16] = True
    probability = np.zeros(truth.shape, dtype=np.float32)
    probability[6:17, 5:17, 4:16] = 0.9
    probability[5:15, 28:38, 4:14] = 0.9
    tally = tally_lesions(probability, truth, (1.0, 1.0, 1.0))
    assert (tally.present, tally.found, tally.false_alarms) == (2, 1, 1)
    assert tally.dice == pytest.approx(2 * 1584 / (1584 + 1000 + 3456))
