"""Writes docs/api.md from the docstrings: `python docs/make_api.py`. With --check it only tells whether the file is
current."""

import enum
import inspect
import re
import sys
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import py_eacopy

PAGE = Path(__file__).with_name("api.md")

INTRODUCTION = """\
# API reference

Made from the docstrings by `python docs/make_api.py`; change those, not this page.

All functions take paths as `str`, `bytes` or `os.PathLike`. Those that `shutil` has take its arguments in its order,
and return and raise what it does. Every function has two more keyword arguments: `config`, a [`Config`](#config) to use
instead of the active one, and, unless it is asynchronous, `control`, a [`Control`](#control) to cancel and watch
it with.
"""

#: What the signatures say, and what a reader needs to know.
_NOISE = (
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"(?:typing|os|py_eacopy|collections\.abc)\.(?:_\w+\.)?", ""),
    (r"py_eacopy\._\w+\.", ""),
    (r"~?_(?:Path|Str|Bytes|Self)\b", "Path"),
    (r"Union\[str, ForwardRef\('PathLike\[str\]'\), bytes, ForwardRef\('PathLike\[bytes\]'\)\]", "Path"),
    (r"Union\[str, PathLike\[str\], bytes, PathLike\[bytes\]\]", "Path"),
)


def tidy(text: str) -> str:
    for pattern, replacement in _NOISE:
        text = re.sub(pattern, replacement, text)
    return text


def signature(function: Any) -> str:
    """The arguments with their defaults; the types are in the text, where they can be explained."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name not in ("self", "cls")]
    return tidy(str(inspect.Signature(plain)))


def prose(documented: Any) -> str:
    text = inspect.getdoc(documented) or ""
    text = re.sub(r":(?:func|class|meth|mod|attr|exc):`~?(?:py_eacopy\.)?([^`]+)`", r"`\1`", text)
    text = text.replace("``", "`")
    lines: List[str] = []
    code = False
    for line in text.splitlines():
        indented = line.startswith("    ")
        section = re.match(r"(Args|Returns|Raises|Attributes|Yields|Cancellation|Audit events?):?\s*(.*)$", line)
        if line.endswith("::"):
            lines.append(line[:-1])
            code = True
        elif code or not line.strip():
            code = code and (indented or not line.strip())
            lines.append(line)
        elif section and line.startswith(section.group(1) + ":"):
            lines += ["", ("**%s:** %s" % section.groups()).rstrip(), ""]
        elif re.match(r"    \*{0,2}\w+(?:, \*{0,2}\w+)*(?: \([^)]*\))?: ", line):
            name, rest = line.strip().split(": ", 1)
            lines.append("- `%s`: %s" % (name, rest))
        elif indented:
            lines.append("  " + line.strip())
        else:
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def entry(name: str, documented: Any, level: int) -> Iterator[str]:
    heading = "#" * level
    if inspect.isclass(documented):
        yield "%s %s" % (heading, name.split(".")[-1])
        yield prose(documented)
        if issubclass(documented, enum.Enum):
            yield "Members: " + ", ".join("`%s`" % member.name for member in documented)
            return
        if issubclass(documented, BaseException):
            return
        for member_name, member in vars(documented).items():
            member = getattr(member, "__func__", member)
            if not member_name.startswith("_") and inspect.isfunction(member):
                yield from entry("%s.%s" % (name, member_name), member, level + 1)
        return
    kind = "async " if inspect.iscoroutinefunction(documented) else ""
    yield "%s %s" % (heading, name)
    yield "```python\n%s%s%s\n```" % (kind, name, signature(documented))
    yield prose(documented)


def public() -> List[Tuple[str, Any]]:
    return [(name, getattr(py_eacopy, name)) for name in py_eacopy.__all__ if name not in ("__version__", "config")]


def page() -> str:
    functions = [(n, v) for n, v in public() if inspect.isfunction(v)]
    classes = [(n, v) for n, v in public() if inspect.isclass(v) and not issubclass(v, BaseException)]
    errors = [(n, v) for n, v in public() if inspect.isclass(v) and issubclass(v, BaseException)]
    of_shutil = {"Error", "SameFileError", "SpecialFileError", "copyfileobj", "ignore_patterns"}
    parts = [INTRODUCTION]
    for title, members in (
        ("Copying", [m for m in functions if not m[0].startswith("async_")]),
        ("Copying asynchronously", [m for m in functions if m[0].startswith("async_")]),
        ("Classes", classes),
        ("Exceptions", errors),
    ):
        parts.append("## " + title)
        if title == "Exceptions":
            module = sys.modules[py_eacopy.EACopyError.__module__]
            tree = (module.__doc__ or "").split("::\n", 1)[1].split("\n\nBoth", 1)[0]
            parts.append("```text\n%s\n```" % inspect.cleandoc(tree))
        for name, member in members:
            if name in of_shutil:
                parts.append("### %s\n\n`shutil.%s` itself." % (name, name))
            else:
                parts += entry(name, member, 3)
    return "\n\n".join(parts) + "\n"


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/api.md is not what the docstrings say; run: python docs/make_api.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
