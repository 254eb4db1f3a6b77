"""All tests of this checkout, as many at a time as there are cores; what `make test` runs.

Nothing in the checkout is changed. Notebooks are run on the phantom: the variables that would point them at other data
are removed. Exit code 1 if a test fails.
"""

import ast
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from readme import picture, readme

root = Path(__file__).parent.parent
binaries = Path(sys.executable).parent
environment = {k: v for k, v in os.environ.items() if not k.startswith("XAI_PNEUMONIA_")}


def call(*command, cwd=root):
    "Run a command; raise with its output if it fails."
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def files(folder):
    "Relative paths of the notebooks and modules in a checkout."
    return sorted(
        p.relative_to(folder) for pattern in ("nbs/**/*.ipynb", "xai_pneumonia/**/*.py") for p in folder.glob(pattern)
    )


def lint():
    "ruff finds nothing to mend."
    call(binaries / "ruff", "check", ".")
    call(binaries / "ruff", "format", "--check", "nbs", "tools", "experiments", "benchmarks", "setup.py")


@contextmanager
def copied():
    "A copy of the checkout, to be changed."
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d) / "xai-pneumonia"
        left_out = shutil.ignore_patterns(".venv*", "runs", "build", "dist", ".git", "_proc", "_docs")
        shutil.copytree(root, copy, symlinks=True, ignore=left_out)
        yield copy


def in_step():
    "Notebooks are clean, and the library is what they export: both commands change nothing in a copy."
    with copied() as copy:
        call(binaries / "nbdev_clean", cwd=copy)
        call(binaries / "nbdev_export", cwd=copy)
        changed = [
            str(p) for p in files(copy) if not (root / p).is_file() or not filecmp.cmp(root / p, copy / p, False)
        ]
        changed += [str(p) for p in files(root) if not (copy / p).is_file()]
    assert not changed, f"run nbdev_clean and nbdev_export, then look at the changes of {', '.join(changed)}"


def pages():
    "nbdev makes a page of every notebook, signatures and all; what is left to do is Quarto's."
    with copied() as copy:
        call(binaries / "nbdev_proc_nbs", "--n_workers", 1, cwd=copy)
        made = {p.relative_to(copy / "_proc") for p in (copy / "_proc").rglob("*.ipynb")}
        missing = {p.relative_to("nbs") for p in files(root) if p.suffix == ".ipynb"} - made
    assert not missing, f"no page of {', '.join(map(str, sorted(missing)))}"


def readme_in_step():
    "README.md is what index.ipynb makes, and its picture is a figure of 05_predict."
    assert (root / "README.md").read_text(encoding="utf-8") == readme(), "run make readme"
    assert (root / "nbs/result.png").read_bytes() == picture(), "run make readme"


def cells(kind):
    "Each notebook's path and the sources of its cells of a kind: markdown or code."
    for path in sorted(root.glob("nbs/**/*.ipynb")):
        of_notebook = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path, ["".join(c["source"]) for c in of_notebook if c["cell_type"] == kind]


def texts():
    "Each page and its Markdown."
    for path in sorted(root.glob("*.md")):
        yield path, path.read_text(encoding="utf-8")
    for path, sources in cells("markdown"):
        yield path, "\n".join(sources)


def links():
    "Links and pictures that are files of this repository are there, and the site's sidebar has every page."
    broken = []
    for path, text in texts():
        targets = [t.split("#")[0] for t in re.findall(r"\]\(<?([^)>\s]+)", text) if not re.match(r"[a-z]+:", t)]
        broken += [f"{path.relative_to(root)}: {t}" for t in targets if t and not (path.parent / t).exists()]
    sidebar = (root / "nbs/_quarto.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w/*]+\.ipynb", sidebar)
    pages = [p.relative_to("nbs") for p in files(root) if p.suffix == ".ipynb"]
    broken += [f"_quarto.yml: no {page}" for page in pages if not any(map(page.match, listed))]
    assert not broken, f"mend {', '.join(broken)}"


def readable():
    "No cell has more than 40 lines, and no notebook more than 1.5 MB."
    long = [f"{path.stem}: {s.splitlines()[0]}" for path, of in cells("code") for s in of if len(s.splitlines()) > 40]
    long += [path.stem for path, _ in cells("code") if path.stat().st_size > 1.5e6]
    assert not long, f"split {', '.join(long)}"


def documented():
    "Everything exported says what it is; functions also of what type each parameter is, and a visible cell uses them."
    shown = [s for _, of in cells("code") for s in of if not re.match(r"#\| *(export|hide)", s)]
    used = set(re.findall(r"\w+", re.sub(r"(?m)^(from|import) .*", "", "\n".join(shown))))
    bare = []
    for path in sorted((root / "xai_pneumonia").rglob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            method = any(getattr(d, "id", None) == "patch" for d in getattr(node, "decorator_list", []))
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_") or method:
                continue
            if ast.get_docstring(node) is None:
                bare.append(f"{path.stem}.{node.name}")
            elif isinstance(node, ast.FunctionDef) and path.name != "cli.py":
                arguments = [*node.args.args, *node.args.kwonlyargs]
                bare += [f"{path.stem}.{node.name}({a.arg})" for a in arguments if a.annotation is None]
                bare += [f"{path.stem}.{node.name} by an example"] * (node.name not in used)
    assert not bare, f"describe {', '.join(bare)}"


def notebook(path):
    "One notebook, by nbdev_test."
    call(binaries / "nbdev_test", "--path", path, "--n_workers", 1)


def wheel():
    "The wheel, made from the sdist, in a new environment with the newest fastai does the main job by its command line."
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        call(binaries / "python", "-m", "build", "--outdir", d / "dist", root)
        call(sys.executable, "-m", "venv", d / "venv")
        call(d / "venv/bin/python", "-m", "pip", "install", next((d / "dist").glob("*.whl")), cwd=d)
        call(d / "venv/bin/python", "-m", "pip", "check", cwd=d)
        versions = "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in ('fastai', 'fastcore', 'torch')))"
        print(f"wheel with {call(d / 'venv/bin/python', '-c', versions, cwd=d).strip()}", flush=True)
        command = d / "venv/bin/xai-pneumonia"
        call(command, "phantom", d / "phantom", "--images", "400", cwd=d)
        call(command, "run", d / "phantom", "--out", d / "run", cwd=d)
        call(
            d / "venv/bin/python",
            "-c",
            "import json; m = json.load(open('run/metrics.json')); a = m['splits']['test']['binary']['auroc']['value']; assert a >= 0.95, a",
            cwd=d,
        )
        assert (d / "run/report.html").is_file()


def benchmarks():
    "Every benchmark runs: one round on the phantom, whose figures are not kept."
    from xai_pneumonia.sources.phantom import phantom_folder

    with copied() as copy:
        call(binaries / "python", "benchmarks", phantom_folder(), "--rounds", 1, cwd=copy)


def example():
    "The run that many notebooks show is there before two of them make it at the same time."
    call(binaries / "python", "-c", "from xai_pneumonia.train import example_run; example_run()")


def passes(test) -> bool:
    "Run a test, or a notebook, and say how it went."
    name, started = getattr(test, "__name__", str(test)), time.perf_counter()
    try:
        test() if callable(test) else notebook(test)
        result = f"ok, {time.perf_counter() - started:.0f} s"
    except AssertionError as e:
        result = f"FAILED\n{e}"
    print(f"{name} ... {result}", flush=True)
    return result.startswith("ok")


def main():
    long = [
        wheel,
        Path("nbs/explain/trust.ipynb"),
        benchmarks,
        pages,
    ]  # first, or one of them would run alone at the end
    others = [p for p in files(root) if p.suffix == ".ipynb" and p not in long]
    passed = [passes(test) for test in (lint, in_step, readme_in_step, links, readable, documented, example)]
    environment["OMP_NUM_THREADS"] = "1"  # or the processes would wait for each other
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed += pool.map(passes, long + others)
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
