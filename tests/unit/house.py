"""How dense code is, and where a reader stumbles: what the project's own limits are counted with.

A code line has a token of code on it. Blank lines, comments and docstrings are not counted.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLUMNS = 100
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
NOT_CODE |= {tokenize.ENDMARKER}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Module:
    """What was counted in one file."""

    path: Path
    lines: int
    tokens: int
    longest_function: int
    places: list[str]

    @property
    def density(self) -> float:
        """Tokens on a code line."""
        return self.tokens / max(self.lines, 1)


def modules(*folders: str) -> list[Module]:
    """The modules below folders of the project, those without code left out."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [module for module in map(measure, paths) if module.lines]


def measure(path: Path) -> Module:
    """Count one file."""
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    docstrings = _docstring_lines(tree)
    tokens = [token for token in _tokens(source) if token.start[0] not in docstrings]
    code = {n for token in tokens for n in range(token.start[0], token.end[0] + 1)} - docstrings
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    longest = max((_lines_of(node, code) for node in functions), default=0)
    text = source.splitlines()
    wide = [f"line {n}: over {COLUMNS} columns" for n in code if len(text[n - 1]) > COLUMNS]
    places = [f"line {node.lineno}: {what}" for node in ast.walk(tree) for what in _stumbles(node)]
    return Module(path, len(code), len(tokens), longest, places + wide)


def _docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS))
        if documented and node.body and ast.get_docstring(node) is not None:
            lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """Tokens of code; an f-string is one, whether or not this Python takes it apart."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        depth -= kind == "FSTRING_END"
        if token.type not in NOT_CODE and depth == 0 and kind != "FSTRING_END":
            yield token
        depth += kind == "FSTRING_START"


def _lines_of(node: ast.AST, code: set[int]) -> int:
    return sum(node.lineno <= n <= node.end_lineno for n in code)


def _stumbles(node: ast.AST) -> Iterator[str]:
    """What a reader stumbles over in one node."""
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
        if isinstance(node.targets[0], ast.Tuple):
            yield "assigns several values in one statement"
    elif isinstance(node, ast.NamedExpr):
        yield "walrus"
    elif isinstance(node, COMPREHENSIONS):
        if sum(isinstance(inner, COMPREHENSIONS) for inner in ast.walk(node)) > 2:
            yield "comprehensions three deep"
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Tuple):
        yield "indexes a tuple made on the spot"
