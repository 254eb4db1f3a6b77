"""Training a head on a frozen backbone: a plain PyTorch loop beside the cached features of `fit`. The backbone has random
weights. The longer the training, the larger the ratio.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from side_by_side import main, settled, side_by_side
from torch import nn
from torchvision.models import get_model

from fastai.torch_core import set_seed
from xai_pneumonia.data import balanced_subset, make_dls, split_patients
from xai_pneumonia.model.backbones import load_backbone, make_model
from xai_pneumonia.model.recipes import RECIPES, Recipe
from xai_pneumonia.sources.images import make_loader
from xai_pneumonia.sources.readers import read_data
from xai_pneumonia.train import fit_recipe

BACKBONE, IMAGES, VALID, BATCH, EPOCHS = "mobilenet_v2", 64, 16, 16, 10


def random_backbone(table: pd.DataFrame, file: Path) -> str:
    "Write the state dict of a backbone with random weights."
    set_seed(0, reproducible=True)
    ((x,),) = make_loader(table.path.head(16), batch_size=16)
    torch.save(settled(get_model(BACKBONE), x.as_subclass(torch.Tensor)).state_dict(), file)
    return str(file)


def by_pytorch(table: pd.DataFrame, recipe: Recipe) -> list[float]:
    "Validation loss after each epoch of an ordinary loop, with the whole network in every step."
    set_seed(recipe.seed, reproducible=True)
    dls = make_dls(table, batch_size=BATCH, resize=recipe.resize, rotate=0, zoom=1, lighting=0)
    model = make_model(load_backbone(BACKBONE, recipe.weights)[0], "linear", "logit", recipe.size, 2)
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam(model[1].parameters(), recipe.frozen_lr)
    losses = []
    for _ in range(recipe.frozen_epochs):
        model.train()
        model[0].eval()
        for x, y in dls.train:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.as_subclass(torch.Tensor)), y.as_subclass(torch.Tensor)).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            pairs = [(model(x.as_subclass(torch.Tensor)), y.as_subclass(torch.Tensor)) for x, y in dls.valid]
        logits, y = (torch.cat(part) for part in zip(*pairs, strict=True))
        losses.append(nn.functional.cross_entropy(logits, y).item())
    return losses


def by_library(table: pd.DataFrame, recipe: Recipe) -> list[float]:
    return fit_recipe(table, recipe)[1].valid_loss.tolist()


def last(result: list[float], reference: list[float]) -> str:
    return f"validation loss at the end {result[-1]:.4f}, {reference[-1]:.4f} for the reference"


def measure(data: Path, rounds: int) -> list[dict]:
    table = balanced_subset(split_patients(read_data(data), 0.2), IMAGES, VALID, None)
    table = table[table.split != "test"]
    with tempfile.TemporaryDirectory() as d:
        weights = random_backbone(table, Path(d) / "random.pth")
        changes = {
            "backbone": BACKBONE,
            "weights": weights,
            "batch_size": BATCH,
            "frozen_epochs": EPOCHS,
            "schedule": "constant",
            "patience": 0,
        }
        recipe = replace(RECIPES["resnet50_head"], **changes)
        ways = {
            "this library": (IMAGES * EPOCHS, lambda: by_library(table, recipe)),
            "plain PyTorch loop": (IMAGES * EPOCHS, lambda: by_pytorch(table, recipe)),
        }
        return side_by_side(f"frozen head, {EPOCHS} epochs", "image and epoch", ways, rounds, last)


if __name__ == "__main__":
    main(__doc__, measure)
