"""The Dockerfile's instructions, and what its steps are where there is no container engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tests.deploy.files import DEPLOY


@dataclass(frozen=True)
class Step:
    """One instruction: its word in capitals, and the rest."""

    word: str
    rest: str

    @property
    def listed(self) -> list[str]:
        """The rest as the JSON list it is (https://docs.docker.com/reference/dockerfile/#exec-form)."""
        return [str(each) for each in json.loads(self.rest)]


def steps() -> list[Step]:
    """Every instruction in order, lines that go on joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [Step(*line.split(None, 1)) for line in lines if line.strip()]


def stages() -> list[list[Step]]:
    """The steps of each stage, its FROM first; what stands before the first FROM is left out."""
    found: list[list[Step]] = []
    for step in steps():
        if step.word == "FROM":
            found.append([])
        if found:
            found[-1].append(step)
    return found


def environment(stage: list[Step]) -> dict[str, str]:
    """What ENV sets."""
    pairs = [re.findall(r"(\w+)=(\S+)", step.rest) for step in stage if step.word == "ENV"]
    return {name: value for each in pairs for name, value in each}
