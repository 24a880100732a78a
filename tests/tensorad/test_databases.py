"""The first samples of every entry of torch's databases; `nox -s oracle` takes all of them."""

from collections.abc import Iterator

import pytest
import torch
from databases import judge_forward, judge_module, judge_operator, listed, module_db, name_of, operators, unlisted

CAP = 2


@pytest.fixture(autouse=True)
def default_precision() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)  # some samples of modules change it


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_operators(dtype: torch.dtype) -> None:
    verdicts = [judge_operator(op, dtype, CAP) for op in operators(dtype)]
    assert {each.name: unlisted(each) for each in verdicts if unlisted(each)} == {}
    assert sum(each.first for each in verdicts) > len(verdicts)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_operators_in_forward_mode(dtype: torch.dtype) -> None:
    """Of every second entry: it takes as long as reverse mode."""
    verdicts = [judge_forward(op, dtype, 1) for op in operators(dtype)[dtype.is_complex :: 2]]
    assert {each.name: unlisted(each) for each in verdicts if unlisted(each)} == {}
    assert sum(each.forward > 0 for each in verdicts) > 0.95 * len(verdicts)
    assert sum(each.forward_as_torch > 0 for each in verdicts) > 0.85 * len(verdicts)


@pytest.mark.filterwarnings("ignore")
def test_modules() -> None:
    verdicts = [judge_module(info, CAP) for info in module_db]
    assert {each.name: unlisted(each) for each in verdicts if unlisted(each)} == {}
    assert sum(each.kind == "pass" and each.first > 0 for each in verdicts) >= 100
    assert sum(each.forward > 0 for each in verdicts) >= 100


@pytest.mark.filterwarnings("ignore")
def test_what_the_page_lists_is_so() -> None:
    entries = {name_of(op): op for op in operators()}
    names = {*listed("Different on purpose"), *listed("Without a rule")} & {*entries}
    assert len(names) > 10
    orders = {name: listed("Different on purpose").get(name, "first") for name in names}
    judges = {name: judge_forward if order == "forward" else judge_operator for name, order in orders.items()}
    assert [name for name in names if judges[name](entries[name], cap=12).kind == "pass"] == []


def test_the_judge_notices_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    op = next(each for each in operators() if each.name == "sin")
    assert judge_operator(op, cap=1).kind == "pass"
    assert judge_forward(op, cap=1).forward_as_torch == 1
    monkeypatch.setattr("databases.close", lambda mine, torchs: False)
    assert judge_operator(op, cap=1).kind == "wrong"
    assert judge_forward(op, cap=1).kind == "wrong"
