"""Where the disease is, learnt from a few boxes: python experiments/evidence.py ADULTS WEIGHTS [NAME=RUN ...]

ADULTS is the folder of the external adults (labels.csv with the RSNA radiologists' reading and boxes, images/), WEIGHTS one
with vit_small_patch14_dinov2.safetensors, tf_efficientnet_lite2.safetensors and mobilenet_v2_imagenet.pth; each RUN is a
finished run whose body is tried, too. Features are computed once and kept in the user's cache; so is what the tables in
results/ have already, so that an interrupted run goes on (remove them to begin anew). Writes results/evidence.csv
(every figure), results/evidence_images.csv (each boxed image under each candidate) and results/evidence_curve.csv.

The rule by which the candidate is chosen: the mean pixel AUPRC (at 224 pixels) over boxed images, each mapped by a layer that
has not seen its patient (`fit_evidence`: five folds by patient, seed 0; penalty and blur chosen inside, without the fold). The
first candidate is kept unless another is better by .002 or more; of several, the best. Because choosing among candidates
flatters, the headline is what one has if each fold's candidate is the one that is best on the patients of the other folds.
The options changed on the way: blurs of the map were added first, and candidates five to seven when the fourth had turned out
to be better than the first; the others later still. A head that is no single layer is measured beside them, not among them.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from PIL import ImageOps
from torch.nn.functional import softplus

from xai_pneumonia.core import cache_folder, whole_file
from xai_pneumonia.explain import evidence as e
from xai_pneumonia.explain.localise import has_truth, localisation_metrics, truth_masks
from xai_pneumonia.model.bundle import load_bundle
from xai_pneumonia.sources.images import read_image
from xai_pneumonia.stats.intervals import limits, patient_means

RESULTS = Path(__file__).parent.parent / "results"
READING = {"Lung Opacity": "PNEUMONIA", "Normal": "NORMAL"}
COUNTS = (3, 5, 10, 20, 35)  # boxed patients; four folds of five have 36
DINO = "vit_small_patch14_dinov2"
CANDIDATES = {  # name: size, blocks of DINOv2 ViT-S/14 counted from 0, how it is fitted
    "448 px, blocks 6, 9, 12": (448, (5, 8, 11), ""),
    "448 px, block 12": (448, (11,), ""),
    "224 px, block 12": (224, (11,), ""),
    "224 px, blocks 6, 9, 12": (224, (5, 8, 11), ""),
    "224 px, blocks 3, 6, 9, 12": (224, (2, 5, 8, 11), ""),
    "224 px, blocks 6, 9, 12, all boxed cells alike": (224, (5, 8, 11), "alike"),
    "224 px, blocks 6, 9, 12, fitted on mirrored images, too": (224, (5, 8, 11), "mirrored"),
    "224 px, blocks 6, 9, 12, larger blurs offered": (224, (5, 8, 11), "blurred"),
    "224 px, blocks 6, 9, 12, mirrored votes": (224, (5, 8, 11), "votes"),
    "224 px, blocks 6, 9, 12, fitted on mirrored images, too, mirrored votes": (224, (5, 8, 11), "mirrored votes"),
    "560 px, blocks 6, 9, 12": (560, (5, 8, 11), ""),
}
BLURS = (1 / 32, 1 / 16, 1 / 12, 1 / 8)  # offered to the candidate with larger ones
HIDDEN, PENALTIES, EPOCHS = 32, (1e-3, 1e-2), 4  # of the head with a hidden layer


def adults(folder: Path) -> pd.DataFrame:
    "Boxed and normal adults as a manifest."
    table = pd.read_csv(folder / "labels.csv", dtype={"patient_id": str})
    table = table[table.rsna_class.isin(READING)].reset_index(drop=True)
    path, label = [str(folder / "images" / f) for f in table.file], table.rsna_class.map(READING)
    return pd.DataFrame(
        {"path": path, "label": label, "patient": table.patient_id, "split": "test", "boxes": table.boxes}
    )


def mirrored(rows: pd.DataFrame) -> pd.DataFrame:
    "The rows, and after them each once more with its image and its boxes mirrored."
    files, boxes = [], []
    for path, drawn in zip(rows.path, rows.boxes, strict=True):
        image, file = read_image(path), cache_folder() / "mirrored" / f"{Path(path).stem}.png"
        with whole_file(file) as part:
            ImageOps.mirror(image).save(part)
        files.append(str(file))
        boxes.append(json.dumps([[image.width - x - w, y, w, h] for x, y, w, h in json.loads(drawn)]))
    return pd.concat([rows, rows.assign(path=files, boxes=boxes)], ignore_index=True)


def alike(cover, trained):
    "Weights of `fit_evidence`, but each diseased cell counts alike, and so large boxes more."
    share, used = cover.reshape(len(cover), -1), trained.T.astype(np.float32)
    pair = (torch.from_numpy(v[..., None] * used[:, None]).flatten(0, 1) for v in (share, 1 - share))
    return tuple(v / (2 * v.sum(0)) for v in pair)


def fitted(rows, dense, how=""):
    "Evidence, the description that it is asked with, and the seconds of processor time that fitting took."
    manifest, cells = rows, e.describe_images(dense, rows.path)
    described = cells
    if "mirrored" in how or "votes" in how:
        twice = mirrored(rows)
        other = e.describe_images(dense, twice.path[len(rows) :])
        if "mirrored" in how:
            manifest, cells = twice, np.concatenate([cells, other])
        if "votes" in how:  # the mean of two maps: the layer is linear, so it is that of the mean description
            described = ((described.astype(np.float32) + other[:, :, ::-1]) / 2).astype(np.float16)
    start, options = time.process_time(), {"smooth": BLURS} if how == "blurred" else {}
    with patch.object(e, "_weights", alike if how == "alike" else e._weights):
        found = e.fit_evidence(manifest, dense, cells=cells, **options)
    return found, described, time.process_time() - start


def layer(rows, dense, how):
    "Figures of a candidate, a row for each boxed image, and how it was fitted."
    evidence, cells, seconds = fitted(rows, dense, how)
    chosen = {name: evidence.card[name][0] for name in ("l2", "smooth")}
    return *asked(evidence, rows, cells), {"seconds": round(seconds, 1)} | chosen


def heads(cells, cover, trained):
    "Log-odds of heads with a hidden layer, for each penalty and each set of images: (penalties, sets, n, h, w)."
    x = torch.from_numpy(cells.reshape(-1, cells.shape[-1]).astype(np.float32))
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
    positive, negative = (w.repeat(1, len(PENALTIES)) for w in e._weights(cover, trained))
    penalty, number = torch.tensor(PENALTIES).repeat_interleave(len(trained)), positive.shape[1]
    torch.manual_seed(0)
    first = (torch.randn(x.shape[1], 1, HIDDEN) / x.shape[1] ** 0.5).repeat(1, number, 1).requires_grad_()
    last = (torch.randn(1, HIDDEN) / HIDDEN**0.5).repeat(number, 1).requires_grad_()
    bias = [torch.zeros(number, HIDDEN, requires_grad=True), torch.zeros(number, requires_grad=True)]

    def said(x):
        hidden = (x @ first.flatten(1)).unflatten(1, (number, HIDDEN)) + bias[0]
        return (hidden.relu() * last).sum(2) + bias[1]

    optimizer = torch.optim.Adam([first, last, *bias], 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(512):
            z = said(x[batch])
            loss = (positive[batch] * softplus(-z) + negative[batch] * softplus(z)).sum() * len(x) / len(batch)
            size = first.pow(2).sum((0, 2)) + last.pow(2).sum(1)
            optimizer.zero_grad()
            (loss + (penalty * size).sum()).backward()
            optimizer.step()
    with torch.inference_mode():
        z = torch.cat([said(part) for part in x.split(2048)])
    return z.T.reshape(len(PENALTIES), len(trained), *cells.shape[:3]).numpy()


def held_out(rows, cells, evidence):
    "Maps of heads with a hidden layer, which have not seen the patient; penalty and blur as in `fit_evidence`."
    fold, boxed = e.patient_folds(rows), has_truth(rows).to_numpy()
    cover = e._cover(rows, evidence.dense, cells.shape[1:3])
    sets = e._left_out(fold)
    logits = heads(cells, cover, np.stack([~np.isin(fold, list(some)) for some in sets]))
    number, both = {some: i for i, some in enumerate(sets)}, np.zeros(cells.shape[:3], np.float32)
    for f in range(fold.max() + 1):
        asked = np.flatnonzero(boxed & (fold != f))
        which = [number[frozenset({f, g})] for g in fold[asked]]
        blurred = {
            (i, s): e._smoothed(some[which, asked], [s] * len(asked)) for i, some in enumerate(logits) for s in e.SMOOTH
        }
        i, s = max(blurred, key=lambda key: e._by_cells(blurred[key], cover[asked]))
        print(f"fold {f}: penalty {PENALTIES[i]}, blur {s:.4f}")
        out = np.flatnonzero(fold == f)
        both[out] = e._smoothed(logits[i, number[frozenset({f})], out], [s] * len(out))
    return e.EvidenceMaps(both, evidence.usual[fold + 1], np.ones(len(rows), bool))


def hidden_layer(rows, dense):
    "Figures of a head with a hidden layer, and a row for each boxed image."
    cells = e.describe_images(dense, rows.path)
    evidence = e.fit_evidence(rows, dense, e.L2[-1:], (0,), cells=cells)  # for the folds and the usual places
    start = time.process_time()
    maps = held_out(rows, cells, evidence)
    seconds = round(time.process_time() - start, 1)

    def of(evidence, some, cells=None):
        at = some.index
        return e.EvidenceMaps(maps.both[at], maps.usual[at], maps.held_out[at])

    with patch.object(e, "evidence_maps", of):
        return *asked(evidence, rows, cells), {"seconds": seconds}


def asked(evidence, rows, cells):
    "Figures on the images as they are, whatever else it was fitted on; and a row for each boxed one."
    boxed = has_truth(rows).to_numpy()
    maps = e.evidence_maps(evidence, rows[boxed], cells[boxed])
    masks = truth_masks(rows[boxed], 224, "squish")
    table = localisation_metrics(maps.heat(224), masks)[["auprc", "hit", "area"]]
    place = localisation_metrics(replace(maps, both=maps.usual).heat(224), masks)["auprc"]
    names = [Path(p).name for p in rows.path[boxed]]
    about = {"place": place, "fold": evidence.sets(rows[boxed]) - 1, "patient": rows.patient[boxed].to_numpy()}
    return e.measure_evidence(evidence, rows, cells), table.assign(path=names, **about)


def rows_of(part, name, measured, **about):
    "Rows of the table: one for each figure."
    counts = {"boxed_images": measured["boxed_images"], "boxed_patients": measured["boxed_patients"]}
    for measure, (value, low, high) in ((k, v) for k, v in measured.items() if isinstance(v, list)):
        yield (
            {"part": part, "name": name, "measure": measure, "value": value, "low": low, "high": high} | counts | about
        )


def headline(images: pd.DataFrame, names: list) -> dict:
    "Each fold's candidate is the one that is best on the other folds' patients."
    wide, first = {n: images[images.name == n].reset_index(drop=True) for n in names}, names[0]
    fold, patients = wide[first].fold, wide[first].patient.to_numpy()
    taken = wide[first][["auprc", "hit"]].copy()
    for f in sorted(set(fold)):
        means = {n: t.auprc[fold != f].mean() for n, t in wide.items()}
        best = max(names, key=lambda n: means[n])
        best = best if means[best] >= means[first] + 0.002 else first
        print(f"fold {f}: {best}")
        taken.loc[fold == f] = wide[best].loc[fold == f, ["auprc", "hit"]]
    mean, boot = patient_means(taken.to_numpy().T, patients)
    figures = {m: [float(mean[i]), *map(float, limits(boot[:, i]))] for i, m in enumerate(("auprc", "hit"))}
    place = wide[first]
    lead, boot = patient_means((taken.auprc - place.place).to_numpy()[None], patients)
    figures["auprc_lead"] = [float(lead[0]), *map(float, limits(boot[:, 0]))]
    return figures | {"boxed_images": len(taken), "boxed_patients": len(set(patients))}


def bodies(weights: Path, runs: dict) -> dict:
    "Other bodies, side by side: name to `DenseBody`."
    found = {
        "EfficientNet-Lite2, 448 px, stages 3, 4, 5": e.named_body(
            "tf_efficientnet_lite2", str(weights / "tf_efficientnet_lite2.safetensors"), 448, (2, 3, 4)
        ),
        "MobileNetV2, 448 px, blocks 6, 13, 17": e.named_body(
            "mobilenet_v2", str(weights / "mobilenet_v2_imagenet.pth"), 448, (6, 13, 17)
        ),
    }
    for name, run in runs.items():
        dense = e.bundle_body(load_bundle(run), (6, 13, 17))
        found[f"{name}, its own {dense.size} px, blocks 6, 13, 17"] = dense
    return found


def kept(name: str) -> list:
    "A table that is there, or none."
    file = RESULTS / name
    return [pd.read_csv(file)] if file.is_file() else []


def main(adults_folder, weights, *named):
    plain, weights = adults(Path(adults_folder)), Path(weights)
    figures, images = kept("evidence.csv"), kept("evidence_images.csv")
    file = str(weights / f"{DINO}.safetensors")
    jobs = {n: (e.named_body(DINO, file, size, blocks), how) for n, (size, blocks, how) in CANDIDATES.items()}
    jobs |= {n: (dense, "body") for n, dense in bodies(weights, dict(n.split("=", 1) for n in named)).items()}
    jobs["224 px, blocks 6, 9, 12, a head with a hidden layer"] = jobs["224 px, blocks 6, 9, 12"][0], "head"
    for name, (dense, how) in jobs.items():
        if figures and name in set(pd.concat(figures).name):
            continue
        measured, table, about = hidden_layer(plain, dense) if how == "head" else layer(plain, dense, how)
        part = how if how in ("body", "head") else "candidate"
        figures.append(pd.DataFrame(rows_of(part, name, measured, **about)).round(4))
        images.append(table.assign(part=part, name=name).round(4))
        print(name, measured, about, flush=True)
        pd.concat(figures).to_csv(RESULTS / "evidence.csv", index=False)
        pd.concat(images).to_csv(RESULTS / "evidence_images.csv", index=False)
    figures, images = pd.concat(figures).query("part != 'headline'"), pd.concat(images)
    if not kept("evidence_curve.csv"):
        of = figures.query("part == 'candidate' and measure == 'auprc'")
        best = of.loc[of.value.idxmax()]
        curve = e.learning_curve(plain, jobs[best["name"]][0], COUNTS, 10, l2=best.l2, smooth=best.smooth)
        curve.assign(name=best["name"]).round(4).to_csv(RESULTS / "evidence_curve.csv", index=False)
    last = pd.DataFrame(
        rows_of(
            "headline", "each fold's own candidate", headline(images, [n for n in CANDIDATES if n in set(images.name)])
        )
    )
    pd.concat([figures, last.round(4)]).to_csv(RESULTS / "evidence.csv", index=False)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
