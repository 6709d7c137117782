"""The commands of README and docs/ run: every `sh` block, in a prepared workspace.

Quick blocks run in the normal suite. `make test-docs` runs all blocks of each page in order, in one shell.
"""

import csv
import os
import random
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.conftest import REPOSITORY, Space
from tests.docs.pages import PAGES, Block, blocks, name

QUICK = [block for page in PAGES for block in blocks(page, "sh") if not block.marks]
WITH_COMMANDS = [page for page in PAGES if blocks(page, "sh")]
FCLIP = '#!/bin/sh\nexec {python} -m flows.cli "$@"\n'
PYTHON = '#!/bin/sh\nexec {python} "$@"\n'
# `make` checks that the Makefile has the target. Installing, and the test suite inside itself, are left out.
MAKE = """#!/bin/sh
set -e
{make} --dry-run --directory {repository} "$@" > /dev/null
if [ "$1" = retrain ]; then exec fclip retrain; fi
"""
COLOURS = {"Red": (200, 30, 40), "Blue": (30, 60, 190), "Green": (30, 140, 60), "Black": (20, 20, 20)}


def prepare(space: Space) -> Space:
    """Give the workspace what the pages assume: `.venv`, a table, photographs, and the benchmarks."""
    bin_dir = space.root / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    make = shutil.which("make")
    for tool, text in (("fclip", FCLIP), ("python", PYTHON), ("make", MAKE)):
        (bin_dir / tool).write_text(text.format(python=sys.executable, make=make, repository=REPOSITORY))
        (bin_dir / tool).chmod(0o755)
    (bin_dir / "activate").write_text(f'export PATH="{bin_dir}:$PATH"\n')
    shutil.copytree(
        REPOSITORY / "benchmarks", space.root / "benchmarks", ignore=shutil.ignore_patterns("results", "__pycache__")
    )
    write_table(space.root)
    path = os.pathsep.join([str(bin_dir), space.environment["PATH"]])
    return space.at(space.root, PATH=path)


def write_table(folder: Path) -> None:
    """Write `products.csv` and `photos/`, as on the page on one's own catalog."""
    draw = random.Random(0)
    (folder / "photos").mkdir()
    with (folder / "products.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "title", "description", "category", "colour"])
        for number in range(1001, 1301):
            colour, category = draw.choice(list(COLOURS)), draw.choice(["Bag", "Shirt", "Scarf"])
            image = Image.new("RGB", (96, 96), "white")
            pen = ImageDraw.Draw(image)
            box = (20 + number % 7, 20, 70, 70 + number % 11)
            (pen.ellipse if category == "Bag" else pen.rectangle)(box, fill=COLOURS[colour])
            image.save(folder / "photos" / f"{number}.jpg", quality=90)
            title = f"{colour} {category.lower()} no. {number}"
            writer.writerow([number, f"{number}.jpg", title, "Made of cotton.", category, colour])


def run(space: Space, script: str, timeout: float) -> None:
    """Run lines of shell in the workspace; fails with the output if a line fails."""
    finished = space.run("bash", "-euo", "pipefail", "-c", script, timeout=timeout)
    assert finished.code == 0, f"{script}\n{finished.output[-5000:]}"


@pytest.fixture(scope="module")
def prepared(first_run: tuple[Space, object], tmp_path_factory: pytest.TempPathFactory) -> Space:
    return prepare(first_run[0].copy(tmp_path_factory.mktemp("docs") / "space"))


@pytest.mark.parametrize("block", QUICK, ids=lambda block: f"{name(block.page)}:{block.text.splitlines()[0]}")
def test_quick_commands_run(prepared: Space, block: Block) -> None:
    run(prepared, block.text, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_all_commands_of_a_page_run(retrained: Space, tmp_path: Path, page: Path) -> None:
    """In a workspace of their own; `retrained` also gives a Prefect server."""
    space = prepare(retrained.copy(tmp_path / "space"))
    shown = blocks(page, "sh")
    try:
        run(space, "\n".join(block.text for block in shown), timeout=3600)
    finally:
        if any("server" in block.marks for block in shown):
            space.run("prefect", "--no-prompt", "work-pool", "delete", "fclip")
