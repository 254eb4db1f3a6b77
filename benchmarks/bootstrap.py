"""The bootstrap of xai_pneumonia.evaluate beside a loop over scikit-learn: the same resamples, metrics and results.

Run it from anywhere: python benchmarks/bootstrap.py [resamples]
"""

import sys
import time

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from xai_pneumonia.evaluate import METRICS, bootstrap
from xai_pneumonia.predictions import is_pneumonia, pneumonia_score


def simulated(n_images: int = 624, n_patients: int = 428, seed: int = 0) -> pd.DataFrame:
    "Simulated binary predictions as large as the Kermany test folder."
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
    called = score >= threshold
    of_decisions = [
        lambda w: sk.accuracy_score(y, called, sample_weight=w),
        lambda w: sk.recall_score(y, called, sample_weight=w),
        lambda w: sk.recall_score(~y, ~called, sample_weight=w),
        lambda w: sk.precision_score(y, called, sample_weight=w),
        lambda w: sk.precision_score(~y, ~called, sample_weight=w),
        lambda w: sk.balanced_accuracy_score(y, called, sample_weight=w),
        lambda w: sk.f1_score(y, called, sample_weight=w),
        lambda w: sk.matthews_corrcoef(y, called, sample_weight=w),
    ]
    of_scores = [sk.roc_auc_score, sk.average_precision_score, sk.brier_score_loss, sk.log_loss]
    code, unique = pd.factorize(preds["patient"])
    n, rng, rows = len(unique), np.random.default_rng(seed), []
    for _ in range(n_boot):
        w = rng.multinomial(n, np.full(n, 1 / n))[code]
        row = [metric(w) for metric in of_decisions] + [metric(y, score, sample_weight=w) for metric in of_scores]
        rows.append([*row, calibration_error(y, score, w)])
    return np.array(rows)


def main(n_boot: int):
    preds = simulated()
    bootstrap(preds, 0.5, 10)  # warm up both
    loop(preds, 0.5, 2, 0)
    start = time.perf_counter()
    ours = bootstrap(preds, 0.5, n_boot, seed=0).to_numpy()
    middle = time.perf_counter()
    theirs = loop(preds, 0.5, n_boot, seed=0)
    fast, slow = middle - start, time.perf_counter() - middle
    print(f"{n_boot} resamples of {len(preds)} images, {len(METRICS)} metrics (simulated predictions)")
    print(f"xai_pneumonia.evaluate.bootstrap {fast:8.2f} s")
    print(f"loop over scikit-learn           {slow:8.2f} s")
    print(f"ratio                            {slow / fast:8.0f}")
    print(f"largest difference               {np.abs(ours - theirs).max():8.0e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
