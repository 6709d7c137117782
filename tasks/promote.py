"""Effect `promote`: the gate. The challenger becomes the champion only where it is proven better.

Both are scored on the same `select` data in the same run; the alias moves last, then the pin follows.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError
from fclip.files import read_json, sha256_tree, write_json
from fclip.registry import tags
from fclip.registry.backend import connect, registry_lock
from fclip.registry.log import Receipt
from fclip.registry.store import Version, list_versions
from fclip.registry.succession import crown
from fclip.selection.gate import Comparison, decide
from tasks.compare import compare_models
from tasks.paths import Workspace
from tasks.weights import find_model

logger = logging.getLogger(__name__)

# (workspace, folder of the champion, folder of the challenger) -> challenger minus champion on all select data
Compare = Callable[[Workspace, Path, Path], tuple[Comparison, ...]]


@dataclass(frozen=True)
class Promotion:
    """What the gate said.

    moved: whether the alias `champion` is now on `version` and was not before. previous: the champion before, if any.
    comparisons: what it judged by; empty where there was nothing to compare with, or nothing to decide.
    """

    moved: bool
    reason: str
    comparisons: tuple[Comparison, ...]
    previous: int | None
    version: int


def promote(
    workspace: Workspace, receipt: Receipt, *, force: bool = False, compare: Compare = compare_models
) -> Promotion:
    """Let the version of `receipt` take the champion's place if the gate opens; rewrite pins/champion.json if so.

    It opens when there is no champion yet, or when no `select` split of any dataset is significantly worse and one
    is significantly better. Weights that were rolled back are refused. `force` overrules both refusals; what was
    compared is reported all the same.

    Raises:
        UserError: `receipt` is not of what models/selected holds, or the registry does not have its version.
    """
    selected = sha256_tree(workspace.selected) if workspace.selected.is_dir() else "none"
    if receipt.model_sha256 != selected:
        raise UserError(
            f"the receipt is of weights {receipt.model_sha256[:12]}, but {workspace.selected} holds {selected[:12]}: "
            "only what this run selected can be promoted; run `fclip retrain`"
        )
    client = connect()
    name = receipt.registered_model
    with registry_lock(name):
        present = list_versions(client, name)
        version = _registered(present, receipt)
        champion = next((entry for entry in present if entry.is_champion), None)
        previous = champion.version if champion else None
        if champion and champion.model_sha256 == version.model_sha256:
            _pin(workspace, champion)
            return Promotion(False, f"version {champion.version} is champion already", (), previous, champion.version)
        marked = [entry for entry in present if entry.rolled_back and entry.model_sha256 == version.model_sha256]
        if marked and not force:
            return Promotion(
                False,
                f"version {version.version} stays challenger: its weights were rolled back (version "
                f"{marked[0].version}); `fclip promote --force` overrules that",
                (),
                previous,
                version.version,
            )
        comparisons: tuple[Comparison, ...] = ()
        if champion is None:
            why = "there was no champion yet"
        else:
            folder = find_model(workspace, champion.model_sha256, champion.pin)
            comparisons = compare(workspace, folder, workspace.selected)
            decision = decide(comparisons)
            if not decision.promote and not force:
                reason = f"version {version.version} stays challenger to version {previous}: {decision.reason}"
                return Promotion(False, reason, comparisons, previous, version.version)
            why = decision.reason if decision.promote else f"forced, although {decision.reason}"
        _pin(workspace, crown(client, name, version.version))
        for entry in marked:
            client.set_model_version_tag(name, str(entry.version), tags.ROLLED_BACK, "false")
        succeeded = f" after version {previous}" if previous else ""
        return Promotion(
            True, f"version {version.version} is champion{succeeded}: {why}", comparisons, previous, version.version
        )


def _registered(present: list[Version], receipt: Receipt) -> Version:
    for entry in present:
        if entry.version == receipt.version and entry.model_sha256 == receipt.model_sha256:
            return entry
    raise UserError(
        f"the registry has no version {receipt.version} of {receipt.registered_model} with weights "
        f"{receipt.model_sha256[:12]}: run `fclip retrain`"
    )


def _pin(workspace: Workspace, version: Version) -> None:
    """Rewrite the pin where it says otherwise (as after a crash between the alias and the pin)."""
    if not workspace.champion_pin.exists() or read_json(workspace.champion_pin) != version.pin:
        write_json(workspace.champion_pin, version.pin)
