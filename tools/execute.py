"""Execute notebooks in place, for committing: `python tools/execute.py nbs/04_gradcam.ipynb …`.

Warnings are printed here and left out of the notebook, where they would show paths of this machine. The remains of
progress bars are left out, too.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def is_noise(output) -> bool:
    "Warnings on stderr, and what progress bars leave: empty HTML, and fastai's table of epochs with its times."
    html = output.get("data", {}).get("text/html")
    return output.get("name") == "stderr" or (html is not None and ("<table" not in html or "fastprogress" in html))


def execute(path: Path):
    "Run all cells, keep the outputs that readers need."
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                print(f"{path.name}: {output.text}", file=sys.stderr)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_noise(output)]
    nbformat.write(notebook, path)
    print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        execute(Path(name))
