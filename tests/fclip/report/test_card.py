"""The model card is valid for the hub, and no name can break its metadata or its tables."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fclip.registry import tags
from fclip.registry.decisions import MAX_REASON, Decision
from fclip.registry.versions import Version
from fclip.report.card import model_card
from fclip.report.card_facts import (
    CardFacts,
    DatasetFacts,
    ModelFacts,
    SplitFacts,
    TrainingFacts,
    facts_from_json,
    facts_to_json,
)
from fclip.report.description import MAX_CHARS, version_description, with_decision
from fclip.report.markdown import escape, table
from tests.fclip.report.test_report import made_up
from tests.small_audits import made_up_result, small_audits

MODEL = ModelFacts("ab" * 32, image_side=32, context_length=24, dim=16, resize_mode="shortest")
HOSTILE = st.text(alphabet=st.sampled_from("ab1 |\\`*_[]{}<>&#~!$-:'\"\n\r\t\x00\x85\u2028é"), max_size=12) | st.text(
    alphabet=st.characters(), max_size=12
)
BLOCKS = {
    "heading_open",
    "table_open",
    "tr_open",
    "td_open",
    "list_item_open",
    "fence",
    "code_block",
    "hr",
    "html_block",
}


def made_up_facts() -> CardFacts:
    """The facts of the run of test_report.py."""
    inputs = made_up()
    splits = (SplitFacts("train", "train", 1990, 2200, 5970), SplitFacts("test", "report", 297, 310, None))
    return CardFacts(
        name="fclip-sample",
        model=MODEL,
        registered_model="fclip-sample",
        datasets=(
            DatasetFacts("studio", "published dataset", splits, "Studio", "https://example.org", "Shop/studio", "MIT"),
            DatasetFacts("street", "drawn products", (SplitFacts("test", "report", 356, 390, 700),)),
        ),
        training=TrainingFacts(
            base_model="transformers Shop/clip",
            base_model_hub="Shop/clip",
            candidate=inputs.selection.selected.candidate,
            epochs=3,
            batch_size=128,
            learning_rate=3e-4,
            trainable="image_tower",
            loss="clip",
            captions={"title": 0.5, "short": 0.5},
            background_share=0.0,
        ),
        results=inputs.results,
        confidence=0.95,
        selection=inputs.selection,
        scores=inputs.scores,
        lineage={"fclip.workspace": "sample", "fclip.dataset.studio": "cd" * 32},
    )


def body(card: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(card.split("\n---\n", 1)[1])


def rows(tokens: list[Token]) -> Iterator[list[str]]:
    """Yield the cells of each row of each table, as shown."""
    for token in tokens:
        if token.type == "tr_open":
            cells: list[str] = []
        elif token.type == "inline" and token.level >= 4:
            cells.append(shown(token))
        elif token.type == "tr_close":
            yield cells


def shown(token: Token) -> str:
    return "".join(child.content for child in token.children or [])


def metadata(card: str) -> dict:
    start, text, _ = card.split("---\n", 2)
    assert start == ""
    return dict(yaml.safe_load(text))


def test_hub_reads_the_metadata_and_the_results_on_report_data() -> None:
    facts = made_up_facts()
    card = ModelCard(model_card(facts))
    assert card.data.library_name == "open_clip"
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    assert card.data.base_model == "Shop/clip"
    assert card.data.datasets == ["Shop/studio"]
    assert card.data.license is None
    found = {
        (each.dataset_type, each.dataset_split, each.metric_name): each.metric_value for each in card.data.eval_results
    }
    hub = {"studio": "Shop/studio"}
    assert found == {
        (hub.get(row.dataset, row.dataset), row.split, row.metric): row.after.value
        for row in facts.results
        if row.role == "report"
    }
    assert {each.task_type for each in card.data.eval_results} == {"zero-shot-image-classification", "retrieval"}


def test_sections_are_complete_and_select_rows_are_marked() -> None:
    text = model_card(made_up_facts())
    tokens = body(text)
    titles = [shown(tokens[i + 1]) for i, token in enumerate(tokens) if token.tag == "h2" and token.nesting == 1]
    assert titles == ["Intended use", "Training data", "Training", "Results", "Selection", "Limits",
                      "Limits that were measured", "Gate", "Lineage",
                      "How to use"]  # fmt: skip
    assert text.index("### street, test") < text.index("### studio, test") < text.index("### street, val")
    for section in text.split("### ")[1:]:
        name = section.split("\n", 1)[0]
        assert ("**Selection data**" in section) == name.endswith(", val")
    assert "licence: MIT" in text
    assert "- street: drawn products; licence: not recorded" in text
    assert "| studio | test | report | 297 | 310 | unknown |" in text
    assert "No verdict." in text
    assert "- graded queries:" in text.split("Not measured:")[1]
    assert "- zero-shot classification (phone, street, studio):" in text.split("Measured:")[1].split("Not measured")[0]
    assert "models:/fclip-sample/VERSION" in text


def test_card_of_a_version_shows_who_decided_what_and_why() -> None:
    refused = {
        "kind": "refuse",
        "reason": "it confuses *boots* | sandals",
        "by": "anna",
        "at": "2026-03-01T16:20:00+00:00",
    }
    override = {"kind": "override", "reason": "fixed", "by": "bert", "at": "2026-03-02T09:14:00+00:00"}
    version = Version("fclip-sample", 3, (), "ab" * 32, datetime(2026, 3, 1, tzinfo=UTC), "run", {})
    assert "People decided" not in model_card(made_up_facts(), version)
    decided = replace(version, tags={tags.DECISIONS: json.dumps([refused, override])})
    tokens = body(model_card(made_up_facts(), decided))
    start = next(i for i, token in enumerate(tokens) if token.type == "inline" and shown(token) == "Gate")
    end = next(i for i, token in enumerate(tokens) if token.type == "inline" and shown(token) == "Lineage")
    lines = [shown(token) for token in tokens[start:end] if token.type == "inline"]
    assert lines == [
        "Gate",
        "Version 3 of fclip-sample was not promoted.",
        "People decided about this version. The last decision counts:",
        "refused by anna (2026-03-01T16:20:00+00:00): it confuses *boots* | sandals",
        "promoted against the gate by bert (2026-03-02T09:14:00+00:00): fixed",
    ]


def test_card_of_an_unknown_model_has_its_technical_part_only() -> None:
    text = model_card(CardFacts("some-folder", MODEL))
    assert metadata(text).keys() == {"library_name", "pipeline_tag", "tags"}
    assert [cells for cells in rows(body(text)) if cells[0] == "embedding"] == [["embedding", "16 numbers"]]
    assert text.count("Not known.") == 3
    assert "Not measured.\n" in text
    assert "MLflow" not in text


def test_card_has_a_paragraph_for_each_audit() -> None:
    audits = (
        made_up_result("selected", 0.3),
        made_up_result(
            "selected", 0.0, kind="gender", headline=None, measures=(), summary="", not_measured=("No *g*.",)
        ),
    )
    facts = replace(made_up_facts(), audits=audits)
    assert facts_from_json(json.loads(json.dumps(facts_to_json(facts)))) == facts
    with small_audits():
        card = model_card(facts)
    section = card.split("## Limits that were measured\n")[1].split("\n## ")[0]
    for text in (
        "### Spread: studio, test",
        "The images of selected differ.",
        "0.300 (0.250 to 0.350), over 200 items: spread of the images. The limit is 0.100: failed.",
        "### Gender: studio, test",
        "- No \\*g\\*.",
    ):
        assert text in section, text
    assert "differences between groups of people" not in card


def test_card_of_a_version_before_the_audits_can_be_read() -> None:
    values = facts_to_json(made_up_facts())
    del values["audits"]
    card = model_card(facts_from_json(values))
    assert "No audit was run for this model." in card
    assert "differences between groups of people" in card


def test_facts_survive_json() -> None:
    facts = made_up_facts()
    assert facts_from_json(json.loads(json.dumps(facts_to_json(facts)))) == facts
    with pytest.raises(ValueError, match="model"):
        facts_from_json({"name": "fclip-sample"})


def test_base_model_has_one_column_of_values_and_a_nan_is_shown_as_missing() -> None:
    facts = made_up_facts()
    assert facts.training
    base = facts.selection.base.candidate if facts.selection else None
    assert base
    facts = replace(facts, training=replace(facts.training, candidate=base))
    first = replace(facts.results[0], after=replace(facts.results[0].after, value=float("nan")))
    text = model_card(replace(facts, results=(first, *facts.results[1:])))
    tables = list(rows(body(text)))
    assert ["metric", "items", "this model"] in tables
    assert ["accuracy (primary)", "300", "–"] in tables
    assert len(metadata(text)["model-index"][0]["results"]) == sum(row.role == "report" for row in facts.results) - 1


@settings(max_examples=40, phases=[phase for phase in Phase if phase != Phase.shrink])
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_name_breaks_the_card(name: str, dataset: str, title: str, reason: str) -> None:
    facts = made_up_facts()
    assert facts.training
    assert facts.selection
    honest = model_card(facts)
    studio, street = facts.datasets
    renamed = replace(
        facts,
        name=name,
        registered_model=name or "unnamed",
        datasets=(replace(studio, name=dataset, title=title, licence=reason, hub=name), replace(street, source=title)),
        training=replace(facts.training, base_model=title, base_model_hub=dataset, captions={title: 1.0, "a": 2.0}),
        results=tuple(replace(row, dataset=f"{row.dataset} {dataset}") for row in facts.results),
        selection=replace(facts.selection, reason=reason),
        lineage={"fclip.workspace": f"a {title}", "fclip.dataset.studio": f"a {reason}"},
    )
    card = model_card(renamed)
    found = metadata(card)
    assert found["library_name"] == "open_clip"
    assert found["model-index"][0]["name"] == " ".join("".join(c if c.isprintable() else " " for c in name).split())
    assert len(found["model-index"][0]["results"]) == len(metadata(honest)["model-index"][0]["results"])
    tokens = body(card)
    assert [token.type for token in tokens if token.type in BLOCKS] == [
        token.type for token in body(honest) if token.type in BLOCKS
    ]
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline", "softbreak"}


@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=4))
def test_table_shows_hostile_cells_as_they_are(cells: list[tuple[str, str, str]]) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(table(["a", "b", "c"], cells))
    found = list(rows(tokens))
    assert found[0] == ["a", "b", "c"]
    assert found[1:] == [[" ".join(shown_text(cell).split()) for cell in row] for row in cells]


def shown_text(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def test_escape_leaves_metric_names_readable() -> None:
    assert escape("retrieval.text_to_image (step-000018)") == "retrieval.text_to_image (step-000018)"
    assert escape("_a_ | <b>") == "\\_a\\_ \\| &lt;b&gt;"


def test_description_has_the_last_decision_and_fits_the_registry() -> None:
    inputs = made_up()
    text = version_description(inputs.selection, inputs.scores)
    first = Decision("refuse", "<" * MAX_REASON, "anna", "2026-03-01T16:20:00+00:00")
    second = Decision("override", "fixed", "bert", "2026-03-02T09:14:00+00:00")
    once = with_decision(text, first)
    assert once.startswith("**Decision.** refused by anna")
    assert with_decision(once, second) == f"**Decision.** {escape(second.words)}\n\n{text}"
    full = with_decision("word " * 500 + "\n" + "more " * 500, first)
    assert len(full) <= MAX_CHARS
    assert "anna" in full
    assert "more" not in full


def test_description_fits_the_registry() -> None:
    inputs = made_up()
    selection = replace(inputs.selection, reason="long " * 900)
    text = version_description(selection, inputs.scores)
    assert len(text) <= MAX_CHARS
    assert text.startswith("**Selection.** step-000018 was selected")
    assert "The candidate that each rule selects" in version_description(inputs.selection, inputs.scores)
    assert len(version_description(replace(selection, reason="long " * 2000), inputs.scores)) == MAX_CHARS
