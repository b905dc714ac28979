"""A small encoder for JPEG lossless, first-order prediction (ISO 10918-1 annex H): no installed library writes it."""

import numpy as np
import numpy.typing as npt

# 17 differences categories with codes of 5 bits each: long, but the simplest table that a decoder accepts.
_BITS = 5
_CATEGORIES = 17


def encode(pixels: npt.NDArray[np.uint16]) -> bytes:
    """Encode 16-bit pixels ``[row, column]``."""
    rows, columns = pixels.shape
    counts = [0] * 16
    counts[_BITS - 1] = _CATEGORIES
    table = bytes([0, *counts, *range(_CATEGORIES)])
    frame = bytes([16, *rows.to_bytes(2, "big"), *columns.to_bytes(2, "big"), 1, 1, 0x11, 0])
    scan = bytes([1, 1, 0, 1, 0, 0])
    body = _entropy(pixels.astype(np.int64))
    return b"".join(
        (b"\xff\xd8", _segment(0xC3, frame), _segment(0xC4, table), _segment(0xDA, scan), body, b"\xff\xd9")
    )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _entropy(pixels: npt.NDArray[np.int64]) -> bytes:
    # Predicted by the left neighbour, the first of a row by the one above, the very first by half the range.
    predicted = np.empty_like(pixels)
    predicted[:, 1:] = pixels[:, :-1]
    predicted[1:, 0] = pixels[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = []
    for difference in ((pixels - predicted + 32768) % 65536 - 32768).ravel():
        value = int(difference)
        size = abs(value).bit_length()
        bits.append(f"{size:0{_BITS}b}")
        if 0 < size < 16:
            bits.append(f"{value if value > 0 else value + (1 << size) - 1:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    packed = int(text, 2).to_bytes(len(text) // 8, "big")
    return packed.replace(b"\xff", b"\xff\x00")
