"""What a GPU and its cores sustain: the arithmetic of the estimate and of the benchmark, which itself needs CUDA."""

from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def scripts(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(checkout / "scripts"))


@pytest.fixture
def benchmark() -> ModuleType:
    import benchmark

    return benchmark


def test_without_cuda_nothing_is_run_and_the_message_says_what_was_expected(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(benchmark.BENCHMARKS, "gpu", lambda: pytest.fail("nothing may run"))
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["gpu"])
    assert ended.value.code == 2
    assert "found no CUDA device, expected one" in capsys.readouterr().err


def test_a_rate_is_counted_between_the_first_and_the_last_round() -> None:
    from benchmark_gpu import sustained

    # two workers: both have begun by 3 s, and one of them idles after 10 s; in between one finishes every 2 s
    assert sustained([2.0, 3.0, 5.0, 7.0, 9.0, 10.0, 14.0], 2) == pytest.approx(3 / 6)


def test_figures_of_a_gpu_are_held_against_a_study_a_second_and_the_masks_of_the_cpu(
    benchmark: ModuleType,
) -> None:
    from benchmark_gpu import Measured

    found = Measured(studies_per_s=0.8, seconds=60.0, busy=None, agreement={"liver": 0.999, "lesions": 0.99})
    figures = {figure.name: figure for figure in benchmark.gpu_figures(found)}
    assert (figures["clinical study, sustained"].value, figures["clinical study, sustained"].holds) == (
        1.25,
        False,
    )
    assert figures["Dice of liver, GPU to CPU"].holds
    assert not figures["Dice of lesions, GPU to CPU"].holds
    assert "GPU busy" not in figures


def test_masks_of_two_runs_are_compared_by_patient_and_date(tmp_path: Path) -> None:
    from benchmark_gpu import agreement

    for run, patients in (("gpu", ("P0", "P1")), ("cpu", ("P0",))):
        for patient in patients:
            folder = tmp_path / run / patient / "2024-01-15"
            folder.mkdir(parents=True)
            voxels = np.zeros((6, 4, 4), dtype=np.uint16)
            voxels[: 2 if run == "gpu" else 3] = 1
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) * 2), folder / "liver.nii.gz")
            nibabel.save(nibabel.Nifti1Image(voxels * 0, np.eye(4) * 2), folder / "lesions.nii.gz")
    # two slabs of three: 2 x 2 / (2 + 3)
    assert agreement(tmp_path / "gpu", tmp_path / "cpu") == {"liver": pytest.approx(0.8), "lesions": None}


def test_copies_of_a_patient_are_patients_of_their_own(tmp_path: Path) -> None:
    from benchmark_gpu import make_cohort

    from mrresponse import Settings
    from mrresponse.ingest import ingest

    found = ingest(make_cohort(tmp_path, 2, "tiny"), Settings().ingest)
    assert not found.failures
    assert [patient.patient_id for patient in found.patients] == ["P0000", "P0001"]
    assert [len(study.series) for patient in found.patients for study in patient.studies] == [5, 5]


def test_work_of_a_network_is_counted_and_not_done() -> None:
    from gpu_estimate import work_of

    with torch.device("meta"):
        network = torch.nn.Sequential(torch.nn.Conv3d(1, 8, 3, padding=1, bias=False), torch.nn.ReLU())
    work = work_of(network, (1, 1, 4, 4, 4))
    # 64 voxels x 8 channels x 27 neighbours x (multiply, add)
    assert work.flops == 64 * 8 * 27 * 2
    # bfloat16: one channel in, eight out and the weights; then eight in and eight out
    assert work.bytes_moved == 2 * (64 + 8 * 64 + 8 * 27 + 8 * 64 + 8 * 64)
    assert work.operations == 2


def test_seconds_of_a_card_are_those_of_computing_moving_and_handing_out() -> None:
    from gpu_estimate import Card, Work, card_seconds

    card = Card(
        flops_per_s=1e12,
        flops_share=0.1,
        bytes_per_s=1e9,
        bytes_share=0.5,
        kernels_per_operation=2,
        seconds_per_kernel=0.01,
    )
    work = Work(flops=1e11, bytes_moved=1e9, operations=5)
    assert card_seconds(work, card) == pytest.approx(1.0 + 2.0 + 0.1)


def test_the_part_that_is_full_first_is_the_limit() -> None:
    from gpu_estimate import limits

    found = limits(16, 8.0, 0.75, 0.25)
    assert found == {"processors": 2.0, "turns at the card": 1.0, "card": 4.0}
