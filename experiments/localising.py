"""Can training put the maps in better places, at no cost in accuracy?

    python experiments/localising.py phantom FOLDER
    python experiments/localising.py boxes BOXES NAME=RUN ...           real images: a CSV with `boxes`, and finished runs
    python experiments/localising.py real BOXES DATA WEIGHTS FOLDER     the same, and variants of `default` trained on DATA

The first trains variants of the recipe `phantom`, each with several seeds, into FOLDER. Existing models are not
trained again, and rows in the table are not measured again. Validation and test are 400 new phantoms each, the same for
all. results/localising.csv gets a row for each variant, seed and map; the variant `controls` has maps that use no model.
"""

import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.callback.hook import hook_output
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from xai_pneumonia.core import whole_folder
from xai_pneumonia.explain.localise import control_maps, has_truth, localisation_metrics, truth_masks
from xai_pneumonia.gradcam import explain, scale_maps
from xai_pneumonia.model.backbones import evaluating, make_model
from xai_pneumonia.model.bundle import fit_decision, load_bundle, make_bundle, predict, save_bundle
from xai_pneumonia.model.perturb import predict_perturbed
from xai_pneumonia.model.recipes import RECIPES, change_recipe
from xai_pneumonia.run import prepare
from xai_pneumonia.sources.images import lung_region, read_image, to_square
from xai_pneumonia.sources.phantom import phantom_folder
from xai_pneumonia.sources.readers import read_csv, read_kermany
from xai_pneumonia.stats.intervals import limits, patient_means
from xai_pneumonia.train import fit_recipe

TABLE = Path(__file__).parent.parent / "results" / "localising.csv"
SEEDS = (1, 2, 3)
COMMON = {"epochs": 14, "precision": "bf16"}  # each halves the time
SETS = {"valid": 1, "test": 2}  # name: seed of the phantoms; those of seed 0 are trained on
SIZE = 112  # side of the squares in which maps are measured, whatever the model's input size
MEASURES = ("hit", "auprc", "energy")


def finer(model, size):
    "Set the last stride to 1: the last map then has twice as many cells per side."
    strided = [m for m in model.modules() if isinstance(m, nn.Conv2d) and max(m.stride) > 1]
    sides = {}
    hooks = [m.register_forward_hook(lambda m, x, _: sides.update({m: x[0].shape[-1]})) for m in strided]
    with evaluating(model), torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    for layer in strided:
        if sides[layer] == min(sides.values()):
            layer.stride = (1, 1)


class AttentionPool(nn.Module):
    "Average weighted by a softmax over cells of a linear score; at first all weights are equal."

    def __init__(self, channels):
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, x):  # (B, C, h, w) -> (B, C)
        return (x * self.score(x).flatten(1).softmax(1).view(len(x), 1, *x.shape[2:])).sum((2, 3))


def attentive(model, size):
    finer(model, size)
    model[1][0] = AttentionPool(_classifier(model).in_features)


def _classifier(model):
    return [m for m in model[1].modules() if isinstance(m, nn.Linear)][-1]


class OnMaps(Callback):
    "Add a penalty on the class activation map of each training image's own class to the loss."

    def __init__(self, penalty, weight):
        self.penalty, self.weight = penalty, weight

    def before_fit(self):
        self.hook = hook_output(self.model[0], detach=False)

    def after_loss(self):
        if self.training:
            y, features = (t.as_subclass(torch.Tensor) for t in (self.y, self.hook.stored))
            weight = _classifier(self.model).weight
            own = (weight - weight.mean(0))[y]  # what all classes share changes no probability
            maps = (features * own[:, :, None, None]).sum(1)
            self.learn.loss_grad = self.loss_grad + self.weight * self.penalty(maps)

    def after_fit(self):
        self.hook.remove()


def outside_lungs(maps):
    "Share of the positive part outside the prior region of the lungs, mean over images."
    outside = adaptive_avg_pool2d((~lung_region(None, SIZE)).float(), maps.shape[1:])
    positive = maps.relu()
    return ((positive * outside).sum((1, 2)) / positive.sum((1, 2)).clamp(min=1e-6)).mean()


def large(maps):
    return maps.abs().mean()


@dataclass(frozen=True)
class Variant:
    fields: dict = field(default_factory=dict)  # changed fields of the recipe
    change: callable = lambda model, size: None  # change to the model, before training
    penalty: tuple = ()  # for `OnMaps`


VARIANTS = {
    "plain": Variant(),
    "border=0.15": Variant({"border": 0.15}),
    "mixup=0.2": Variant({"mixup": 0.2}),
    "output=logit": Variant({"output": "logit"}),
    "last stride 1": Variant(change=finer),
    "last stride 1, outside lungs": Variant(change=finer, penalty=(outside_lungs, 1.0)),
    "last stride 1, L1": Variant(change=finer, penalty=(large, 0.03)),
    "last stride 1, attention": Variant(change=attentive),
    "size=112": Variant({"size": 112}),
}
REAL = "radiologists' boxes"
REAL_VARIANTS = {
    "112 pixels": Variant({"size": 112}),
    "one output": Variant({"output": "logit"}),
    "last stride 1": Variant(change=finer),
}
MAPS = {  # name: method, and whether it maps the last block or the one that the library chooses
    "Grad-CAM": ("gradcam", False),
    "HiResCAM": ("hirescam", False),
    "last block": ("hirescam", True),
}


def trained(variant, recipe, data, out):
    "The model of a variant as a bundle, calibrated as in `train_run`; trained if it does not exist."

    def make(model, head, output, size, n_classes):
        network = make_model(model, head, output, size, n_classes)
        variant.change(network, size)
        return network

    with patch("xai_pneumonia.train.make_model", make), patch("xai_pneumonia.model.bundle.make_model", make):
        if not out.exists():
            manifest = prepare(data, recipe)
            penalties = [OnMaps(*variant.penalty)] if variant.penalty else []
            unfinished = out.with_name(f"{out.name}.checkpoint.pt")
            learn, history, origin = fit_recipe(manifest, recipe, unfinished, cbs=penalties)
            bundle = make_bundle(learn.model, recipe, origin, {"seconds": history.seconds.sum()})
            valid = manifest[manifest.split == "valid"]
            known = pd.concat([predict(bundle, valid), predict_perturbed(bundle, valid)])
            with whole_folder(out) as part:
                save_bundle(fit_decision(bundle, known, recipe.calibration), part)
            unfinished.unlink()
        return load_bundle(out)


@cache
def lesions(images):
    "A manifest, its rows with a lesion, and their masks: of the phantoms of a seed, or of a CSV."
    manifest = read_csv(images) if isinstance(images, str) else read_kermany(phantom_folder(seed=images))
    rows = manifest[has_truth(manifest)]
    return manifest, rows, truth_masks(rows, SIZE, "squish")


def localisation(split, images, maps):
    "Localisation, mean over images and 95 % interval over patients; the names begin with the split."
    _, rows, masks = lesions(images)
    each, columns = localisation_metrics(maps, masks), {}
    means, boot = patient_means(each[list(MEASURES)].to_numpy().T, rows.patient.to_numpy())
    for i, measure in enumerate(MEASURES):
        low, high = limits(boot[:, i])
        columns |= {f"{split}_{measure}": means[i], f"{split}_{measure}_low": low, f"{split}_{measure}_high": high}
    return columns


def figures(bundle, sets):
    "A row for each map: accuracy and localisation on each of the sets."
    accuracy, rows = {}, {name: {"map": name} for name in MAPS}
    for split, images in sets.items():
        manifest, ill, _ = lesions(images)
        p, y = 1 - predict(bundle, manifest).p_NORMAL, manifest.label != "NORMAL"
        accuracy |= {f"{split}_auroc": roc_auc_score(y, p), f"{split}_log_loss": log_loss(y, p)}
        for name, (method, last) in MAPS.items():
            layer = len(bundle.model[0]) - 1 if last else None
            raw = explain(bundle, ill, "PNEUMONIA", method, layer).raw
            rows[name] |= {"cells": raw.shape[1]} | localisation(split, images, scale_maps(raw, SIZE))
    return [accuracy | row for row in rows.values()]


def controls(sets):
    rows = {}
    for split, images in sets.items():
        _, ill, masks = lesions(images)
        squares = np.stack([np.asarray(to_square(read_image(path), SIZE, "squish")) for path in ill.path])
        for name, maps in control_maps(squares, masks, ill.patient.to_numpy(), cells=8).items():
            rows.setdefault(name, {"map": name}).update(localisation(split, images, maps))
    return list(rows.values())


def read():
    return pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["images", "variant", "seed", "map"])


def add(rows, images, variant, seed=0):
    "Add rows to the table, replacing those of the same images, variant and seed."
    table = read()
    rows = pd.DataFrame([{"images": images, "variant": variant, "seed": seed} | row for row in rows]).round(4)
    table = table[~table[["images", "variant", "seed"]].eq([images, variant, seed]).all(axis=1)]
    pd.concat([table, rows] if len(table) else [rows]).to_csv(TABLE, index=False)
    print(rows.to_string(header=False), flush=True)


def phantom(folder):
    add(controls(SETS), "phantom", "controls")
    for seed in SEEDS:
        for name, variant in VARIANTS.items():
            recipe = change_recipe(RECIPES["phantom"], {"seed": seed} | COMMON | variant.fields)
            out = Path(folder) / f"{name.replace(' ', '_')}-{seed}"
            bundle, done = trained(variant, recipe, phantom_folder(), out), read()
            if not ((done.variant == name) & (done.seed == seed)).any():
                seconds = {"seconds": bundle.card["trained_on"]["seconds"]}
                add([seconds | row for row in figures(bundle, SETS)], "phantom", name, seed)


def boxes(file, *runs):
    add(controls({"test": file}), REAL, "controls")
    for name, folder in (run.split("=", 1) for run in runs):
        add(figures(load_bundle(folder), {"test": file}), REAL, name)


def real(file, data, weights, folder):
    for name, variant in REAL_VARIANTS.items():
        recipe = change_recipe(RECIPES["default"], {"weights": weights, "precision": "bf16"} | variant.fields)
        bundle = trained(variant, recipe, data, Path(folder) / name.replace(" ", "_"))
        manifest = prepare(data, recipe)
        valid = manifest[manifest.split == "valid"]
        p, y = 1 - predict(bundle, valid).p_NORMAL, valid.label != "NORMAL"
        accuracy = {"valid_auroc": roc_auc_score(y, p), "valid_log_loss": log_loss(y, p)}
        add([accuracy | row for row in figures(bundle, {"test": file})], REAL, f"default, {name}")


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("phantom", "boxes", "real"):
        raise SystemExit(__doc__)
    {"phantom": phantom, "boxes": boxes, "real": real}[sys.argv[1]](*sys.argv[2:])
