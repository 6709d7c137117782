"""The page says what it was given, needs nothing else, and reads well at any width (that part by eye)."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fclip.evaluation.protocols.label_free import LABEL_FREE
from fclip.evaluation.protocols.registry import metric_label
from fclip.models.candidates import Candidate
from fclip.profile.drift import Drift, FeatureDrift
from fclip.report.build import evidence, headline, render, write_report
from fclip.report.card import card
from fclip.report.inputs import (
    CandidateScores,
    Gate,
    Ingest,
    MetricResult,
    ReportedValue,
    ReportInputs,
    Training,
)
from fclip.selection.gate import GateComparison
from fclip.selection.result import CandidateResult, DatasetScore, SelectionResult

STEPS = (0, 6, 12, 18, 24, 31)
NAMES = ("base-model", *(f"step-{step:06d}" for step in STEPS[1:]))
STUDIO = (0.312, 0.641, 0.733, 0.777, 0.801, 0.806)
STREET = (0.254, 0.431, 0.503, 0.522, 0.497, 0.489)
PHONE = (0.401, 0.455, 0.472, 0.468, 0.461, 0.440)
LOSSES = (4.61, 3.02, 2.71, 2.55, 2.47, 2.45)


def estimate(value: float, width: float = 0.05) -> ReportedValue:
    return ReportedValue(value, max(0.0, value - width), min(1.0, value + width))


def result(dataset: str, role: str, metric: str, before: float, after: float, *, primary: bool = False) -> MetricResult:
    split = {"report": "test", "select": "val"}[role]
    in_domain = dataset == "studio"
    return MetricResult(dataset, split, role, in_domain, metric, 300, primary, estimate(before), estimate(after))


def made_up() -> ReportInputs:
    """A run in which two rules choose differently and the gate opens."""
    candidates = tuple(
        CandidateResult(
            candidate=Candidate(
                name=NAMES[i],
                kind="checkpoint" if step else "base",
                step=step,
                epoch=step / 10,
                model_sha256=f"{step:064d}",
                val_loss=LOSSES[i],
            ),
            score=round((STREET[i] - STREET[0]) / (max(STREET) - STREET[0]), 3),
            in_domain=STUDIO[i],
            out_of_domain={
                "street": DatasetScore(STREET[i], STREET[0], 0.5, 0.02),
                "phone": DatasetScore(PHONE[i], PHONE[0], 0.5, 0.01),
            },
            eligible=i == 0 or max(STUDIO) - 0.05 <= STUDIO[i],
            num_nonfinite=0,
        )
        for i, step in enumerate(STEPS)
    )
    scores = CandidateScores(
        select={
            name: {"studio": estimate(STUDIO[i]), "street": estimate(STREET[i]), "phone": estimate(PHONE[i], 0.02)}
            for i, name in enumerate(NAMES)
        },
        report={
            name: {"studio": estimate(STUDIO[i] - 0.01), "street": estimate(STREET[i] - 0.013)}
            for i, name in enumerate(NAMES)
        },
    )
    selection = SelectionResult(
        rule="mean_normalised_gain",
        in_domain_tolerance=0.05,
        tie_confidence=None,
        winner="step-000018",
        best="step-000018",
        near_ties=("step-000018",),
        reason="highest mean normalised gain (0.971); outside: street 0.254 -> 0.522; in domain 0.312 -> 0.777",
        warning=None,
        choices={
            "mean_normalised_gain": "step-000018",
            "in_domain_loss": "step-000031",
            "in_domain_metric": "step-000031",
            "last": "step-000031",
        },
        in_domain_datasets=("studio",),
        candidates=candidates,
    )
    accuracy, f1, recall = "classification.acc1", "classification.weighted_f1", "retrieval.text_to_image.recall_at_10"
    return ReportInputs(
        workspace="sample",
        made_at="2026-03-02 09:14 UTC",
        results=(
            result("studio", "report", accuracy, 0.309, 0.769, primary=True),
            result("studio", "report", f1, 0.281, 0.755),
            result("studio", "report", recall, 0.050, 0.310),
            result("studio", "select", accuracy, 0.312, 0.777, primary=True),
            result("street", "report", accuracy, 0.261, 0.509, primary=True),
            result("street", "report", f1, 0.233, 0.488),
            result("street", "select", accuracy, 0.254, 0.522, primary=True),
            result("phone", "report", accuracy, 0.403, 0.381, primary=True),
            result("phone", "select", accuracy, 0.401, 0.468, primary=True),
        ),
        selection=selection,
        scores=scores,
        training=Training(
            loss=tuple((step, 4.85 * 0.94**step + 1.6 + 0.12 * (step % 3)) for step in range(1, 32)),
            validation=tuple(zip(STEPS, LOSSES, strict=True)),
        ),
        gate=Gate(
            registered_model="fclip-sample",
            version=3,
            moved=True,
            is_champion=True,
            reason="version 3 is champion after version 2: significantly better on street val (classification.acc1 "
            "+0.061, interval +0.018 to +0.104), and significantly worse on none of the other 2",
            comparisons=(
                GateComparison("studio", "val", accuracy, True, 0.771, 0.777, 0.006, -0.021, 0.033, 300),
                GateComparison("street", "val", accuracy, False, 0.461, 0.522, 0.061, 0.018, 0.104, 350),
                GateComparison("phone", "val", accuracy, False, 0.470, 0.468, -0.002, -0.031, 0.027, 2000),
            ),
        ),
        ingests=(
            Ingest("studio", "sample", {"train": "train", "val": "select", "test": "report"}, 2600, 2588, 2901, 12,
                   {"train": 1990, "val": 301, "test": 297}, {"image also in train": 9, "truncated image": 3}),
            Ingest("street", "sample", {"val": "select", "test": "report"}, 700, 700, 780, 0,
                   {"val": 344, "test": 356}, {}),
            Ingest("phone", "clothing", {"val": "select", "test": "report"}, 5403, 4981, 4981, 422,
                   {"val": 2510, "test": 2471}, {"label is left out": 421, "unreadable image": 1}),
        ),
        lineage=(
            ("model", "9f2c1d" * 10 + "abcd"),
            ("base-model", "57ab12" * 10 + "0000"),
            ("dvc.lock up to select", "c0ffee" * 10 + "1234"),
            ("git commit", "8d1f" * 10),
            ("catalog studio", "aa11bb" * 10 + "5678"),
            ("catalog street", "cc22dd" * 10 + "9abc"),
        ),
    )  # fmt: skip


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of turn."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    path = write_report(made_up(), tmp_path / "reports" / "report.html")
    page = path.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]+"', "", page)
    assert not re.search(r"https?://|<script|<link|<img|@import", without_namespaces)
    assert page.count("<svg") == 4
    assert not re.search(r"#(0[1-9])\1\1\b", page), "a stand-in colour is left"
    assert page == render(made_up())


def test_it_shows_results_gate_rules_and_refusals() -> None:
    page = render(made_up())
    for text in (
        "0.509", "0.459–0.559", "+0.248", "−0.022", "step-000018", "lowest loss in domain", "+0.018 to +0.104",
        "image also in train", "421", "9f2c1d", "text to image recall at 10", "the rule in use",
    ):  # fmt: skip
        assert text in page, text
    assert page.index(">report<") < page.index(">select<")


def test_the_headline_says_what_became_of_it_by_report_data_only() -> None:
    inputs = made_up()
    assert headline(inputs) == "Version 3 is the new champion."
    said = evidence(inputs)
    assert "street 0.261 to 0.509" in said
    assert "0.254" not in said
    gate = inputs.gate
    assert "stays a challenger" in headline(replace(inputs, gate=replace(gate, moved=False, is_champion=False)))
    assert "already" in headline(replace(inputs, gate=replace(gate, moved=False)))
    none = replace(gate, version=None, moved=False, is_champion=False, comparisons=(), reason="the base model won")
    assert headline(replace(inputs, gate=none)).startswith("The base model stays")
    assert evidence(replace(inputs, gate=none)) == ""
    assert "none registered" in render(replace(inputs, gate=none))


def test_names_are_text_and_never_markup() -> None:
    inputs = made_up()
    page = render(replace(inputs, workspace="<b>shop</b> & sons"))
    assert "<b>shop" not in page
    assert "&lt;b&gt;shop" in page


def test_a_run_without_outside_data_or_curves_says_so() -> None:
    inputs = made_up()
    inside = tuple(replace(c, out_of_domain={}) for c in inputs.selection.candidates)
    selection = replace(inputs.selection, candidates=inside, warning="judged in domain only")
    scores = replace(
        inputs.scores, select={name: {"studio": own["studio"]} for name, own in inputs.scores.select.items()}
    )
    inputs = replace(inputs, selection=selection, scores=scores, ingests=inputs.ingests[1:2], results=())
    page = render(replace(inputs, training=Training((), ())))
    assert "judged in domain only" in page
    assert page.count("<svg") == 2
    assert "No row was refused." in page


def test_what_reads_no_label_is_shown_as_neither_gain_nor_loss() -> None:
    inputs = made_up()
    unlabelled = tuple(
        result("street", "report", f"unlabelled.{metric}", 0.4, after) for metric in LABEL_FREE for after in (0.3, 0.6)
    )
    page = render(replace(inputs, results=(*inputs.results, *unlabelled)))
    rows = [row for row in page.split("<tr") if "unlabelled" in row]
    assert len(rows) == 6
    assert all("+0.200" in row or "−0.100" in row for row in rows)
    assert not any('class="up"' in row or 'class="down"' in row for row in rows)
    assert 'class="up"' in page


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("classification.acc1", "accuracy"),
        ("classification.mean_per_class_recall", "mean-per-class-recall"),
        ("classification.weighted_f1", "weighted F1"),
        ("retrieval.image_to_text.recall_at_5", "image to text recall at 5"),
        ("retrieval.text_to_image.mrr", "text to image MRR"),
        ("color_to_product.ndcg_at_10", "color to product: nDCG at 10"),
        ("probe.acc1", "probe: accuracy"),
    ],
)
def test_metrics_have_names_for_people(metric: str, name: str) -> None:
    assert metric_label(metric) == name


def test_what_a_warm_start_came_from_is_a_candidate_and_no_step_of_the_way() -> None:
    inputs = made_up()
    base_model, *steps = inputs.selection.candidates
    original = replace(
        base_model,
        candidate=replace(base_model.candidate, name="original-base-model", kind="original-base-model"),
        in_domain=0.2,
    )
    selection = replace(inputs.selection, candidates=(base_model, original, *steps))
    assert selection.path == inputs.selection.candidates
    assert "All 7 candidates" in render(replace(inputs, selection=selection))


def test_drift_from_the_champions_catalog_is_shown_where_somebody_looked() -> None:
    assert "The catalog against" not in render(made_up())
    features = (
        FeatureDrift("studio", "brand", 0.41, 0.02, new=(("<Elm>", 90),), faults=("PSI 0.41 is above 0.2",)),
        FeatureDrift("studio", "colour", 0.003, 0.02),
    )
    page = render(replace(made_up(), drift=Drift("version 3 of shop", features)))
    assert "1 of 2 features drifted from version 3 of shop: studio brand." in page
    assert '<p class="warning">studio: brand: PSI 0.41 is above 0.2</p>' in page
    assert "&lt;Elm&gt; 90" in page
    calm = render(replace(made_up(), drift=Drift("no champion", notes=("there is no champion yet",))))
    assert "There is no champion yet." in calm
    assert "<summary>All 0 features" not in calm


def test_a_dataset_leads_to_the_page_of_its_catalog() -> None:
    inputs = made_up()
    ingests = tuple(replace(each, page=f"catalog/{each.dataset}.html") for each in inputs.ingests)
    assert '<a href="catalog/studio.html">studio</a>' in render(replace(inputs, ingests=ingests))
    assert "<a " not in render(inputs)


def test_the_rules_that_were_not_used_show_what_they_would_have_cost() -> None:
    page = render(made_up())
    assert "−0.033" in page  # street, on data that chose nothing: .489 against .522


def test_the_card_says_in_words_how_it_was_chosen() -> None:
    inputs = made_up()
    selection = replace(inputs.selection, near_ties=("step-000018", "step-000024"), warning="phone is small")
    text = card(selection, inputs.scores)
    for said in (
        "step-000018, among the base model, 5 checkpoints and 0 others",
        "by mean normalised gain on data that selects: phone, street",
        "2 of them are not told from the best",
        "**Mind:** phone is small.",
        "street 0.241 to 0.509",
        "| in-domain loss | step-000031 | +0.029 | −0.033 |",
        "| mean normalised gain (in use) | step-000018 | +0.000 | +0.000 |",
    ):
        assert said in text
    assert "data that chose nothing" not in card(selection, replace(inputs.scores, report={}))
