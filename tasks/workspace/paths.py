"""All paths of a workspace."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folder of one catalog: params, pins, outputs and caches. `root` is absolute."""

    root: Path

    @classmethod
    def here(cls) -> "Workspace":
        """The workspace in the current folder. DVC starts stages in the root of the workspace."""
        return cls(Path.cwd())

    # Files that people or flows write.

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def dvc_yaml(self) -> Path:
        return self.root / "dvc.yaml"

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def pins(self) -> Path:
        return self.root / "pins"

    def source_pin(self, dataset: str) -> Path:
        return self.pins / "sources" / f"{dataset}.json"

    @property
    def base_model_pin(self) -> Path:
        return self.pins / "base_model.json"

    @property
    def champion_pin(self) -> Path:
        return self.pins / "champion.json"

    # Outputs of stages, which DVC tracks.

    def catalog(self, dataset: str) -> Path:
        return self.root / "data" / "catalog" / dataset

    def images(self, dataset: str) -> Path:
        return self.root / "data" / "images" / dataset

    def captions(self, dataset: str) -> Path:
        return self.root / "data" / "captions" / f"{dataset}.parquet"

    def derived(self, dataset: str) -> Path:
        """The folder of a derived dataset: products, image packs and counts."""
        return self.root / "data" / "derived" / dataset

    @property
    def training(self) -> Path:
        return self.root / "data" / "training"

    @property
    def finetune(self) -> Path:
        return self.root / "models" / "finetune"

    @property
    def averages(self) -> Path:
        return self.root / "models" / "average"

    def candidate(self, name: str) -> Path:
        """The folder of a trained candidate or of a weight average."""
        trained = self.finetune / "candidates" / name
        return trained if trained.is_dir() else self.averages / "candidates" / name

    @property
    def selected(self) -> Path:
        return self.root / "models" / "selected"

    def evaluation(self, dataset: str) -> Path:
        return self.root / "reports" / "evaluation" / f"{dataset}.parquet"

    def evaluation_draws(self, dataset: str) -> Path:
        return self.root / "reports" / "evaluation" / f"{dataset}.draws.parquet"

    @property
    def selection(self) -> Path:
        return self.root / "reports" / "selection.json"

    @property
    def headline(self) -> Path:
        return self.root / "reports" / "metrics.json"

    @property
    def audits(self) -> Path:
        return self.root / "reports" / "audits.json"

    @property
    def curves(self) -> Path:
        return self.root / "reports" / "plots" / "scores.csv"

    @property
    def frontier(self) -> Path:
        return self.root / "reports" / "plots" / "frontier.csv"

    @property
    def embeddings(self) -> Path:
        return self.root / "data" / "embeddings"

    # Outputs of steps with side effects.

    @property
    def report(self) -> Path:
        return self.root / "reports" / "report.html"

    @property
    def evaluation_page(self) -> Path:
        return self.root / "reports" / "evaluation.html"

    def comparison(self, dataset: str, before: str, after: str) -> Path:
        """The page that compares two models. Their names may be paths."""
        return self._page(dataset, before, after)

    def audit_page(self, dataset: str, model: str) -> Path:
        """The page with the audits of a model. Its name may be a path."""
        return self._page(dataset, "audit", model)

    def _page(self, *names: str) -> Path:
        safe = [re.sub(r"[^\w.-]+", "-", name).strip("-") for name in names]
        return self.root / "reports" / "comparisons" / f"{'-'.join(safe)}.html"

    def catalog_page(self, dataset: str) -> Path:
        return self.root / "reports" / "catalog" / f"{dataset}.html"

    @property
    def profile(self) -> Path:
        return self.root / "reports" / "catalog" / "profile.json"

    @property
    def trained_rows(self) -> Path:
        return self.root / "reports" / "catalog" / "trained-rows.parquet"

    @property
    def published(self) -> Path:
        return self.root / "published"

    # Caches, which can be deleted at any time.

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def ingest_cache(self, dataset: str) -> Path:
        return self.cache / "ingest" / dataset

    def caption_cache(self, dataset: str) -> Path:
        return self.cache / "captions" / f"{dataset}.parquet"

    @property
    def feature_cache(self) -> Path:
        return self.cache / "features"

    @property
    def pixel_cache(self) -> Path:
        return self.cache / "pixels"

    @property
    def external_datasets(self) -> Path:
        return self.cache / "external"

    @property
    def new_values(self) -> Path:
        return self.cache / "new-values"

    @property
    def mirror(self) -> Path:
        return self.cache / "mirror"

    @property
    def training_cache(self) -> Path:
        return self.cache / "training"

    @property
    def model_cache(self) -> Path:
        return self.cache / "models"

    @property
    def kept_embeddings(self) -> Path:
        return self.cache / "embeddings"

    @property
    def challenger_embeddings(self) -> Path:
        """Embeddings by the challenger, until they are published."""
        return self.cache / "challenger"

    def champion_rows(self, sha256: str) -> Path:
        return self.cache / "models" / f"rows-{sha256}.parquet"

    # Locks, the status of each stage, the state after the last complete run, and the durations of training steps.

    @property
    def state(self) -> Path:
        return self.root / ".fclip"

    @property
    def timings(self) -> Path:
        return self.state / "timings"

    @property
    def stage_timings(self) -> Path:
        """Of each stage at its last run: when the run decided on it and when its work began and ended, in Unix seconds,
        and the seconds of its loops."""
        return self.state / "stage-timings.json"

    def step_timings(self, candidates_sha256: str) -> Path:
        """The durations of the training steps of the run whose candidates.json has this digest.

        CSV of `step, seconds, wait_seconds, samples`. It does not exist if the result came from the DVC cache.
        """
        return self.timings / f"finetune-{candidates_sha256[:16]}.csv"

    @property
    def completed_run(self) -> Path:
        return self.state / "completed-run.json"

    @property
    def measured_profiles(self) -> Path:
        return self.state / "profiles.json"

    @property
    def card_facts(self) -> Path:
        """The facts in the model card of the model that was registered last (`fclip.report.card_facts`)."""
        return self.state / "card.json"

    @property
    def query_log(self) -> Path:
        """Searches in the service (`fclip.serve.queries`)."""
        return self.state / "queries.jsonl"

    @property
    def judgements_inbox(self) -> Path:
        """Grades that people gave in the service (`fclip.serve.grades`)."""
        return self.state / "judgements.jsonl"

    @property
    def run_lock(self) -> Path:
        return self.state / "run.lock"

    @property
    def publish_lock(self) -> Path:
        return self.state / "publish.lock"

    @property
    def stage_lock(self) -> Path:
        return self.state / "stage.lock"

    @property
    def pipeline_lock(self) -> Path:
        return self.state / "pipeline.lock"

    def stage_status(self, stage: str) -> Path:
        return self.state / "status" / f"{stage}.json"
