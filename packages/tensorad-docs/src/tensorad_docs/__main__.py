"""The commands: `python -m tensorad_docs` lists the tutorials, `... open` copies them out, `... run` runs them."""

import argparse
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import nbformat

from tensorad_docs.running import reports
from tensorad_docs.tutorial import Tutorial, tutorials


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words of the command line say; 0 if all went well."""
    known = {each.name: each for each in tutorials()}
    given = parser_of(known).parse_args(words)
    match given.command:
        case "open":
            return copied_out(list(known.values()), given.to, given.name, not given.no_lab)
        case "run":
            return ran([known[name] for name in given.names or known])
        case _:
            return listed(list(known.values()))


def parser_of(known: Iterable[str]) -> argparse.ArgumentParser:
    """What reads the command line: `known` are the names of the tutorials."""
    parser = argparse.ArgumentParser(prog="python -m tensorad_docs", description="The tutorials of tensorad.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="say which tutorials there are (as without a command)")
    opening = commands.add_parser("open", help="copy the tutorials out as notebooks and open JupyterLab there")
    opening.add_argument("name", nargs="?", choices=known, metavar="NAME", help="the tutorial to open")
    places = "where to copy them (default: %(default)s); notebooks that are there already stay as they are"
    opening.add_argument("--to", type=Path, default=Path("tensorad-tutorials"), metavar="DIR", help=places)
    opening.add_argument("--no-lab", action="store_true", help="copy them, and do not open JupyterLab")
    running = commands.add_parser("run", help="run tutorials from the first cell to the last, and report")
    running.add_argument("names", nargs="*", type=_one_of(known), metavar="NAME", help="which to run (default: all)")
    return parser


def _one_of(known: Iterable[str]) -> Callable[[str], str]:
    """What takes the name of a tutorial, and nothing else: argparse would ask that of an empty list too."""

    def name(word: str) -> str:
        if word not in known:
            raise argparse.ArgumentTypeError(f"there is no tutorial {word!r} (choose from {', '.join(known)})")
        return word

    return name


def listed(tutorials: list[Tutorial]) -> int:
    """Print the names, titles and subjects."""
    for each in tutorials:
        print(f"{each.name}: {each.title}")
        print(textwrap.indent(textwrap.fill(each.about, 96), "    "))
    print("\nOpen one in JupyterLab: python -m tensorad_docs open NAME")
    return 0


def copied_out(tutorials: list[Tutorial], folder: Path, name: str | None, lab: bool) -> int:
    """Write the notebooks into `folder`, keep those that a reader has worked in, and open JupyterLab."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in tutorials:
        file = folder / f"{each.name}.ipynb"
        if file.exists():
            print(f"{file} is there already, and stays as it is")
        else:
            nbformat.write(each.notebook(), file)
            print(f"{file}")
    if not lab:
        return 0
    return subprocess.run([sys.executable, "-m", "jupyterlab", f"{name}.ipynb" if name else "."], cwd=folder).returncode


def ran(tutorials: list[Tutorial]) -> int:
    """Run tutorials, and print how each of them went."""
    well = True
    for good, text in reports(tutorials):
        print(text, flush=True)
        well = well and good
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
