"""All tests of this checkout, as many at a time as there are cores: `make test`.

The checkout is not changed. Notebooks run on the phantom: the variables that would point them at other data
are removed. `python tools/test.py nbs/04_gradcam.ipynb …` tests these notebooks only. Exit code 1 if a test fails.
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
from configparser import ConfigParser
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from itertools import count
from multiprocessing import get_all_start_methods, get_context, set_start_method
from pathlib import Path
from zipfile import ZipFile

from readme import picture, readme

root = Path(__file__).parent.parent
binaries = Path(sys.executable).parent
for name in ("DATA", "RUN", "EXTERNAL"):
    os.environ.pop(f"XAI_PNEUMONIA_{name}", None)


def call(*command, cwd=root):
    "Run a command; raise with its output if it fails."
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def files(folder):
    "Relative paths of the notebooks and modules in a checkout."
    return sorted(
        p.relative_to(folder) for pattern in ("nbs/**/*.ipynb", "xai_pneumonia/**/*.py") for p in folder.glob(pattern)
    )


def lint():
    "ruff finds nothing to fix."
    call(binaries / "ruff", "check", ".")
    call(binaries / "ruff", "format", "--check", "nbs", "tools", "experiments", "benchmarks", "setup.py")


@contextmanager
def copied():
    "A copy of the checkout that may be changed."
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
    assert not changed, f"run nbdev_clean and nbdev_export, then look at the changes in {', '.join(changed)}"


def pages():
    "A page is made of every notebook, with all its Markdown and with signatures; the rest is Quarto's work."
    with copied() as copy:
        call(binaries / "nbdev_proc_nbs", "--n_workers", 1, cwd=copy)
        call(binaries / "python", "tools/pages.py", cwd=copy)
        lost = [
            f"{path.relative_to(root)}: {line}" for path, lines in prose() for line in lines_lost(path, lines, copy)
        ]
    assert not lost, "not on the page of " + "; ".join(lost)


def words(text):
    "The words of a Markdown text, without the addresses of its links."
    return " ".join(re.findall(r"\w+", re.sub(r"\]\([^)\s]*\)", "", text)))


def prose():
    "Each notebook and the lines of its Markdown, but for its first cell, which becomes the page's title and summary."
    for path, sources in cells("markdown"):
        yield path, [line for line in "\n".join(sources[1:]).splitlines() if line.strip()]


def lines_lost(path, lines, copy):
    "The lines that the processed notebook lacks."
    page = copy / "_proc" / path.relative_to(root / "nbs")
    if not page.exists():
        return ["all of it"]
    notebook_cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    shown = words("\n".join("".join(c["source"]) for c in notebook_cells if c["cell_type"] == "markdown"))
    return [line for line in lines if words(line) not in shown]


def readme_in_step():
    "README.md is what index.ipynb makes, and its picture is a figure of 05_predict."
    assert (root / "README.md").read_text(encoding="utf-8") == readme(), "run make readme"
    assert (root / "nbs/result.png").read_bytes() == picture(), "run make readme"


def cells(kind):
    "Each notebook's path and the sources of its cells of a kind: markdown or code."
    for path in sorted(root.glob("nbs/**/*.ipynb")):
        notebook_cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path, ["".join(c["source"]) for c in notebook_cells if c["cell_type"] == kind]


def texts():
    "Each page and its Markdown."
    for path in sorted(root.glob("*.md")):
        yield path, path.read_text(encoding="utf-8")
    for path, sources in cells("markdown"):
        yield path, "\n".join(sources)


def links():
    "Links and pictures within this repository exist, and the site's sidebar has every page."
    broken = []
    for path, text in texts():
        targets = [t.split("#")[0] for t in re.findall(r"\]\(<?([^)>\s]+)", text) if not re.match(r"[a-z]+:", t)]
        broken += [f"{path.relative_to(root)}: {t}" for t in targets if t and not (path.parent / t).exists()]
    sidebar = (root / "nbs/_quarto.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w/*]+\.ipynb", sidebar)
    pages = [p.relative_to("nbs") for p in files(root) if p.suffix == ".ipynb"]
    broken += [f"_quarto.yml: no {page}" for page in pages if not any(map(page.match, listed))]
    broken += [f"{path.name}: more than title, summary and keywords in its first cell" for path in overfull_titles()]
    assert not broken, f"fix {', '.join(broken)}"


def overfull_titles():
    "The notebooks whose first cell has text that nbdev would leave out of the page."
    for path, sources in cells("markdown"):
        if not re.fullmatch(r"# .+\n\n> .+(\n\n- keywords: \[.+\])?", sources[0].rstrip()):
            yield path


def statements(source):
    "The statements of a cell, without the lines that only Jupyter understands."
    code = "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))
    return ast.parse(code).body


def definitions(source):
    "The functions and classes that a cell defines at its top level."
    return [node for node in statements(source) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def mixes_imports(source):
    "Does a cell that is not exported import and do something else? nbdev would run it alone, for the page."
    if re.match(r"#\| *export", source) or "nbdev_export()" in source:
        return False
    return {isinstance(node, ast.Import | ast.ImportFrom) for node in statements(source)} == {True, False}


def readable():
    """A cell has one exported definition, or imports, or neither; no function body has more than 40 lines, no notebook
    more than 1.5 MB."""
    unreadable = []
    for path, sources in cells("code"):
        exports = any(s.startswith("#| default_exp") for s in sources)
        for number, source in enumerate(sources):
            if exports and mixes_imports(source):
                unreadable.append(f"{path.stem}: code cell {number} imports and does something else")
            nodes = definitions(source)
            if source.startswith("#| export") and len(nodes) > 1:
                unreadable.append(f"{path.stem}: {nodes[0].name} and {nodes[1].name} share a cell")
            bodies = [(n.name, n.end_lineno - n.body[0].lineno) for n in nodes if isinstance(n, ast.FunctionDef)]
            unreadable += [f"{path.stem}: {name} has {lines} lines" for name, lines in bodies if lines > 40]
        unreadable += [f"{path.stem}: larger than 1.5 MB"] * (path.stat().st_size > 1.5e6)
    assert not unreadable, f"split {'; '.join(unreadable)}"


def documented():
    "Everything exported has a docstring; functions also have annotated parameters, and a visible cell uses them."
    shown = [s for _, sources in cells("code") for s in sources if not re.match(r"#\| *(export|hide)", s)]
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


def canonical(requirement):
    "The name of a distribution as package indexes write it."
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def requirements():
    "Each package that the library imports is named in settings.ini: as a requirement or in an extra."
    config = ConfigParser(delimiters=["="])
    config.read(root / "settings.ini", encoding="utf-8")
    wanted = {k: v for k, v in config["DEFAULT"].items() if k.endswith("requirements") and k != "dev_requirements"}
    named = {canonical(r) for line in wanted.values() for r in line.split()}
    known, missing = packages_distributions(), set()
    for path in (root / "xai_pneumonia").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for package in {m.split(".")[0] for m in imported} - {*sys.stdlib_module_names, "xai_pneumonia"}:
                if not named & set(map(canonical, known.get(package, [package]))):
                    missing.add(f"{package} ({path.name})")
    assert not missing, f"name in settings.ini: {', '.join(sorted(missing))}"


PRELOADED = ["nbdev.test", "fastai.vision.all", "matplotlib.pyplot", "sklearn.metrics", "xai_pneumonia.run"]
processes = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")


def execute(path, output):
    "Test one notebook in this process; what it prints goes to the file `output`."
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    set_start_method(None, force=True)  # of processes that the notebook starts: the system's own, not ours
    from nbdev.config import get_config
    from nbdev.test import test_nb

    ok, _ = test_nb(root / path, get_config(path=root).tst_flags.split(), basepath=root)
    sys.exit(not ok)


def notebook(path):
    "One notebook, as nbdev_test runs it, in a process that has imported the large libraries already."
    with tempfile.TemporaryDirectory() as d:
        process = processes.Process(target=execute, args=(path, f"{d}/output"))
        process.start()
        process.join()
        if process.exitcode:
            raise AssertionError(Path(f"{d}/output").read_text(encoding="utf-8", errors="replace")[-9000:])


def borrowing(folder):
    "A new environment that takes what it lacks from this one, so that torch need not be installed twice."
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    mine, new = (Path(next(p.glob("lib/python*/site-packages"))) for p in (Path(sys.prefix), folder))
    (new / "borrowed.pth").write_text(f"{mine}\n", encoding="utf-8")
    return folder / "bin/python"


def wheel():
    "The wheel, made from the sdist, does the main job in another environment with the newest fastai."
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        call(binaries / "python", "-m", "build", "--outdir", d / "dist", root)
        packed = set(ZipFile(next((d / "dist").glob("*.whl"))).namelist())
        library = {p.relative_to(root).as_posix() for p in (root / "xai_pneumonia").rglob("*.*") if p.suffix != ".pyc"}
        assert library <= packed, f"not in the wheel: {', '.join(sorted(library - packed))}"
        python = borrowing(d / "venv")
        pip = [sys.executable, "-m", "pip", "--python", python]
        call(*pip, "install", "--no-deps", "--force-reinstall", next((d / "dist").glob("*.whl")), cwd=d)
        call(*pip, "install", "--upgrade", "fastai", "fastcore", cwd=d)
        versions = "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in ('fastai', 'fastcore', 'torch')))"
        print(f"wheel with {call(python, '-c', versions, cwd=d).strip()}", flush=True)
        command = d / "venv/bin/xai-pneumonia"
        call(command, "phantom", d / "phantom", "--images", "160", cwd=d)
        call(command, "run", d / "phantom", "--out", d / "run", "--set", "epochs=2", cwd=d)
        metrics = json.loads((d / "run/metrics.json").read_text(encoding="utf-8"))
        assert 0 <= metrics["splits"]["test"]["binary"]["auroc"]["value"] <= 1
        assert (d / "run/report.html").is_file()


def benchmarks():
    "Every benchmark runs, on a few phantoms, without timing anything."
    from xai_pneumonia.sources.phantom import phantom_folder

    with copied() as copy:
        call(binaries / "python", "benchmarks", phantom_folder(), "--rounds", 0, cwd=copy)


def example():
    "The run that many notebooks show exists before two of them could make it at the same time."
    call(binaries / "python", "-c", "from xai_pneumonia.train import example_runs; example_runs()")


def named(test):
    return getattr(test, "__name__", str(test))


class Progress:
    "Runs tests, prints how each went and how many are left, and keeps their times."

    def __init__(self, total):
        self.total, self.done, self.seconds = total, count(1), {}

    def passes(self, test) -> bool:
        "Run a test or a notebook, and print the result."
        started, failure = time.perf_counter(), ""
        try:
            test() if callable(test) else notebook(test)
        except AssertionError as e:
            failure = f"\n{e}"
        self.seconds[named(test)] = seconds = time.perf_counter() - started
        result = f"FAILED{failure}" if failure else f"ok, {seconds:.0f} s"
        print(f"[{next(self.done)}/{self.total}] {named(test)} ... {result}", flush=True)
        return not failure

    def slowest(self, n=5) -> str:
        worst = sorted(self.seconds.items(), key=lambda item: -item[1])[:n]
        return "slowest: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in worst)


def needs_examples(path):
    "Does a notebook show one of the example runs?"
    return "example_run" in (root / path).read_text(encoding="utf-8")


def main(chosen):
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or the processes would wait for each other
    first = [] if chosen else [lint, in_step, readme_in_step, links, readable, documented, requirements]
    long = [] if chosen else [wheel, Path("nbs/explain/trust.ipynb"), benchmarks, pages]  # or one would end alone
    others = [Path(p) for p in chosen] or [p for p in files(root) if p.suffix == ".ipynb" and p not in long]
    early, late = ([p for p in others if needs_examples(p) == wanted] for wanted in (False, True))
    examples = [example] if long or late else []  # nobody else asks for them
    progress = Progress(len(first) + len(examples) + len(long) + len(others))
    passed = [progress.passes(test) for test in first]
    if "forkserver" in get_all_start_methods():
        processes.set_forkserver_preload(PRELOADED)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed += pool.map(progress.passes, [*examples, *early])
        passed += pool.map(progress.passes, long + late)
    print(progress.slowest())
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(not all(passed))


if __name__ == "__main__":
    main(sys.argv[1:])
