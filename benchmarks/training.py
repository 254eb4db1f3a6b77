"""Training steps: the plain fastai script beside what this library adds, one thing at a time, in one run.

Run it from anywhere: python benchmarks/training.py [rounds]. The images are random numbers: only the time counts.
"""

import sys
import time

import torch
import torchvision
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback, CancelValidException
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from torch import nn

from xai_pneumonia.devices import Bf16
from xai_pneumonia.models import make_model, split_groups

BATCH, STEPS, SIZE = 32, 4, 224


def learner(cbs) -> Learner:
    torch.manual_seed(0)
    items = [(torch.randn(3, SIZE, SIZE), torch.tensor(i % 2)) for i in range(BATCH * STEPS)]
    dls = DataLoaders.from_dsets(items, items[:BATCH], bs=BATCH, num_workers=0)
    model = make_model(torchvision.models.mobilenet_v2(), "linear", "softmax", SIZE, 2)
    return Learner(dls, model, nn.CrossEntropyLoss(), opt_func=Adam, splitter=split_groups, cbs=cbs)


def plain_pytorch() -> float:
    "Images a second of a loop as in a tutorial."
    torch.manual_seed(0)
    x, y = torch.randn(BATCH * STEPS, 3, SIZE, SIZE), torch.arange(BATCH * STEPS) % 2
    model = torchvision.models.mobilenet_v2(num_classes=2).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    start = time.perf_counter()
    for i in range(0, len(x), BATCH):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + BATCH]), y[i : i + BATCH]).backward()
        optimizer.step()
    return len(x) / (time.perf_counter() - start)


def fastai(cbs, denormal=False) -> float:
    "Images a second of an epoch without validation."
    learn = learner(cbs)
    torch.set_flush_denormal(denormal)
    with learn.no_bar(), learn.no_logging():
        start = time.perf_counter()
        learn.fit(1, 1e-4, cbs=SkipValidation())
        took = time.perf_counter() - start
    torch.set_flush_denormal(False)
    return BATCH * STEPS / took


class SkipValidation(Callback):
    def before_validate(self):
        raise CancelValidException


WAYS = {
    "plain PyTorch loop": plain_pytorch,
    "plain fastai": lambda: fastai([]),
    "+ flush denormal numbers": lambda: fastai([], denormal=True),
    "+ channels last": lambda: fastai([ChannelsLast()]),
    "+ channels last, bfloat16": lambda: fastai([ChannelsLast(), Bf16()]),
}


def main(rounds: int):
    took = {name: [] for name in WAYS}
    for _ in range(rounds):  # in turn, and the fastest of each counts: the machine may be busy
        for name, way in WAYS.items():
            took[name].append(way())
    plain = max(took["plain fastai"])
    print(f"mobilenet_v2, {SIZE} px, batches of {BATCH}, {torch.get_num_threads()} threads, fastest of {rounds}")
    for name, rates in took.items():
        print(f"{name:28} {max(rates):6.1f} images/s, {max(rates) / plain:.2f} times plain fastai")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
