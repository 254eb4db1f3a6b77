"""`predict_files` beside fastai's `learn.predict` and `learn.get_preds`, with and without maps, and its back ends.

Run it from anywhere: python benchmarks/predict.py MODEL IMAGES [N], with a run folder and a folder of X-rays, of which N
(200) are taken. The ways take turns and the fastest round of each counts, since the machine may be busy. Each way reads
the files anew; starting its processes is part of its time.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
import warnings
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.all import ImageDataLoaders, Normalize, Resize, imagenet_stats

from xai_pneumonia import predict
from xai_pneumonia.bundle import Bundle, load_bundle
from xai_pneumonia.calibrate import calibrate
from xai_pneumonia.inputs import find_inputs

ROUNDS, LOOP = 3, 20  # `learn.predict` is asked about so many files only


def learner(bundle: Bundle, files: list[Path]) -> Learner:
    "The same model as a fastai user has it."
    labels = [bundle.classes[i % len(bundle.classes)] for i in range(len(files))]
    options = {"item_tfms": Resize(bundle.card["size"], bundle.card["resize"]), "bs": 32, "valid_pct": 0.5}
    dls = ImageDataLoaders.from_lists(".", files, labels, batch_tfms=Normalize.from_stats(*imagenet_stats), **options)
    model = deepcopy(bundle.model).to(memory_format=torch.contiguous_format)
    return Learner(dls, model, loss_func=CrossEntropyLossFlat())


def by_fastai(learn: Learner, files: list[Path], loop: bool) -> np.ndarray:
    with learn.no_bar(), learn.no_logging():
        if loop:
            return np.stack([learn.predict(f)[2].numpy() for f in files])
        return learn.get_preds(dl=learn.dls.test_dl(files))[0].numpy()


def by_library(bundle: Bundle, files: list[Path], **options) -> np.ndarray:
    with tempfile.TemporaryDirectory() as d:
        maps = Path(d) / "maps" if options.pop("maps", False) else None
        predict.predict_files(bundle, files, Path(d) / "out.csv", maps, **options)
        return pd.read_csv(Path(d) / "out.csv")[[f"p_{c}" for c in bundle.classes]].to_numpy()


def bf16(bundle: Bundle):
    "A back end that is not offered."

    def probabilities(squares):
        x = predict._normalised(bundle, squares)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return predict._calibrated(bundle, bundle.model(x).float())

    return probabilities


def calibrated(bundle: Bundle, p: np.ndarray) -> np.ndarray:
    columns = [f"p_{c}" for c in bundle.classes]
    return calibrate(pd.DataFrame(p.astype(float), columns=columns), bundle.calibration)[columns].to_numpy()


def main(model: str, images: str, n: int):
    bundle, files = load_bundle(model), find_inputs(images)
    files = files[:: max(len(files) // n, 1)][:n]
    learn = learner(bundle, files)
    ways = {
        "learn.predict, one by one": (LOOP, lambda f: calibrated(bundle, by_fastai(learn, f, True))),
        "learn.get_preds": (n, lambda f: calibrated(bundle, by_fastai(learn, f, False))),
        "predict_files, torch": (n, lambda f: by_library(bundle, f)),
        "  with maps": (n, lambda f: by_library(bundle, f, maps=True)),
        "  in bfloat16 (not offered)": (n, lambda f: by_library(bundle, f, backend="bf16")),
    }
    backends = {"bf16": bf16}
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            session = predict.BACKENDS["onnx"](bundle)
        print(f"the export to ONNX takes {time.perf_counter() - start:.1f} s at each start, which is not counted below")
        backends["onnx"] = lambda _: session
        ways["predict_files, onnx"] = (n, lambda f: by_library(bundle, f, backend="onnx"))
    took, p = {name: [] for name in ways}, {}
    with mock.patch.dict(predict.BACKENDS, backends), contextlib.redirect_stdout(io.StringIO()):
        for _ in range(ROUNDS):
            for name, (k, way) in ways.items():
                start = time.perf_counter()
                p[name] = way(files[:k])
                took[name].append((time.perf_counter() - start) / k)
    best = {name: min(t) for name, t in took.items()}
    reference = p["predict_files, torch"]
    print(f"{bundle.card['backbone']}, {n} files, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s)")
    print(f"{'':28} {'images/s':>8} {'x predict':>9} {'x get_preds':>11}   largest difference of a probability")
    for name, t in best.items():
        over = [best[base] / t for base in list(best)[:2]]
        worst = np.abs(p[name] - reference[: len(p[name])]).max()
        print(f"{name:28} {1 / t:8.1f} {over[0]:9.1f} {over[1]:11.2f}   {worst:.1e}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    warnings.filterwarnings("ignore", category=FutureWarning)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else 200)
