"""What every part of the page is made of. Pure."""

from collections.abc import Sequence
from html import escape


def section(title: str, content: str) -> str:
    """Return a part of the page; "" when there is nothing in it."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int | None = None, text: int | None = None
) -> str:
    """Return a table of cells that are HTML; from column *numbers* on they are numbers, column *text* has long text."""

    def kind(column: int) -> str:
        if numbers is not None and column >= numbers:
            return ' class="number"'
        return ' class="text"' if column == text else ""

    top = "".join(f"<th{kind(column)}>{escape(name)}</th>" for column, name in enumerate(head))
    body = "".join(
        f"<tr>{''.join(f'<td{kind(column)}>{cell}</td>' for column, cell in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def words(name: str) -> str:
    """Return a metric's name for people: ``testMacroF1`` is ``test macro F1``."""
    spaced = "".join(f" {letter}" if letter.isupper() and index else letter for index, letter in enumerate(name))
    return " ".join(word if word[1:].isdigit() else word.lower() for word in spaced.split())
