"""Pinning and fetching of base models in a separate process, because HF_ENDPOINT is read at import.

python -m tests.fclip.base_models.pinning_session ROOT PIN STEPS, the last two as JSON. A step is `["pin", CONFIG]` to
pin a base model, or `["fetch", CONFIG]` to fetch it by the last pin. Prints a list with the result of each step: the
pin, the folder's name, or `error` with the message of a UserError.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fclip.base_models.pinning import BaseModelPin, fetch_base_model, pin_base_model
from fclip.base_models.registry import base_model_from_json
from fclip.errors import UserError


def main(root: Path, pin: dict[str, Any], steps: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    results: list[Any] = []
    for step, values in steps:
        base_model: Any = base_model_from_json(values)
        try:
            if step == "pin":
                pin = pin_base_model(base_model, root=root, cache_dir=root / "cache").to_json()
                results.append(pin)
            else:
                results.append(
                    fetch_base_model(BaseModelPin.from_json(pin), base_model, root=root, cache_dir=root / "cache").name
                )
        except UserError as error:
            results.append({"error": str(error)})
    return results


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(json.loads, sys.argv[2:]))))
