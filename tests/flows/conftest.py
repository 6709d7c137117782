"""Fixtures for flows: an empty registry."""

from tests.fclip.registry.conftest import empty_store, own_registry  # noqa: F401
