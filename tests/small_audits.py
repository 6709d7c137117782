"""Two small audits for tests of what uses audits: one always gives a number, one never."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import AuditResult, Measure

USERS = ("fclip.audits.run", "fclip.audits.config", "fclip.report.audits", "fclip.report.card")


@dataclass(frozen=True)
class SpreadPlan:
    """Standard deviation of the image features, and the distance of the features from those of the base model."""

    images: tuple[str, ...]
    texts: tuple[str, ...]
    num_scenes: int

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        assert len(model.images) == len(self.images)
        assert len(model.texts) == len(self.texts)
        spread = float(np.std(model.images))
        change = 0.0 if base is None else float(np.abs(model.texts - base.texts).mean())
        return Findings(
            headline=Measure("spread", "spread of the images", spread, spread - 0.01, spread + 0.01, len(self.images)),
            measures=(
                Measure("change", "change from the base model", change, change, change + 0.1, len(self.texts), "texts"),
                Measure(
                    "scenes", "copies in scenes", self.num_scenes, 0, self.num_scenes + 1, self.num_scenes, "copies"
                ),
            ),
            summary="The images differ.",
            not_measured=() if self.num_scenes else ("There is no copy in a scene; add one to derive.datasets.",),
        )


def plan_spread(data: AuditData) -> SpreadPlan:
    scenes = tuple(product.image for product in data.derived.get("scene", ()))
    colours = sorted({product.attributes.get("colour", "") for product in data.products})
    return SpreadPlan((*(product.image for product in data.products), *scenes), tuple(colours), len(scenes))


SPREAD = Audit("spread", "spread", "how far images differ", "Do images differ?", 0.0, plan_spread)
GENDER = Audit(
    *("gender", "gender", "what gender words change", "Does the model know who wears what?", 0.1),
    lambda data: NotMeasurable("No product has a gender; add the attribute to the source."),
)


@contextmanager
def small_audits() -> Iterator[None]:
    """Replace the audits of fclip by those of this module."""
    known = {audit.kind: audit for audit in (SPREAD, GENDER)}
    with pytest.MonkeyPatch.context() as patch:
        for module in USERS:
            patch.setattr(f"{module}.audits", lambda: known)
        yield


def made_up_result(model: str, value: float, *, kind: str = "spread", **changes: object) -> AuditResult:
    """The result of one audit with an interval of ±0.05 and the limit 0.1."""
    values = {
        "kind": kind,
        "dataset": "studio",
        "split": "test",
        "model": model,
        "model_sha256": "ab" * 32,
        "headline": Measure("spread", "spread of the images", value, value - 0.05, value + 0.05, 200),
        "measures": (
            Measure("one", "one word", value, value - 0.02, value + 0.03, 90, "by number of words"),
            Measure("two", "two words", value + 0.1, value, value + 0.2, 110, "by number of words"),
        ),
        "limit": 0.1,
        "summary": f"The images of {model} differ.",
        "not_measured": (),
    }
    return AuditResult(**{**values, **changes})
