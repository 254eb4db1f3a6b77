"""Variants tried for `flagship`: python experiments/trials.py DATA WEIGHTS FOLDER

Trains each variant with each seed on 1,000 training images of 160 pixels, into FOLDER (existing models are not
trained again), and writes results/trials.csv: one row for each variant and seed. The seed also decides the validation
patients. The official test images are left out before training.
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from xai_pneumonia.model.bundle import Bundle, load_bundle, predict
from xai_pneumonia.model.perturb import predict_perturbed
from xai_pneumonia.model.recipes import RECIPES, change_recipe
from xai_pneumonia.model.runs import read_run
from xai_pneumonia.run import prepare
from xai_pneumonia.stats.calibrate import calibrate, fit_calibration, uncalibrated
from xai_pneumonia.train import train_run

TABLE = Path(__file__).parent.parent / "results" / "trials.csv"
SEEDS = (1, 2, 3)
COMMON = {"train_images": 1000, "size": 160}
VARIANTS = {
    "flagship": {},
    "augmentation of default": {"zoom": 1.1, "lighting": 0.2, "gamma": 0.0, "border": 0.0},
    "border=0": {"border": 0.0},
    "gamma=0": {"gamma": 0.0},
    "mixup=0.2": {"mixup": 0.2},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "keep=mean": {"keep": "mean"},
    "epochs=8": {"epochs": 8},
    "batchnorm=moving": {"batchnorm": "moving"},
    "batchnorm, mixup, epochs": {"batchnorm": "moving", "mixup": 0.2, "epochs": 8},
    "lr of a third": {"lr": (3e-6, 3e-5, 3e-4)},
    "size=224": {"size": 224},
    "weights=none": {"weights": "none", "frozen_epochs": 0, "epochs": 5, "batchnorm": "moving", "lr": (1e-3,) * 3},
}
MIRRORED = "mirrored images vote too"


def figures(plain, perturbed) -> dict:
    "AUROC and log loss of pneumonia, calibrated on both tables together as in `train`."
    fitted, columns = fit_calibration(pd.concat([plain, perturbed]), "platt"), {}
    for name, table in {"plain": plain, "perturbed": perturbed}.items():
        p, ill = 1 - calibrate(table, fitted).p_NORMAL, table.label != "NORMAL"
        columns |= {f"{name}_auroc": roc_auc_score(ill, p), f"{name}_log_loss": log_loss(ill, p)}
    return columns


class Mirrored(nn.Module):
    "The mean of a model's probabilities for an image and its mirror image."

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return ((self.model(x).softmax(1) + self.model(x.flip(-1)).softmax(1)) / 2).log()


def mirrored(run) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Uncalibrated predictions by `Mirrored` for original and perturbed validation images."
    trained = load_bundle(run.folder)
    bundle = Bundle(Mirrored(trained.model), trained.card | {"calibration": {"method": "none"}})
    valid = run.manifest[run.manifest.split == "valid"]
    return predict(bundle, valid), predict_perturbed(bundle, valid)


def main(data, weights, folder):
    rows = []
    for seed in SEEDS:
        for name, changes in VARIANTS.items():
            recipe = change_recipe(RECIPES["flagship"], {"weights": weights, "seed": seed} | COMMON | changes)
            out = Path(folder) / f"{name.replace(' ', '_')}-{seed}"
            if not out.exists():
                manifest = prepare(data, recipe)
                kept = manifest.split != "test"
                train_run(data, manifest[kept], recipe, out, resume=True)
            run = read_run(out, data)
            tables = {name: (uncalibrated(run.predictions), uncalibrated(run.perturbed))}
            if name == "flagship":
                tables[MIRRORED] = mirrored(run)
            for variant, (plain, perturbed) in tables.items():
                seconds = run.environment["training_seconds"]
                rows.append({"variant": variant, "seed": seed, "seconds": seconds} | figures(plain, perturbed))
            pd.DataFrame(rows).round(5).to_csv(TABLE, index=False)
            print(pd.DataFrame(rows).tail(len(tables)).to_string(header=False), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
