"""Run the audits: every audit of every model on each split, with the features of all models read once per dataset."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fclip.audits.config import AuditConfig
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.registry import Audit, AuditPlan, Findings, NotMeasurable, audits
from fclip.audits.result import AuditResult, Measure
from fclip.features.extract import Features, extract_features
from fclip.images.packs import ImagePacks
from fclip.models.store import ModelLoader
from fclip.progress import text_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditedSplit:
    """A split to audit. `packs`: folders with the images of the products and of their derived copies."""

    data: AuditData
    packs: tuple[Path, ...]


@dataclass(frozen=True)
class _Planned:
    """One audit on one split."""

    audit: Audit
    data: AuditData
    plan: AuditPlan | NotMeasurable

    @property
    def images(self) -> tuple[str, ...]:
        return () if isinstance(self.plan, NotMeasurable) else self.plan.images

    @property
    def texts(self) -> tuple[str, ...]:
        return () if isinstance(self.plan, NotMeasurable) else self.plan.texts


def audit_models(
    models: Mapping[str, Path],
    splits: Sequence[AuditedSplit],
    config: AuditConfig,
    *,
    base: str | None,
    cache: Path,
    device: str = "auto",
    batch_size: int = 128,
    loader: ModelLoader | None = None,
) -> tuple[AuditResult, ...]:
    """Audit each of `models` (name -> model folder) on each of `splits`, by every audit.

    What a catalog does not allow to measure is a result without a headline, with the reason.

    Args:
        base: the name of the base model in `models`, which others are compared with; None: there is none.
        cache: folder of the feature cache.

    Returns:
        The results by audit, split and model, in this order.

    Raises:
        UserError: a model cannot be loaded, or an image is in no pack.
    """
    found: list[AuditResult] = []
    for _, group in groupby(sorted(splits, key=lambda each: each.data.dataset), key=lambda each: each.data.dataset):
        of_dataset = list(group)
        planned = [
            _Planned(audit, split.data, audit.plan(split.data)) for split in of_dataset for audit in audits().values()
        ]
        features = extract_features(
            models,
            packs=ImagePacks(list(dict.fromkeys(folder for split in of_dataset for folder in split.packs))),
            digests=[digest for each in planned for digest in each.images],
            texts=[text for each in planned for text in each.texts],
            cache=cache,
            device=device,
            batch_size=batch_size,
            loader=loader,
        )
        for name, own in features.items():
            of_base = features[base] if base is not None and name != base else None
            found += [
                _result(each, name, own.model_sha256, findings, config.limit(each.audit))
                for each, findings in _measured(planned, own, of_base)
            ]
    kinds = list(audits())
    results = tuple(sorted(found, key=lambda each: (kinds.index(each.kind), each.dataset, each.split)))
    log_results(results)
    return results


def _measured(planned: Sequence[_Planned], own: Features, base: Features | None) -> Iterator[tuple[_Planned, Findings]]:
    """Yield the findings of each plan, whose features follow one another in those of the model and of the base."""
    image = text = 0
    for each in planned:
        images = slice(image, image := image + len(each.images))
        texts = slice(text, text := text + len(each.texts))
        if isinstance(each.plan, NotMeasurable):
            yield each, Findings(None, (), "", (each.plan.reason,))
            continue
        of_base = PlanFeatures(base.images[images], base.texts[texts]) if base else None
        yield each, each.plan.measure(PlanFeatures(own.images[images], own.texts[texts]), of_base)


def _result(each: _Planned, model: str, model_sha256: str, findings: Findings, limit: float | None) -> AuditResult:
    """The result of findings. Numbers that are not finite become sentences, so that they never pass silently."""
    undefined = [measure for measure in (findings.headline, *findings.measures) if measure and not _is_finite(measure)]
    reasons = tuple(f"{measure.label}: the features of the model do not give a number." for measure in undefined)
    headline = findings.headline
    return AuditResult(
        kind=each.audit.kind,
        dataset=each.data.dataset,
        split=each.data.split,
        model=model,
        model_sha256=model_sha256,
        headline=headline if headline and _is_finite(headline) else None,
        measures=tuple(measure for measure in findings.measures if _is_finite(measure)),
        limit=limit if findings.has_limit else None,
        summary=findings.summary,
        not_measured=(*findings.not_measured, *reasons),
    )


def _is_finite(measure: Measure) -> bool:
    return all(map(math.isfinite, (measure.value, measure.low, measure.high)))


def log_results(results: Sequence[AuditResult]) -> None:
    """Log a table of the headlines, and why something was not measured."""
    if not results:
        return
    rows = [
        (
            f"{result.kind} on {result.dataset} {result.split}",
            result.model,
            "–" if result.headline is None else f"{result.headline.value:.3f}",
            "–" if result.headline is None else f"{result.headline.low:.3f} to {result.headline.high:.3f}",
            "none" if result.limit is None else f"{result.limit:.3f}",
            result.status,
        )
        for result in results
    ]
    logger.info("%s", text_table(("audit", "model", "number", "interval", "limit", "status"), rows))
    reasons: dict[tuple[str, str, str], None] = {}
    for result in results:
        reasons |= dict.fromkeys((result.kind, result.dataset, reason) for reason in result.not_measured)
    for kind, dataset, reason in reasons:
        logger.info("%s: the audit %s did not measure all: %s", dataset, kind, reason)
