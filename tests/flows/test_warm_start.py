"""A warm start in the pipeline: training starts from the champion, and a promotion alone does not retrain."""

from pathlib import Path

import pytest

from tests.conftest import Space


@pytest.mark.slow
def test_promotion_alone_does_not_retrain_a_warm_start(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "warm")
    first, base_model = space.json("pins/champion.json"), space.params["finetune"]["base_model"]
    space.set_params(
        lambda params: params["finetune"].update(
            base_model={"kind": "champion", "otherwise": base_model}, learning_rate=5.0e-4
        )
    )
    warm = space.run("fclip", "retrain", timeout=600)
    assert warm.code == 0, warm.output
    pinned = space.json("pins/base_model.json")["champion"]
    assert {key: pinned[key] for key in first} == first
    candidates = space.json("models/finetune/candidates.json")
    assert [entry["name"] for entry in candidates[:2]] == ["base-model", "original-base-model"]
    assert candidates[0]["model_sha256"] == first["model_sha256"]
    assert space.json("pins/base_model.json")["otherwise"]["model_sha256"] == candidates[1]["model_sha256"]
    assert (space.root / "reports" / "report.html").is_file()
    assert "version 1" in space.run("fclip", "status").output

    promoted = space.run("fclip", "promote", "--override", "a test")
    assert promoted.code == 0, promoted.output
    assert space.json("pins/champion.json")["version"] == 2
    again = space.run("fclip", "retrain", timeout=600)
    assert again.code == 0, again.output
    assert "No stage was recomputed" in again.output
    assert space.json("pins/base_model.json")["champion"] == pinned

    followed = space.run("fclip", "pin", "--follow-champion")
    assert "pinned     pins/base_model.json" in followed.output
    assert space.json("pins/base_model.json")["champion"]["version"] == 2
