"""The report is complete and self-contained, and the description of a version describes the selection."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fclip.evaluation.protocols.label_free import LABEL_FREE
from fclip.evaluation.protocols.registry import metric_label
from fclip.models.candidates import Candidate
from fclip.profile.drift import Drift, FeatureDrift
from fclip.registry.decisions import Decision
from fclip.report.build import headline, render_report, result_summary, write_report
from fclip.report.description import version_description
from fclip.report.inputs import (
    CandidateScores,
    GateResult,
    IngestCounts,
    MetricResult,
    ReportedValue,
    ReportInputs,
    TrainingCurves,
)
from fclip.selection.gate import GateComparison
from fclip.selection.result import CandidateResult, DatasetScore, HeldScore, SelectionResult, ToleranceChoice
from tests.small_audits import made_up_result, small_audits

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
    kind = "retrieval" if metric.startswith("retrieval") else "zero-shot"
    return MetricResult(dataset, split, role, in_domain, kind, metric, 300, primary, estimate(before), estimate(after))


def made_up() -> ReportInputs:
    """A run in which two rules select different candidates and the challenger passes the gate."""
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
            held={
                "studio": HeldScore(STUDIO[i], max(STUDIO) - STUDIO[i], 0.05),
                "studio.retrieval.text_to_image.recall_at_10": HeldScore(0.3, 0.012 * i, 0.05),
            },
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
        reason="best eligible candidate by mean normalised gain (score 0.971); out of domain: street 0.254 -> 0.522, "
        "phone 0.401 -> 0.468; in domain: 0.312 -> 0.777",
        warning=None,
        choices={
            "mean_normalised_gain": "step-000018",
            "in_domain_loss": "step-000031",
            "in_domain_metric": "step-000031",
            "last": "step-000031",
        },
        in_domain_datasets=("studio",),
        candidates=candidates,
        by_tolerance=(
            ToleranceChoice(0.0, "step-000031", "catalog"),
            ToleranceChoice(0.01, "step-000031"),
            ToleranceChoice(0.05, "step-000018", "balanced"),
            ToleranceChoice(0.15, "step-000012", "elsewhere"),
        ),
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
        training=TrainingCurves(
            loss=tuple((step, 4.85 * 0.94**step + 1.6 + 0.12 * (step % 3)) for step in range(1, 32)),
            validation=tuple(zip(STEPS, LOSSES, strict=True)),
        ),
        gate=GateResult(
            registered_model="fclip-sample",
            version=3,
            moved=True,
            is_champion=True,
            reason="version 3 is champion after version 2: significantly better on street val (classification.acc1 "
            "+0.061, interval +0.018 to +0.104), and not significantly worse on the other 2",
            comparisons=(
                GateComparison("studio", "val", accuracy, True, 0.771, 0.777, 0.006, -0.021, 0.033, 300),
                GateComparison("street", "val", accuracy, False, 0.461, 0.522, 0.061, 0.018, 0.104, 350),
                GateComparison("phone", "val", accuracy, False, 0.470, 0.468, -0.002, -0.031, 0.027, 2000),
            ),
        ),
        ingests=(
            IngestCounts("studio", "sample", {"train": "train", "val": "select", "test": "report"}, 2600, 2588, 2901,
                   12, {"train": 1990, "val": 301, "test": 297}, {"image also in train": 9, "truncated image": 3}),
            IngestCounts("street", "sample", {"val": "select", "test": "report"}, 700, 700, 780, 0,
                   {"val": 344, "test": 356}, {}),
            IngestCounts("phone", "clothing", {"val": "select", "test": "report"}, 5403, 4981, 4981, 422,
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
    """Fails if tags are not closed in the order of nesting."""

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


def test_report_is_self_contained(tmp_path: Path) -> None:
    path = write_report(made_up(), tmp_path / "reports" / "report.html")
    page = path.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]+"', "", page)
    assert not re.search(r"https?://|<script|<link|<img|@import", without_namespaces)
    assert page.count("<svg") == 5
    assert not re.search(r"#(0[1-9])\1\1\b", page), "a placeholder colour was not replaced"
    assert page == render_report(made_up())


def test_report_shows_results_gate_rules_and_refused_rows() -> None:
    page = render_report(made_up())
    for text in (
        "0.509", "0.459–0.559", "+0.248", "−0.022", "step-000018", "validation loss in domain", "+0.018 to +0.104",
        "image also in train", "421", "9f2c1d", "text to image recall at 10", "rule of this run",
    ):  # fmt: skip
        assert text in page, text
    assert page.index(">report<") < page.index(">select<")


def test_report_shows_what_the_tolerance_buys_and_costs() -> None:
    inputs = made_up()
    page = render_report(inputs)
    table = page[page.index("What other tolerances would select") :]
    table = table[: table.index("</table>")]
    cells = [re.findall(r"<t[dh][^>]*>([^<]*)", row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    assert cells[0][3:] == ["loss: studio", "loss: studio, text→image R@10", "street"]
    by_tolerance = {row[0]: row[1:] for row in cells[1:]}
    assert list(by_tolerance) == ["0 points", "1 points", "5 points", "15 points"]
    assert by_tolerance["5 points"][0] == "step-000018"
    assert by_tolerance["5 points"][2:] == ["2.9", "3.6", "0.509"]
    older = replace(inputs, selection=replace(inputs.selection, by_tolerance=()))
    assert "What other tolerances" not in render_report(older)


def test_report_shows_three_picks_on_the_frontier_of_each_held_metric() -> None:
    page = render_report(made_up())
    table = page[page.index("best for my catalog") : page.index("What other tolerances would select")]
    rows = re.findall(r'<td class="name">([^<]*)</td>(.*?)</tr>', table, re.DOTALL)
    numbers = {name: re.findall(r'<td class="n">([^<]*)', cells) for name, cells in rows}
    assert numbers == {
        "step-000031": ["0.0", "6.0", "0.476"],
        "step-000018": ["2.9", "3.6", "0.509"],
        "step-000012": ["7.3", "2.4", "0.490"],
        "base-model": ["49.4", "0.0", "0.241"],
    }
    assert "fclip select --prefer catalog" in table
    assert "fclip select --prefer balanced" not in table, "it is the pick of this run"
    for number in range(2):
        assert f'id="frontier-{number}-' in page
    assert "loss in domain, in points: studio, text→image R@10" in page
    assert "mean on street" in page


def test_frontier_without_other_datasets_shows_the_distance_from_the_base_model() -> None:
    inputs = made_up()
    near = [
        replace(each, candidate=replace(each.candidate, distance=0.1 * number))
        for number, each in enumerate(inputs.selection.candidates)
    ]
    alone = CandidateScores(
        select=inputs.scores.select,
        report={name: {"studio": values["studio"]} for name, values in inputs.scores.report.items()},
    )
    page = render_report(replace(inputs, selection=replace(inputs.selection, candidates=tuple(near)), scores=alone))
    assert ">distance from the base model<" in page
    assert "mean on" not in page
    assert "become slightly optimistic" not in page


def test_report_shows_audits_of_base_champion_and_selected_model() -> None:
    audits = (
        made_up_result("base-model", 0.02),
        made_up_result("selected", 0.3, not_measured=("No price: <add> it.",)),
        made_up_result("champion", 0.04),
        made_up_result("selected", 0.0, kind="vanished", headline=None, measures=(), summary=""),
    )
    with small_audits():
        page = render_report(replace(made_up(), audits=audits))
        parser = Balanced()
        parser.feed(page)
        assert parser.open == []
        assert len(parser.ids) == len(set(parser.ids))
        section = page.split("<h2>Audits</h2>")[1].split("</section>")[0]
        models = re.findall(r'<th class="n">(base-model|champion|selected)</th>', section)
        assert models == ["base-model", "champion", "selected"]
        for text in ("0.250 to 0.350", "Do images differ?", '"down">failed', "The images of selected differ."):
            assert text in section
        assert "No price: &lt;add&gt; it." in section
        assert "The images of champion" not in section  # the summary is of the selected model
        assert section.count("<svg") == 1
        assert "Vanished" in section
    assert "No model was audited" in render_report(made_up())


def test_report_shows_what_people_decided_about_the_version() -> None:
    inputs = made_up()
    assert "People decided" not in render_report(inputs)
    refused = Decision("refuse", "it confuses <b>boots</b>", "anna", "2026-03-01T16:20:00+00:00")
    override = Decision("override", "fixed", "bert", "2026-03-02T09:14:00+00:00")
    gate = replace(inputs.gate, moved=False, is_champion=False, decisions=(refused,))
    assert headline(replace(inputs, gate=gate)) == "Version 3 remains a challenger: a person refused it."
    text = render_report(replace(inputs, gate=replace(gate, is_champion=True, decisions=(refused, override))))
    first = "<li>Refused by anna (2026-03-01T16:20:00+00:00): it confuses &lt;b&gt;boots&lt;/b&gt;</li>"
    second = "<li>Promoted against the gate by bert (2026-03-02T09:14:00+00:00): fixed</li>"
    assert text.index("<h2>The gate</h2>") < text.index(first) < text.index(second)


def test_headline_reports_the_outcome_and_summary_uses_report_data() -> None:
    inputs = made_up()
    assert headline(inputs) == "Version 3 is the new champion."
    summary = result_summary(inputs)
    assert "street 0.261 to 0.509" in summary
    assert "0.254" not in summary
    gate = inputs.gate
    assert "remains a challenger" in headline(replace(inputs, gate=replace(gate, moved=False, is_champion=False)))
    assert "already" in headline(replace(inputs, gate=replace(gate, moved=False)))
    none = replace(gate, version=None, moved=False, is_champion=False, comparisons=(), reason="the base model won")
    assert headline(replace(inputs, gate=none)).startswith("No new version was registered")
    assert result_summary(replace(inputs, gate=none)) == ""
    assert "<dd>none</dd>" in render_report(replace(inputs, gate=none))


def test_report_escapes_markup() -> None:
    inputs = made_up()
    page = render_report(replace(inputs, workspace="<b>shop</b> & sons"))
    assert "<b>shop" not in page
    assert "&lt;b&gt;shop" in page


def test_report_without_out_of_domain_data_or_losses_shows_the_warning() -> None:
    inputs = made_up()
    in_domain = tuple(replace(c, out_of_domain={}) for c in inputs.selection.candidates)
    selection = replace(inputs.selection, candidates=in_domain, warning="Selected by in-domain data alone")
    scores = replace(
        inputs.scores,
        select={name: {"studio": by_dataset["studio"]} for name, by_dataset in inputs.scores.select.items()},
    )
    inputs = replace(inputs, selection=selection, scores=scores, ingests=inputs.ingests[1:2], results=())
    page = render_report(replace(inputs, training=TrainingCurves((), ())))
    assert "Selected by in-domain data alone." in page
    assert page.count("<svg") == 3
    assert "No row was refused." in page


def test_label_free_metrics_are_shown_without_colour() -> None:
    inputs = made_up()
    unlabelled = tuple(
        result("street", "report", f"unlabelled.{metric}", 0.4, after) for metric in LABEL_FREE for after in (0.3, 0.6)
    )
    page = render_report(replace(inputs, results=(*inputs.results, *unlabelled)))
    rows = [row for row in page.split("<tr") if "unlabelled" in row]
    assert len(rows) == 6
    assert all("+0.200" in row or "−0.100" in row for row in rows)
    assert not any('class="up"' in row or 'class="down"' in row for row in rows)
    assert 'class="up"' in page


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("classification.acc1", "accuracy"),
        ("classification.mean_per_class_recall", "mean per-class recall"),
        ("classification.weighted_f1", "weighted F1"),
        ("retrieval.image_to_text.recall_at_5", "image to text recall at 5"),
        ("retrieval.text_to_image.mrr", "text to image MRR"),
        ("color_to_product.ndcg_at_10", "color to product: nDCG at 10"),
        ("probe.acc1", "probe: accuracy"),
    ],
)
def test_metric_label(metric: str, name: str) -> None:
    assert metric_label(metric) == name


def test_original_base_model_is_a_candidate_but_not_on_the_trajectory() -> None:
    inputs = made_up()
    base_model, *steps = inputs.selection.candidates
    original = replace(
        base_model,
        candidate=replace(base_model.candidate, name="original-base-model", kind="original-base-model"),
        in_domain=0.2,
    )
    selection = replace(inputs.selection, candidates=(base_model, original, *steps))
    assert selection.trajectory == inputs.selection.candidates
    assert "All 7 candidates" in render_report(replace(inputs, selection=selection))


def test_report_shows_catalog_drift_if_it_was_measured() -> None:
    assert "Catalog drift" not in render_report(made_up())
    features = (
        FeatureDrift("studio", "brand", 0.41, 0.02, new=(("<Elm>", 90),), faults=("PSI 0.41 is above 0.2",)),
        FeatureDrift("studio", "colour", 0.003, 0.02),
    )
    page = render_report(replace(made_up(), drift=Drift("version 3 of shop", features)))
    assert "1 of 2 features drifted from version 3 of shop: studio brand." in page
    assert '<p class="warning">studio: brand: PSI 0.41 is above 0.2</p>' in page
    assert "&lt;Elm&gt; 90" in page
    calm = render_report(replace(made_up(), drift=Drift("no champion", notes=("there is no champion yet",))))
    assert "There is no champion yet." in calm
    assert "<summary>All 0 features" not in calm


def test_report_links_to_catalog_pages() -> None:
    inputs = made_up()
    ingests = tuple(replace(each, page=f"catalog/{each.dataset}.html") for each in inputs.ingests)
    assert '<a href="catalog/studio.html">studio</a>' in render_report(replace(inputs, ingests=ingests))
    assert "<a " not in render_report(inputs)


def test_other_rules_show_the_difference_on_report_data() -> None:
    page = render_report(made_up())
    assert "−0.033" in page  # street on report data: 0.489 instead of 0.522


def test_description_of_a_version_describes_the_selection() -> None:
    inputs = made_up()
    selection = replace(inputs.selection, near_ties=("step-000018", "step-000024"), warning="Phone is small")
    text = version_description(selection, inputs.scores)
    for expected in (
        "step-000018 was selected from the base model, 5 checkpoints and 0 other candidates",
        "mean normalised gain on the selection data of the out-of-domain datasets (phone, street)",
        "2 candidates are tied",
        "**Warning:** Phone is small.",
        "street 0.241 to 0.509",
        "| in-domain loss | step-000031 | +0.029 | −0.033 |",
        "| mean normalised gain (configured) | step-000018 | +0.000 | +0.000 |",
    ):
        assert expected in text
    assert "report data" not in version_description(selection, replace(inputs.scores, report={}))
