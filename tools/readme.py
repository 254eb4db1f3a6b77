"""Make README.md from nbs/index.ipynb with nbconvert, which does not need Quarto; and its picture."""

import re
from base64 import b64decode
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).parent.parent


def readme() -> str:
    "The notebook as Markdown: hidden cells left out, links to notebooks pointing into nbs/."
    notebook = nbformat.read(root / "nbs" / "index.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("#| hide")]
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    text = re.sub(r"\]\((?=[\w/]+\.(ipynb|png)\))", "](nbs/", text)
    text = re.sub(r"\{\.btn[^}]*\}(?= \[)", " ·", text).replace("{.btn .btn-primary}", "")  # buttons, on the site
    body = "\n".join(line.rstrip() for line in text.splitlines()).strip()
    return f"<!-- made from nbs/index.ipynb by `make readme`: edit the notebook -->\n\n{body}\n"


def picture() -> bytes:
    "The stored figure of the cell of 05_predict that says it is for the README."
    notebook = nbformat.read(root / "nbs" / "05_predict.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.source.startswith("# the picture of README.md"))
    return b64decode(next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})))


if __name__ == "__main__":
    (root / "nbs" / "result.png").write_bytes(picture())
    (root / "README.md").write_text(readme(), encoding="utf-8")
