"""Which test files run in one process under `--dist loadfile`: those that share a stack, which takes long to start."""

from __future__ import annotations

from collections.abc import Mapping

from xdist.scheduler import LoadFileScheduling

_TOGETHER: Mapping[str, tuple[str, ...]] = {
    "the stack that nobody hurts": (
        *("channels", "every_provider", "flower_links", "producers", "provider_check", "second_workers"),
    ),
    "a stack whose parts are killed": ("crashes", "intake_kills"),
    "a stack that is hurt otherwise": ("control", "overload", "restarts"),
}
_SHARE_OF = {f"tests/acceptance/test_{name}.py": share for share, names in _TOGETHER.items() for name in names}


class SharingScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """Files by the file, and those that share a stack as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return _SHARE_OF.get(file, file)
