"""The short loop for one notebook: python tools/nb.py nbs/04_gradcam.ipynb

Exports the library, formats and lints, then tests the notebook and those that import its module.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from test import binaries, files, root


def sources(path):
    return ["".join(cell["source"]) for cell in json.loads((root / path).read_text(encoding="utf-8"))["cells"]]


def module(path) -> str | None:
    "The module that a notebook exports, such as explain.cam; None if it exports none."
    match = re.search(r"^#\| *default_exp (\S+)", "\n".join(sources(path)), re.M)
    return match and match[1]


def importers(path) -> list[Path]:
    "The notebooks that import from the module of this one."
    name = module(path)
    pattern = re.compile(rf"from xai_pneumonia\.{re.escape(name or '')} import")
    notebooks = [p for p in files(root) if p.suffix == ".ipynb" and p != path]
    return [p for p in notebooks if name and pattern.search("\n".join(sources(p)))]


def main(path):
    commands = [["nbdev_export"], ["ruff", "format", path], ["ruff", "check", path]]
    commands += [["python", "tools/test.py", path, *importers(path)]]
    for name, *arguments in commands:
        subprocess.run([binaries / name, *map(str, arguments)], cwd=root, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].endswith(".ipynb"):
        sys.exit("name one notebook: make nb NB=nbs/04_gradcam.ipynb")
    try:
        main(Path(sys.argv[1]))
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)
