"""The page of all rules: every row of the table is on it, with its formulas and the file that it stands in."""

import operator
import re

import pytest
import torch

from tensorad.call import Op
from tensorad.op import ROWS
from tensorad.rule import rule
from tensorad_docs.rules_page import cited, names_page, page


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
    assert {line.count("|") for line in rows} == {5}


def test_links_of_functions_lead_to_rows() -> None:
    links = re.findall(r"rules\.md#(ts\.\S+)\)", names_page())
    places = re.findall(r"\{#(\S+)\}", page())
    assert len(links) > 400
    assert len(places) == len({*places})
    assert {*links} <= {*places}


@pytest.mark.parametrize(
    ("name", "literature"),
    [("sin", ""), ("erf", "DLMF 7.2.1"), ("linalg.svd", "Townsend 2016"), ("gru", "Cho et al. 2014")],
)
def test_literature_that_a_rule_names(name: str, literature: str) -> None:
    assert cited(rule(name).source) == literature


def test_functions_stand_where_the_page_says() -> None:
    places = re.findall(r"\| `torch\.([\w.]+)\(", names_page())
    assert {"sin", "nn.functional.gelu", "special.entr", "Tensor.view", "linalg.det"} <= {*places}
    properties = {"Tensor.H", "Tensor.T", "Tensor.mH", "Tensor.mT"}
    assert all(callable(operator.attrgetter(place)(torch)) for place in {*places} - properties)
