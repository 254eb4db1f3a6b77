"""Make README.md from nbs/index.ipynb with nbconvert, so that it can be made without Quarto."""

import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).parent.parent


def readme() -> str:
    "The notebook as Markdown: hidden cells left out, links to notebooks pointing into nbs/."
    notebook = nbformat.read(root / "nbs" / "index.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("#| hide")]
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    text = re.sub(r"\]\((?=[\w/]+\.ipynb\))", "](nbs/", text)
    body = "\n".join(line.rstrip() for line in text.splitlines()).strip()
    return f"<!-- made from nbs/index.ipynb by `make readme`: edit the notebook -->\n\n{body}\n"


if __name__ == "__main__":
    (root / "README.md").write_text(readme(), encoding="utf-8")
