"""Which number format the networks compute in: in use float32 by default, in training ``auto``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

PRECISIONS = ("auto", "bfloat16", "float32")


def autocast(device_kind: str, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return a maker of contexts in which networks compute with ``precision``, one of :data:`PRECISIONS`.

    ``auto`` takes bfloat16 on CUDA and on processors with bfloat16 instructions, else float32: emulated bfloat16 took
    20 times as long as float32 on an AVX2 processor.
    """
    import torch

    if precision == "auto":
        precision = "bfloat16" if device_kind == "cuda" or _cpu_computes_bfloat16() else "float32"
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


def _cpu_computes_bfloat16() -> bool:
    import torch

    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
