"""The page of the site that lists every rule, and the one that lists every function of torch that has one."""

import inspect
import re
import textwrap
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import tensorad
from tensorad.op import OPS, ROWS, find, spaces
from tensorad.rule import RuleCard, rule

HEAD = """# Every rule

For each op, the cotangent of each operand as a formula, where `g` is the cotangent of the output; what a node saves of
a call; the literature that its source names, where the formula is not school mathematics; and below each table, the
file that it was made from. `ts.rule(torch.sin)` says the same of one op. DLMF is the Digital Library of Mathematical
Functions.

Functions that torch composes of others need no row: they are differentiated through their parts, and
[coverage](coverage.md) says what is then left. Ops marked *linear* are linear in their operands taken together, so
that the tangent of the output is the op of the tangents. Ops marked *internal* are no functions of torch's: other rules
are written in them.

In the formulas, `·` multiplies entry by entry, `@` matrices; a function that is not torch's is in the file below the
table. `out` is the output, and `residuals` is what the op's function kept of its work besides; of several outputs, and
of their cotangents, `out[0]` and `g[0]` are the first.
"""

CITED = re.compile(r"DLMF [\d.]*\d|(?:[A-Z]\w+ (?:and |et al\. )?)+(?:19|20)\d\d\b")

NAMES_HEAD = """# Functions of torch

Every function of torch that tensorad has a row for has its name here: `ts.sin` is `torch.sin`, of torch's arguments, on
Tensors. Torch's functions and methods are the same ops: `ts.sin(t)`, `torch.sin(t)` and `t.sin()` are one. Those of
`torch.linalg`, `torch.fft`, `torch.special` and `torch.nn.functional` go by their last name: `ts.det`, `ts.rfft`,
`ts.entr`, `ts.conv2d`. A function that is missing here can still be called on Tensors, by torch's name, if torch makes
it of some that are here: [coverage](../coverage.md).

What holds for all of them:

- **Arguments** are torch's, by position or by torch's names; `axis` and `keepdims` do for `dim` and `keepdim`. An
  operand is a Tensor, a torch tensor, a numpy array or a number; a parameter of a `torch.nn` module counts as a Tensor.
- **Shapes and dtypes** of results are torch's: operands broadcast, and their dtypes are promoted. A gradient has the
  shape and the dtype of what it is taken by.
- **Results** are Tensors, in torch's own kind of tuple where there are several. The contexts that are open record those
  of a floating or complex dtype, unless all operands are constants; whole numbers and bools are constants.
- **Errors** about arguments are torch's own, of the same types. `out=` of torch's functions raises
  [`InPlaceError`][tensorad.errors.InPlaceError], since Tensors are values; a function without a row that is not made
  of others raises [`NoRuleError`][tensorad.errors.NoRuleError].

The last column leads to the derivative of each.
"""


def page() -> str:
    """The page of all rules, as Markdown."""
    rows = {ROWS.get(call, call): rule(call) for call in [*OPS.values(), *ROWS]}  # one for all the names of a row
    cards = list({(card.file, card.name): card for card in rows.values()}.values())
    constants = ", ".join(f"`{name}`" for name, call in OPS.items() if ROWS.get(call, call) is None)
    files = sorted({card.file for card in cards if card.file.startswith("rules/")})
    linked = {anchor(card.name): card for card in reversed(cards)}  # of one name: what users call, before what it calls
    families = [family(file, [card for card in cards if card.file == file], linked) for file in files]
    return "\n".join([HEAD, *families, "## Without a derivative\n", f"Declared as constants: {constants}.\n"])


def names_page() -> str:
    """The page of all functions that `ts.` offers under torch's names, as Markdown."""
    families: dict[str, dict[str, list[str]]] = {}  # file -> the name of a row there -> its names in tensorad
    for name in dir(tensorad):
        if name in OPS:
            card = rule(name)
            families.setdefault(card.file, {}).setdefault(card.name, []).append(name)
    made, constants = (_codes(chain(*families[file].values())) for file in ("creation.py", ""))
    parts = [section(title(file), families[file]) for file in sorted(families) if file.startswith("rules/")]
    filled = f"## [Filled tensors](tensors.md#filled-tensors)\n\n{made}\n"
    without = f"## [Without a derivative](../rules.md#without-a-derivative)\n\n{constants}\n"
    return "\n".join([NAMES_HEAD, *parts, filled, without])


def section(heading: str, rows: dict[str, list[str]]) -> str:
    """The functions of one family: the names of each in tensorad, torch's with its arguments, the way to its rule."""
    table = ["| function | torch's | rule |", "|---|---|---|"]
    for form, names in rows.items():
        name, bracket, _ = form.partition("(")
        arguments = form.removeprefix(name) if bracket else _arguments(OPS[names[0]])
        link = f"[{name.rpartition('.')[2]}](../rules.md#{anchor(form)})"
        table.append(f"| {_codes(names)} | `{torchs(name)}{arguments}` | {link} |")
    return "\n".join([f"## {heading}\n", *table, ""])


def torchs(name: str) -> str:
    """Where torch has a function: `torch.sin`, `torch.Tensor.view`; the name alone of one that it has for itself."""
    if not find(name):
        return name
    homes = dict(zip(("torch", "torch.nn.functional", "torch.special", "torch.Tensor"), spaces(), strict=True))
    return f"{next((home for home, space in homes.items() if hasattr(space, name)), 'torch')}.{name}"


def _arguments(call: Any) -> str:
    signature = inspect.signature(call)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(inspect.Signature(bare))


def anchor(row: str) -> str:
    """What links on the site lead to, for the row of that name on the page of all rules."""
    return f"ts.{row.partition('(')[0]}"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`ts.{name}`" for name in names)


def title(file: str) -> str:
    """What a file of rules is called on the pages."""
    return Path(file).stem.replace("_", " ").capitalize()


def family(file: str, cards: list[RuleCard], linked: dict[str, RuleCard]) -> str:
    """The section on one file of rules."""
    text = Path(tensorad.__file__).with_name("rules").joinpath(Path(file).name).read_text()
    about = text.split('"""')[1].strip().splitlines()[0]
    table = ["| op | cotangents | saves | literature |", "|---|---|---|---|"]
    table += [row(card, linked[anchor(card.name)] is card) for card in cards]
    notes = [f"- {note}" for card in cards for note in card.notes]
    fold = f'??? note "The source: {file}"\n'
    source = textwrap.indent(f"```python\n{text}```\n", "    ")
    parts = [f"## {title(file)}\n", f"{about}\n", *table, "", *dict.fromkeys(notes), "", fold, source]
    return "\n".join(parts)


def row(card: RuleCard, linked: bool) -> str:
    """A row of a family's table, and whether links lead to it."""
    name = f"`{card.name}`" + f"{{#{anchor(card.name)}}}" * linked
    if card.kind == "composed":
        return f"| {name} | made of other ops | | {cited(card.source)} |"
    name += ", *linear*" * (card.kind == "linear op") + ", *internal*" * card.internal
    cotangents = "<br>".join(f"{operand}: `{formula}`" for operand, formula in card.formulas.items())
    return f"| {name} | {cotangents} | {', '.join(card.saves)} | {cited(card.source)} |"


def cited(source: str) -> str:
    """The formulas of DLMF, and the papers, that the source of a rule names."""
    return ", ".join(dict.fromkeys(CITED.findall(source)))
