"""The network of SyncNet (Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCVW 2016) in torch.

Its layers and their names are those of joonson/syncnet_python (MIT), so that its `syncnet_v2.model` can be loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["Network"]

Floats = NDArray[np.float32]


def _audio_tower() -> Any:
    """From `(N, 1, 13, 20)` cepstra to `(N, 512, 1, 1)`."""
    return nn.Sequential(
        *_block(nn.Conv2d(1, 64, 3, padding=1)),
        nn.MaxPool2d(1, 1),
        *_block(nn.Conv2d(64, 192, 3, padding=1)),
        nn.MaxPool2d(3, (1, 2)),
        *_block(nn.Conv2d(192, 384, 3, padding=1)),
        *_block(nn.Conv2d(384, 256, 3, padding=1)),
        *_block(nn.Conv2d(256, 256, 3, padding=1)),
        nn.MaxPool2d(3, 2),
        *_block(nn.Conv2d(256, 512, (5, 4))),
    )


def _lip_tower() -> Any:
    """From `(N, 3, 5, 224, 224)` pictures to `(N, 512, 1, 1, 1)`."""
    return nn.Sequential(
        *_block(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *_block(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
        *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
        *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *_block(nn.Conv3d(256, 512, (1, 6, 6))),
    )


def _block(convolution: Any) -> tuple[Any, ...]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return convolution, norm(convolution.out_channels), nn.ReLU()


def _head() -> Any:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class Network:
    """Both towers: an embedding of 1024 numbers for a fifth of a second of sound, and one for five pictures.

    :param path: of the weights; `None`: random ones.
    :raises OSError: when the file cannot be read.
    :raises RuntimeError: when it holds something else (or pickle's and torch's own errors).
    """

    def __init__(self, path: Path | None = None) -> None:
        towers = {"netcnnaud": _audio_tower(), "netfcaud": _head(), "netcnnlip": _lip_tower(), "netfclip": _head()}
        self.towers = nn.ModuleDict(towers)
        if path is not None:
            # weights_only: the file is data, and runs nothing
            self.towers.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.towers.eval()

    def of_sound(self, cepstra: Floats) -> Floats:
        """Embeddings `(N, 1024)` of cepstra `(N, 13, 20)`."""
        return self._embedded("aud", torch.from_numpy(cepstra[:, np.newaxis]))

    def of_lips(self, pictures: NDArray[np.uint8]) -> Floats:
        """Embeddings `(N, 1024)` of five pictures each, `(N, 5, 224, 224, 3)` BGR."""
        channels_first = np.ascontiguousarray(pictures.transpose(0, 4, 1, 2, 3))
        return self._embedded("lip", torch.from_numpy(channels_first).float())

    def _embedded(self, side: str, values: Any) -> Floats:
        with torch.inference_mode():
            features = self.towers[f"netcnn{side}"](values).flatten(1)
            return np.asarray(self.towers[f"netfc{side}"](features).numpy(), np.float32)
