"""What may not grow unnoticed: the engine's core, the rules, and what an import brings along."""

import ast
import inspect
import io
import statistics
import subprocess
import sys
import tokenize
from pathlib import Path

import tensorad
from tensorad.call import Op
from tensorad.op import ROWS

ENGINE = Path(tensorad.__file__).parent
CORE = ["tensor.py", "node.py", "grad.py", "backward.py", "call.py"]


def code_lines(path: Path) -> int:
    """The lines that hold code: no comments, no docstrings, no blank lines."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code: set[int] = set()
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - documented)


def test_the_core_stays_small() -> None:
    assert sum(code_lines(ENGINE / name) for name in CORE) <= 250


def test_a_rule_is_a_line_or_two() -> None:
    lengths = []
    for op in ROWS.values():
        for rule in op.rules.values() if isinstance(op, Op) else ():
            if (rule.__module__ or "").startswith("tensorad.rules."):  # not the rows that tests have added
                lengths.append(len(inspect.getsource(rule).splitlines()))
    assert len(lengths) > 300
    assert statistics.median(lengths) <= 2


def test_an_import_brings_torch_and_nothing_else() -> None:
    program = "import sys, torch; before = set(sys.modules); import tensorad; print(*(set(sys.modules) - before))"
    brought = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    roots = {name.partition(".")[0] for name in brought}
    assert roots - set(sys.stdlib_module_names) <= {"tensorad", "torch", "optree", "typing_extensions", "mypyc"}
