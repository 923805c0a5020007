"""Everyday tasks: `nox -s develop`, `nox -s tests`, `nox -s lint`, `nox -s build-wheel`."""

import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]


@nox.session(venv_backend="none")
def develop(session: nox.Session) -> None:
    """Makes .venv with an editable install and every development tool in it."""
    session.run(sys.executable, "-m", "venv", ".venv")
    scripts = Path(".venv", "Scripts" if sys.platform == "win32" else "bin")
    session.run(str(scripts / "python"), "-m", "pip", "install", "-e", ".[cli,dev,test]")


@nox.session
def tests(session: nox.Session) -> None:
    """Runs the test suite once per backend on an installed build; arguments go to pytest."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, mypy --strict and clang-format; the argument `fix` repairs what can be repaired."""
    fix = "fix" in session.posargs
    session.install(".[cli,dev,test]", env={"PY_EACOPY_BUILD": "portable"})
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    for platform in ("linux", "darwin", "win32"):
        session.run("mypy", "--strict", "--platform", platform, "src")
    folders = (Path("extern"), Path("native"))
    sources = [str(path) for folder in folders for path in folder.rglob("*.*") if path.suffix in (".h", ".cpp")]
    session.run("clang-format", *(["-i"] if fix else ["--dry-run", "-Werror"]), *sources)


@nox.session(name="build-wheel")
def build_wheel(session: nox.Session) -> None:
    """Builds the source distribution, and from it the wheel with the engine, into dist/."""
    session.install("build")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", env={"PY_EACOPY_BUILD": "native"})
