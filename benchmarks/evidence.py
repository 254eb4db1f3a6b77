"""An evidence map beside the forward pass of its backbone alone. The networks have random weights, and so have the layers."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from side_by_side import main, side_by_side, some

from xai_pneumonia.explain.evidence import Evidence, evidence_maps, named_body
from xai_pneumonia.model.backbones import evaluating
from xai_pneumonia.sources.images import read_image, to_square

IMAGES, SIZE = 8, 224
NETWORKS = {"vit_small_patch14_dinov2": (5, 8, 11), "mobilenet_v2": (6, 13, 17)}  # backbone: blocks


def drawn(name: str) -> Evidence:
    "Evidence with layers drawn at random; a small layer, so that its map is not flat."
    dense = named_body(name, "none", SIZE, NETWORKS[name])
    _, height, width, channels = dense.look(torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)).shape
    layers = np.random.default_rng(0).normal(size=(1, channels + 1)).astype(np.float32) / channels
    card = {"smooth": [1 / 16], "fitted": {"images": {}, "patients": {}}}
    return Evidence(dense, layers, np.zeros((1, height, width), np.float32), card)


def ours(evidence: Evidence, squares: torch.Tensor) -> np.ndarray:
    cells = evidence.dense.look(squares).numpy().astype(np.float16)
    rows = pd.DataFrame(index=range(len(squares)))
    return evidence_maps(evidence, rows, cells, hashes=[""] * len(squares)).heat(SIZE)


def alone(evidence: Evidence, squares: torch.Tensor) -> None:
    dense = evidence.dense
    mean, std = (torch.tensor(v)[:, None, None] for v in (dense.mean, dense.std))
    with evaluating(dense.body), torch.inference_mode():
        dense.body((squares[:, None].float() / 255 - mean) / std).numpy()


def measure(data: Path, rounds: int) -> list[dict]:
    torch.manual_seed(0)
    squares = [np.array(to_square(read_image(path), SIZE, "squish")) for path in some(data, IMAGES).path]
    squares = torch.from_numpy(np.stack(squares))
    rows = []
    for name in NETWORKS:
        evidence = drawn(name)
        ways = {"the backbone alone": alone, "an evidence map": ours}
        counted = {w: (len(squares), lambda f=f, evidence=evidence: f(evidence, squares)) for w, f in ways.items()}
        rows += side_by_side(f"Evidence, {name}", "image", counted, rounds)
    return rows


if __name__ == "__main__":
    main(__doc__, measure)
