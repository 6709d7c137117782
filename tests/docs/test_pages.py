"""What the documentation names exists: commands, options, keys, files, functions, links. The site builds."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.hooks.commands import Command, commands
from docs.hooks.configuration import known_keys, sections
from flows.params import Params
from tests.conftest import REPOSITORY
from tests.docs.pages import INLINE, PAGES, blocks, command_lines, inline_code, name

LANGUAGES = {"sh", "console", "text", "yaml", "python"}
SECTIONS = "|".join(Params.__dataclass_fields__)
KEY = re.compile(rf"(?:{SECTIONS})(?:\.[\w<>-]+)+")
REPOSITORY_PATH = re.compile(r"(?:fclip|tasks|flows|tests|benchmarks|params|docs)/[\w/.-]*")
every_page = pytest.mark.parametrize("page", PAGES, ids=name)


def test_readme_has_at_most_100_lines() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 100


@every_page
def test_code_blocks_have_a_known_language(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES
    assert page.read_text().count("```") == 2 * len(blocks(page)), "a fence is not closed"


@every_page
def test_commands_and_options_exist(page: Path) -> None:
    known = {command.path: command for command in commands()}
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for words in command_lines(page):
        if words[0] == "fclip":
            _check_fclip(words[1:], known)
        elif words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words


def _check_fclip(words: list[str], known: dict[tuple[str, ...], Command]) -> None:
    path: tuple[str, ...] = ()
    arguments = [word for word in words if not word.startswith("-")]
    while arguments and (*path, arguments[0]) in known:
        path = (*path, arguments.pop(0))
    assert path or not arguments, f"no command fclip {' '.join(words)}"
    command = known[path]
    assert not (command.is_group and arguments), f"no command fclip {' '.join(words)}"
    options = {word.partition("=")[0] for word in words if word.startswith("-")} - {"--help", "--debug"}
    assert options <= command.options, f"fclip {' '.join(words)}: options are {sorted(command.options)}"


@every_page
def test_configuration_keys_exist(page: Path) -> None:
    for code in inline_code(page):
        if KEY.fullmatch(code):
            assert _is_key(code.split(".")), code


@every_page
def test_yaml_examples_have_known_keys(page: Path) -> None:
    for block in blocks(page, "yaml"):
        values = yaml.safe_load(block.text)
        unknown = [path for path in _paths(values) if not _is_key(path)]
        assert not unknown, unknown


def _paths(values: Any, around: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The path of every key of nested mappings; elements of a list have the path of the list."""
    if isinstance(values, list):
        for each in values:
            yield from _paths(each, around)
    elif isinstance(values, dict):
        for key, value in values.items():
            yield [*around, str(key)]
            yield from _paths(value, (*around, str(key)))


def _is_key(path: list[str]) -> bool:
    """Whether a path names a key; below a key that holds a free mapping, every name is one."""
    candidates = {tuple(key.split(".")) for key in known_keys()}
    free = {path for path in candidates if not any(other[: len(path)] == path != other for other in candidates)}
    fits = [known for known in candidates if _fits(known, path)]
    below = any(_fits(known, path[: len(known)]) for known in free if len(known) < len(path))
    return bool(fits) or below


def _fits(known: tuple[str, ...], path: list[str]) -> bool:
    return len(known) == len(path) and all(a in ("*", b) for a, b in zip(known, path, strict=True))


@every_page
def test_paths_of_the_repository_exist(page: Path) -> None:
    for code in inline_code(page):
        if REPOSITORY_PATH.fullmatch(code) and code not in ("docs/assets/",):
            assert (REPOSITORY / code).exists() or code == "fclip/selection/rules/first.py", code


def test_architecture_names_functions_that_exist() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)`: `(\w+)`", text)
    assert len(named) > 20
    for path, function in named:
        tree = ast.parse((REPOSITORY / path).read_text())
        assert function in {getattr(node, "name", None) for node in tree.body}, (path, function)


def test_reasons_of_refused_rows_are_those_of_the_code() -> None:
    page = (REPOSITORY / "docs" / "guides" / "your-own-catalog.md").read_text()
    table = page.partition("## Refused rows")[2].partition("\n## ")[0]
    reasons = [reason for row in re.findall(r"^\| (`[^|]*)\|", table, re.MULTILINE) for reason in INLINE.findall(row)]
    code = "".join(path.read_text() for path in (REPOSITORY / "fclip" / "catalog").rglob("*.py"))
    assert len(reasons) > 10
    assert not [reason for reason in reasons if f'"{reason}"' not in code]


@every_page
def test_python_examples_parse(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block.text)


@every_page
def test_relative_links_resolve(page: Path) -> None:
    generated = {REPOSITORY / "docs" / "reference" / f"{each}.md" for each in ("configuration", "commands")}
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            path = (page.parent / target).resolve()
            assert path.exists() or path in generated, target


def test_every_configuration_key_has_a_description() -> None:
    described = [setting for section in sections() for setting in section.settings]
    assert not [setting.key for setting in described if not setting.description]


def test_every_command_and_parameter_has_a_description() -> None:
    for command in commands():
        assert command.help or command.path == (), command.name
        assert all(parameter.help for parameter in command.parameters), command.name


def test_site_builds_strictly_and_loads_nothing_from_other_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(REPOSITORY / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        html = page.read_text()
        assert not re.search(r"<(?:script|img|iframe|link|source)[^>]+(?:src|href)=\"?(?:https?:)?//", html), page
        assert 'class="mermaid"' not in html, "the theme loads Mermaid from another host"
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style
    assert (tmp_path / "search" / "search_index.json").is_file()
