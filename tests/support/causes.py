"""The README's table of causes, made from the code: ``python -m tests.support.causes`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from pytest_fileflow.causes import CAUSES

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- causes: written by python -m tests.support.causes -->\n\n"
END = "\n<!-- end of causes -->\n"


def table() -> str:
    rows = [(f"`{cause.name}`", cause.when, cause.hint) for cause in CAUSES.values()]
    lines = [("cause", "what it means", "where to look first"), ("---", "---", "---"), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def in_readme() -> str:
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def write() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}{table()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
