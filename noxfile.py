# /// script
# requires-python = ">=3.11,<3.15"
# dependencies = ["nox[uv]>=2025.2.9"]
# ///
"""Every task of the project: `nox -l` lists them, `nox -s demo` runs one, `nox -s tests -- -k sin` passes arguments on.

The block above lets a bare `pip install nox` do: nox then fetches uv for itself, and each session's environment is made
of hard links to files that uv keeps once. Without uv all of it works too, with pip and more slowly.
"""

import hashlib
import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True

# uv reads no setting of pip's, and neither compiles what it installs: let the first run keep the bytecode.
if "PIP_FIND_LINKS" in os.environ:
    os.environ.setdefault("UV_FIND_LINKS", ",".join(os.environ["PIP_FIND_LINKS"].split()))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

CONSTRAINTS = Path("constraints.txt")
TORCH = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
ENGINE = ["-e", "packages/tensorad"]
PACKAGES = [*ENGINE, "-e", "packages/tensorad-ipython", "-e", "packages/tensorad-docs"]
DEMO = ["numpy", "scikit-learn", "tqdm"]
TESTS = ["pytest", "hypothesis", "expecttest", *DEMO]
SITE = ["mkdocs-material", "mkdocstrings-python", "ruff", "pytest"]  # ruff lays signatures out
BROWSER = ["playwright", *SITE]
BENCH = ["autograd", "mygrad", "jax"]


def install(session: nox.Session, *requirements: str) -> None:
    """Install `requirements` at the versions of constraints.txt, unless this environment has them already.

    What was installed is noted in a file in the environment, as a digest of all that decides it.
    """
    digest = hashlib.sha256(repr(requirements).encode())
    for file in [CONSTRAINTS, *sorted(Path("packages").glob("*/pyproject.toml"))]:
        digest.update(file.read_bytes())
    note = Path(session.virtualenv.location, "installed.sha256")
    if note.exists() and note.read_text() == digest.hexdigest():
        return
    if "-e" in requirements:
        session.install(TORCH)  # first and by its exact pin, so that nothing after it looks for another build
    session.install("-c", str(CONSTRAINTS), *requirements)
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    session.run_install("python", "-c", write, str(note), digest.hexdigest(), log=False)  # not under --no-install


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after -- go to pytest."""
    install(session, *PACKAGES, *TESTS)
    session.run("pytest", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Use JupyterLab and the built site in a real browser; TENSORAD_SCREENSHOTS=FOLDER keeps pictures of them."""
    found = chromium(session)
    install(session, *PACKAGES, *TESTS, *BROWSER)
    session.run("pytest", "tests/browser", *session.posargs, env={"TENSORAD_CHROMIUM": found})


def chromium(session: nox.Session) -> str:
    """The system's chromium; root has it installed by apt-get where it is missing, anybody else skips the session."""

    def find() -> str | None:
        return next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)

    if not find() and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            session.run("apt-get", *command, env=quiet, external=True, success_codes=range(256))
    return find() or session.skip("there is no chromium: install it, for example by `sudo apt-get install chromium`")


@nox.session
def oracle(session: nox.Session) -> None:
    """Compare with torch.autograd on all of torch's own databases of operators and modules; words choose entries."""
    install(session, *PACKAGES, *TESTS)
    session.run("python", "tests/tensorad/databases.py", *session.posargs)


@nox.session
def guides(session: nox.Session) -> None:
    """Run what the guides show of JAX, TensorFlow and micrograd, and compare it with what stands beside it."""
    install(session, *PACKAGES, *TESTS, "jax", "micrograd", "tensorflow-cpu")
    session.run("pytest", "tests/whole/test_guides.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Differentiate x**3 twice, then fit the handwritten digits and compare with torch.autograd."""
    install(session, *ENGINE, *DEMO)
    session.run("python", "examples/digits.py", *session.posargs)


@nox.session
def lab(session: nox.Session) -> None:
    """Open JupyterLab with the packages installed and the tutorials at hand; arguments after -- go to it."""
    install(session, *PACKAGES, *DEMO)
    session.run("python", "-m", "tensorad_docs", "open", "--no-lab")
    session.run("jupyter", "lab", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff (`ruff check --fix` and `ruff format` repair most of it)."""
    install(session, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with pyright: strict in the engine, basic elsewhere."""
    install(session, *PACKAGES, *TESTS, *BENCH, "nox", "pyright[nodejs]")
    session.run("pyright", *session.posargs, env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/, tutorials executed: a warning, a broken link, a missing docstring fails it.

    `-- serve` serves it.
    """
    install(session, *PACKAGES, *SITE)
    session.run("python", "-m", "tensorad_docs.site", "docs")
    command, *options = session.posargs or ["build"]
    session.run("mkdocs", command, "--strict", *options, env={"NO_MKDOCS_2_WARNING": "1"})
    if command == "build":
        session.run("python", "-m", "tensorad_docs.links", "site")
        session.run("pytest", "--quiet", "tests/tensorad_docs/test_reference.py")  # nothing is without its docstring


@nox.session
def tutorials(session: nox.Session) -> None:
    """Run the tutorials in kernels of their own, from the first cell to the last; arguments after -- name some."""
    install(session, *PACKAGES)
    session.run("python", "-m", "tensorad_docs", "run", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time tensorad against torch.autograd, HIPS autograd, MyGrad and JAX, in one run."""
    install(session, *ENGINE, "numpy", *BENCH)
    session.run("python", "benchmarks/bench.py", *session.posargs)
