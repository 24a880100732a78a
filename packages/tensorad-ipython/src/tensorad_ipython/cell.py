"""Running a cell as IPython runs it: its magics and `!` lines, `await`, the last expression, its own file and lines.

A nested `run_cell` would do less: it hides errors from whoever runs the notebook, and cannot await.
"""

import ast
import contextlib
import inspect
import itertools
import linecache
import sys
import types
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from IPython import get_ipython
from IPython.core.error import UsageError

import tensorad as ts


@dataclass(frozen=True)
class Place:
    """A line of the notebook from which things are called, so that errors and warnings point to it."""

    file_name: str
    line: int
    names: dict[str, Any]
    binds: bool = True  # whether these are the notebook's names; a function's are its own

    def evaluate(self, text: str) -> Any:
        """The value of the expression `text`."""
        return self._run(ast.parse(f"({text})", mode="eval"), self.names)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function(*args, **kwargs)`, called from this line."""
        names = {"_function": function, "_args": args, "_kwargs": kwargs}  # pictures do not take such for names
        return self._run(ast.parse("_function(*_args, **_kwargs)", mode="eval"), names)

    def _run(self, tree: ast.Expression, names: dict[str, Any]) -> Any:
        ast.increment_lineno(tree, self.line - 1)
        return eval(compile(tree, self.file_name, "eval"), self.names, names)

    @property
    def shows(self) -> bool:
        """Whether IPython shows what the magic returns, unless it is None: not what is assigned, or in a block."""
        text = linecache.getline(self.file_name, self.line)
        return text.startswith(("get_ipython().run_line_magic(", "%"))


class Cell:
    """The body of a cell magic, ready to run, any number of times."""

    def __init__(self, shell: Any, line: str, body: str, count: int) -> None:
        self.shell = shell
        header = f"%%grad {line}".rstrip()
        above = _above(shell, f"{header}\n{body}")
        self.lines_above = above.count("\n") + 1
        blank = len(list(itertools.takewhile(str.isspace, body.splitlines(keepends=True))))
        try:
            self.source = "\n" * blank + shell.transform_cell(body)  # IPython takes leading blank lines away
        except SyntaxError as error:
            error.lineno = (error.lineno or 0) + self.lines_above
            raise
        # Under this name the text is found again, with the line of the magic, by tracebacks and by tensorad's messages.
        text = f"{above}{header}\n"
        name = shell.compile.cache(text + self.source, count, raw_code=text + body)
        self.place = Place(name, self.lines_above, shell.user_ns)

    @cached_property
    def awaits(self) -> bool:
        """Whether it awaits something; or a SyntaxError, at the right line of the cell."""
        with self._flags():
            code = self.shell.compile(self._tree(), self.place.file_name, "exec")
        return bool(code.co_flags & inspect.CO_COROUTINE)

    def _tree(self) -> ast.Module:
        return self.shell.compile.ast_parse("\n" * self.lines_above + self.source, self.place.file_name)

    def _flags(self) -> AbstractContextManager[None]:
        return self.shell.compile.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if self.shell.autoawait else 0)

    @cached_property
    def codes(self) -> list[types.CodeType]:
        """Code for each statement, so compiled that evaluating it gives, or shows, what the shell would show."""
        interactivity = self.shell.ast_node_interactivity
        with self._flags():
            statements = self.shell.transform_ast(self._tree()).body
            if interactivity == "last_expr_or_assign" and statements:
                statements += _assigned(statements[-1])
            return [self._code(node, node is statements[-1], interactivity) for node in statements]

    def _code(self, node: ast.stmt, last: bool, interactivity: str) -> types.CodeType:
        if not isinstance(node, ast.Expr) or interactivity == "none" or not (last or interactivity == "all"):
            return self.shell.compile(ast.Module([node], []), self.place.file_name, "exec")
        if last:
            return self.shell.compile(ast.Expression(node.value), self.place.file_name, "eval")
        return self.shell.compile(ast.Interactive([node]), self.place.file_name, "single")

    async def run(self) -> Any:
        """Run it in the notebook's names; the value of its last expression."""
        result = None
        for code in self.codes:
            result = eval(code, self.place.names)
            if code.co_flags & inspect.CO_COROUTINE:
                result = await result
        return result


def _assigned(statement: ast.stmt) -> list[ast.Expr]:
    """The name that `statement` assigns to, as an expression to show; nothing if it assigns to no plain name."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name):
        return []
    return [ast.copy_location(ast.Expr(ast.copy_location(ast.Name(targets[0].id, ast.Load()), statement)), statement)]


def _above(shell: Any, text: str) -> str:
    """The lines of the cell above `text`, such as `%%time`."""
    raw = (shell.history_manager.input_hist_raw if shell.history_manager else [""])[-1].rstrip()
    return raw.removesuffix(text.rstrip()) if raw.endswith("\n" + text.rstrip()) else ""


def rewritten(lines: list[str]) -> list[str]:
    """A step of IPython's transformation of cells: `%%grad` cells that await are awaited; empty ones are line magics.

    And a cell with an error of syntax is refused here, before it runs, as IPython refuses any other.
    """
    if len(lines) == 1 and lines[0].startswith("get_ipython().run_cell_magic('grad', "):
        shell, tree = get_ipython(), ast.parse(lines[0].strip(), mode="eval").body
        _, line, body = map(ast.literal_eval, tree.args) if isinstance(tree, ast.Call) else ("", "", "")
        if not body.strip():
            return [f"get_ipython().run_line_magic('grad', {line!r})\n"]
        if Cell(shell, line, body, shell.execution_count).awaits:
            return ["await " + lines[0]]
    return lines


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    except RuntimeError as error:
        raise of_the_user(error) from None
    coroutine.close()
    raise UsageError("this cell awaits something: run it as a cell of its own, with %%grad as its first line")


def of_the_user(error: BaseException) -> BaseException:
    """The user's own error: a coroutine makes another one of StopIteration."""
    cause = error.__cause__
    return cause if isinstance(error, RuntimeError) and isinstance(cause, StopIteration) else error


def here(shell: Any, local_names: dict[str, Any]) -> Place:
    """The user's own line from which a line magic is called."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals is not shell.user_ns:
        frame = frame.f_back
    binds = local_names is shell.user_ns
    # One dict of all names, so that a comprehension or a lambda sees the function's too.
    return Place(frame.f_code.co_filename, frame.f_lineno, local_names if binds else shell.user_ns | local_names, binds)


def shorten_traceback(shell: Any, error: BaseException, place: Place) -> None:
    """Let IPython show `error` from the user's own line on, without the frames of the magic.

    Where tensorad refuses what the magic's own line asks for, that line is all there is to see.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is not place.names:
        trace = trace.tb_next
    if trace is None:
        return
    if isinstance(error, ts.TensorADError) and trace.tb_lineno == place.line:
        trace = types.TracebackType(None, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)

    def render(self: BaseException) -> list[str]:
        return shell.InteractiveTB.structured_traceback(type(self), self, trace, tb_offset=0)

    with contextlib.suppress(AttributeError, TypeError):  # an error with slots is shown whole
        error._render_traceback_ = types.MethodType(render, error)  # type: ignore[attr-defined]
