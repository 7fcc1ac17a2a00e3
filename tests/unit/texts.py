"""The commands that README and docs tell people to type, taken from the texts."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "params" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"(?ms)^( *)```(?:console|bash|sh)\n(.*?)^ *```")
COMMENT = re.compile(r"(^|\s+)#\s.*$")  # `$#` and `#anchor` are no comments


class Command(NamedTuple):
    """A command, without its comment, and the page that has it."""

    page: str
    line: str


def commands() -> list[Command]:
    """All commands in their order; each is listed once a page."""
    found = []
    for path in PAGES:
        page = str(path.relative_to(ROOT))
        for _, block in BLOCK.findall(path.read_text("utf-8")):
            found += [Command(page, line) for line in commands_in(block)]
    return list(dict.fromkeys(found))


def commands_in(block: str) -> list[str]:
    """The commands of a block: lines that go on are joined, a loop is one command."""
    found: list[str] = []
    loops = 0
    for raw in block.replace("\\\n", " ").splitlines():
        line = COMMENT.sub("", raw).rstrip()
        if not line.strip():
            continue
        if loops:
            found[-1] += f"\n{line}"
        else:
            found.append(" ".join(line.split()))
        loops += len(re.findall(r"(?:^|;)\s*for\b", line)) - len(re.findall(r"\bdone\b", line))
    return found
