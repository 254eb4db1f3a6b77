"""Does a classifier look where the disease is? python experiments/removal.py ADULTS WEIGHTS NAME MODEL

ADULTS and WEIGHTS as for experiments/evidence.py; MODEL is a run folder, or one with a model's two files, and NAME what to
call it. On the boxed adults, regions are filled from their surroundings: the boxes, and the strongest tenth of the evidence (by
a layer that has not seen the patient) and of Grad-CAM. Beside each stands the same shape elsewhere in the lungs. Writes the
falls of the probability of pneumonia, with intervals over patients, to results/removal.csv (rows of the same name are replaced),
and the evidence to evidence.safetensors in MODEL.
"""

import sys
from pathlib import Path

import pandas as pd
from evidence import DINO, adults

from xai_pneumonia.core import whole_file
from xai_pneumonia.explain.cam import scale_maps
from xai_pneumonia.explain.evidence import describe_images, evidence_maps, fit_evidence, named_body, write_evidence
from xai_pneumonia.explain.localise import has_truth
from xai_pneumonia.explain.removal import removal_answer, removal_test, strongest
from xai_pneumonia.explain.sanity import maps_of
from xai_pneumonia.explain.trust import choose_images, explainer
from xai_pneumonia.model.bundle import load_bundle, predict
from xai_pneumonia.stats.intervals import auroc_covariance, auroc_interval

TABLE = Path(__file__).parent.parent / "results" / "removal.csv"


def regions(subject, evidence) -> dict:
    "Name to (n, size, size) bool."
    size = subject.x.shape[-1]
    cells = describe_images(evidence.dense, subject.rows.path)
    heat = evidence_maps(evidence, subject.rows, cells).heat(size)
    cam = scale_maps(maps_of(explainer("gradcam"), subject.bundle.model, subject.x, subject.target), size)
    return {"boxes": subject.masks, "evidence": strongest(heat), "gradcam": strongest(cam)}


def as_score(bundle, rows) -> dict:
    "The AUROC of opacity against normal adults."
    ill, p = has_truth(rows).to_numpy(), 1 - predict(bundle, rows).p_NORMAL.to_numpy()
    value = auroc_covariance(ill, p[None], rows.patient.to_numpy())[0][0]
    low, high = auroc_interval(ill, p, rows.patient.to_numpy())
    return {"region": "none", "measure": "AUROC", "value": value, "low": low, "high": high, "images": len(rows)}


def main(adults_folder, weights, name, model):
    rows, bundle = adults(Path(adults_folder)), load_bundle(model)
    dense = named_body(DINO, f"{weights}/{DINO}.safetensors", 224, (5, 8, 11), bundle.card["resize"])
    evidence = fit_evidence(rows, dense)
    write_evidence(evidence, Path(model) / "evidence.safetensors")
    subject = choose_images(bundle, rows, len(rows))
    table = [as_score(bundle, rows)]
    for region, masks in regions(subject, evidence).items():
        falls = removal_test(bundle, subject.images, masks, subject.lungs, subject.target)
        answer = removal_answer(falls, subject.patients).rename_axis("measure").reset_index()
        table += answer.assign(region=region, p=falls.p.mean()).to_dict("records")
    new = pd.DataFrame(table).assign(model=name, sha256=bundle.card["sha256"][:16]).round(4)
    print(new.to_string(index=False))
    old = pd.read_csv(TABLE).query("model != @name") if TABLE.is_file() else None
    with whole_file(TABLE) as part:
        pd.concat([old, new]).to_csv(part, index=False)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
