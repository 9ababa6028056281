"""The fenced code blocks of the repository's Markdown pages."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Not for users to type.
LEFT_OUT = ("CHANGELOG.md", ".github/")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    heading: str
    text: str

    @property
    def key(self):
        """Names the block in the lists of main.py: line numbers change too often."""
        line = self.text.split("\n", 1)[0].strip()
        return self.page, re.sub(r"(tidegate[:-])\d+\.\d+\.\d+(-rc[.\d]+)?", r"\1VERSION", line)

    def __str__(self):
        return f"{self.page}:{self.line}"


def of_page(page, text):
    heading, block, fence = "", None, ""
    for number, line in enumerate(text.splitlines(), 1):
        if block is None:
            opened = re.match(r"( *)(```+)(\w*)", line)
            if opened:
                indent, fence, language = opened.groups()
                block = (number, language, len(indent), [])
            elif line.startswith("#"):
                heading = line.lstrip("# ")
        elif line.strip() == fence:
            number, language, _, lines = block
            yield Block(page, number, language, heading, "\n".join(lines) + "\n")
            block = None
        else:
            block[3].append(line[block[2]:])
    if block is not None:
        raise SystemExit(f"{page}:{block[0]}: the code block has no end")


def all_blocks():
    listed = subprocess.run(["git", "ls-files", "*.md"], check=True, text=True, stdout=subprocess.PIPE)
    for page in listed.stdout.split():
        if not page.startswith(LEFT_OUT):
            yield from of_page(page, Path(page).read_text())
