"""The local web and an empty registry, for tasks."""

from tests.fclip.mirror.conftest import web  # noqa: F401
from tests.fclip.registry.conftest import empty_store, own_registry  # noqa: F401
