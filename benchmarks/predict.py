"""`predict_files` beside fastai's `learn.predict` and `learn.get_preds`, with maps, and its back ends. The model has
random weights. Each way reads the files again; starting its processes is part of its time.
"""

import tempfile
from collections.abc import Callable
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
from side_by_side import main, settled, side_by_side, some
from torchvision.models import get_model

from xai_pneumonia import predict
from xai_pneumonia.model.backbones import make_model
from xai_pneumonia.model.bundle import Bundle, load_bundle, make_bundle, save_bundle
from xai_pneumonia.model.recipes import RECIPES
from xai_pneumonia.sources.images import make_loader
from xai_pneumonia.sources.inputs import find_inputs

IMAGES, LOOP = 64, 16  # `learn.predict` gets only the first LOOP files


def random_bundle(files: list[Path], folder: Path) -> Bundle:
    "A model with random weights, saved and loaded like a trained one."
    torch.manual_seed(0)
    recipe = RECIPES["default"]
    model = make_model(get_model(recipe.backbone), recipe.head, recipe.output, recipe.size, 2)
    ((x,),) = make_loader(files[:16], recipe.size, recipe.resize, batch_size=16)
    model = settled(model, x.as_subclass(torch.Tensor))
    data = {"name": "none", "fingerprint": "", "synthetic": True, "credit": ""}
    save_bundle(make_bundle(model, recipe, "none (random initialisation)", data), folder)
    return load_bundle(folder)


def learner(bundle: Bundle, files: list[Path]) -> Learner:
    "The same model as a fastai user would have it."
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


def by_library(bundle: Bundle, files: list[Path], maps: bool = False, backend: str = "torch") -> np.ndarray:
    with tempfile.TemporaryDirectory() as d:
        predict.predict_files(bundle, files, Path(d) / "out.csv", Path(d) / "maps" if maps else None, backend=backend)
        return pd.read_csv(Path(d) / "out.csv")[[f"p_{c}" for c in bundle.classes]].to_numpy()


def bf16(bundle: Bundle) -> Callable:
    "A back end that the library does not offer."

    def probabilities(squares):
        x = bundle.normalised(squares)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return bundle.probabilities(bundle.model(x))

    return probabilities


def difference(result: np.ndarray, reference: np.ndarray) -> str:
    return f"largest difference of a probability {np.abs(result - reference[: len(result)]).max():.0e}"


def measure(data: Path, rounds: int) -> list[dict]:
    files = find_inputs(some(data, IMAGES).path)  # in the order of `predict_files`
    with tempfile.TemporaryDirectory() as d:
        bundle = random_bundle(files, Path(d))
    n, few, learn = len(files), files[:LOOP], learner(bundle, files)
    ways = {
        "predict_files": (n, lambda: by_library(bundle, files)),
        "learn.predict, one by one": (len(few), lambda: by_fastai(learn, few, True)),
        "learn.get_preds": (n, lambda: by_fastai(learn, files, False)),
        "predict_files with maps": (n, lambda: by_library(bundle, files, maps=True)),
        "predict_files in bf16 (not offered)": (n, lambda: by_library(bundle, files, backend="bf16")),
    }
    backends = {"bf16": bf16}
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        session = predict.BACKENDS["onnx"](bundle)  # the export, which takes seconds, is not counted
        backends["onnx"] = lambda _: session
        ways["predict_files, onnx (once exported)"] = (n, lambda: by_library(bundle, files, backend="onnx"))
    with mock.patch.dict(predict.BACKENDS, backends):
        return side_by_side("prediction", "file", ways, rounds, difference)


if __name__ == "__main__":
    main(__doc__, measure)
