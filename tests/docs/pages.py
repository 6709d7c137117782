"""The pages of the documentation, and the code blocks in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
FENCE = re.compile(
    r"(?:^<!-- test: (?P<marks>[\w, ]+) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        marks: words of the comment `<!-- test: … -->` above the block: `slow`, `server`.
    """

    page: Path
    language: str
    text: str
    marks: frozenset[str]


def name(page: Path) -> str:
    """The path of a page in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order; of one language, if it is given."""
    found = [
        Block(page, match["language"], match["text"], frozenset(re.findall(r"\w+", match["marks"] or "")))
        for match in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]
    return [block for block in found if language in (None, block.language)]


def inline_code(page: Path) -> list[str]:
    """The text in single backticks outside fenced blocks."""
    return INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8")))


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every command that a page shows, as words: lines of `sh` and `console` blocks, and inline code."""
    lines = [line for block in blocks(page, "sh") for line in _logical_lines(block.text)]
    for block in blocks(page, "console"):
        lines += [line.removeprefix("$ ") for line in _logical_lines(block.text) if line.startswith("$ ")]
    lines += [code for code in inline_code(page) if re.match(r"(fclip|make) \w|fclip$", code)]
    for line in lines:
        for command in line.split(" && "):
            if words := shlex.split(command, comments=True):
                yield words


def _logical_lines(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()
