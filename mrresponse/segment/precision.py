"""Which number format the networks compute in: in use float32 by default, in training ``auto``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

PRECISIONS = ("auto", "bfloat16", "float32")


def autocast(device_kind: str, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return a maker of contexts in which networks compute with ``precision``, one of :data:`PRECISIONS`.

    ``auto`` takes bfloat16 on CUDA and on processors that are faster with it, else float32.
    """
    import torch

    if precision == "auto":
        precision = "bfloat16" if device_kind == "cuda" or _cpu_gains_by_bfloat16() else "float32"
    if precision == "float32":
        return _whole_float32 if device_kind == "cuda" else nullcontext
    return lambda: torch.autocast(device_kind, dtype=torch.bfloat16)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Have convolutions on CUDA use all of float32's digits: by default cuDNN drops 13 of the 23 (TF32)."""
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _cpu_gains_by_bfloat16() -> bool:
    """Tell whether bfloat16 is the faster format of this processor.

    Intel's have its dot product in AVX-512 at half the rate of float32's multiplication, and gain by their matrix tiles
    (AMX) alone, which a virtual machine may hide: a training step then took 1.37 s in place of 0.99 s. AMD's gain by
    AVX-512. Without any such instruction bfloat16 is emulated: 20 times as long on an AVX2 processor.
    """
    import torch

    has = torch.cpu.get_capabilities()
    by_intel = str(has.get("cpu_name", "")).startswith("Intel")
    return bool(has.get("amx_bf16", False) or (has.get("avx512_bf16", False) and not by_intel))
