"""An epoch of training from files: a plain PyTorch loop, a plain fastai script, and this library. All networks have
random weights, all ways use the same number of loader processes, and validation is left out.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import torchvision
from fastai.callback.core import Callback, CancelValidException
from fastai.learner import Learner
from fastai.vision.all import ImageDataLoaders, Resize, ResizeMethod, aug_transforms, vision_learner
from PIL import Image
from side_by_side import main, side_by_side, some
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from xai_pneumonia.data import make_dls
from xai_pneumonia.model.recipes import RECIPES
from xai_pneumonia.train import make_learner

IMAGES, BATCH, SIZE, RATE, LOADERS = 64, 16, 224, 1e-4, 1


class XRays(Dataset):
    "X-rays and class numbers."

    def __init__(self, table: pd.DataFrame):
        self.paths = list(table.path)
        self.labels = list((table.label == "PNEUMONIA").astype(int))
        self.transform = transforms.Compose(
            [
                transforms.Resize((SIZE, SIZE)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(10),
                transforms.ColorJitter(0.2, 0.2),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return self.transform(Image.open(self.paths[i]).convert("RGB")), self.labels[i]


def by_pytorch(table: pd.DataFrame) -> Callable:
    "An ordinary loop."
    loader = DataLoader(XRays(table), BATCH, shuffle=True, drop_last=True, num_workers=LOADERS)
    model = torchvision.models.mobilenet_v2(num_classes=2)
    optimizer = torch.optim.Adam(model.parameters(), RATE)

    def epoch():
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()

    return epoch


class NoValidation(Callback):
    def before_validate(self):
        raise CancelValidException


def one_epoch(learn: Learner) -> Callable:
    "A function that trains this learner for one epoch."
    learn.add_cb(NoValidation())

    def epoch():
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, RATE)

    return epoch


def by_fastai(table: pd.DataFrame) -> Callable:
    "A script like those in fastai's tutorials."
    dls = ImageDataLoaders.from_df(
        table.assign(is_valid=table.split == "valid"),
        path="/",
        fn_col="path",
        label_col="label",
        valid_col="is_valid",
        item_tfms=Resize(SIZE, ResizeMethod.Squish),
        batch_tfms=aug_transforms(max_warp=0),
        bs=BATCH,
        num_workers=LOADERS,
    )
    learn = vision_learner(dls, torchvision.models.mobilenet_v2, pretrained=False)
    return one_epoch(learn)


def by_library(table: pd.DataFrame, precision: str) -> Callable:
    "The recipe `default`, from random weights."
    changes = {"weights": "none", "batchnorm": "moving", "frozen_epochs": 0, "precision": precision}
    recipe = replace(RECIPES["default"], **changes)
    dls = make_dls(table, batch_size=BATCH, rotate=recipe.rotate, zoom=recipe.zoom, lighting=recipe.lighting)
    for dl in dls.loaders:
        dl.fake_l.num_workers = LOADERS
    return one_epoch(make_learner(dls, recipe)[0])


def measure(data: Path, rounds: int) -> list[dict]:
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # random networks have tiny gradients
    table = some(data, IMAGES)
    table = pd.concat([table.assign(split="train"), table.head(2).assign(split="valid")], ignore_index=True)
    train = table[table.split == "train"]
    ways = {
        "this library, fp32": by_library(table, "fp32"),
        "this library, bf16": by_library(table, "bf16"),
        "plain PyTorch loop": by_pytorch(train),
        "plain fastai script": by_fastai(table),
    }
    return side_by_side("training", "image", {way: (len(train), work) for way, work in ways.items()}, rounds)


if __name__ == "__main__":
    main(__doc__, measure)
