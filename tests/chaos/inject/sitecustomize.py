"""Imported by every Python process of a stack under test before anything else: changes modules once they are loaded.

`CHAOS_DIR` holds orders: a file `kill.<point>` makes the first process that passes the point of that name remove the
file and kill its process group. `CHAOS_BREAK` names a build broken on purpose (`breaks.py`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

Patch = Callable[[ModuleType], None]


class _AfterImport(MetaPathFinder):
    """Runs patches on modules right after they were executed."""

    def __init__(self, patches: dict[str, list[Patch]]) -> None:
        self._patches = patches
        self._busy: set[str] = set()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if name not in self._patches or name in self._busy:
            return None
        self._busy.add(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def run(module: ModuleType) -> None:
            execute(module)
            for patch in self._patches[name]:
                patch(module)

        spec.loader.exec_module = run  # type: ignore[method-assign]
        return spec


def _install() -> None:
    here = str(Path(__file__).parent)
    if here not in sys.path:
        sys.path.insert(0, here)
    import breaks  # type: ignore[import-not-found]  # noqa: PLC0415  only where a stack is to be hurt
    import kill_points  # type: ignore[import-not-found]  # noqa: PLC0415  (as above)

    patches: dict[str, list[Patch]] = {}
    for source in (kill_points.patches(), breaks.patches(os.environ.get("CHAOS_BREAK", ""))):
        for name, patch in source:
            patches.setdefault(name, []).append(patch)
    sys.meta_path.insert(0, _AfterImport(patches))


def _run(file: Path) -> None:
    spec = importlib.util.spec_from_file_location("shifted_clocks", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if os.environ.get("SHIFTED_CLOCKS"):
    _run(Path(__file__).parents[2] / "acceptance" / "shifted" / "sitecustomize.py")
if os.environ.get("CHAOS_DIR"):
    _install()
