"""`python -m pipeline.readme` writes the table of claims into the README."""

from infomax_nb.errors import not_allowed
from infomax_nb.files import atomic_write, project_root
from pipeline.claims import Claim, claims
from pipeline.command import in_a_sentence, takes_nothing

BEGIN = "<!-- claims: written by `python -m pipeline.readme` -->"
END = "<!-- end of claims -->"


def table(found: list[Claim]) -> str:
    """The table in Markdown; each verdict leads to its first result by a reference below."""
    lines = ["| the paper says | we found | evidence |", "|---|---|---|"]
    numbers: dict[str, int] = {}
    for claim in found:
        target = next(iter(claim.links.values()))
        number = numbers.setdefault(target, len(numbers) + 1)
        finding = f"[**{claim.verdict}**][{number}]: {claim.found}"
        lines.append(f"| {claim.paper} | {finding} | {claim.evidence} |")
    references = [f"[{number}]: {target}" for target, number in numbers.items()]
    return "\n".join([*lines, "", *references])


def with_table(text: str, lines: str) -> str:
    """The text with the table between the two marks.

    Raises:
        ParameterError: a mark is missing, or there twice.
    """
    for mark in (BEGIN, END):
        if text.count(mark) != 1:
            found = f"{text.count(mark)} times {mark}"
            raise not_allowed("README.md", found, "a text with this mark once")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{lines}\n{END}{after}"


def main() -> None:
    """Write the table into the README."""
    takes_nothing("readme", __doc__)
    readme = project_root() / "README.md"
    with in_a_sentence():
        text = with_table(readme.read_text("utf-8"), table(claims()))
    atomic_write(readme, lambda part: part.write_text(text, "utf-8"))
    print("README.md: the table of claims")


if __name__ == "__main__":
    main()
