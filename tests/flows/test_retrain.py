"""The whole pipeline by the command line, on a small catalog."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fclip.errors import UserError
from flows.params import load_params
from tasks.workspace.lock import run_lock
from tasks.workspace.paths import Workspace
from tests.conftest import Finished, Space, eventually, make_space, tiny_params, trainers
from tests.extensions import test_selection_rule as first_rule


def digests(space: Space) -> dict[str, list[str]]:
    """Return stage -> digests of its outputs in dvc.lock."""
    stages = yaml.safe_load((space.root / "dvc.lock").read_text())["stages"]
    return {name: [out["md5"] for out in stage["outs"]] for name, stage in stages.items()}


def published_state(space: Space) -> tuple[object, ...]:
    """Return everything that consumers read: champion alias, champion pin, published pointer and embeddings."""
    champion = [version.version for version in space.versions if "champion" in version.aliases]
    files = ("pins/champion.json", "published/champion.json", "data/embeddings/manifest.json")
    return champion, *((space.root / file).read_text() for file in files)


def test_first_run_prints_a_summary_and_publishes_the_model(first_run: tuple[Space, Finished]) -> None:
    space, finished = first_run
    assert "Starting temporary server" in finished.output
    for word in ("resolve", "ingest@studio", "evaluate@street", "register", "promote", "publish", "report", "MLflow"):
        assert word in finished.output
    assert "Traceback" not in finished.output
    champion = space.json("pins/champion.json")
    selection = space.json("reports/selection.json")
    pointer = space.json("published/champion.json")["current"]
    assert champion["version"] == 1
    assert selection["winner"] != "base-model"
    candidates = [entry["candidate"] for entry in selection["candidates"]]
    winner = next(candidate for candidate in candidates if candidate["name"] == selection["winner"])
    assert champion["model_sha256"] == winner["model_sha256"] == pointer["model_sha256"]
    images = pd.read_parquet(space.root / "data" / "embeddings" / "images.parquet")
    assert set(images["model_sha256"]) == {champion["model_sha256"]}
    assert (space.root / "reports" / "report.html").stat().st_size > 10_000
    assert 'href="catalog/studio.html"' in (space.root / "reports" / "report.html").read_text()
    assert (space.root / "reports" / "catalog" / "studio.html").is_file()
    assert "before this run there was no champion" in " ".join(finished.output.split())
    assert {"select", "report"} <= set(pd.read_parquet(space.root / "reports/evaluation/street.parquet")["role"])


def test_second_run_recomputes_no_stage(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "again")
    before = digests(space), published_state(space), space.versions
    finished = space.run("fclip", "retrain")
    assert finished.code == 0, finished.output
    assert "No stage was recomputed" in finished.output
    assert "Running stage" not in finished.output
    assert (digests(space), published_state(space), space.versions) == before
    reproduced = space.run("dvc", "repro")
    assert reproduced.code == 0
    assert "Running stage" not in reproduced.output


@pytest.mark.parametrize("target", ["gather", pytest.param("select", marks=pytest.mark.slow)])
def test_dvc_repro_gives_the_same_outputs_as_the_flow(
    trained: Space, tiny_base_model: Path, tmp_path: Path, target: str
) -> None:
    """In a new workspace with an empty cache: the same bytes up to `target`, and no registered version."""
    space = make_space(tmp_path / "laptop", tiny_params(tiny_base_model), tmp_path / "home")
    assert space.call("pin").code == 0
    finished = space.run("dvc", "repro", target, timeout=600)
    assert finished.code == 0, finished.output
    flow, laptop = digests(trained), digests(space)
    assert target in laptop
    assert laptop == {name: flow[name] for name in laptop}
    assert space.json("pins/champion.json") == {}
    assert "has no version in" in space.call("models").output


def test_select_shows_three_picks_and_takes_another(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "picked")
    shown = space.call("select")
    assert shown.code == 0, shown.output
    for text in ("best for my catalog", "balanced (selected)", "best elsewhere", "studio-camera"):
        assert text in shown.output
    assert space.json("reports/selection.json")["prefer"] == "balanced"
    taken = space.run("fclip", "select", "--prefer", "catalog")
    assert taken.code == 0, taken.output
    assert "prefer: catalog" in (space.root / "params.yaml").read_text()
    assert space.json("reports/selection.json")["prefer"] == "catalog"
    assert re.search(r"finetune +cached", taken.output)
    assert not re.search(r"select +cached", taken.output)
    assert space.call("select", "--prefer", "cheap").code == 2


def test_status_search_models_and_cache(trained: Space) -> None:
    space = trained
    status = space.call("status")
    assert status.code == 0
    assert "no stage: all outputs match" in status.output
    assert "version 1" in status.output
    found = space.call("search", "red summer dress", "-k", "3")
    assert found.code == 0, found.output
    assert len(re.findall(r"studio-\d+ +studio ", found.output)) == 3
    assert "champion" in space.call("models").output
    assert "features" in space.call("cache", "show").output
    compared = space.call("compare", "base-model", "champion", "street")
    assert compared.code == 0, compared.output
    assert re.search(r"test +report +classification.acc1 \* ", compared.output)
    assert list((space.root / "reports" / "comparisons").rglob("*.html"))
    catalog = space.call("catalog", "studio")
    assert catalog.code == 0, catalog.output
    assert "distinct images" in catalog.output
    assert re.search(r"none of \d+ features drifted from version 1", " ".join(catalog.output.split()))


def test_dvc_shows_metrics_and_plots_with_titles(trained: Space) -> None:
    metrics = json.loads(trained.run("dvc", "metrics", "show", "--json").output)[""]["data"]
    (values,) = [entry["data"] for entry in metrics.values()]
    both = {"select", "report"}
    by_role = {"studio": both, "street": both, "studio-camera": {"report"}}
    for model in ("selected", "base"):
        assert {dataset: set(roles) for dataset, roles in values[model].items()} == by_role
    assert set(values) == {"selected", "base", "in_domain_cost"}
    plots = json.loads(trained.run("dvc", "plots", "show", "--json").output)
    assert not plots.get("errors")
    assert list(plots["data"]) == [
        "Out-of-domain against in-domain score of each candidate", "Primary metric of the checkpoints",
        "Training loss", "In-domain validation loss", "Learning rate", "Gradient norm before clipping", "Logit scale",
    ]  # fmt: skip
    (scores,) = plots["data"]["Primary metric of the checkpoints"]
    assert scores["content"]["encoding"]["color"]["field"] == "dataset"  # from the template in .dvc/plots


@pytest.mark.slow
def test_training_that_diverges_does_not_change_the_champion(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "diverged")
    before, versions = published_state(space), space.versions
    space.set_params(lambda params: params["finetune"].update(learning_rate=1.0e18, clip_grad_norm=1.0e9))
    finished = space.run("fclip", "retrain", timeout=600)
    assert finished.code == 1, finished.output
    assert "learning_rate" in finished.output
    assert "Traceback" not in finished.output
    assert (published_state(space), space.versions) == (before, versions)


def test_second_run_is_refused_while_a_run_is_in_progress(trained: Space) -> None:
    with run_lock(Workspace(trained.root), "a test"):
        finished = trained.call("pin")
    assert finished.code == 1
    assert f"a test is running in {trained.root}" in finished.output


def test_interrupt_during_finetune_stops_training_and_keeps_a_checkpoint(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "stopped")
    space.set_params(lambda params: params["finetune"].update(epochs=400, learning_rate=1.0e-4))
    process = subprocess.Popen(
        space.command("fclip", "retrain"),
        cwd=space.root,
        env=dict(space.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A background job inherits that SIGINT is ignored; restore the default as in a terminal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "step" in line and "loss" in line:
            break
    eventually(lambda: any((space.root / "cache" / "training").rglob("step-*.pt")), seconds=60)
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=90)
    assert process.returncode != 0, rest
    assert not trainers(space)
    assert list((space.root / "cache" / "training").rglob("*")), "there is no checkpoint to resume from"
    assert space.json(".fclip/status/finetune.json")["ended"] == "preempted"


def test_promote_and_rollback_switch_pin_embeddings_and_publication(retrained: Space, tmp_path: Path) -> None:
    """The second version is another candidate of the same training, selected by another rule."""
    space = retrained.copy(tmp_path / "moved")
    first, before = space.json("pins/champion.json"), digests(space)
    no_predecessor = space.call("rollback")
    assert no_predecessor.code == 1
    assert "nothing to roll back to" in no_predecessor.output
    champion = space.call("promote", "--refuse", "too slow")
    assert champion.code == 1
    assert "`fclip rollback`" in champion.output
    empty = space.call("promote", "--override", " ")
    assert (empty.code, "needs a reason" in empty.output) == (1, True)
    assert space.call("promote", "--override", "a", "--refuse", "b").code == 2

    (space.root / first_rule.NEW_FILE).write_text(first_rule.TEXT)
    space.set_params(lambda params: params["select"].update(rule="first"))
    finished = space.run("fclip", "retrain")
    assert finished.code == 0, finished.output
    assert {version.version for version in space.versions} == {1, 2}
    assert {name for name, outs in digests(space).items() if outs != before[name]} <= {"select", "audit", "embed"}
    promoted = space.run("fclip", "promote", "--override", "the [new] stylists prefer it")
    assert promoted.code == 0, promoted.output
    assert "promoted against the gate by" in promoted.output
    second = space.json("pins/champion.json")
    assert (first["version"], second["version"]) == (1, 2)
    assert space.json("published/champion.json")["current"]["model_sha256"] == second["model_sha256"]

    rolled_back = space.run("fclip", "rollback")
    assert rolled_back.code == 0, rolled_back.output
    assert "version 1 is champion again" in rolled_back.output
    assert space.json("pins/champion.json") == first
    assert space.json("published/champion.json")["current"]["model_sha256"] == first["model_sha256"]
    images = pd.read_parquet(space.root / "data" / "embeddings" / "images.parquet")
    assert set(images["model_sha256"]) == {first["model_sha256"]}

    refused = space.call("promote", "--refuse", "too [dark] on phones")
    assert refused.code == 0, refused.output
    again = space.run("fclip", "promote")
    assert again.code == 1
    assert "too [dark] on phones" in again.output
    assert "rolled back" in again.output
    assert "too [dark] on phones" in " ".join(space.call("models").output.split())
    assert space.json("pins/champion.json") == first


@pytest.mark.slow
def test_dry_run_prints_an_estimate_and_changes_no_file(retrained: Space) -> None:
    space = retrained
    before = digests(space), published_state(space), space.versions, space.run("git", "status", "--porcelain").output
    finished = space.run("fclip", "retrain", "--dry-run", timeout=600)
    assert finished.code == 0, finished.output
    assert "all rows: minutes" in finished.output
    after = digests(space), published_state(space), space.versions, space.run("git", "status", "--porcelain").output
    assert after == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["finetune"].update(learning_rat=1), "finetune.learning_rat: unknown key"),
        (lambda p: p["finetune"].update(epochs="two"), "finetune.epochs"),
        (lambda p: p.pop("select"), "select: is missing"),
        (
            lambda p: p["ingest"]["datasets"]["studio"]["source"].update(kind="magic"),
            "`kind` must be one of clothing, fmnist, hub, published, sample, table",
        ),
        (
            lambda p: p["finetune"].update(base_model={"kind": "magic"}),
            "finetune.base_model: `kind` must be one of fclip-tiny, local, open_clip, towers, transformers, champion",
        ),
        (lambda p: p["finetune"].update(base_model={"kind": "local"}), "finetune.base_model.path: is missing"),
        (lambda p: p["evaluate"]["datasets"].update(moon=p["evaluate"]["datasets"]["street"]), "moon"),
        (lambda p: p["ingest"]["datasets"]["studio"]["split"].update(train=0.9), "sum to 1"),
        (lambda p: p.pop("derive"), "derive: is missing: add `derive: {datasets: {}}`"),
        (lambda p: p["derive"]["datasets"].update(street=p["derive"]["datasets"]["studio-camera"]), "another name"),
        (lambda p: p["derive"]["datasets"]["studio-camera"].update(of="moon"), "ingest.datasets has no dataset `moon`"),
        (
            lambda p: (p.update(select={}), p["ingest"]["datasets"]["studio"]["roles"].pop("val")),
            "select.rule: nearest_to_base needs a training dataset with a split that has the role select",
        ),
    ],
)
def test_invalid_params_are_reported_by_key(tmp_path: Path, change: Any, message: str) -> None:
    params = tiny_params(tmp_path / "base-model")
    change(params)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(UserError) as error:
        load_params(Workspace(tmp_path))
    assert message in str(error.value)


def test_user_error_prints_no_traceback(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "faulty")
    before = published_state(space), space.versions
    space.set_params(lambda params: params["finetune"]["base_model"].update(path="no/such/model"))
    finished = space.run("fclip", "retrain")
    assert finished.code == 1
    assert "no/such/model" in finished.output
    assert "Traceback" not in finished.output
    assert (published_state(space), space.versions) == before


def test_wrong_usage_exits_with_2(trained: Space) -> None:
    unknown = trained.call("stage", "polish")
    assert unknown.code == 2
    assert "finetune" in unknown.output
    assert trained.call("similar").code == 2


def test_command_outside_a_workspace_is_an_error(tmp_path: Path, trained: Space) -> None:
    """A new process, so that the exit code is that of `main`."""
    finished = Space(tmp_path, trained.environment).run("fclip", "status")
    assert finished.code == 1
    assert "not in a workspace" in finished.output
