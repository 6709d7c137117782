"""The steps `promote`, `refuse` and `rollback`, which change the champion of the registry or what may become it.

`promote` applies the gate: the challenger becomes the champion only if it is significantly better, and fails no audit
on which it is worse. Both are scored on the same `select` data, and audited on the same `report` data, in the same
run. A person can override the gate, or refuse a version. Before the alias moves, the stored version must give the
pipeline's embeddings in a clean process. The alias moves last; then the champion pin is written.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fclip.audits.gate import audit_failures
from fclip.audits.result import AuditResult
from fclip.catalog.roles import Roles
from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.models.candidates import BASE_MODEL
from fclip.registry import tags
from fclip.registry.backend import connect, registry_lock
from fclip.registry.champion_alias import restore_previous, set_champion
from fclip.registry.decisions import Decision, record, refusal
from fclip.registry.log import Receipt
from fclip.registry.store import find_by_weights, list_versions
from fclip.registry.versions import Version, VersionPin
from fclip.report.description import with_decision
from fclip.selection.gate import GateComparison, PromoteConfig, decide
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tasks.workspace.roles import read_evaluated_roles
from tasks.workspace.weights import find_model

if TYPE_CHECKING:
    from fclip.evaluation.run import Evaluation

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"

# (workspace, version) -> why the stored version does not give the pipeline's embeddings; None if it does
Verify = Callable[[Workspace, Version], str | None]
# (workspace, folder of the champion, folder of the challenger) -> challenger minus champion on all select data
Compare = Callable[[Workspace, Path, Path], tuple[GateComparison, ...]]
# (workspace, folder of the champion, folder of the challenger) -> the audits of both
AuditBoth = Callable[[Workspace, Path, Path], tuple[AuditResult, ...]]


def compare_models(workspace: Workspace, champion: Path, challenger: Path) -> tuple[GateComparison, ...]:
    """Return challenger minus champion on the held metrics of every `select` split, in-domain and out-of-domain.

    Both are scored now on the same items, with cached features. The intervals come from a paired bootstrap with the
    confidence of the section `promote`.

    Args:
        champion, challenger: model folders.

    Raises:
        UserError: the data of a dataset is missing, or a model cannot be loaded.
    """
    from tasks.evaluate import dataset_files, evaluate_on  # torch takes seconds to import

    confidence = load_section(workspace, "promote", PromoteConfig).confidence
    comparisons: list[GateComparison] = []
    for name, roles in read_evaluated_roles(workspace).items():
        if not roles.selects:
            continue
        splits = Roles(dataset_files(workspace, name).roles).splits_with("select")
        if not splits:  # too few products of a derived dataset could be made; its stage has warned
            continue
        models = {CHAMPION: champion, CHALLENGER: challenger}
        evaluation = evaluate_on(workspace, models, name, roles=("select",), confidence=confidence)
        for split in splits:
            comparisons += [
                _comparison(evaluation, split, metric, roles.trains)
                for metric in evaluation.held_scores(CHALLENGER, split)
            ]
    return tuple(comparisons)


def audit_both(workspace: Workspace, champion: Path, challenger: Path) -> tuple[AuditResult, ...]:
    """Audit champion and challenger on the same products, with cached features, beside the base model of this run.

    Raises:
        UserError: the data of a dataset is missing, or a model cannot be loaded.
    """
    from tasks.audit import audit_in_domain  # torch takes seconds to import

    base = workspace.candidate(BASE_MODEL)
    models = {CHAMPION: champion, CHALLENGER: challenger}
    return audit_in_domain(workspace, {BASE_MODEL: base, **models} if base.is_dir() else models)


def verify_stored(workspace: Workspace, version: Version) -> str | None:
    """Return why the stored version does not give the embeddings of the pipeline, in a sentence; None if it does.

    It is loaded through MLflow in a clean process and embeds 32 products.

    Raises:
        UserError: the workspace has no products, or the model cannot be loaded.
    """
    from fclip.registry.verify import find_difference
    from tasks.model_package import reference_embeddings  # torch takes seconds to import

    return find_difference(version.pin, reference_embeddings(workspace, workspace.selected))


def _comparison(evaluation: "Evaluation", split: str, metric: str, in_domain: bool) -> GateComparison:
    champion, challenger = (evaluation.held_scores(model, split)[metric] for model in (CHAMPION, CHALLENGER))
    difference = evaluation.compare(CHAMPION, CHALLENGER, split, metric)
    return GateComparison(
        dataset=evaluation.dataset,
        split=split,
        metric=metric,
        in_domain=in_domain,
        champion=champion.estimate.value,
        challenger=challenger.estimate.value,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        num_items=challenger.num_items,
    )


@dataclass(frozen=True)
class Promotion:
    """The decision of the gate.

    Attributes:
        moved: whether the alias `champion` moved to `version`.
        reason: why, in a sentence.
        comparisons: the comparisons that the decision is based on; empty if no comparison was needed.
        previous: the version of the previous champion, if any.
        audits: of champion and challenger; empty if they were not compared.
    """

    moved: bool
    reason: str
    comparisons: tuple[GateComparison, ...]
    previous: int | None
    version: int
    audits: tuple[AuditResult, ...] = ()


def promote(
    workspace: Workspace,
    receipt: Receipt,
    *,
    override: Decision | None = None,
    compare: Compare = compare_models,
    audit: AuditBoth = audit_both,
    verify: Verify = verify_stored,
) -> Promotion:
    """Make the version of `receipt` the champion if it passes the gate, and write pins/champion.json.

    It passes if there is no champion, or if no held metric on a `select` split is significantly worse, at least one is
    significantly better, and it fails no audit on which it is worse than the champion. A version that a person
    refused, or whose weights were rolled back, is not promoted. `override` promotes in all these cases and is then
    recorded on the version; the comparisons are reported anyway. A version that does not give the pipeline's
    embeddings when it is loaded from the registry never becomes the champion.

    Raises:
        UserError: `receipt` does not match models/selected, or the registry does not contain its version.
    """
    selected = sha256_tree(workspace.selected) if workspace.selected.is_dir() else "none"
    if receipt.model_sha256 != selected:
        raise UserError(
            f"the registered model has the digest {receipt.model_sha256[:12]}, but {workspace.selected} has "
            f"{selected[:12]}; only the selected model can be promoted, so run `fclip retrain`"
        )
    client = connect()
    name = receipt.registered_model
    with registry_lock(name):
        present = list_versions(client, name)
        version = _registered(present, receipt)
        champion = next((entry for entry in present if entry.is_champion), None)
        previous = champion.version if champion else None
        if champion and champion.model_sha256 == version.model_sha256:
            write_pin(
                workspace.champion_pin, champion.pin
            )  # needed after a crash between moving the alias and writing the pin
            return Promotion(
                False, f"version {champion.version} is already the champion", (), previous, champion.version
            )
        marked = [entry for entry in present if entry.rolled_back and entry.model_sha256 == version.model_sha256]
        refused = refusal(version)
        against = [f"it was {refused.words}"] if refused else []
        against += [f"its weights were rolled back (version {entry.version})" for entry in marked]
        if against and not override:
            reason = f"version {version.version} stays challenger: {'; '.join(against)}"
            return Promotion(False, reason, (), previous, version.version)
        comparisons: tuple[GateComparison, ...] = ()
        audits: tuple[AuditResult, ...] = ()
        why = "there was no champion to compare it with"
        if champion:
            folder = find_model(workspace, champion.model_sha256, champion.pin)
            comparisons = compare(workspace, folder, workspace.selected)
            audits = audit(workspace, folder, workspace.selected)
            verdict = decide(comparisons)
            why = verdict.reason
            objections = [] if verdict.promote else [why]
            objections += audit_failures(audits, champion=CHAMPION, challenger=CHALLENGER)
            if objections and not override:
                reason = f"version {version.version} stays challenger to version {previous}: {'; '.join(objections)}"
                return Promotion(False, reason, comparisons, previous, version.version, audits)
            against += objections
        if broken := verify(workspace, version):
            reason = (
                f"version {version.version} stays challenger: {broken}; delete it from the registry and run "
                "`fclip retrain`"
            )
            return Promotion(False, reason, comparisons, previous, version.version, audits)
        if override and against:
            record(client, version, override, describe=with_decision)
            why = f"{override.words} (although {'; '.join(against)})"
        elif override:
            why += "; no override was needed, and none was recorded"
        write_pin(workspace.champion_pin, set_champion(client, name, version.version).pin)
        for entry in marked:
            client.set_model_version_tag(name, str(entry.version), tags.ROLLED_BACK, "false")
        order = f"the champion after version {previous}" if previous else "the first champion"
        reason = f"version {version.version} is {order}: {why}"
        return Promotion(True, reason, comparisons, previous, version.version, audits)


def refuse(workspace: Workspace, decision: Decision) -> VersionPin:
    """Record on the version of models/selected that a person refuses it, and return the version.

    From then on, `promote` keeps it challenger unless it is overridden.

    Raises:
        UserError: the selected model is not registered, or it is the champion.
    """
    name = load_section(workspace, "base", Base).registered_model
    digest = sha256_tree(workspace.selected) if workspace.selected.is_dir() else "none"
    client = connect()
    with registry_lock(name):
        present = find_by_weights(client, name, digest)
        if not present:
            raise UserError(
                f"{name} has no version with the selected weights ({digest[:12]}), so there is nothing to refuse; "
                "`fclip retrain` registers the selected model"
            )
        if champion := next((entry for entry in present if entry.is_champion), None):
            raise UserError(
                f"{champion.pin.title} is the champion and cannot be refused; `fclip rollback` makes the previous "
                "champion the champion again"
            )
        record(client, present[0], decision, describe=with_decision)
    return present[0].pin


@dataclass(frozen=True)
class RollbackResult:
    """`version` is the champion again instead of `left`, whose weights the gate refuses from now on."""

    version: int
    left: int
    reason: str


def rollback(workspace: Workspace) -> RollbackResult:
    """Make the previous champion the champion again, mark the other version as rolled back, and write the champion pin.

    Raises:
        UserError: there is no champion or no previous champion.
    """
    name = load_section(workspace, "base", Base).registered_model
    client = connect()
    with registry_lock(name):
        done = restore_previous(client, name)
        write_pin(workspace.champion_pin, done.champion.pin)
    return RollbackResult(
        version=done.champion.version,
        left=done.rolled_back.version,
        reason=f"version {done.champion.version} is champion again; version {done.rolled_back.version} was rolled back",
    )


def _registered(present: list[Version], receipt: Receipt) -> Version:
    for entry in present:
        if entry.version == receipt.version and entry.model_sha256 == receipt.model_sha256:
            return entry
    raise UserError(
        f"the registry has no version {receipt.version} of {receipt.registered_model} with the digest "
        f"{receipt.model_sha256[:12]}; run `fclip retrain`"
    )
