"""File lists: text files that say what to sync, in EACopy's format.

Each line is an entry, and may say after it where it goes and what else is to be done::

    bin/tool.exe
    "art/blue sky.png" textures
    levels maps /PURGE
    docs/*.txt
    /I more.txt

What is apart by blanks are fields; a field with blanks in it is put in double quotes. "/" and "\\" both stand between
names. The second field is a directory below the destination, "." being the destination itself.
"""

import os
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ._errors import InvalidArgumentError, error_from_failure
from ._errors import Operation as _Operation

_PURGE, _LIST = "/PURGE", "/I"
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Entry(NamedTuple):
    """One line of a list.

    Attributes:
        path: below the source, "/" between names; empty for the source itself.
        directory: where it goes, below the destination; None: to the same place.
        purge: remove from where a directory goes what the directory does not have.
        line: where it stands, for messages.
    """

    path: str
    directory: Optional[str]
    purge: bool
    line: str

    @property
    def is_pattern(self) -> bool:
        return "*" in self.path or "?" in self.path


def read_lists(paths: Sequence[bytes], source: bytes) -> Iterator[Entry]:
    """The entries of lists, in order, those of lists in lists included.

    Args:
        paths: relative ones are looked up in the current directory, and then in the source.
        source: the directory that entries are relative to.

    Raises:
        InvalidArgumentError: a line cannot be understood, or a list is in itself.
        SourceNotFoundError, OSError: a list cannot be read.
    """
    for path in paths:
        yield from _read(_find(path, source), source, ())


def _find(path: bytes, source: bytes) -> bytes:
    inside = os.path.join(source, path)
    return inside if not os.path.exists(path) and os.path.exists(inside) else path


def _read(path: bytes, source: bytes, outer: Tuple[bytes, ...]) -> Iterator[Entry]:
    real = os.path.realpath(path)
    shown = os.fsdecode(path)
    if real in outer:
        raise InvalidArgumentError("the file list %r is in itself; take the line with %s out" % (shown, _LIST))
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise error_from_failure(error.errno or 0, _Operation.OPEN_SOURCE, shown, None) from None
    for number, line in enumerate(_text(data).splitlines(), 1):
        fields = _fields(line, "%s:%d" % (shown, number))
        if not fields:
            continue
        if fields[0].upper() == _LIST and len(fields) == 2:
            inner = os.fsencode(_slashes(fields[1]))
            beside = os.path.join(os.path.dirname(path), inner)
            yield from _read(beside if os.path.exists(beside) else _find(inner, source), source, (*outer, real))
        else:
            yield _entry(fields, source, "%s:%d" % (shown, number))


def _text(data: bytes) -> str:
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return os.fsdecode(data)


def _fields(line: str, where: str) -> List[str]:
    fields: List[str] = []
    field = ""
    quoted = begun = False
    for character in line:
        if character == '"':
            quoted, begun = not quoted, True
        elif character.isspace() and not quoted:
            if begun:
                fields.append(field)
            field, begun = "", False
        else:
            field, begun = field + character, True
    if quoted:
        raise InvalidArgumentError('%s: a double quote (") is missing' % where)
    return [*fields, field] if begun else fields


def _entry(fields: List[str], source: bytes, where: str) -> Entry:
    purge = False
    while len(fields) > 1 and fields[-1].startswith("/") and "/" not in fields[-1][1:]:
        if fields[-1].upper() != _PURGE:
            raise InvalidArgumentError("%s: %s is not known here; only %s is" % (where, fields[-1], _PURGE))
        purge = True
        fields = fields[:-1]
    if len(fields) > 2:
        raise InvalidArgumentError(
            "%s: too many fields; there may be an entry, a directory and %s, and what has blanks in it "
            "stands in double quotes" % (where, _PURGE)
        )
    path = _inside(fields[0], source, where)
    directory = None
    if len(fields) == 2:
        directory = os.path.normpath(_slashes(fields[1])).replace(os.sep, "/")
        if directory.startswith("/") or os.path.isabs(directory) or directory.split("/")[0] == "..":
            raise InvalidArgumentError(
                "%s: %r does not lie in the destination; name a directory below it" % (where, fields[1])
            )
        directory = "" if directory == "." else directory
    return Entry(path, directory, purge, where)


def _inside(entry: str, source: bytes, where: str) -> str:
    """An entry as a path below the source."""
    path = _slashes(entry)
    if os.path.isabs(path) or path.startswith("/"):
        root = os.path.abspath(os.fsdecode(source))
        path = os.path.normpath(path)
        if os.path.commonpath((os.path.abspath(path), root)) != root:
            raise InvalidArgumentError("%s: %r does not lie in the source %r" % (where, entry, os.fsdecode(source)))
        path = os.path.relpath(path, root)
    path = os.path.normpath(path).replace(os.sep, "/")
    if path.split("/")[0] == "..":
        raise InvalidArgumentError("%s: %r does not lie in the source %r" % (where, entry, os.fsdecode(source)))
    return "" if path == "." else path


def _slashes(text: str) -> str:
    return text.replace("\\", "/")
