"""The page of all rules: every row of the table is on it, with its formulas and the file that it stands in."""

from tensorad.call import Op
from tensorad.op import ROWS
from tensorad.rule import rule
from tensorad_docs.rules_page import page


def test_every_row_is_on_the_page() -> None:
    text = page()
    ops = {call: op for call, op in ROWS.items() if isinstance(op, Op) and ours(op)}
    assert len(ops) > 400
    for call in ops:
        card = rule(call)
        assert f"`{card.name}`" in text
        assert all(f"`{formula}`" in text for formula in card.formulas.values()), card.name
        assert f'"The source: {card.file}"' in text, card.name


def ours(op: Op) -> bool:
    return all((each.__module__ or "").startswith("tensorad.rules.") for each in op.rules.values())


def test_tables_have_the_columns_of_their_heads() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")]
    assert len(rows) > 500
    assert {line.count("|") for line in rows} == {4}
