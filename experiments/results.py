"""Add finished runs to results/recipes.csv: python experiments/results.py RECIPE DATA RUN [RUN …]

There is one row for each recipe, backbone, choice of weights, number of members, seed and changes; a new run of the same
replaces the row. `command` is the command that repeats it.
"""

import sys
from pathlib import Path

import pandas as pd

from xai_pneumonia.evaluate import evaluate
from xai_pneumonia.model.bundle import load_card
from xai_pneumonia.model.recipes import RECIPES, recipe_from_json
from xai_pneumonia.model.runs import read_run

TABLE = Path(__file__).parent.parent / "results" / "recipes.csv"
KEY = ["recipe", "backbone", "weights", "members", "seed", "changes"]


def command(name, recipe, members) -> tuple[str, str]:
    "The command that repeats a run, and the changed fields of its recipe."
    fields, defaults = vars(recipe), vars(RECIPES[name])
    changed = {field: value for field, value in fields.items() if field != "weights" and value != defaults[field]}
    changes = [f"{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in changed.items()]
    options = [f"--set {change}" for change in changes] + ([f"--folds {members}"] if members > 1 else [])
    weights = "FILE" if recipe.weights.endswith((".pth", ".safetensors")) else recipe.weights
    return " ".join(["xai-pneumonia run DATA --recipe", name, f"--weights {weights}", *options]), " ".join(changes)


def figures(split, metrics) -> dict:
    "The main metrics of one split, flat."
    binary, cell = metrics["binary"], {}
    for metric in ("auroc", "accuracy", "sensitivity", "specificity", "f1", "brier", "ece"):
        value = binary[metric]
        if value["k"] is not None:
            cell |= {f"{split}_{metric}_k": value["k"], f"{split}_{metric}_n": value["n"]}
        cell |= {
            f"{split}_{metric}{part and '_' + part}": round(value[part or "value"], 4) for part in ("", "low", "high")
        }
    if "bacterial" in metrics:
        accuracy, macro = metrics["classes"]["accuracy"], metrics["classes"]["macro"]
        cell |= {f"{split}_3class_right": accuracy["correct"], f"{split}_3class_n": accuracy["support"]}
        cell |= {f"{split}_macro_f1": round(macro["f1"], 4), f"{split}_macro_auroc": round(macro["auroc"], 4)}
        cell |= {f"{split}_bacterial_{part}": metrics["bacterial"]["accuracy"][part] for part in ("k", "n")}
    return cell


def row(name, data, folder) -> dict:
    run = read_run(folder, data)
    recipe = recipe_from_json((Path(folder) / "recipe.json").read_text(encoding="utf-8"))
    card = load_card(folder)
    metrics, members = evaluate(run.predictions, card["threshold"]), card.get("members", 1)
    line, changes = command(name, recipe, members)
    environment = run.environment
    return {
        "recipe": name,
        "task": recipe.task,
        "backbone": recipe.backbone,
        "weights": "none" if recipe.weights == "none" else f"ImageNet ({environment['initial_weights'].split(',')[0]})",
        "members": members,
        "seed": recipe.seed,
        "changes": changes,
        "epochs": len(run.history),
        "threshold": round(card["threshold"], 4),
        **figures("valid", metrics["splits"]["valid"]),
        **figures("test", metrics["splits"]["test"]),
        "seconds": environment["training_seconds"],
        "images_per_second": environment["training_images_per_second"],
        "machine": environment["device"],
        "command": line,
    }


def main(name, data, *folders):
    new = pd.DataFrame([row(name, data, folder) for folder in folders])
    old = pd.read_csv(TABLE, keep_default_na=False, na_values=[""]) if TABLE.exists() else new[:0]
    old["changes"] = old.changes.fillna("")
    table = pd.concat([old, new]).drop_duplicates(KEY, keep="last").sort_values(KEY)
    TABLE.parent.mkdir(exist_ok=True)
    table.to_csv(TABLE, index=False)
    print(new.T.to_string())


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
