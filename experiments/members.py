"""What each further model of a cross-validation adds: python experiments/members.py RUN

RUN is a run folder made with --folds. For every subset of its models, the AUROC of their vote on the test images goes
into results/members.csv. Nothing is chosen by it.
"""

import sys
from itertools import combinations
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from xai_pneumonia.stats.calibrate import uncalibrated
from xai_pneumonia.stats.predictions import is_pneumonia, pneumonia_score, read_predictions

TABLE = Path(__file__).parent.parent / "results" / "members.csv"


def main(run):
    tables = [read_predictions(folder / "predictions.csv") for folder in sorted(Path(run).glob("folds/*"))]
    tests = [table[table.split == "test"].sort_values("path") for table in tables]
    ill = is_pneumonia(tests[0])
    scores = [pneumonia_score(uncalibrated(test)) for test in tests]
    rows = []
    for n in range(1, len(tests) + 1):
        for chosen in combinations(range(len(tests)), n):
            auroc = roc_auc_score(ill, sum(scores[i] for i in chosen) / n)
            rows.append({"members": n, "folds": "+".join(str(i + 1) for i in chosen), "auroc": auroc})
    table = pd.DataFrame(rows).round(4)
    table.to_csv(TABLE, index=False)
    print(table.groupby("members").auroc.describe().to_string())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
