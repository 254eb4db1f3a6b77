"""The bootstrap of xai_pneumonia.stats.metrics beside a loop over scikit-learn: the same resamples, metrics and results.

The predictions are simulated, one for each image in the test folder of Kermany et al.; no data is read.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from side_by_side import main, side_by_side
from sklearn import metrics as sk

from xai_pneumonia.stats.metrics import bootstrap
from xai_pneumonia.stats.predictions import is_pneumonia, pneumonia_score

RESAMPLES = 200


def simulated(n_images: int = 624, n_patients: int = 428, seed: int = 0) -> pd.DataFrame:
    "Binary predictions."
    rng = np.random.default_rng(seed)
    ill = rng.random(n_patients) < 0.6
    patient = np.r_[np.arange(n_patients), rng.integers(0, n_patients, n_images - n_patients)]
    p = 1 / (1 + np.exp(-np.where(ill[patient], 1.5, -1.5) - rng.normal(size=n_images)))
    label = np.where(ill[patient], "PNEUMONIA", "NORMAL")
    columns = {"path": np.arange(n_images).astype(str), "patient": patient.astype(str), "split": "test", "label": label}
    return pd.DataFrame(columns | {"p_NORMAL": 1 - p, "p_PNEUMONIA": p})


def calibration_error(y: np.ndarray, score: np.ndarray, w: np.ndarray) -> float:
    "Expected calibration error in ten bins, which scikit-learn does not have."
    bins = np.minimum((score * 10).astype(int), 9)
    return np.abs(np.bincount(bins, w * (score - y), 10)).sum() / w.sum()


def loop(preds: pd.DataFrame, threshold: float, n_boot: int, seed: int) -> np.ndarray:
    "The same replicates, one resample and one scikit-learn call at a time."
    y, score = is_pneumonia(preds), pneumonia_score(preds)
    positive = score >= threshold
    decision_metrics = [
        lambda w: sk.accuracy_score(y, positive, sample_weight=w),
        lambda w: sk.recall_score(y, positive, sample_weight=w),
        lambda w: sk.recall_score(~y, ~positive, sample_weight=w),
        lambda w: sk.precision_score(y, positive, sample_weight=w),
        lambda w: sk.precision_score(~y, ~positive, sample_weight=w),
        lambda w: sk.balanced_accuracy_score(y, positive, sample_weight=w),
        lambda w: sk.f1_score(y, positive, sample_weight=w),
        lambda w: sk.matthews_corrcoef(y, positive, sample_weight=w),
    ]
    score_metrics = [sk.roc_auc_score, sk.average_precision_score, sk.brier_score_loss, sk.log_loss]
    code, unique = pd.factorize(preds["patient"])
    n, rng, rows = len(unique), np.random.default_rng(seed), []
    for _ in range(n_boot):
        w = rng.multinomial(n, np.full(n, 1 / n))[code]
        row = [metric(w) for metric in decision_metrics] + [
            metric(y, score, sample_weight=w) for metric in score_metrics
        ]
        rows.append([*row, calibration_error(y, score, w)])
    return np.array(rows)


def difference(result: np.ndarray, reference: np.ndarray) -> str:
    return f"largest difference of a metric {np.abs(result - reference).max():.0e}"


def measure(data: Path, rounds: int) -> list[dict]:
    preds = simulated()
    ways = {
        "this library": (RESAMPLES, lambda: bootstrap(preds, 0.5, RESAMPLES, seed=0).to_numpy()),
        "scikit-learn in a loop": (RESAMPLES, lambda: loop(preds, 0.5, RESAMPLES, seed=0)),
    }
    return side_by_side("bootstrap", "resample", ways, rounds, difference)


if __name__ == "__main__":
    main(__doc__, measure)
