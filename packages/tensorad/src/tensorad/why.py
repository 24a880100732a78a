"""Why a gradient is what it is: how a source reaches a target, or where the path breaks, in words."""

from typing import TYPE_CHECKING

from tensorad.errors import NotRecordedError
from tensorad.node import Node
from tensorad.site import line, line_of, name_of, name_of_context
from tensorad.walk import ancestors

if TYPE_CHECKING:
    from tensorad.grad import Grad
    from tensorad.tensor import Tensor

_SHOWN = 5  # lines that made constants of values
_REPLACED = "made, or given a new value (x += ..., x[i] = ...), after the target was computed"


def why(context: "Grad", target: "Tensor", source: "Tensor") -> str:
    """How `source` reaches `target` in what `context` recorded, or where the path breaks."""
    name = name_of_context(context)
    if source.node is None or target.node is None:
        path: list[Node] = []
    else:
        path = path_between(target.node, source.node)
    if path and all(context in node.contexts for node in path[1:]):
        if len(path) == 1:
            return "the target is the source itself: the gradient is the cotangent"
        return "the target depends on the source:\n" + "\n".join(f"  {describe(node)}" for node in path)
    if target.node is None or context not in target.node.contexts:
        return str(not_recorded(context, target))
    if path:
        return cut_path(context, target, source)
    reasons = cuts(context)
    if len(reasons) > _SHOWN:
        reasons = [*reasons[:_SHOWN], f"  and {len(reasons) - _SHOWN} more lines like these"]
    if born(source) > born(target):
        reasons.append(f"  the source was {_REPLACED}")
    lines = [
        f"the target does not depend on the source in what {name} recorded." + " Possible reasons:" * bool(reasons)
    ]
    lines += [*reasons, "Nothing that it was computed from uses the source. Its paths end at:"]
    for node in ends(context, target.node):
        lines.append(f"  {describe(node)}, shape {tuple(node.shape)}, {_origin(context, node)}")
    return "\n".join(lines)


def _origin(context: "Grad", node: Node) -> str:
    """Where a value comes from that is a leaf to `context`."""
    name = name_of_context(context)
    if node.number < (context.opened or 0):
        unknown = "" if node.op else f", an input, or computed under no context (then compute it inside {name})"
        return f"made before {name} opened{unknown}"
    return "made by nothing recorded"


def cuts(context: "Grad") -> list[str]:
    """The lines, while `context` was open, that turned a value into a constant."""
    stops: dict[str, str] = dict.fromkeys(
        ("torch.no_grad()", "stop_gradient()"), "stops the recording: its result is a constant"
    )
    none = "has no derivative: what is computed from its result is a constant"
    return [f"  {how} {line(site)} {stops.get(how, none)}" for site, how in context.cuts.items()]


def cut_path(context: "Grad", target: "Tensor", source: "Tensor") -> str:
    """The words for a path from source to target that is cut at the edge of `context`; "" if there is none."""
    if source.node is None or target.node is None:
        return ""
    name = name_of_context(context)
    cut = [node for node in path_between(target.node, source.node)[1:] if context not in node.contexts]
    if cut:
        return (
            f"the target depends on the source through {describe(cut[-1])}, which {when(context, cut[-1].number)}, so "
            f"it is a constant to {name} and the gradient is zero. Compute it inside the block of {name}"
        )
    if born(source) > born(target):
        return f"the source was {_REPLACED}, so the target cannot depend on it and the gradient is zero"
    return ""


def not_recorded(context: "Grad", target: "Tensor") -> NotRecordedError:
    """The error for a target that `context` did not record: it says when the target was made and what to do."""
    name = name_of_context(context)
    opened = f"{name} (opened {line(context.site)})"
    made = f" It is the result of {describe(target.node)}." if target.node and target.node.op else ""
    if born(target) < (context.opened or 0):
        fault, remedy = f"was made before {opened} opened", "compute it inside the block, or open the context earlier"
    elif context.closed is not None and born(target) > context.closed:
        fault = f"was computed after {opened} closed"
        remedy = f"indent the line that computes it, so that it runs inside the block of {name}"
    elif target.node is None or not target.node.contexts:
        fault = (
            f"was recorded by no context, although {name} was open: nothing it was computed from is a Tensor with a "
            "derivative, or recording was stopped (stop_gradient, torch.no_grad, detach, another thread)"
        )
        remedy = "make the inputs with tensorad.tensor(...) before they are used"
        remedy += "".join(f"\n{cut}" for cut in cuts(context)[:_SHOWN])
    else:
        fault, remedy = (
            f"was recorded by other contexts than {opened}",
            "ask one of those, or compute it under this one",
        )
    return NotRecordedError(f"the target {fault}.{made} So {name} knows nothing about it: {remedy}")


def when(context: "Grad", number: int) -> str:
    """When the value with this number was made, seen from `context`."""
    name = name_of_context(context)
    if number < (context.opened or 0):
        return f"was made before {name} opened"
    after = context.closed is not None and number > context.closed
    return f"was made after {name} closed" if after else f"{name} did not record"


def born(tensor: "Tensor") -> int:
    return tensor.node.number if tensor.node else tensor.born


def path_between(target: Node, source: Node) -> list[Node]:
    """A shortest path from `source` to `target` along the edges, whoever recorded them; empty if there is none."""
    came_from: dict[Node, Node | None] = {target: None}
    layer = [target]
    while layer and source not in came_from:
        following: list[Node] = []
        for node in layer:
            for parent in node.parents:
                # Parents are older than their children, so nothing older than the source leads to it.
                if parent is not None and parent not in came_from and parent.number >= source.number:
                    came_from[parent] = node
                    following.append(parent)
        layer = following
    path: list[Node] = []
    step: Node | None = source if source in came_from else None
    while step is not None:
        path.append(step)
        step = came_from[step]
    return path


def ends(context: "Grad", target: Node) -> list[Node]:
    """Where the walk back from `target` ends: the first few leaves, as seen by `context`."""
    reached = ancestors([target], lambda node: context in node.contexts)
    return [node for node in reached if context not in node.contexts][:5]


def describe(node: Node) -> str:
    """Such as `sin at train.py:3 ('y = ts.sin(x)')`."""
    what = name_of(node)
    label = f"{node.name} = {what}" if node.name and node.op else node.name or what
    return f"{label} {line_of(node)}".rstrip() if node.op else label
