"""Errors of configurations name the key and the nearest known one; the walk over a class finds every setting."""

from typing import Annotated, Any, Literal

import pytest
import yaml

from fclip.config import REQUIRED, ByKind, config, parse_config
from fclip.config_tree import describe, effective, find, text_of
from fclip.errors import UserError
from flows.params import Params
from tests.conftest import REPOSITORY


@config
class Circle:
    """A circle."""

    kind: Literal["circle"]
    radius: float = 1.0
    """Its radius."""


@config
class Square:
    """A square."""

    kind: Literal["square"]
    side: float
    """Its side."""


@config
class Style:
    """How shapes are drawn."""

    colour: str = "red"
    """Colour of the line; a name."""
    widths: tuple[int, ...] = (1, 2)
    """Widths."""


@config
class Drawing:
    """A drawing."""

    style: Style
    """How shapes are drawn."""
    shapes: dict[str, Annotated[Circle | Square, ByKind(lambda: (Circle, Square))]]
    """The shapes by name."""
    frame: Style | None = None
    """A frame, or null."""


VALUES: dict[str, Any] = {"style": {}, "shapes": {"dot": {"kind": "circle"}, "box": {"kind": "square", "side": 2.0}}}


def parsed(**changes: Any) -> Drawing:
    return parse_config({**VALUES, **changes}, Drawing, where="params.yaml", section="drawing")


def repository_values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"styles": {}}, r"drawing\.styles: unknown key; did you mean `style`\?"),
        ({"style": {"color": "red"}}, r"drawing\.style\.color: unknown key; did you mean `colour`\?"),
        ({"side": 1}, r"drawing\.side: unknown key; did you mean `drawing\.shapes\.<name>\.side`\?"),
        ({"style": {"zzz": 1}}, r"drawing\.style\.zzz: unknown key; the keys here are colour, widths"),
        (
            {"shapes": {"dot": {"kind": "circle", "radios": 2}}},
            r"drawing\.shapes\.dot\.radios: unknown key; did you mean `radius`\?",
        ),
        ({"frame": {"colours": "red"}}, r"drawing\.frame\.colours: unknown key; did you mean `colour`\?"),
        ({"style": None}, r"drawing\.style: is empty: add `style: \{\}`"),
        ({"shapes": {"dot": {"kind": "circel"}}}, r"drawing\.shapes\.dot: `kind` must be one of circle, square"),
        ({"shapes": {"box": {"kind": "square"}}}, r"drawing\.shapes\.box\.side: is missing$"),
    ],
)
def test_errors_name_the_nearest_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parsed(**changes)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("finetune.learning_rte", 1.0, "finetune.learning_rte: unknown key; did you mean `learning_rate`?"),
        ("finetune.thumbnail", 0.1, "did you mean `finetune.augment.thumbnail`?"),
        ("ingest.limit", 5, "ingest.limit: unknown key; did you mean `ingest.settings.limit`?"),
        ("caption.cleaning", {}, "did you mean `caption.settings.cleaning`?"),
        ("evaluate.batch_size", 5, "did you mean `evaluate.settings.batch_size`?"),
        (
            "ingest.datasets.studio.source.sed",
            5,
            "ingest.datasets.studio.source.sed: unknown key; did you mean `seed`?",
        ),
        ("ingest.datasets.studio.limit", 5, "did you mean `ingest.settings.limit`?"),
        ("finetune.zzz", 5, "`fclip params finetune` lists the keys"),
        ("embedding", {}, "embedding: unknown key; did you mean `embed`?"),
    ],
)
def test_unknown_keys_of_params(path: str, value: Any, message: str) -> None:
    values = repository_values()
    *parents, name = path.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    with pytest.raises(UserError) as error:
        parse_config(values, Params, where="params.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize("section", ["average", "select", "embed", "ingest.settings", "evaluate.settings"])
def test_a_section_that_dvc_tracks_must_be_in_the_file(section: str) -> None:
    values = repository_values()
    *parents, name = section.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    del inner[name]
    with pytest.raises(UserError) as error:
        parse_config(values, Params, where="params.yaml")
    assert f"{section}: is missing: add `{name}: {{}}`" in str(error.value)


def test_the_walk_over_a_class() -> None:
    sections = {(section.key, section.kind): section for section in describe(Drawing)}
    assert list(sections) == [
        ("", None), ("style", None), ("shapes.<name>", "circle"), ("shapes.<name>", "square"), ("frame", None),
    ]  # fmt: skip
    assert sections["", None].description == "A drawing."
    (side,) = sections["shapes.<name>", "square"].settings
    assert (side.key, side.type, side.default) == ("shapes.<name>.side", "number", REQUIRED)
    colour, widths = sections["style", None].settings
    assert (colour.description, colour.summary) == ("Colour of the line; a name.", "Colour of the line")
    assert (widths.type, widths.default) == ("[integer, …]", (1, 2))
    types = [setting.type for setting in sections["", None].settings]
    assert types == ["section", "sections by name with `kind`: circle, square", "section, or null"]
    assert [(section.kind, setting.key) for section, setting in find(Drawing, "shapes.dot.radius")] == [
        ("circle", "shapes.<name>.radius")
    ]


def test_the_walk_over_a_configuration() -> None:
    found = {each.setting.key: (each.value, each.is_default) for each in effective(parsed(frame={"widths": [1]}))}
    assert found == {
        "style.colour": ("red", True),
        "style.widths": ((1, 2), True),
        "shapes.dot.kind": ("circle", False),
        "shapes.dot.radius": (1.0, True),
        "shapes.box.kind": ("square", False),
        "shapes.box.side": (2.0, False),
        "frame.colour": ("red", False),  # the default is no frame
        "frame.widths": ((1,), False),
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.0003, "3.0e-4"),
        (1e-05, "1.0e-5"),
        (0.05, "0.05"),
        ("auto", "auto"),
        ("{title}", '"{title}"'),
        ("", '""'),
        (r"\d+", r"'\d+'"),
        ({"a": [1, 2.5], "b": "x y"}, "{a: [1, 2.5], b: x y}"),
        (Circle(kind="circle"), "{kind: circle, radius: 1.0}"),
        (REQUIRED, "required"),
    ],
)
def test_values_are_written_as_in_params(value: Any, text: str) -> None:
    assert text_of(value) == text
    if value is not REQUIRED and not isinstance(value, Circle):
        assert yaml.safe_load(text) == value
