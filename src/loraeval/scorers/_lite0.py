"""EfficientNet-Lite0 as a plain torch module that loads the packaged weights, and what it is shown.

The architecture is that of the weights' package (Tan and Le, 2019, "EfficientNet: Rethinking Model
Scaling"; the Lite variant has no squeeze-and-excitation and ReLU6 for an activation), with
TensorFlow's asymmetric "same" padding. Batch normalisation is folded into the convolutions. timm
is not imported: that alone took seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loraeval.torchvision_ops import install

install()

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel size, first stride, expansion and channels of each stage."""

STEM, FEATURES = 32, 1280
EPSILON = 1e-3
"""Added to the variances of the batch normalisation, as TensorFlow's models have it."""

Weights = Mapping[str, torch.Tensor]


class Conv(nn.Module):
    """A convolution with folded normalisation, "same" padding and perhaps ReLU6."""

    def __init__(self, held: Weights, conv: str, norm: str, stride: int, active: bool) -> None:
        super().__init__()
        weight = held[f"{conv}.weight"].float()
        scale = held[f"{norm}.weight"].float() / torch.sqrt(
            held[f"{norm}.running_var"].float() + EPSILON
        )
        self.weight = nn.Parameter(weight * scale[:, None, None, None], requires_grad=False)
        shift = held[f"{norm}.bias"].float() - held[f"{norm}.running_mean"].float() * scale
        self.bias = nn.Parameter(shift, requires_grad=False)
        self.stride, self.active = stride, active
        self.kernel = int(weight.shape[2])
        self.groups = int(weight.shape[0]) if weight.shape[1] == 1 else 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolved (n, c, h, w)."""
        padding = self.kernel // 2
        if self.stride > 1:
            tall, wide = (_missing(side, self.kernel, self.stride) for side in x.shape[2:])
            x = F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
            padding = 0
        out = F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return out.clamp_(0, 6) if self.active else out


def _missing(side: int, kernel: int, stride: int) -> int:
    """Return the padding that gives ``ceil(side / stride)`` outputs."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


class Block(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection."""

    def __init__(self, held: Weights, at: int, stride: int, expansion: int) -> None:
        super().__init__()
        name = f"_blocks.{at}"
        parts: list[nn.Module] = []
        if expansion > 1:
            parts.append(Conv(held, f"{name}._expand_conv", f"{name}._bn0", 1, active=True))
        parts.append(Conv(held, f"{name}._depthwise_conv", f"{name}._bn1", stride, active=True))
        parts.append(Conv(held, f"{name}._project_conv", f"{name}._bn2", 1, active=False))
        self.parts = nn.Sequential(*parts)
        first, last = parts[0], parts[-1]
        entering = first.weight.shape[1] if expansion > 1 else first.weight.shape[0]  # type: ignore[index]
        self.residual = stride == 1 and entering == last.weight.shape[0]  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        out = self.parts(x)
        return out + x if self.residual else out  # type: ignore[no-any-return]


class Lite0(nn.Module):
    """The network up to its pooled features: (n, 3, h, w), in [-1, 1], to (n, 1280)."""

    def __init__(self, held: Weights) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv(held, "_conv_stem", "_bn0", 2, active=True)]
        at = 0
        for count, _, stride, expansion, _ in STAGES:
            for number in range(count):
                layers.append(Block(held, at, stride if number == 0 else 1, expansion))
                at += 1
        layers.append(Conv(held, "_conv_head", "_bn1", 1, active=True))
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features before the classifier."""
        features = self.layers(x.contiguous(memory_format=torch.channels_last))
        return features.mean(dim=(2, 3))  # type: ignore[no-any-return]


def read_lite0(path: Path) -> Lite0:
    """Return the network with the weights in ``path``, in eval mode."""
    held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return Lite0(held).eval()


REACH = 20.0
"""Spatial reach of ``without_faint``, in pixels."""

FAINT = 30.0
"""Difference of neighbouring pixels, in levels summed over the channels, that is as much of a
barrier to ``without_faint`` as ``REACH`` pixels are."""

PASSES = 2


def without_faint(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Average away what differs faintly from its surroundings; edges stay.

    The recursive form of the domain transform (Gastal and Oliveira, 2011, "Domain Transform for
    Edge-Aware Image and Video Processing", equation 21), ``PASSES`` times along rows and columns.
    ``pixels`` float32 (n, 3, h, w), 0 to 255.
    """
    guide = pixels
    planes = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    decays = [_decay(np.ascontiguousarray(guide.transpose(order))) for order in _ORDERS]
    for number in range(PASSES):
        share = np.float32(np.sqrt(3.0) * 2.0 ** (PASSES - number - 1) / np.sqrt(4.0**PASSES - 1))
        rate = np.float32(-np.sqrt(2.0) / (REACH * share))
        for decay in decays:
            _recurse(planes, np.exp(decay * rate))
            planes = np.ascontiguousarray(planes.transpose(3, 1, 2, 0))
    return np.ascontiguousarray(planes.transpose(1, 2, 3, 0))


_ORDERS = ((3, 0, 1, 2), (2, 0, 1, 3))
"""Axes of (n, 3, h, w) with the one that is filtered first: along x, along y."""


def _decay(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the distance of neighbours along the first axis, (length - 1, n, 1, side)."""
    steps = np.abs(np.diff(planes, axis=0)).sum(axis=2, keepdims=True)
    steps *= np.float32(REACH / FAINT)
    steps += 1
    result: npt.NDArray[np.float32] = steps
    return result


def _recurse(planes: npt.NDArray[np.float32], keep: npt.NDArray[np.float32]) -> None:
    """Filter (length, n, 3, side) along its first axis, there and back, in place."""
    gap = np.empty_like(planes[0])
    for at in range(1, len(planes)):
        np.subtract(planes[at - 1], planes[at], out=gap)
        gap *= keep[at - 1]
        planes[at] += gap
    for at in range(len(planes) - 2, -1, -1):
        np.subtract(planes[at + 1], planes[at], out=gap)
        gap *= keep[at]
        planes[at] += gap
