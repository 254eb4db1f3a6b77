"""Reading X-rays at full size beside reading their squares from the cache, and filling the cache.

Run it from anywhere: python benchmarks/decoding.py [images]
"""

import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from xai_pneumonia.images import read_image, square_files, to_square

WIDTH, HEIGHT, SIZE = 1400, 1100, 224


def simulated(folder: Path, n: int) -> list[Path]:
    "JPEG files about as large as those of Kermany et al.: smooth shapes and a little noise."
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:04}.jpeg" for i in range(n)]
    for path in paths:
        shapes = Image.fromarray(rng.integers(0, 256, (28, 35), dtype=np.uint8)).resize((WIDTH, HEIGHT))
        noisy = np.asarray(shapes) + rng.integers(-6, 7, (HEIGHT, WIDTH))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def plain(path: Path) -> Image.Image:
    "What Pillow alone needs."
    with Image.open(path) as image:
        return image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fill(paths: list[Path], cache: Path, processes: int) -> list[Path]:
    with mock.patch("os.cpu_count", return_value=processes):
        return square_files(paths, SIZE, "squish", cache)


def main(n: int, rounds: int = 3):
    with tempfile.TemporaryDirectory() as d:
        paths = simulated(Path(d), n)
        caches = iter(Path(d) / f"cache{i}" for i in range(2 * rounds))
        took = {name: [] for name in ("pillow", "full", "one", "two", "find", "cached")}
        for _ in range(rounds):  # side by side, and the fastest of each counts: the machine may be busy
            cache, other = next(caches), next(caches)
            took["pillow"].append(seconds(lambda: [plain(p) for p in paths]))
            took["full"].append(seconds(lambda: [to_square(read_image(p), SIZE, "squish") for p in paths]))
            took["one"].append(seconds(lambda cache=cache: fill(paths, cache, 1)))
            took["two"].append(seconds(lambda other=other: fill(paths, other, 2)))
            took["find"].append(seconds(lambda cache=cache: fill(paths, cache, 1)))
            entries = fill(paths, cache, 1)
            took["cached"].append(seconds(lambda entries=entries: [read_image(p) for p in entries]))
        same = all(np.array_equal(plain(p), read_image(e)) for p, e in zip(paths, entries, strict=True))
    best = {name: 1000 * min(t) / n for name, t in took.items()}
    print(f"\n{n} simulated JPEG files of {WIDTH} x {HEIGHT}, squares of {SIZE}; milliseconds per image")
    print(f"Pillow alone, decode and resize            {best['pillow']:8.2f}")
    print(f"read_image and to_square                   {best['full']:8.2f}")
    print(
        f"read_image of the square from the cache    {best['cached']:8.2f}   ratio {best['full'] / best['cached']:.0f}"
    )
    print(f"square_files, all cached (finding them)    {best['find']:8.2f}   ratio {best['full'] / best['find']:.0f}")
    print(f"square_files, filling with one process     {best['one']:8.2f}")
    print(f"square_files, filling with two processes   {best['two']:8.2f}   ratio {best['one'] / best['two']:.1f}")
    print(f"same pixels                                {same!s:>8}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
