"""A frozen backbone for as long as the recipe resnet50_head trains: a plain PyTorch loop beside cached features.

Run it from anywhere: python benchmarks/features.py DATA WEIGHTS, with a state-dict file of mobilenet_v2. 200 training
images; both ways stop after five epochs without a lower validation loss.
"""

import contextlib
import io
import sys
import time
from dataclasses import replace

import torch
from torch import nn

from xai_pneumonia.core import seed_everything
from xai_pneumonia.data import balanced_subset, complete_split, find_data, make_dls, read_data
from xai_pneumonia.models import load_backbone, make_model
from xai_pneumonia.recipes import RECIPES
from xai_pneumonia.train import fit

TRAIN, VALID = 200, 100


def plain(manifest, recipe, weights) -> tuple[int, float, float]:
    "Epochs, lowest validation loss and accuracy of a loop as that system's: the whole network in every step."
    seed_everything(recipe.seed)
    dls = make_dls(manifest, resize=recipe.resize, rotate=0, zoom=1, lighting=0)
    model = make_model(load_backbone("mobilenet_v2", weights)[0], "linear", "logit", recipe.size, 2)
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam(model[1].parameters(), recipe.frozen_lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    best, right, wait = float("inf"), 0.0, 0
    for epochs in range(1, recipe.frozen_epochs + 1):  # noqa: B007
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
        loss = nn.functional.cross_entropy(logits, y).item()
        scheduler.step(loss)
        wait = 0 if loss < best else wait + 1
        if loss < best:
            best, right = loss, (logits.argmax(1) == y).float().mean().item()
        if wait == recipe.patience:
            break
    return epochs, best, right


def cached(manifest, recipe, weights) -> tuple[int, float, float]:
    "The same by `fit`."
    with contextlib.redirect_stdout(io.StringIO()):
        _, history, _ = fit(manifest, replace(recipe, backbone="mobilenet_v2", weights=weights))
    best = history.loc[history.valid_loss.idxmin()]
    return len(history), best.valid_loss, best.accuracy


def main(data: str, weights: str):
    with contextlib.redirect_stdout(io.StringIO()):
        manifest = complete_split(read_data(find_data(data)))
    manifest = balanced_subset(manifest, TRAIN, VALID, None)
    recipe = RECIPES["resnet50_head"]
    took = {}
    for name, way in (("plain loop", plain), ("cached features", cached)):
        start = time.perf_counter()
        epochs, loss, accuracy = way(manifest, recipe, weights)
        took[name] = time.perf_counter() - start
        print(f"{name:16} {took[name]:7.1f} s, {epochs} epochs, validation loss {loss:.4f}, accuracy {accuracy:.3f}")
    print(f"{took['plain loop'] / took['cached features']:.1f} times as fast")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
