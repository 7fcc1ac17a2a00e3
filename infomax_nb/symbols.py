"""The symbols of `glyphs`, in groups: its fine and its coarse classes."""

import json
from pathlib import Path

GROUPS: dict[str, str] = json.loads(Path(__file__).with_name("symbols.json").read_text("utf-8"))
MAX_CLASSES = sum(map(len, GROUPS.values()))
