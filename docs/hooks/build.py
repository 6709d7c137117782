"""MkDocs hook: add the generated reference pages to the site.

They are generated at each build and not committed, so that they cannot differ from the code.
"""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `reference/configuration.md` and `reference/commands.md`."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # document this checkout, also if another one is installed
    from docs.hooks import commands, configuration

    for uri, page in (("configuration", configuration.page()), ("commands", commands.page())):
        files.append(File.generated(config, f"reference/{uri}.md", content=page))
    return files
