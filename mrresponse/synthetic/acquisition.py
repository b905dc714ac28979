"""From an ideal signal to an acquired image: motion, sampling, coil, noise and artefacts."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from mrresponse.synthetic.noise import NoiseField, noise_field, smooth_noise
from mrresponse.synthetic.shapes import Vector, rotation_matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """Displacement of the body between two acquisitions: rigid about the origin plus smooth."""

    translation_mm: Vector = (0.0, 0.0, 0.0)
    rotation_deg: Vector = (0.0, 0.0, 0.0)
    scale: float = 1.0
    smooth: NoiseField | None = None

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        """Return where the reference anatomy must be evaluated for image points of shape (3, I, J, K)."""
        shift = torch.tensor(self.translation_mm, device=points.device).view(3, 1, 1, 1)
        moved = torch.tensordot(rotation_matrix(self.rotation_deg).to(points.device), points, dims=1)
        moved = moved / self.scale - shift
        return moved if self.smooth is None else moved + self.smooth.sample(points)


STILL = Motion()


def draw_phase_motion(seed: int, *, residual: bool = False) -> Motion:
    """Draw the motion between two contrast phases of one study.

    Unregistered: SI N(0, 4) mm clipped at 12, AP x .4, LR x .2, smooth SD 1-3 mm. ``residual``: what registration
    leaves, SI SD 1.5 mm, smooth SD .5-1.5 mm.
    """
    rng = np.random.default_rng([seed, 31])
    sd = 1.5 if residual else 4.0
    si, ap, lr = np.clip(rng.normal(0, sd), -12, 12), rng.normal(0, 0.4 * sd), rng.normal(0, 0.2 * sd)
    smooth_sd = float(rng.uniform(0.5, 1.5) if residual else rng.uniform(1, 3))
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
    return Motion(
        translation_mm=(float(lr), float(ap), float(si)),
        smooth=noise_field(generator, cell_mm=50.0, sd=smooth_sd, channels=3),
    )


def draw_study_motion(seed: int) -> Motion:
    """Draw the motion between two studies: rigid +-15 mm and +-8 deg, smooth SD 3-6 mm, liver size +-3 % per axis."""
    rng = np.random.default_rng([seed, 37])
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
    shift, turn = rng.uniform(-15, 15, 3), rng.uniform(-8, 8, 3) * np.array([0.5, 0.5, 1.0])
    return Motion(
        translation_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        rotation_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
        scale=float(rng.uniform(0.97, 1.03)),
        smooth=noise_field(generator, cell_mm=60.0, sd=float(rng.uniform(3, 6)), channels=3),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """Imperfections of one acquisition; zeros give the ideal image.

    ``noise`` is the Rician noise SD as a fraction of the 95th percentile, ``bias`` the SD of the logarithmic coil
    sensitivity, ``surface`` the brightening towards the skin, ``gibbs`` the share of k-space cut off in plane,
    ``ghost`` the strength of ghosts along y, ``slice_gain`` the SD of brightness between slices, ``gain`` a factor on
    the whole image. ``block`` is the number of grid voxels that one acquired voxel averages along each axis (partial
    volume).
    """

    noise: float = 0.0
    bias: float = 0.0
    surface: float = 0.0
    gibbs: float = 0.0
    ghost: float = 0.0
    ghost_count: int = 2
    spike: float = 0.0
    slice_gain: float = 0.0
    gain: float = 1.0
    block: tuple[int, int, int] = (1, 1, 1)


IDEAL_SCANNER = Scanner()


def draw_scanner(rng: np.random.Generator, *, ghosted: float = 0.05) -> Scanner:
    """Draw the imperfections of one image; ``ghosted`` is the probability of motion ghosts."""
    return Scanner(
        noise=float(np.exp(rng.uniform(np.log(0.008), np.log(0.06)))),
        bias=float(rng.uniform(0.05, 0.4)),
        surface=float(rng.uniform(0.0, 0.9)) if rng.random() < 0.4 else 0.0,
        gibbs=float(rng.uniform(0.0, 0.3)) if rng.random() < 0.5 else 0.0,
        ghost=float(rng.uniform(0.05, 0.4)) if rng.random() < ghosted else 0.0,
        ghost_count=int(rng.integers(2, 6)),
        spike=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.03 else 0.0,
        slice_gain=float(rng.uniform(0.01, 0.08)) if rng.random() < 0.25 else 0.0,
        gain=float(rng.uniform(0.8, 1.25)) if rng.random() < 0.1 else 1.0,
    )


def acquire(
    signal: torch.Tensor,
    scanner: Scanner,
    *,
    spacing_mm: Vector,
    generator: torch.Generator,
    depth_mm: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the acquired magnitude image of an ideal signal (I, J, K), same grid, float32.

    Equal inputs and generator state give equal bytes on the CPU.
    """
    image = signal.to(torch.float32)
    if scanner.bias or scanner.surface:
        image = image * coil_sensitivity(
            tuple(image.shape), scanner, spacing_mm=spacing_mm, generator=generator, depth_mm=depth_mm
        )
    if any(size > 1 for size in scanner.block):
        image = average_blocks(image, scanner.block)
    if scanner.gibbs or scanner.ghost or scanner.spike:
        image = _k_space_artefacts(image, scanner, generator)
    if scanner.slice_gain:
        steps = torch.randn((1, 1, image.shape[2]), generator=generator, device=generator.device)
        image = image * (1.0 + scanner.slice_gain * steps.to(image.device)).clamp(0.5, 1.5)
    if scanner.noise:
        image = _add_noise(image, scanner.noise, generator)
    if any(size > 1 for size in scanner.block):
        image = functional.interpolate(image[None, None], size=signal.shape, mode="trilinear")[0, 0]
    return image * scanner.gain


def coil_sensitivity(
    shape: tuple[int, ...],
    scanner: Scanner,
    *,
    spacing_mm: Vector,
    generator: torch.Generator,
    depth_mm: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw a smooth multiplicative field: exp of noise in 120 mm cells, brighter near the skin with ``surface``."""
    size = (shape[0], shape[1], shape[2])
    cells = (120.0 / spacing_mm[0], 120.0 / spacing_mm[1], 120.0 / spacing_mm[2])
    field = scanner.bias * smooth_noise(size, cell_voxels=cells, generator=generator)[0]
    if scanner.surface and depth_mm is not None:
        field = field + scanner.surface * torch.exp(-depth_mm.clamp(min=0) / 40.0)
    return torch.exp(field)


def average_blocks(image: torch.Tensor, block: tuple[int, int, int]) -> torch.Tensor:
    """Average blocks of voxels (partial volume); the last block may be smaller."""
    return functional.avg_pool3d(image[None, None], block, stride=block, ceil_mode=True)[0, 0]


def _k_space_artefacts(image: torch.Tensor, scanner: Scanner, generator: torch.Generator) -> torch.Tensor:
    """Cut high frequencies, add ghosts of every n-th line along y, add one spike, slice by slice."""
    spectrum = torch.fft.fft2(image, dim=(0, 1))
    if scanner.gibbs:
        for axis in (0, 1):
            frequency = torch.fft.fftfreq(image.shape[axis], device=image.device).abs()
            kept = (frequency <= 0.5 * (1.0 - 0.5 * scanner.gibbs)).float()
            spectrum = spectrum * (kept.view(-1, 1, 1) if axis == 0 else kept.view(1, -1, 1))
    if scanner.ghost:
        lines = torch.arange(image.shape[1], device=image.device).view(1, -1, 1)
        strength = scanner.ghost * (0.4 + 0.6 * torch.rand((1, 1, image.shape[2]), generator=generator))
        wave = torch.cos(2 * torch.pi * lines / scanner.ghost_count)
        spectrum = spectrum * (1.0 + strength.to(image.device) * wave)
    if scanner.spike:
        place = [
            int(torch.randint(2, max(3, size // 3), (1,), generator=generator)) for size in image.shape[:2]
        ]
        spectrum[place[0], place[1]] += scanner.spike * 0.06 * spectrum[0, 0].abs()
    return torch.fft.ifft2(spectrum, dim=(0, 1)).abs()


def _add_noise(image: torch.Tensor, level: float, generator: torch.Generator) -> torch.Tensor:
    sorted_sample = image.flatten()[:: max(1, image.numel() // 20000)]
    sd = level * float(torch.quantile(sorted_sample, 0.95))
    real = image + sd * torch.randn(image.shape, generator=generator, device=generator.device).to(
        image.device
    )
    imaginary = sd * torch.randn(image.shape, generator=generator, device=generator.device).to(image.device)
    return torch.sqrt(real * real + imaginary * imaginary)
