"""Write the generated pages; `--check` only says which are out of date, and exits with 1 if one is."""

from __future__ import annotations

import sys

from docs.generate.pages import PAGES, ROOT


def main(arguments: list[str]) -> int:
    """0, or 1 where `--check` found a page that is out of date."""
    stale = 0
    for path, make in PAGES.items():
        file, text = ROOT / path, make()
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{path} is out of date: run `python -m docs.generate`.", file=sys.stderr)
        else:
            file.write_text(text, encoding="utf-8")
            print(f"{path} is written.")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
