"""Fixtures for tasks: a local web server and an empty registry."""

from tests.fclip.mirror.conftest import web  # noqa: F401
from tests.fclip.registry.conftest import empty_store, own_registry  # noqa: F401
