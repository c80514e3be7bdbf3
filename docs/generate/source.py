"""What only the source says: the texts under the members of an enumeration, functions by their decorators."""

from __future__ import annotations

import ast
import importlib
import inspect
from enum import Enum
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def member_texts(kind: type[Enum]) -> dict[str, str]:
    """By member name, the text below each member of `kind`, without line breaks."""
    (made,) = ast.parse(inspect.getsource(kind)).body
    if not isinstance(made, ast.ClassDef):
        raise TypeError(f"{kind.__name__} is no class in its source.")
    found: dict[str, str] = {}
    for here, below in zip(made.body, made.body[1:], strict=False):
        if isinstance(here, ast.Assign) and isinstance(here.targets[0], ast.Name) and isinstance(below, ast.Expr):
            found[here.targets[0].id] = " ".join(str(ast.literal_eval(below.value)).replace("``", "`").split())
    return found


def functions(path: str) -> list[ast.FunctionDef]:
    """The functions of a file, which is not imported: it may need a broker for that."""
    parsed = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return [node for node in parsed.body if isinstance(node, ast.FunctionDef)]


def adapter_modules() -> list[ModuleType]:
    """The modules of `workers/providers`, in the order of their names."""
    folder = ROOT / "workers" / "providers"
    return [importlib.import_module(f"workers.providers.{path.stem}") for path in sorted(folder.glob("[a-z]*.py"))]
