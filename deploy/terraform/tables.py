"""Writes the tables of variables and outputs in each module's README.md, from its own files; --check only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
_BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^  (\w+) += (.*?)(?=^  \w+ +=|^  \w+ \{|^$|\Z)", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> dict[str, dict[str, str]]:
    """Return the variables or outputs of a file as ``terraform fmt`` writes it: by name, their attributes."""
    return {
        name: {key: _one_line(value) for key, value in _ATTRIBUTE.findall(body)}
        for _, name, body in _BLOCK.findall(text)
    }


def _one_line(value: str) -> str:
    lines = [line.strip() for line in value.strip().splitlines()]
    text = lines[0]
    for line in lines[1:]:
        text += (" " if text.endswith(("{", "[", "(", ",")) or line.startswith(("}", "]", ")")) else ", ") + line
    return re.sub(r" +", " ", text)


def _words(quoted: str) -> str:
    return quoted[1:-1].replace('\\"', '"').replace("|", "\\|")


def tables(module: Path) -> str:
    """Return both tables of a module as Markdown."""
    lines = ["| variable | type | default | what it is |", "|---|---|---|---|"]
    for name, told in blocks((module / "variables.tf").read_text(encoding="utf-8")).items():
        default = f"`{told['default']}`" if "default" in told else "required"
        lines.append(f"| `{name}` | `{told['type']}` | {default} | {_words(told['description'])} |")
    lines += ["", "| output | what it is |", "|---|---|"]
    for name, told in blocks((module / "outputs.tf").read_text(encoding="utf-8")).items():
        lines.append(f"| `{name}` | {_words(told['description'])} |")
    return "\n".join(lines)


def main() -> int:
    """Write the tables between their marks, or say of which modules they are not up to date."""
    stale = 0
    for module in (HERE, HERE / "modules" / "container"):
        readme = module / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, begin, rest = text.partition("<!-- tables -->\n")
        _, end, after = rest.partition("<!-- /tables -->")
        current = f"{before}{begin}\n{tables(module)}\n\n{end}{after}"
        if "--check" not in sys.argv:
            readme.write_text(current, encoding="utf-8")
        elif current != text:
            sys.stderr.write(f"{readme} does not say what variables.tf and outputs.tf do: run python tables.py\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
