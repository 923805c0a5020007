"""Patterns of names and paths: "*" stands for any characters, "?" for any one, and all others for themselves."""

import os
import re
from typing import Iterable, List, Optional, Pattern, Set

_FLAGS = re.DOTALL | (re.IGNORECASE if os.name == "nt" else 0)


class Patterns:
    """Several patterns. One with a "/" in it is compared with a path, others with the name at its end.

    Args:
        patterns: a "/" at the beginning only says that it is a path.
    """

    def __init__(self, patterns: Iterable[bytes]) -> None:
        of_names: List[str] = []
        of_paths: List[str] = []
        for pattern in map(os.fsdecode, patterns):
            (of_paths if "/" in pattern else of_names).append(_expression(pattern[pattern.startswith("/") :]))
        self._of_names = _compiled(of_names)
        self._of_paths = _compiled(of_paths)
        #: Paths have to be known to :meth:`match`.
        self.need_paths = bool(of_paths)

    def match(self, where: str, name: str) -> bool:
        """Whether one matches; `where` is the path of the directory, with "/" between names and at its end."""
        if self._of_names is not None and self._of_names.fullmatch(name):
            return True
        return self._of_paths is not None and self._of_paths.fullmatch(where + name) is not None


def _expression(pattern: str) -> str:
    # Stars in a row would make the search take long, and say no more than one.
    pattern = re.sub(r"\*+", "*", pattern)
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)


def _compiled(expressions: List[str]) -> Optional[Pattern[str]]:
    return re.compile("|".join(expressions), _FLAGS) if expressions else None


def below(pattern: bytes, directory: str) -> List[bytes]:
    """A pattern as patterns for what is in a directory: paths are compared without that of the directory then.

    Args:
        directory: its path, with "/" between names and at its end; empty for the root.
    """
    text = os.fsdecode(pattern)
    if "/" not in text or not directory:
        return [pattern]
    text = text[text.startswith("/") :]
    rest: Set[int] = _with_empty_stars(text, {0})  # places in the pattern up to which it may have matched
    for character in directory:
        further: Set[int] = set()
        for place in rest:
            if place == len(text):
                continue
            if text[place] == "*":
                further.add(place)
            elif text[place] in ("?", character):
                further.add(place + 1)
        rest = _with_empty_stars(text, further)
    return [os.fsencode("/" + text[place:]) for place in sorted(rest) if place < len(text)]


def _with_empty_stars(text: str, places: Set[int]) -> Set[int]:
    """Adds the places behind stars, which may stand for nothing."""
    result = set(places)
    for place in places:
        while place < len(text) and text[place] == "*":
            place += 1
            result.add(place)
    return result
