"""Tab in the line of `%grad` and `%%grad`: its options, `wrt`, and the notebook's names."""

from typing import Any

from IPython.core.error import TryNext

from tensorad_ipython.magics import parser_of

_KEYS = ("%grad", "%%grad")


def _complete(shell: Any, event: Any) -> list[str]:
    line, word = event.text_until_cursor, event.symbol
    if "." in word or line[: len(line) - len(word)].endswith(("'", '"')):
        raise TryNext  # an attribute, the key of a dict: IPython knows better
    options = parser_of(shell)._option_string_actions
    before = line[: len(line) - len(word)].split()
    if word.startswith("-"):
        return sorted(options)
    if before and before[-1] in options and options[before[-1]].choices:
        return list(options[before[-1]].choices or ())
    names = [name for name in shell.user_ns if not name.startswith("_")]
    return sorted(names) + ["wrt"] * ("wrt" not in before)


def attach(shell: Any) -> None:
    """Let `shell` complete the magics' lines."""
    for key in _KEYS:
        shell.set_hook("complete_command", _complete, str_key=key)


def detach(shell: Any) -> None:
    """Undo `attach`: IPython keeps hooks by the string that calls for them."""
    for key in _KEYS:
        chain = shell.strdispatchers["complete_command"].strs.get(key)
        if chain is not None:
            chain.chain[:] = [(rank, hook) for rank, hook in chain.chain if hook.__func__ is not _complete]
