"""An epoch of training from files: the plain fastai script, and what this library adds to it, one thing after another.

Run it from anywhere: python benchmarks/training.py [rounds]. 264 JPEG files of 1400 by 1100 pixels are made for it.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from decoding import SIZE, simulated
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback, CancelValidException
from fastai.learner import Learner
from fastai.vision.augment import Resize, ResizeMethod, aug_transforms
from fastai.vision.data import ImageDataLoaders
from torch import nn

from xai_pneumonia.devices import Bf16
from xai_pneumonia.images import square_files
from xai_pneumonia.models import make_model

BATCH, IMAGES = 32, 264
WAYS = {  # loader processes, cached squares, flush denormal numbers, channels last, bfloat16
    "plain fastai script": (0, False, False, False, False),
    "+ one loader process": (1, False, False, False, False),
    "+ cache of squares": (1, True, False, False, False),
    "+ denormal numbers are 0": (1, True, True, False, False),
    "+ channels last": (1, True, False, True, False),
    "+ bfloat16": (1, True, False, True, True),
}


class Stopwatch(Callback):
    "Time the batches after the first, which also starts the loader; leave validation out."

    def after_batch(self):
        self.times = [*getattr(self, "times", []), time.perf_counter()]

    def before_validate(self):
        raise CancelValidException

    def rate(self):
        return BATCH * (len(self.times) - 1) / (self.times[-1] - self.times[0])


def learner(paths: list[Path], cache: Path, workers, cached, channels_last, bf16) -> Learner:
    torch.manual_seed(0)
    dls = ImageDataLoaders.from_lists(
        cache,
        square_files(paths, SIZE, "squish", cache) if cached else paths,
        [int(path.stem) % 2 for path in paths],
        valid_pct=0.01,
        item_tfms=None if cached else Resize(SIZE, ResizeMethod.Squish),
        batch_tfms=aug_transforms(max_warp=0),
        bs=BATCH,
        num_workers=workers,
    )
    model = make_model(torchvision.models.mobilenet_v2(), "linear", "softmax", SIZE, 2)
    cbs = [Stopwatch(), *([ChannelsLast()] if channels_last else []), *([Bf16()] if bf16 else [])]
    return Learner(dls, model, nn.CrossEntropyLoss(), cbs=cbs)


def rate(paths, cache, workers, cached, denormal, channels_last, bf16) -> float:
    "Images a second of an epoch."
    learn = learner(paths, cache, workers, cached, channels_last, bf16)
    torch.set_flush_denormal(denormal)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-4)
    torch.set_flush_denormal(False)
    return learn.stopwatch.rate()


def main(rounds: int):
    rates = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as d:
        paths = simulated(Path(d), IMAGES)
        for _ in range(rounds):  # in turn, and the fastest of each counts: the machine may be busy
            for name, way in WAYS.items():
                rates[name].append(rate(paths, Path(d) / "cache", *way))
    plain = max(rates["plain fastai script"])
    print(f"mobilenet_v2, {SIZE} px, batches of {BATCH}, {torch.get_num_threads()} threads, fastest of {rounds}")
    for name, each in rates.items():
        print(f"{name:26} {max(each):6.1f} images/s, {max(each) / plain:.2f} times the plain script")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
