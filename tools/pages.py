"""What nbdev leaves to be done on the pages it has made in _proc, before Quarto renders them: python tools/pages.py

Signatures are shown as they stand in the source, with their types and comments; commands of the command line as their
help; a word in code style is a link only if it names something that is imported, not a command of the same name.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

root = Path(__file__).parent.parent
SITE = "https://xai-pneumonia.github.io/xai-pneumonia/"
LINK = re.compile(r"\[(`[^`]*`)\]\(([^)\s]*)\)")


def commands(group: click.Group, path: str = "xai-pneumonia") -> Iterator[tuple[str, str, click.Command]]:
    "Function name, what is typed, and command, of a group and of all it holds."
    yield group.callback.__name__, path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield command.callback.__name__, f"{path} {name}", command


def signature(node: ast.FunctionDef | ast.ClassDef, source: str) -> str:
    "A definition as it stands in the source: a function up to its docstring, a class with its fields or constructor."
    lines = source.splitlines()
    if isinstance(node, ast.FunctionDef):
        return "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1])
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    constructor = [part for part in node.body if getattr(part, "name", "") == "__init__"]
    shown = [lines[node.lineno - 1]]
    if fields:
        shown += lines[fields[0].lineno - 1 : fields[-1].end_lineno]
    shown += [line for part in constructor for line in signature(part, source).splitlines()]
    return "\n".join(shown)


def definitions(module: str) -> dict[str, str]:
    "Name and signature of everything that a module defines at its top level."
    file = root / "xai_pneumonia" / f"{module.replace('.', '/')}.py"
    source = file.read_text(encoding="utf-8")
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return {node.name: signature(node, source) for node in nodes}


def as_command(text: str, typed: str, command: click.Command) -> str:
    "The documentation of a command: its help."
    source_link = re.search(r"\[source\].*\n", text)
    context = click.Context(command, info_name=typed, max_content_width=88, terminal_width=88)
    name = typed.removeprefix("xai-pneumonia ")
    return f"---\n\n{source_link[0] if source_link else ''}\n### {name}\n\n```text\n{command.get_help(context)}\n```\n"


def as_in_source(text: str, shown: str) -> str:
    "The documentation of a definition, with this signature."
    return re.sub(r"```python\n.*?\n```", lambda _: f"```python\n{shown}\n```", text, count=1, flags=re.S)


def finish(page: Path, typed: dict[str, tuple[str, click.Command]]):
    "Write the signatures, or the help of commands, into one processed notebook."
    notebook = json.loads(page.read_text(encoding="utf-8"))
    exported = [re.search(r"#\| *default_exp (\S+)", text) for text in original(page)]
    module = next((match[1] for match in exported if match), None)
    signatures = definitions(module) if module else {}
    for cell in notebook["cells"]:
        if not (match := re.search(r"show_doc\(([\w.]+)", "".join(cell["source"]))):
            continue
        for data in (output["data"] for output in cell["outputs"] if "data" in output):
            text = "".join(data["text/markdown"])
            if module == "cli" and match[1] in typed:
                data["text/markdown"] = as_command(text, *typed[match[1]])
            elif match[1] in signatures:
                data["text/markdown"] = as_in_source(text, signatures[match[1]])
    save(page, notebook)


def original(page: Path) -> list[str]:
    "The sources of the cells of the notebook that a page was made from."
    notebook = json.loads((root / "nbs" / page.relative_to(root / "_proc")).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"]]


def save(page: Path, notebook: dict):
    page.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def anchor(heading: str) -> str:
    "The anchor that Quarto gives a heading."
    words = re.sub(r"[^\w\-. ]", "", LINK.sub(r"\1", heading).lower()).strip().replace(" ", "-")
    return re.sub(r"^[^a-z]+", "", words)


def texts(notebook: dict) -> Iterator[tuple[dict, str]]:
    "Whatever a page shows as Markdown: the dictionary that holds it, and its key."
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            yield cell, "source"
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                yield output["data"], "text/markdown"


def addresses(pages: dict[Path, dict]) -> set[str]:
    "Every page.html, and every page.html#anchor, of the site."
    found = set()
    for page, notebook in pages.items():
        text = "\n".join("".join(holder[key]) for holder, key in texts(notebook))
        name = re.search(r"(?m)^output-file: (\S+)", text)
        relative = page.relative_to(root / "_proc")
        html = str(relative.with_name(name[1]) if name else relative.with_suffix(".html"))
        found |= {html} | {f"{html}#{anchor(heading)}" for heading in re.findall(r"(?m)^#{2,6} (.*)", text)}
    return found


def link_what_is_there():
    """Make text of the links that nbdev has set on words in code style, where they name a command in place of the thing
    meant, or something that no page describes."""
    pages = {page: json.loads(page.read_text(encoding="utf-8")) for page in (root / "_proc").rglob("*.ipynb")}
    there = addresses(pages)

    def kept(link):
        address = link[2].removeprefix(SITE)
        wrong = address != link[2] and (address.startswith("cli.html#") or address not in there)
        return link[1] if wrong else link[0]

    for page, notebook in pages.items():
        for holder, key in texts(notebook):
            holder[key] = LINK.sub(kept, "".join(holder[key]))
        save(page, notebook)


def main():
    sys.path.insert(0, str(root))
    from xai_pneumonia.cli import main as command_line

    typed = {function: (name, command) for function, name, command in commands(command_line)}
    for page in sorted((root / "_proc").rglob("*.ipynb")):
        finish(page, typed)
    link_what_is_there()


if __name__ == "__main__":
    main()
