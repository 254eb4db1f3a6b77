"""All benchmarks in one run: ratios with their spread, into results/bench.csv; what `make bench` runs."""

import os
import platform
import sys
from pathlib import Path

import audit
import bootstrap
import decoding
import features
import gradcam
import pandas as pd
import predict
import torch
import training
from side_by_side import arguments, data_folder, printed, run

from xai_pneumonia.core import InputError, whole_file

TABLE = Path(__file__).parent.parent / "results" / "bench.csv"
BENCHMARKS = (decoding, training, features, predict, gradcam, bootstrap, audit)


def processor() -> str:
    "Its model, as the system names it."
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def machine() -> dict:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main():
    args, rows = arguments(__doc__), []
    data = f" DATA={Path(args.data).resolve().name}" if args.data else ""
    with data_folder(args.data) as folder:
        for benchmark in BENCHMARKS:
            found = run(benchmark.measure, folder, args.rounds)
            printed(found)
            rows += found
    table = pd.DataFrame(rows).assign(**machine(), command=f"make bench{data}")
    with whole_file(TABLE) as part:
        table.to_csv(part, index=False, float_format="%.4g")


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(str(e))
