"""Reading an X-ray's square from the cache beside decoding the X-ray at full size; and filling the cache."""

import itertools
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from side_by_side import main, side_by_side, some

from xai_pneumonia.sources.images import read_image, square_files, to_square

IMAGES, SIZE = 64, 224


def by_pillow(path: Path) -> Image.Image:
    "The same with Pillow alone."
    with Image.open(path) as image:
        return image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def fill(paths: list[Path], cache: Path, processes: int | None) -> list[Path]:
    with mock.patch("os.cpu_count", return_value=processes):
        return square_files(paths, SIZE, "squish", cache)


def pixels(result: list, reference: list[Image.Image]) -> str:
    "Whether the pixels are the same; the result may be files."
    images = (read_image(r) if isinstance(r, Path) else r for r in result)
    same = all(np.array_equal(a, b) for a, b in zip(images, reference, strict=True))
    return "same pixels" if same else "OTHER PIXELS"


def measure(data: Path, rounds: int) -> list[dict]:
    paths, cores = [Path(p) for p in some(data, IMAGES).path], os.cpu_count()
    with tempfile.TemporaryDirectory() as d:
        full = Path(d) / "full"
        empty = (Path(d) / str(i) for i in itertools.count())
        cached = fill(paths, full, cores)
        ways = {
            "read from the cache": lambda: [read_image(p) for p in cached],
            "decode and resize": lambda: [to_square(read_image(p), SIZE, "squish") for p in paths],
            "decode and resize, Pillow alone": lambda: [by_pillow(p) for p in paths],
            "find in the cache": lambda: fill(paths, full, 1),
            "fill the cache, one process": lambda: fill(paths, next(empty), 1),
            "fill the cache, all cores": lambda: fill(paths, next(empty), cores),
        }
        counted = {way: (len(paths), work) for way, work in ways.items()}
        return side_by_side("decoding", "image", counted, rounds, pixels)


if __name__ == "__main__":
    main(__doc__, measure)
