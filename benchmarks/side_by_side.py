"""Several ways of doing the same task, timed in turns; and what all benchmarks share.

Seconds depend on the machine and on what else it is doing. Here each way is compared with another in the same round, so
that a busy minute slows down both, and the spread of the ratio over the rounds says how far it can be trusted.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from PIL import Image
from torch import nn

from xai_pneumonia.sources.phantom import phantom_folder
from xai_pneumonia.sources.readers import read_data

WIDTH, HEIGHT = 1400, 1100  # about as large as the X-rays of Kermany et al.


def compared(benchmark: str, unit: str, measured: dict[str, list[float]], notes: dict[str, str]) -> list[dict]:
    "A row for each way; `measured` has a value for each round, and its first way is the reference."
    reference = next(iter(measured))
    rows = []
    for way, values in measured.items():
        ratios = [value / base for value, base in zip(values, measured[reference], strict=True)]
        spread = {"ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios)}
        names = {"benchmark": benchmark, "way": way, "reference": reference}
        typical = {"value": statistics.median(values), "unit": unit, "rounds": len(values)}
        rows.append(names | spread | typical | {"note": notes.get(way, "")})
    return rows


def side_by_side(
    benchmark: str,
    item: str,  # What is counted, such as image
    ways: dict[str, tuple[int, Callable]],  # Name: number of items, and the work. The first is the reference
    rounds: int,
    note: Callable | None = None,  # Note on a way, from its result and the reference's
) -> list[dict]:
    "Rows with the time of each way, as a multiple of the reference's in the same round; no rows without rounds."
    results = {way: work() for way, (_, work) in ways.items()}  # which also warms up
    if not rounds:
        return []
    reference, *others = ways
    notes = {way: note(results[way], results[reference]) for way in others} if note else {}
    times = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (items, work) in ways.items():
            start = time.perf_counter()
            work()
            times[way].append(1000 * (time.perf_counter() - start) / items)
    return compared(benchmark, f"ms per {item}", times, notes)


@contextmanager
def data_folder(data: str | None) -> Iterator[Path]:
    "The given data, or phantoms enlarged to WIDTH x HEIGHT; the cache is empty at first, and removed afterwards."
    source = Path(data).resolve() if data else phantom_folder()  # fastai treats relative paths as absolute
    with tempfile.TemporaryDirectory() as d, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": f"{d}/cache"}):
        if not data:
            for path in read_data(source).path:
                file = (Path(d) / Path(path).relative_to(source)).with_suffix(".jpeg")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.open(path).resize((WIDTH, HEIGHT)).save(file, quality=90)
        yield source if data else Path(d)


def some(data: Path, n: int) -> pd.DataFrame:
    "`n` evenly spaced rows of the manifest, or all rows if there are fewer."
    manifest = read_data(data)
    return manifest.iloc[:: max(len(manifest) // n, 1)].head(n).reset_index(drop=True)


@torch.no_grad()
def settled(model: nn.Module, x: torch.Tensor) -> nn.Module:
    "A random network with the BatchNorm statistics of a batch, so that its activations neither vanish nor explode."
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = None  # the mean over all batches so far, of which there is one
    model.train()(x)
    return model.eval()


def arguments(description: str) -> argparse.Namespace:
    "Parse DATA and --rounds."
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="a data folder or CSV; default: phantoms")
    parser.add_argument("--rounds", type=int, default=5, help="0: run each way once on few images, and time nothing")
    return parser.parse_args()


def run(measure: Callable, data: Path, rounds: int) -> list[dict]:
    "The rows of a benchmark, without progress bars."
    with redirect_stdout(io.StringIO()):
        return measure(data, rounds)


def printed(rows: list[dict]):
    "The rows as a table."
    table = pd.DataFrame(rows).drop(columns=["reference", "rounds"])
    print(table.to_string(index=False, float_format="{:.3g}".format), flush=True)


def main(description: str, measure: Callable):
    "Run one benchmark on its own."
    args = arguments(description)
    with data_folder(args.data) as data:
        rows = run(measure, data, args.rounds)
    if args.rounds:
        printed(rows)
