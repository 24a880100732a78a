"""`%grad` and `%%grad`: derivatives of an expression, or of what a cell computes."""

import keyword
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser, argument, kwds, magic_arguments
from IPython.display import display

import tensorad as ts
from tensorad_ipython.cell import Cell, Place, finished, here, of_the_user, shorten_traceback
from tensorad_ipython.check import AGREE, check
from tensorad_ipython.derivatives import Run, numbered, prefixes, run
from tensorad_ipython.names import Names
from tensorad_ipython.request import HOW, Request, read, readable
from tensorad_ipython.rerun import Rerun, Start
from tensorad_ipython.result import result_of

_NAMES: WeakKeyDictionary[Any, Names] = WeakKeyDictionary()  # kept when the magics are unloaded and loaded again
MOST_NAMES = 12  # of more, the first and the last are shown
PICTURES = ("graph", "steps", "explain")  # the options that show more than the result, and the questions to a context


@magics_class
class GradMagics(Magics):
    """The magics of one shell, and which of the notebook's names are their results."""

    shell: Any

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.names = _NAMES.setdefault(shell, Names(shell.user_ns))

    # Target and sources are no arguments of the parser: what it leaves over, IPython completes as code.
    @magic_arguments()
    @kwds(usage="%(prog)s [TARGET wrt SOURCE, ...] [options]")
    @argument("-n", "--order", metavar="N", help="how many contexts, and so derivatives, are nested (1)")
    @argument("--jacobian", action="store_true", help="every entry of the target by every entry of the sources")
    @argument("--hessian", action="store_true", help="all second derivatives")
    @argument("--cotangent", metavar="EXPR", help="what the target is seeded with, of its shape, instead of ones")
    @argument(
        "--check", nargs="?", const="differences", choices=["differences", "torch"], metavar="torch",
        help="run the cell again and compare with finite differences, or with torch.autograd",
    )  # fmt: skip
    @argument("--graph", action="store_true", help="show the graph that was recorded: it unfolds on click")
    @argument("--steps", action="store_true", help="show the backward pass, to be walked through")
    @argument("--explain", action="store_true", help="show the chain rule of this run")
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
        option's EXPR needs brackets around it. --graph, --steps and --explain are of the last order: what they show is
        g1.graph(y, x), g1.steps(y, x), g1.explain(y, x).

        Examples:

            %%grad loss wrt weight, bias
            loss = ((inputs @ weight + bias - targets) ** 2).mean()

            %%grad loss wrt params -n 2 --into d
            loss = model(params, inputs)

            %grad torch.sin(x) wrt x -n 2 --check torch

            %grad (w * x).tanh() wrt w --steps
        """
        request = read(line, parser_of(self.shell))
        if request.options.help:
            print(GradMagics.grad.__doc__)
            return None
        _refuse(request, cell)
        quiet = bool(request.options.quiet or request.silent)
        if cell is None:
            return finished(self._run(request, here(self.shell, local_ns), _nothing, quiet))
        body = Cell(self.shell, line, cell, self.shell.displayhook.prompt_count)
        if body.awaits and request.options.check:
            raise UsageError("--check runs the cell again, and a cell that awaits leaves room for others meanwhile")
        quiet = quiet or bool(DisplayHook.semicolon_at_end_of_expression(body.source))
        coroutine = self._run(request, body.place, body.run, quiet)
        return coroutine if body.awaits else finished(coroutine)

    async def _run(self, request: Request, place: Place, body: Callable[[], Awaitable[Any]], quiet: bool) -> Any:
        try:
            order = _order(request, place)
            contexts = {f"g{depth}": ts.Grad(name=f"g{depth}") for depth in range(1, order + 1)}
            _refuse_names(request, order, [*contexts])
            start = Start.now(place.names) if request.options.check else None
            with self.names.bound(contexts if place.binds else {}) as said:
                found = await run(request, list(contexts.values()), place, body)
                if request.target is None:
                    _say([] if quiet else said)
                    return None if quiet else found.value
                rerun = start and Rerun(request, list(contexts.values()), place, body, start, found)
                checks = check(request.options.check, rerun) if rerun else []
        except BaseException as error:
            shorten_traceback(self.shell, of_the_user(error), place)
            raise
        names = found.names(request.options.into) if place.binds else {}
        if place.binds:
            said += self.names.bind(names | contexts)  # the contexts once more: the cell may have used their names
            said.append(f"names: {_abridged([*names])}; contexts: {_abridged([*contexts])}")
        if not quiet:
            display(*_pictures(request, found, list(contexts.values()), place))
        if quiet or not place.shows:
            _say([note for note in checks if not note.endswith(AGREE)])
            if place.shows:
                return None
        elif found.value is not None and found.value is not found.target:
            sys.displayhook(found.value)  # the cell's own last expression
        return result_of(request, found, [*checks, *_remarks(request, found, contexts["g1"]), *said])


def parser_of(shell: Any) -> MagicArgumentParser:
    """The parser that IPython made of the arguments above."""
    return shell.magics_manager.magics["line"]["grad"].parser


async def _nothing() -> None:
    """The body of a line magic."""


def _refuse(request: Request, cell: str | None) -> None:
    """A UsageError for options that do not go together, before anything has run."""
    options = request.options
    if request.target is None:
        if cell is None:
            raise UsageError(f"%grad needs a target and sources, such as `%grad x ** 3 wrt x`: {HOW}")
        for name in ("jacobian", "hessian", "cotangent", "check", *PICTURES, "into"):
            if getattr(options, name):
                raise UsageError(f"--{name} needs a target and sources: {HOW}")
    if options.jacobian and options.hessian:
        raise UsageError("--jacobian and --hessian: one at a time")
    if options.jacobian and options.cotangent:
        raise UsageError("--jacobian has all rows, --cotangent asks for one combination of them: one at a time")
    for name in ("steps", "explain"):
        if getattr(options, name) and (options.jacobian or options.hessian):
            raise UsageError(f"--{name} is of one pass, and a matrix takes one for each row: --cotangent has a row")
    if options.jacobian and options.order is not None:
        raise UsageError("--jacobian is of the first order: leave out -n")
    if options.hessian and options.order is not None:
        raise UsageError("--hessian is of the second order: leave out -n")
    if options.into and (not options.into.isidentifier() or keyword.iskeyword(options.into)):
        raise UsageError(f"--into {options.into}: that is no name")
    for text in filter(None, (options.cotangent, options.order)):
        try:
            readable(text)
        except SyntaxError as error:
            raise UsageError(f"cannot read `{text}`: {error.msg}") from error


def _order(request: Request, place: Place) -> int:
    """How many contexts to open."""
    given = request.options.order
    if given is None:
        return 2 if request.options.hessian else 1
    order = place.evaluate(given)
    if not isinstance(order, int) or order < 1:
        raise UsageError(f"-n {given}: the order is a whole number, 1 or more")
    return order


def _refuse_names(request: Request, order: int, contexts: list[str]) -> None:
    """A UsageError for a source or target that a context would hide, or an `--into` that would hide one of these."""
    for each in [request.target, *request.sources]:
        if each and each.name in contexts:
            raise UsageError(f"{each.name} is the name of a context here: give what you differentiate another one")
    prefix = prefixes(request, order)
    results = {f"{each}{source.name}" for source in request.sources for each in prefix}
    own = {each.name for each in [request.target, *request.sources] if each} | results | set(contexts)
    for name in numbered(request.options.into or "", len(prefix)):
        if name in own:
            raise UsageError(f"--into {request.options.into}: {name} is a name that this line itself needs")


def _pictures(request: Request, found: Run, contexts: list[ts.Grad], place: Place) -> Iterator[Any]:
    """What the options ask to be shown, of the last order: of all sources together, or of the derivatives before it."""
    order = found.levels[-1].order
    context, before = contexts[order - 1], found.levels[-2].values if order > 1 else {}
    passes = (
        [(last, found.tensors[label]) for label, last in before.items()] if before else [(found.target, found.tensors)]
    )
    for what in PICTURES:
        for target, sources in passes if getattr(request.options, what) else []:
            options = {"cotangent": found.cotangent} if order == 1 and what != "graph" else {}
            yield place.call(getattr(context, what), target, sources, **options)


def _say(notes: list[str]) -> None:
    for note in notes:
        print(note)


def _abridged(names: list[str]) -> str:
    return ", ".join(names if len(names) <= MOST_NAMES else [*names[:3], "...", names[-1]]) or "none"


def _remarks(request: Request, found: Run, context: ts.Grad) -> list[str]:
    """What a reader of the result should know of what it is."""
    assert request.target is not None
    options, tensors = request.options, found.tensors
    remarks: list[str] = []
    for each in found.derivatives:
        if each.order == 1 and not each.value.data.any():
            why = context.why(found.target, tensors[each.by])
            if not why.startswith(("the target depends", "the target is the source")):
                remarks.append(f"{each.by}: {why}")
    if any(each.data.is_complex() for each in (found.target, *tensors.values())):
        remarks.append("complex: this is torch's gradient, the conjugate of the derivative where there is one")
    entries = found.target.data.numel()
    if entries != 1 and not options.cotangent and not options.jacobian:
        remarks.append(f"{request.target.text} has {entries:,} entries: what is differentiated is their sum")
    if len(found.levels) > 1 and not options.hessian and any(each.data.numel() != 1 for each in tensors.values()):
        remarks.append("each higher order is of the sum of the one before it: --hessian has all second derivatives")
    unnamed = [source.label for source in found.sources if not source.name]
    if unnamed and not options.into:
        remarks.append(f"--into NAME keeps what is not named: by {', '.join(unnamed)}")
    return remarks
