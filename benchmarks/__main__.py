"""All benchmarks in one run, as `make bench` runs them; writes ratios with their spread to results/bench.csv."""

import os
import platform
import sys
from pathlib import Path

import audit
import bootstrap
import decoding
import evidence
import features
import gradcam
import pandas as pd
import predict
import torch
import training
from side_by_side import arguments, data_folder, printed, run

from xai_pneumonia.core import InputError, whole_file

TABLE = Path(__file__).parent.parent / "results" / "bench.csv"
BENCHMARKS = (decoding, training, features, predict, gradcam, evidence, bootstrap, audit)
FEW = 16  # images, where only the code is tested


def processor() -> str:
    "The processor's model, as the system names it."
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


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
            if not args.rounds:
                benchmark.IMAGES = min(getattr(benchmark, "IMAGES", FEW), FEW)
            measured = run(benchmark.measure, folder, args.rounds)
            if args.rounds:
                printed(measured)
            rows += measured
    if not args.rounds:
        return
    table = pd.DataFrame(rows).assign(**machine(), command=f"make bench{data}")
    with whole_file(TABLE) as part:
        table.to_csv(part, index=False, float_format="%.4g")


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(str(e))
