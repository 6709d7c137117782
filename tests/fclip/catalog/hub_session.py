"""Pin and build a published dataset in a separate process, since HF_ENDPOINT is read at import.

    python -m tests.fclip.catalog.hub_session ROOT PIN STEPS

PIN and STEPS are JSON. A step is `["pin", SOURCE]`, which pins the source, or `["build", SOURCE]`, which builds the
catalog from the last pin. The output is a list with the result of each step: the pin, the counts of the catalog, or the
`error`.
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


def make_pin(root: Path, config: DatasetConfig) -> dict[str, Any]:
    return {"dataset": "shop", **describe(config.source, SourceAccess(root, root / "mirror"))}


def build(root: Path, config: DatasetConfig, pin: Mapping[str, Any]) -> dict[str, Any]:
    summary = build_catalog(
        ingest_config(config),
        dataset="shop",
        access=SourceAccess(root, root / "mirror", refresh=False),
        pin=SourcePin.from_json(pin) if pin else None,
        catalog_dir=root / "catalog",
        images_dir=root / "images",
    )
    return dict(summary.to_json())


def main(root: Path, pin: dict[str, Any], steps: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    results = []
    for step, source in steps:
        values = {"source": source, "split": {"train": 1.0}, "roles": {}}
        config = parse_config(values, DatasetConfig, where="test")
        try:
            if step == "pin":
                pin = make_pin(root, config)
                results.append(pin)
            else:
                results.append(build(root, config, pin))
        except UserError as error:
            results.append({"error": str(error)})
    return results


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(json.loads, sys.argv[2:]))))
