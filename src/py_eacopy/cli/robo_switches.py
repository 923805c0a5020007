"""EACopy's own syntax, as ``eacopy robo`` takes it: words become what is to be done.

The first two words are always paths. A later word that begins with "/" is a switch, except after a switch that takes
paths (/I, /IX, /LINK, /LINKDB, /XF...), where a word with another "/" in it, or that exists, is a path. What nobody
could mistake is a value after a colon: ``/LINK:/builds``.
"""

import os
import re
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Sequence, Tuple

import attr
import click

#: EACopy's, not this package's own.
PORT = 18099
#: What /MT alone stands for.
_THREADS = 8
_MOST_THREADS = 128


@attr.s(auto_attribs=True)
class Plan:
    """What a command line asks for.

    Attributes:
        source, destination: with "/" between names.
        options: arguments of :func:`py_eacopy.sync`.
        retries, retry_wait: of a file that fails; the wait in seconds.
        threads: None leaves that to the Config.
        server: "never", "perhaps" or "required".
        server_address, server_port: where it is, beyond what the paths say.
        level: of the compression through a server.
        log: the file to write to; None without.
        minimal, verbose, header, summary: what is told.
        switches: as they were written, for the header.
        given: their names.
        notes: what has no effect here.
    """

    source: str
    destination: str
    options: Dict[str, Any] = attr.Factory(dict)
    retries: int = 3
    retry_wait: float = 1.0
    threads: Optional[int] = None
    server: str = "perhaps"
    server_address: Optional[str] = None
    server_port: int = PORT
    level: Any = 0
    log: Optional[str] = None
    minimal: bool = False
    verbose: bool = False
    header: bool = True
    summary: bool = True
    switches: List[str] = attr.Factory(list)
    given: List[str] = attr.Factory(list)
    notes: List[str] = attr.Factory(list)


def parse(words: Sequence[str]) -> Plan:
    """What these words ask for. Raises click.UsageError, naming the word at fault and the remedy."""
    if len(words) < 2:
        raise click.UsageError("a source and a destination are needed, in this order, before any switch")
    for number, word in enumerate(words[:2]):
        if _is_switch(word) and not os.path.exists(word):
            raise click.UsageError(
                "%s is the %s word, where a path must be; switches come after source and destination"
                % (word, ("first", "second")[number])
            )
    plan = Plan(path(words[0]), path(words[1]))
    plan.options.update(subdirs=False, empty_dirs=False, dir_times=False)
    reader = _Reader(plan)
    for word in words[2:]:
        reader.take(word)
    reader.end()
    return plan


def path(word: str) -> str:
    """A path as EACopy's users write it, with "/" between names. Raises click.UsageError."""
    if os.name == "nt":
        return word
    if re.match(r"[A-Za-z]:([\\/]|\Z)", word):
        raise click.UsageError("%s: there are no drives here; write the directory where it is mounted" % word)
    return word.replace("\\", "/")


def stats_place(words: Sequence[str]) -> Optional[Tuple[str, Plan]]:
    """The path that ``/STATS path`` asks about, with the switches that say where the server is; else None."""
    if not words or words[0].upper() != "/STATS":
        return None
    if len(words) < 2:
        raise click.UsageError("/STATS needs the full path of a directory on the server")
    plan = Plan("", path(words[1]))
    reader = _Reader(plan)
    for word in words[2:]:
        reader.take(word)
    reader.end()
    others = [name for name in plan.given if name not in ("SERVERADDR", "SERVERPORT", "PORT")]
    if others:
        raise click.UsageError("/%s does not go with /STATS" % others[0])
    return plan.destination, plan


class _Reader:
    """Goes through the words after the two paths."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lists: Dict[str, List[str]] = {}
        self._files: List[str] = []
        self._takes: Optional[str] = None  # the switch whose words these are

    def take(self, word: str) -> None:
        if _is_switch(word):
            name, _, value = word[1:].partition(":")
            self._plan.switches.append(word)
            self._plan.given.append(name.upper())
            self._switch(word, name.upper(), value if ":" in word else None)
            return
        if word.startswith("/") and not (self._takes and ("/" in word[1:] or os.path.lexists(word))):
            _unknown(word, self._takes)
        if self._takes is None:
            self._files.append(word)
            return
        self._plan.switches.append(word)
        self._lists[self._takes].append(word)
        if self._takes in _ONE_WORD:
            self._takes = None

    def _switch(self, word: str, name: str, value: Optional[str]) -> None:
        self._takes = None
        if name in _WORDS:
            words = self._lists.setdefault(name, [])
            if value is None:
                self._takes = name
            elif value:
                words.append(value)
            else:
                _illegal(word, "something after the colon")
        elif name in _FLAGS:
            if value is not None:
                _illegal(word, "no value")
            _FLAGS[name](self._plan)
        else:
            _VALUES[name](self._plan, word, value)

    def end(self) -> None:
        plan, lists = self._plan, self._lists
        for name in _NEED_WORDS:
            if name in lists and not lists[name]:
                _illegal("/" + name, "a word after it")
        for name in _ONE_WORD:
            if len(lists.get(name, ())) > 1:
                raise click.UsageError("/%s is there twice" % name)
        if self._files and "I" in lists:
            raise click.UsageError("/I does not go with names of files; write those into the list")
        for name, option in _INTO.items():
            if lists.get(name):
                plan.options[option] = tuple(_WORDS[name](plan, word) for word in lists[name])
        if "LINKDB" in lists:
            plan.options["link_database"] = path(lists["LINKDB"][0])
        if "SERVERADDR" in lists:
            plan.server_address = lists["SERVERADDR"][0]
        patterns = tuple(_pattern(plan, word) for word in self._files)
        if patterns and "*" not in patterns:
            plan.options["files"] = patterns


# What words after a switch become -------------------------------------------------------------------------------------


def _pattern(plan: Plan, word: str) -> str:
    """A name, path or pattern below the source. "*.*" means every file, as in DOS, also one without a dot."""
    pattern = path(word)
    if os.path.isabs(pattern):
        below = os.path.relpath(pattern, os.path.abspath(plan.source))
        if below.startswith(os.pardir):
            raise click.UsageError("%s is not below the source, %s" % (word, plan.source))
        pattern = "/" + below
    while pattern.startswith("./"):
        pattern = pattern[2:]
    head, slash, last = pattern.rpartition("/")
    return head + slash + ("*" if last == "*.*" else last)


def _a_path(plan: Plan, word: str) -> str:
    return path(word)


def _as_it_is(plan: Plan, word: str) -> str:
    return word


#: Switches that take the words after them.
_WORDS: Dict[str, Callable[[Plan, str], str]] = {
    "I": _a_path,
    "IX": _a_path,
    "XF": _pattern,
    "XD": _pattern,
    "OF": _pattern,
    "LINK": _a_path,
    "LINKDB": _a_path,
    "SERVERADDR": _as_it_is,
}
_INTO = {
    "I": "file_lists",
    "IX": "exclude_lists",
    "XF": "exclude_files",
    "XD": "exclude_dirs",
    "OF": "optional_files",
    "LINK": "link_dirs",
}
_ONE_WORD = ("LINKDB", "SERVERADDR")
_NEED_WORDS = ("I", "IX", "XF", "XD", "OF", *_ONE_WORD)


# Switches without a value ---------------------------------------------------------------------------------------------


def _sets(**options: Any) -> Callable[[Plan], None]:
    return lambda plan: plan.options.update(options)


def _plans(**fields: Any) -> Callable[[Plan], None]:
    def apply(plan: Plan) -> None:
        for name, value in fields.items():
            setattr(plan, name, value)

    return apply


def _subdirs(plan: Plan) -> None:
    plan.options["subdirs"] = True


def _unbuffered(plan: Plan) -> None:
    plan.notes.append("/J has no effect here: files go through the system's cache")


def _nothing(plan: Plan) -> None:
    """Asks for what is so here anyway."""


_FLAGS: Dict[str, Callable[[Plan], None]] = {
    "S": _subdirs,
    "E": _sets(subdirs=True, empty_dirs=True),
    "MIR": _sets(subdirs=True, empty_dirs=True, purge=True),
    "PURGE": _sets(purge=True),
    "KSY": _sets(keep_dir_symlinks=True),
    "F": _sets(flatten=True),
    "XC": _sets(exclude_changed=True),
    "LINKBYNAME": _sets(link_by_name=True),
    "NODCOPY": _sets(dir_times=False),
    "NOSERVER": _plans(server="never"),
    "SERVER": _plans(server="required"),
    "LOGMIN": _plans(minimal=True),
    "VERBOSE": _plans(verbose=True),
    "NJH": _plans(header=False),
    "NJS": _plans(summary=False),
    "J": _unbuffered,
    "NJ": _nothing,
    "NP": _nothing,
    "OFFLOAD": _nothing,
    "SYSTEMCOPY": _nothing,
}


# Switches with a value ------------------------------------------------------------------------------------------------


def _number(least: int, most: int, store: Callable[[Plan, int], None]) -> Callable[[Plan, str, Optional[str]], None]:
    def apply(plan: Plan, word: str, value: Optional[str]) -> None:
        if not value or not re.fullmatch("[0-9]{1,18}", value) or not least <= int(value) <= most:
            _illegal(word, "a number from %d to %d after a colon" % (least, most))
        store(plan, int(value))

    return apply


def _levels(plan: Plan, value: int) -> None:
    plan.options.update(subdirs=value > 1, max_depth=value)


def _threads(plan: Plan, word: str, value: Optional[str]) -> None:
    _number(1, _MOST_THREADS, lambda plan, count: setattr(plan, "threads", count))(plan, word, value or str(_THREADS))


def _compression(plan: Plan, word: str, value: Optional[str]) -> None:
    if value is None:
        plan.level = "auto"
    else:
        _number(1, 22, lambda plan, level: setattr(plan, "level", level))(plan, word, value)


def _directories(plan: Plan, word: str, value: Optional[str]) -> None:
    letters = (value or "").upper()
    if not letters or set(letters) - set("DAT"):
        _illegal(word, "D, A or T after a colon: data, attributes, times")
    plan.options["dir_times"] = "T" in letters


def _attributes(option: str) -> Callable[[Plan, str, Optional[str]], None]:
    def apply(plan: Plan, word: str, value: Optional[str]) -> None:
        letters = (value or "").upper()
        if not letters or set(letters) - set("RASHCNETO"):
            _illegal(word, "letters of RASHCNETO after a colon")
        if os.name != "nt" and set(letters) - set("RH"):
            raise click.UsageError(
                "%s is not possible: files have no attributes here but R (read-only) and H (hidden, a name that begins "
                "with a dot); leave out the other letters" % word
            )
        plan.options[option] = letters

    return apply


def _log(plan: Plan, word: str, value: Optional[str]) -> None:
    if not value:
        _illegal(word, "a file after a colon")
    plan.log = path(value or "")


_VALUES: Mapping[str, Callable[[Plan, str, Optional[str]], None]] = {
    "LEV": _number(1, 10_000, _levels),
    "MT": _threads,
    "C": _compression,
    "R": _number(0, 1_000_000, lambda plan, value: setattr(plan, "retries", value)),
    "W": _number(0, 86_400, lambda plan, value: setattr(plan, "retry_wait", float(value))),
    "LINKMIN": _number(0, 1 << 62, lambda plan, value: plan.options.update(link_min_size=value)),
    "SERVERPORT": _number(1, 65_535, lambda plan, value: setattr(plan, "server_port", value)),
    "PORT": _number(1, 65_535, lambda plan, value: setattr(plan, "server_port", value)),
    "DCOPY": _directories,
    "IA": _attributes("include_attributes"),
    "XA": _attributes("exclude_attributes"),
    "LOG": _log,
}

_SWITCH = re.compile(r"/([A-Za-z]+)(:.*)?\Z", re.DOTALL)


def _is_switch(word: str) -> bool:
    found = _SWITCH.match(word)
    return found is not None and any(found.group(1).upper() in known for known in (_FLAGS, _VALUES, _WORDS))


def _illegal(word: str, needed: str) -> NoReturn:
    raise click.UsageError("%s is not legal: it needs %s" % (word, needed))


def _unknown(word: str, takes: Optional[str]) -> NoReturn:
    names = " ".join("/" + name for name in sorted([*_FLAGS, *_VALUES, *_WORDS]))
    hint = "; if it is meant for /%s, write /%s:%s" % (takes, takes, word) if takes else ""
    raise click.UsageError("%s is no switch of EACopy's that is known here%s. There are: %s" % (word, hint, names))
