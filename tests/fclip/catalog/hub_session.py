"""What `resolve` and a stage do with a published dataset, in a process of its own: HF_ENDPOINT is read at import.

python -m tests.fclip.catalog.hub_session ROOT PIN STEPS, the last two as JSON. A step is `["look", SOURCE]`: pin the
source anew; or `["build", SOURCE]`: build the catalog from the last pin. Printed is what each gave: the pin, the
catalog's counts, or the `error` that a user can cause.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.registry import describe
from fclip.config import parse_config
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess
from tests.fclip.catalog.catalog_shop import ingest_config


def look(root: Path, config: DatasetConfig) -> dict[str, Any]:
    return {"dataset": "shop", **describe(config.source, SourceAccess(root, root / "mirror"))}


def build(root: Path, config: DatasetConfig, pin: Mapping[str, Any]) -> dict[str, Any]:
    summary = build_catalog(
        ingest_config(config),
        dataset="shop",
        outside=SourceAccess(root, root / "mirror", refresh=False),
        pin=SourcePin.from_json(pin) if pin else None,
        catalog_dir=root / "catalog",
        images_dir=root / "images",
    )
    return dict(summary.to_json())


def main(root: Path, pin: dict[str, Any], steps: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    given = []
    for step, source in steps:
        values = {"source": source, "split": {"train": 1.0}, "roles": {}}
        config = parse_config(values, DatasetConfig, where="test")
        try:
            if step == "look":
                pin = look(root, config)
                given.append(pin)
            else:
                given.append(build(root, config, pin))
        except UserError as error:
            given.append({"error": str(error)})
    return given


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(json.loads, sys.argv[2:]))))
