"""The local web, for tasks."""

from tests.fclip.mirror.conftest import web  # noqa: F401
