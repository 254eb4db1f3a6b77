"""Prediction with a Grad-CAM map beside the prediction alone, and beside pytorch-grad-cam as its README drives it.

Run it from anywhere: python benchmarks/gradcam.py [rounds]
"""

import statistics
import sys
import time

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import get_model

from xai_pneumonia.cam import class_activation_maps, scale_maps
from xai_pneumonia.models import make_model

BATCH, SIZE = 16, 224
NETWORKS = [("resnet18", "fastai"), ("densenet121", "fastai"), ("mobilenet_v2", "linear")]


def forward(model, x):
    "The prediction alone."
    with torch.inference_mode():
        return model(x).numpy()


def ours(model, x):
    "Prediction and map."
    return class_activation_maps(model, x, 1)[0]


def usual(model, x):
    "Prediction and map, the whole network differentiated."
    with GradCAM(model, [model[0][-1]]) as cam:
        return cam(x, [ClassifierOutputTarget(1)] * len(x))


def main(rounds: int):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # random networks have tiny activations
    x = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    print(
        f"Batches of {BATCH} images of {SIZE} pixels, one thread, {rounds} rounds side by side; median (least to most)"
    )
    for name, head in NETWORKS:
        model = make_model(get_model(name), head, "softmax", SIZE, 2).eval().to(memory_format=torch.channels_last)
        difference = abs(scale_maps(ours(model, x), SIZE) - usual(model, x)).max()
        took = {way: [] for way in (forward, ours, usual)}
        for _ in range(rounds):
            for way, times in took.items():
                start = time.perf_counter()
                way(model, x)
                times.append(time.perf_counter() - start)
        print(f"\n{name}, head {head}: largest difference of the maps {difference:.0e}")
        print(f"  prediction alone   {1000 * statistics.median(took[forward]) / BATCH:6.1f} ms an image")
        for way, title in ((ours, "with map, ours"), (usual, "pytorch-grad-cam")):
            ratios = [a / b for a, b in zip(took[way], took[forward], strict=True)]
            print(f"  {title:18} {statistics.median(ratios):6.2f} times it ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
