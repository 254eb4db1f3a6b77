"""Prediction with a Grad-CAM map beside the prediction alone, and beside pytorch-grad-cam and torchcam, each used as in
its README. The networks have random weights.
"""

from pathlib import Path

import numpy as np
import torch
import torchcam.methods
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from side_by_side import main, settled, side_by_side, some
from torchvision.models import get_model

from xai_pneumonia.explain.cam import class_activation_maps, scale_maps
from xai_pneumonia.model.backbones import make_model
from xai_pneumonia.sources.images import make_loader

IMAGES, SIZE = 16, 224
NETWORKS = {"resnet18": "fastai", "densenet121": "fastai", "mobilenet_v2": "linear"}  # backbone: head


def ours(model, x) -> np.ndarray:
    return class_activation_maps(model, x, 1)[0]


def alone(model, x) -> None:
    with torch.inference_mode():
        model(x).numpy()


def by_pytorch_grad_cam(model, x) -> np.ndarray:
    with GradCAM(model, [model[0][-1]]) as cam:
        return cam(x, [ClassifierOutputTarget(1)] * len(x))


def by_torchcam(model, x) -> np.ndarray:
    with torchcam.methods.GradCAM(model, model[0][-1]) as extractor:
        return extractor(1, model(x))[0].numpy()


def difference(result: np.ndarray | None, reference: np.ndarray) -> str:
    if result is None:
        return "no map"
    maps = result if result.shape[1] == SIZE else scale_maps(result, SIZE)
    return f"largest difference of a map {np.abs(maps - scale_maps(reference, SIZE)).max():.0e}"


def measure(data: Path, rounds: int) -> list[dict]:
    torch.manual_seed(0)
    ((x,),) = make_loader(some(data, IMAGES).path, SIZE, batch_size=IMAGES)
    x = x.as_subclass(torch.Tensor).contiguous(memory_format=torch.channels_last)
    rows = []
    for name, head in NETWORKS.items():
        model = make_model(get_model(name), head, "softmax", SIZE, 2).to(memory_format=torch.channels_last)
        model = settled(model, x)
        ways = {
            "this library": ours,
            "prediction alone": alone,
            "pytorch-grad-cam": by_pytorch_grad_cam,
            "torchcam": by_torchcam,
        }
        counted = {way: (len(x), lambda work=work, model=model: work(model, x)) for way, work in ways.items()}
        rows += side_by_side(f"Grad-CAM, {name}", "image", counted, rounds, difference)
    return rows


if __name__ == "__main__":
    main(__doc__, measure)
