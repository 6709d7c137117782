"""Names of aliases and version tags."""

CHAMPION = "champion"
CHALLENGER = "challenger"

MODEL_SHA256 = "fclip.model_sha256"
GIT_COMMIT = "fclip.git_commit"
GIT_DIRTY = "fclip.git_dirty"
CLOSING_COMMIT = "fclip.closing_commit"  # the commit from which `fclip reproduce` computes the version again
DVC_LOCK_SHA256 = "fclip.dvc_lock_sha256"
WORKSPACE = "fclip.workspace"
BASE_MODEL_SHA256 = "fclip.base_model_sha256"
CANDIDATE = "fclip.candidate"
HEADLINE = "fclip.headline"  # JSON: "<dataset>.<split>.<protocol>.<metric>" -> value, the primary metrics
PROMOTED_AT = "fclip.promoted_at"  # ISO time, UTC
SUCCEEDS = "fclip.succeeds"  # number of the previous champion
ROLLED_BACK = "fclip.rolled_back"
DECISIONS = "fclip.decisions"  # JSON: what people decided about the version, when and why, the last at the end
DATASET_SHA256 = "fclip.dataset."  # + the dataset's name
