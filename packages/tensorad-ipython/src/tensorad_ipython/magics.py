"""`%grad` and `%%grad`: derivatives of an expression, or of what a cell computes."""

import ast
import keyword
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser, argument, kwds, magic_arguments

import tensorad as ts
from tensorad_ipython.cell import Cell, Place, finished, here, shorten_traceback
from tensorad_ipython.check import Checker, drawing
from tensorad_ipython.derivatives import Run, run
from tensorad_ipython.names import Names
from tensorad_ipython.request import HOW, Request, read
from tensorad_ipython.result import result_of

MOST_NAMES = 12  # of more, the first and the last are shown


@magics_class
class GradMagics(Magics):
    """The magics of one shell, and which of the notebook's names are their results."""

    shell: Any

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.names = Names(shell.user_ns)

    # Target and sources are no arguments of the parser: what it leaves over, IPython completes as code.
    @magic_arguments()
    @kwds(usage="%(prog)s [TARGET wrt SOURCE, ...] [options]")
    @argument("-n", "--order", type=int, metavar="N", help="how many contexts, and so derivatives, are nested (1)")
    @argument("--jacobian", action="store_true", help="every entry of the target by every entry of the sources")
    @argument("--hessian", action="store_true", help="all second derivatives")
    @argument("--cotangent", metavar="EXPR", help="what the target is seeded with, of its shape, instead of ones")
    @argument(
        "--check", nargs="?", const="differences", choices=["differences", "torch"], metavar="torch",
        help="run the cell again and compare with finite differences, or with torch.autograd",
    )  # fmt: skip
    @argument("--into", metavar="NAME", help="bind the derivatives to NAME, NAME2, ..., whatever the sources are")
    @argument("-q", "--quiet", action="store_true", help="bind the names, show nothing")
    @argument("-h", "--help", action="store_true", help="show this text")  # pyright: ignore[reportUntypedFunctionDecorator]
    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def grad(self, line: str, cell: str | None = None, local_ns: Any = None) -> Any:
        """Derivatives of a cell, or of an expression.

        `%%grad y wrt x -n 3` runs the cell inside three nested `Grad` contexts, differentiates y by x order by order,
        shows y, dy/dx, d²y/dx², d³y/dx³, and leaves dx, d2x, d3x and the contexts g1 (the innermost), g2, g3 in the
        notebook. TARGET is an expression, evaluated after the cell inside the contexts. SOURCES are expressions too,
        separated by commas: Tensors, or lists and dicts of them.

        `%grad x ** 3 wrt x -n 2` takes an expression instead of a cell, and can be assigned:
        `y, dx, d2x = %grad x ** 3 wrt x -n 2`. `%%grad -n 2` alone opens the contexts g1 and g2 around a cell that
        calls g1.gradient(...) itself.

        A source that is a plain name x binds dx, d2x, ...; with --jacobian Jx, with --hessian dx and Hx. Of a target
        that is no scalar, the sum is differentiated, unless --cotangent or --jacobian says otherwise. A space in an
        option's EXPR needs brackets around it.

        Examples:

            %%grad loss wrt weight, bias
            loss = ((inputs @ weight + bias - targets) ** 2).mean()

            %%grad loss wrt params -n 2 --into d
            loss = model(params, inputs)

            %grad torch.sin(x) wrt x -n 2 --check torch
        """
        request = read(line, parser_of(self.shell))
        options = request.options
        if options.help:
            print(GradMagics.grad.__doc__)
            return None
        order = _order(request, cell)
        if cell is None:
            quiet = options.quiet or line.rstrip().endswith(";")
            inner = None if local_ns is self.shell.user_ns else local_ns
            return finished(self._run(request, order, here(self.shell, inner), _nothing, quiet))
        body = Cell(self.shell, line, cell, self.shell.displayhook.prompt_count)
        quiet = bool(options.quiet or DisplayHook.semicolon_at_end_of_expression(cell))
        coroutine = self._run(request, order, body.place, body.run, quiet)
        return coroutine if body.awaits else finished(coroutine)

    async def _run(
        self, request: Request, order: int, place: Place, body: Callable[[], Awaitable[Any]], quiet: bool
    ) -> Any:
        contexts = {f"g{depth}": ts.Grad(name=f"g{depth}") for depth in range(1, order + 1)}
        here = place.inner is None  # else in a function, whose names are its own
        redraw = drawing() if request.options.check else None
        try:
            with self.names.bound(contexts if here else {}) as said:
                found = await run(request, list(contexts.values()), place, body)
                if request.target is None:
                    return None if quiet else found.value
                checks = await Checker(request, order, place, body, redraw, found).notes() if redraw else []
        except BaseException as error:
            shorten_traceback(self.shell, error, place)
            raise
        names = found.names(request.options.into) if here else {}
        said += self.names.bind(names)
        if quiet:
            return None
        if found.value is not None and found.value is not found.target:
            sys.displayhook(found.value)  # the cell's own last expression
        kept = [f"names: {_abridged([*names])}; contexts: {_abridged([*contexts])}"] if here else []
        return result_of(request, found, [*checks, *_remarks(request, order, found), *said, *kept])


def parser_of(shell: Any) -> MagicArgumentParser:
    """The parser that IPython made of the arguments above."""
    return shell.magics_manager.magics["line"]["grad"].parser


async def _nothing() -> None:
    """The body of a line magic."""


def _order(request: Request, cell: str | None) -> int:
    """How many contexts to open; or a UsageError for options that do not go together."""
    options = request.options
    if request.target is None:
        if cell is None:
            raise UsageError(f"%grad needs a target and sources, such as `%grad x ** 3 wrt x`: {HOW}")
        for name in ("jacobian", "hessian", "cotangent", "check", "into"):
            if getattr(options, name):
                raise UsageError(f"--{name} needs a target and sources: {HOW}")
    if options.jacobian and (options.hessian or options.cotangent):
        raise UsageError("--jacobian goes with neither --hessian nor --cotangent: it has all rows, of the first order")
    if options.order is not None and (options.jacobian or options.hessian):
        raise UsageError("--jacobian is of the first order and --hessian of the second: leave out -n")
    if options.order is not None and options.order < 1:
        raise UsageError(f"-n {options.order}: the order is 1 or more")
    if options.into and (not options.into.isidentifier() or keyword.iskeyword(options.into)):
        raise UsageError(f"--into {options.into}: that is no name")
    if options.cotangent:
        try:
            ast.parse(options.cotangent, mode="eval")
        except SyntaxError as error:
            raise UsageError(f"cannot read `{options.cotangent}`: {error.msg}") from error
    return options.order or (2 if options.hessian else 1)


def _abridged(names: list[str]) -> str:
    return ", ".join(names if len(names) <= MOST_NAMES else [*names[:3], "...", names[-1]]) or "none"


def _remarks(request: Request, order: int, found: Run) -> list[str]:
    """What a reader of the result should know of what it is."""
    assert request.target is not None
    remarks: list[str] = []
    entries = found.target.data.numel()
    if entries != 1 and not request.options.cotangent and not request.options.jacobian:
        remarks.append(f"{request.target.text} has {entries:,} entries: what is differentiated is their sum")
    if order > 1 and not request.options.hessian and any(each.data.numel() != 1 for each in found.tensors.values()):
        remarks.append("each higher order is of the sum of the one before it: --hessian has all second derivatives")
    unnamed = [source.label for source in found.sources if not source.name]
    if unnamed and not request.options.into:
        remarks.append(f"--into NAME keeps what is not named: by {', '.join(unnamed)}")
    return remarks
