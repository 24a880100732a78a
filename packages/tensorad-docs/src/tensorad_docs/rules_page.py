"""The page of the site that lists every rule, and the one that lists every function of torch that has one."""

import textwrap
from pathlib import Path

import tensorad
from tensorad.op import OPS, ROWS
from tensorad.rule import RuleCard, rule

HEAD = """# Every rule

For each op, the cotangent of each operand as a formula, where `g` is the cotangent of the output; what a node saves of
a call; and below each table, the file that it was made from. `ts.rule(torch.sin)` says the same of one op.

Functions that torch composes of others need no row: they are differentiated through their parts, and
[coverage](coverage.md) says what is then left. Ops marked *linear* are linear in their operands taken together, so
that the tangent of the output is the op of the tangents. Ops marked *internal* are no functions of torch's: other rules
are written in them.

In the formulas, `·` multiplies entry by entry, `@` matrices; a function that is not torch's is in the file below the
table. `out` is the output, and `residuals` is what the op's function kept of its work besides; of several outputs, and
of their cotangents, `out[0]` and `g[0]` are the first.
"""


NAMES_HEAD = """# Functions of torch

Every function of torch that tensorad has a row for has its name here: `ts.sin` is `torch.sin`, of torch's arguments, on
Tensors. Torch's functions and methods are the same ops: `ts.sin(t)`, `torch.sin(t)` and `t.sin()` are one. Those of
`torch.linalg`, `torch.fft`, `torch.special` and `torch.nn.functional` go by their last name: `ts.det`, `ts.rfft`,
`ts.entr`, `ts.conv2d`. A function that is missing here can still be called on Tensors, by torch's name, if torch makes
it of some that are here: [coverage](../coverage.md).

The title of each family leads to its rules.
"""


def page() -> str:
    """The page of all rules, as Markdown."""
    rows = {ROWS.get(call, call): rule(call) for call in [*OPS.values(), *ROWS]}  # one for all the names of a row
    cards = list({(card.file, card.name): card for card in rows.values()}.values())
    constants = ", ".join(f"`{name}`" for name, call in OPS.items() if ROWS.get(call, call) is None)
    files = sorted({card.file for card in cards if card.file.startswith("rules/")})
    families = [family(file, [card for card in cards if card.file == file]) for file in files]
    return "\n".join([HEAD, *families, "## Without a derivative\n", f"Declared as constants: {constants}.\n"])


def names_page() -> str:
    """The page of all functions that `ts.` offers under torch's names, as Markdown."""
    families: dict[str, list[str]] = {}
    for name in dir(tensorad):
        if name in OPS:
            families.setdefault(rule(name).file, []).append(name)
    made, constants = families.pop("creation.py"), families.pop("")
    parts = [
        f"## [{title(file)}](../rules.md#{Path(file).stem})\n\n{_codes(families[file])}\n" for file in sorted(families)
    ]
    filled = f"## [Filled tensors](tensors.md#filled-tensors)\n\n{_codes(made)}\n"
    without = f"## [Without a derivative](../rules.md#without-a-derivative)\n\n{_codes(constants)}\n"
    return "\n".join([NAMES_HEAD, *parts, filled, without])


def _codes(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def title(file: str) -> str:
    """What a file of rules is called on the pages."""
    return Path(file).stem.replace("_", " ").capitalize()


def family(file: str, cards: list[RuleCard]) -> str:
    """The section on one file of rules."""
    text = Path(tensorad.__file__).with_name("rules").joinpath(Path(file).name).read_text()
    about = text.split('"""')[1].strip().splitlines()[0]
    table = ["| op | cotangents | saves |", "|---|---|---|", *map(row, cards)]
    notes = [f"- {note}" for card in cards for note in card.notes]
    fold = f'??? note "The source: {file}"\n'
    source = textwrap.indent(f"```python\n{text}```\n", "    ")
    parts = [f"## {title(file)}\n", f"{about}\n", *table, "", *dict.fromkeys(notes), "", fold, source]
    return "\n".join(parts)


def row(card: RuleCard) -> str:
    """A row of a family's table."""
    if card.kind == "composed":
        return f"| `{card.name}` | made of other ops | |"
    name = f"`{card.name}`" + ", *linear*" * (card.kind == "linear op") + ", *internal*" * card.internal
    cotangents = "<br>".join(f"{operand}: `{formula}`" for operand, formula in card.formulas.items())
    return f"| {name} | {cotangents} | {', '.join(card.saves)} |"
