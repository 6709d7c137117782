"""The configuration reference, generated from the config classes of `flows.params.Params`."""

from collections.abc import Iterator
from dataclasses import is_dataclass

import yaml

from fclip.config import REQUIRED
from fclip.config_tree import Section, Setting, describe, text_of
from flows.params import Params

INTRODUCTION = """\
# Configuration

`params.yaml` has a section for each step. This page lists every key with its type, its default and its meaning.
It is generated from the config classes when the documentation is built.

- A key without a default is **required**.
- Unknown keys and wrong types are errors. The message names the key, the value and what is allowed.
- `<name>` stands for a name that you choose, such as that of a dataset.
- Where a value has a key `kind`, the kind decides which other keys are allowed.
- In YAML, write `1.0e-5`. PyYAML reads `1e-5` as text.
"""
MAX_INLINE = 60
"""Longer defaults are shown as a block of YAML."""


def page() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    described: dict[tuple[object, ...], str] = {}
    top = ""
    for section in sections():
        if section.key.partition(".")[0] != top:
            top = section.key.partition(".")[0]
            parts.append(f"## {top} {{ #{top} }}")
        parts += _section(section, same_as=described.setdefault(_signature(section), section.key))
    return "\n\n".join(parts) + "\n"


def sections() -> Iterator[Section]:
    """Every section of params.yaml, without the one that holds all others."""
    return (section for section in describe(Params) if section.key)


def known_keys() -> frozenset[str]:
    """Every key by its dotted path, with `*` for names that the user chooses."""
    keys = {section.key for section in sections()}
    keys |= {setting.key for section in describe(Params) for setting in section.settings}
    keys |= {f"{section.key}.kind" for section in sections() if section.kind}
    return frozenset(key.replace("<name>", "*").replace(".<n>", "") for key in keys)


def _signature(section: Section) -> tuple[object, ...]:
    """Equal for two places of one config class."""
    names = tuple(setting.key.removeprefix(section.key) for setting in section.settings)
    return section.kind, section.description, names


def _section(section: Section, same_as: str) -> Iterator[str]:
    """The heading, the description and the settings of a section, or a reference to its first place."""
    if "." in section.key or section.kind:
        kind = f": kind `{section.kind}`" if section.kind else ""
        yield f"### `{section.key}`{kind} {{ #{_anchor(section.key, section.kind)} }}"
    if same_as != section.key:
        yield f"The same keys as [`{same_as}`](#{_anchor(same_as, section.kind)})."
        return
    if section.description:
        yield section.description
    for setting in section.settings:
        yield _entry(section, setting)
    if section.kind and not section.settings:
        yield "This kind has no other keys."


def _entry(section: Section, setting: Setting) -> str:
    """A setting as an entry of a definition list."""
    default = "" if is_dataclass(setting.default) else text_of(setting.default)
    about = setting.type
    if setting.default is REQUIRED:
        about += ", **required**"
    elif default and len(default) <= MAX_INLINE:
        about += f", default `{default}`"
    name = setting.key.rpartition(".")[2]
    lines = [f"`{name}`{{ #key.{_anchor(setting.key, section.kind)} }} · {about}"]
    lines.append(f":   {setting.description or '—'}")
    if len(default) > MAX_INLINE:
        block = yaml.safe_dump(yaml.safe_load(default), allow_unicode=True, sort_keys=False, width=10**6)
        lines += ["", "    Default:", "", "    ```yaml", *(f"    {line}" for line in block.splitlines()), "    ```"]
    return "\n".join(lines)


def _anchor(key: str, kind: str | None) -> str:
    """The id of a section or a setting."""
    return key.replace(".<name>", "").replace(".<n>", "") + (f"-{kind}" if kind else "")
