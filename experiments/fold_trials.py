"""Recipes on all images, fold by fold: python experiments/fold_trials.py NAME=FOLDER [NAME=FOLDER …]

FOLDER holds the runs fold1, fold2 … of a cross-validation: RUN/folds, or RUN.folds before it is finished. Writes
results/fold_trials.csv: one row for each name and fold, with the figures that `experiments/trials.py` has for its
variants. Test images are not used.
"""

import sys
from pathlib import Path

import pandas as pd
from trials import figures

from xai_pneumonia.stats.calibrate import uncalibrated
from xai_pneumonia.stats.predictions import read_predictions

TABLE = Path(__file__).parent.parent / "results" / "fold_trials.csv"


def row(name: str, folder: Path) -> dict:
    "Figures of one fold's model on its validation images."
    plain, perturbed = (uncalibrated(read_predictions(folder / f"{n}.csv")) for n in ("predictions", "perturbed"))
    plain = plain[plain.split == "valid"]
    return {"variant": name, "fold": folder.name, "images": len(plain)} | figures(plain, perturbed)


def main(*arguments):
    pairs = [text.partition("=")[::2] for text in arguments]
    rows = [row(name, folder) for name, parent in pairs for folder in sorted(Path(parent).glob("fold*[0-9]"))]
    table = pd.DataFrame(rows).round(5)
    table.to_csv(TABLE, index=False)
    print(table.to_string())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
