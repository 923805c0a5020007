"""EACopy's protocol, version 20, as bytes: commands and answers are made and read here, and nowhere else.

Paths are text with "\\" between names, as they are on the wire. Times are FILETIMEs: 100 ns since 1601. What the
other side leaves in padding is never looked at; what is written there is zero.
"""

import enum
import struct
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, Union

Bytes = Union[bytes, bytearray]

VERSION = 20
#: Who speaks, as EACopy's clients show it and as they introduce themselves.
SERVER_NAME = "v1.11"
CLIENT_VERSION = (1, 20)

#: Bits of the Version message's flags. Real clients know the first alone.
USE_SECURITY_FILE = 1 << 0
EXTENDED = 1 << 16
TOKEN_REQUIRED = 1 << 17

HEADER_SIZE = 8
COMMAND_MAXIMUM = 512 * 1024
#: A compressed block, and what it decodes to. The sender's own blocks are those of the real one.
BLOCK_MAXIMUM = 8 * 1024 * 1024
BLOCK_SIZE = 2 * 1024 * 1024 - 32 * 1024
#: EACopy's client takes several blocks, but none that is too large, nor too much in all.
LISTING_BLOCK = 1024 * 1024
LISTING_MAXIMUM = 24 * 1024 * 1024

DIRECTORY_ATTRIBUTE, ARCHIVE_ATTRIBUTE, HIDDEN_ATTRIBUTE, READ_ONLY_ATTRIBUTE = 0x10, 0x20, 0x2, 0x1

#: Win32's numbers in the answer to GetFileInfo.
FILE_NOT_FOUND, PATH_NOT_FOUND = 2, 3
#: The first word of the answer to FindFiles when there is nothing to search in.
SEARCH_FAILED = 0xFFFFFFFF

#: Seconds from FILETIME's beginning, 1601, to that of Unix, 1970.
_EPOCH_SECONDS = 11_644_473_600
_TICKS_MAXIMUM = (1 << 64) - 1

_HEADER = struct.Struct("<IB3x")
_FILE_INFO = struct.Struct("<QQQ")
_FOUND = struct.Struct("<IQQ")


class ProtocolError(Exception):
    """The peer sent what the protocol does not know; the connection is of no use any more."""


class Command(enum.IntEnum):
    """The types of commands."""

    VERSION = 0
    TEXT = 1
    WRITE_FILE = 2
    READ_FILE = 3
    CREATE_DIR = 4
    ENVIRONMENT = 5
    DELETE_FILES = 6
    FIND_FILES = 7
    DONE = 8
    REQUEST_REPORT = 9
    GET_FILE_INFO = 10


class WriteAnswer(enum.IntEnum):
    """The server's answers to WriteFile."""

    COPY = 0
    COPY_DELTA = 1
    COPY_USING_SMB = 2
    LINK = 3
    ODX = 4
    SKIP = 5
    HASH = 6
    BAD_DESTINATION = 7


class ReadAnswer(enum.IntEnum):
    """The server's answers to ReadFile."""

    COPY = 0
    COPY_DELTA = 1
    COPY_USING_SMB = 2
    SKIP = 3
    HASH = 4
    SERVER_BUSY = 5
    BAD_SOURCE = 6


#: WriteFile's types: the two that send the file as it is, and the one that sends compressed blocks.
TRANSMIT_FILE, SEND, COMPRESSED = 0, 1, 2


class Version(NamedTuple):
    """The server's first message."""

    version: int
    flags: int
    info: str


class Text(NamedTuple):
    """A line for the server's log; there is no answer."""

    level: int
    text: str


class WriteFile(NamedTuple):
    """Asks to push a file. The creation time is always zero, and not looked at."""

    write_type: int
    time: int
    size: int
    path: str


class ReadFile(NamedTuple):
    """Asks to pull a file. Time and size are those of the client's own file, zero without."""

    level: int
    time: int
    size: int
    path: str


class CreateDir(NamedTuple):
    """Makes a directory with its parents."""

    path: str


class Environment(NamedTuple):
    """Names the directory that all paths start from."""

    connection_index: int
    major: int
    minor: int
    secret: bytes
    directory: str


class DeleteFiles(NamedTuple):
    """Removes all that is in a directory."""

    path: str


class FindFiles(NamedTuple):
    """Lists what matches a wildcard."""

    pattern: str


class Done(NamedTuple):
    """The client has nothing more to ask."""


class RequestReport(NamedTuple):
    """Asks for the server's statistics as text."""


class GetFileInfo(NamedTuple):
    """Asks for one file's time, size and attributes."""

    path: str


AnyCommand = Union[
    Version,
    Text,
    WriteFile,
    ReadFile,
    CreateDir,
    Environment,
    DeleteFiles,
    FindFiles,
    Done,
    RequestReport,
    GetFileInfo,
]
_PATH_ONLY: Dict[int, Type[Union[CreateDir, DeleteFiles, FindFiles, GetFileInfo]]] = {
    Command.CREATE_DIR: CreateDir,
    Command.DELETE_FILES: DeleteFiles,
    Command.FIND_FILES: FindFiles,
    Command.GET_FILE_INFO: GetFileInfo,
}


class FoundFile(NamedTuple):
    """One entry of a listing."""

    attributes: int
    time: int
    size: int
    name: str

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & DIRECTORY_ATTRIBUTE)


class FileInfo(NamedTuple):
    """The answer to GetFileInfo. `error` is Win32's number, 0 for a file that is there."""

    time: int
    size: int
    attributes: int
    error: int


# Times and names ---------------------------------------------------------------------------------------------------


def filetime_of(nanoseconds: int) -> int:
    """The FILETIME of nanoseconds since 1970; what lies outside of what it can say becomes its nearest end."""
    return min(max(nanoseconds // 100 + _EPOCH_SECONDS * 10_000_000, 0), _TICKS_MAXIMUM)


def nanoseconds_of(filetime: int) -> int:
    """Nanoseconds since 1970."""
    return (filetime - _EPOCH_SECONDS * 10_000_000) * 100


def wire_path(path: bytes) -> str:
    """A relative POSIX path as this dialect writes it. Raises UnicodeError when it cannot: not UTF-8, or a "\\"."""
    if b"\\" in path:
        raise UnicodeEncodeError("eacopy", path.decode("utf-8", "replace"), 0, 1, "a backslash separates names there")
    return path.decode("utf-8").replace("/", "\\")


def posix_path(path: str) -> bytes:
    """A path from the wire with "/" between names. It may still contain anything else: it has to be checked."""
    return path.replace("\\", "/").encode("utf-8")


def guid_text(guid: bytes) -> str:
    """A GUID in its usual form, upper-case and without braces."""
    first, second, third = struct.unpack_from("<IHH", guid)
    rest = guid[8:].hex().upper()
    return "%08X-%04X-%04X-%s-%s" % (first, second, third, rest[:4], rest[4:])


def proof_file_name(guid: bytes) -> str:
    """The name of the security file."""
    return ".f" + guid_text(guid)


# Commands ----------------------------------------------------------------------------------------------------------


def encode(command: AnyCommand) -> bytes:
    """A command, or the server's Version, as it goes over the wire."""
    if isinstance(command, Version):
        return _frame(Command.VERSION, struct.pack("<II", command.version, command.flags), command.info, 2)
    if isinstance(command, Text):
        return _frame(Command.TEXT, struct.pack("<i", command.level), command.text, 2)
    if isinstance(command, (WriteFile, ReadFile)):
        type_ = Command.WRITE_FILE if isinstance(command, WriteFile) else Command.READ_FILE
        fixed = struct.pack("<B7x", command[0]) + _FILE_INFO.pack(0, command.time, command.size)
        return _frame(type_, fixed, command.path, 6)
    if isinstance(command, Environment):
        fixed = struct.pack("<III16s", command.connection_index, command.major, command.minor, command.secret)
        return _frame(Command.ENVIRONMENT, fixed, command.directory, 2)
    if isinstance(command, Done):
        return _HEADER.pack(HEADER_SIZE, Command.DONE)
    if isinstance(command, RequestReport):
        return _HEADER.pack(HEADER_SIZE, Command.REQUEST_REPORT)
    for path_type, class_ in _PATH_ONLY.items():
        if isinstance(command, class_):
            return _frame(path_type, b"", command[0], 2)
    raise TypeError(command)


def _frame(type_: int, fixed: bytes, text: str, tail: int) -> bytes:
    encoded = text.encode("utf-16-le")
    size = HEADER_SIZE + len(fixed) + len(encoded) + 2 + tail
    return b"".join((_HEADER.pack(size, type_), fixed, encoded, bytes(2 + tail)))


def decode_header(header: Bytes) -> Tuple[int, int]:
    """The size of the whole command, and its type. Raises ProtocolError for a size that cannot be."""
    size, type_ = _HEADER.unpack_from(header)
    if not HEADER_SIZE <= size <= COMMAND_MAXIMUM:
        raise ProtocolError("a command of %d bytes" % size)
    return size, type_


def decode(command: Bytes) -> AnyCommand:
    """A whole command, its header included. Raises ProtocolError."""
    _, type_ = decode_header(command)
    try:
        if type_ in _PATH_ONLY:
            return _PATH_ONLY[type_](_text_at(command, 8))
        if type_ == Command.WRITE_FILE or type_ == Command.READ_FILE:
            _, time, size = _FILE_INFO.unpack_from(command, 16)
            class_ = WriteFile if type_ == Command.WRITE_FILE else ReadFile
            return class_(command[8], time, size, _text_at(command, 40))
        if type_ == Command.VERSION:
            version, flags = struct.unpack_from("<II", command, 8)
            return Version(version, flags, _text_at(command, 16))
        if type_ == Command.ENVIRONMENT:
            index, major, minor, secret = struct.unpack_from("<III16s", command, 8)
            return Environment(index, major, minor, secret, _text_at(command, 36))
        if type_ == Command.TEXT:
            return Text(struct.unpack_from("<i", command, 8)[0], _text_at(command, 12))
    except (struct.error, UnicodeError) as error:
        raise ProtocolError("a command of type %d that cannot be read: %s" % (type_, error)) from None
    if type_ == Command.DONE:
        return Done()
    if type_ == Command.REQUEST_REPORT:
        return RequestReport()
    raise ProtocolError("a command of the unknown type %d" % type_)


def _text_at(data: Bytes, offset: int) -> str:
    """Text that is ended by a 16-bit zero, whatever comes after."""
    return _text_and_end(data, offset)[0]


def _text_and_end(data: Bytes, offset: int) -> Tuple[str, int]:
    end = data.find(b"\0\0", offset)
    while end >= 0 and (end - offset) % 2:
        end = data.find(b"\0\0", end + 1)
    if end < 0:
        raise ProtocolError("text without an end")
    return bytes(data[offset:end]).decode("utf-16-le"), end + 2


# Answers -----------------------------------------------------------------------------------------------------------


def encode_found(entry: FoundFile) -> bytes:
    """One entry of the answer to FindFiles."""
    return _FOUND.pack(entry.attributes, entry.time, entry.size) + entry.name.encode("utf-16-le") + b"\0\0"


def encode_listing(found: Sequence[FoundFile]) -> bytes:
    """The whole answer to FindFiles, in blocks. An empty one is one zero word: two make EACopy's client stumble."""
    parts: List[bytes] = []
    block: List[bytes] = []
    size = 0
    for entry in found:
        encoded = encode_found(entry)
        if size and size + len(encoded) > LISTING_BLOCK:
            parts += (struct.pack("<I", size), *block)
            block, size = [], 0
        block.append(encoded)
        size += len(encoded)
    if size:
        parts += (struct.pack("<I", size), *block)
    parts.append(bytes(4))
    return b"".join(parts)


def decode_listing(block: Bytes) -> List[FoundFile]:
    """The entries of one block of the answer to FindFiles. Raises ProtocolError."""
    found = []
    offset = 0
    while offset < len(block):
        try:
            attributes, time, size = _FOUND.unpack_from(block, offset)
            name, offset = _text_and_end(block, offset + _FOUND.size)
        except (struct.error, UnicodeError) as error:
            raise ProtocolError("a listing that cannot be read: %s" % error) from None
        found.append(FoundFile(attributes, time, size, name))
    return found


def encode_file_info(info: FileInfo) -> bytes:
    return _FILE_INFO.pack(0, info.time, info.size) + struct.pack("<II", info.attributes, info.error)


def decode_file_info(answer: Bytes) -> FileInfo:
    """The 32 bytes that answer GetFileInfo."""
    _, time, size = _FILE_INFO.unpack_from(answer)
    return FileInfo(time, size, *struct.unpack_from("<II", answer, _FILE_INFO.size))


def encode_copy_head(time: int, size: int) -> bytes:
    """What stands between ReadFile's answer Copy and the body."""
    return struct.pack("<QQ", time, size)


def decode_copy_head(head: Bytes) -> Tuple[int, int]:
    """Time and size out of 16 bytes."""
    time, size = struct.unpack("<QQ", head)
    return time, size


def encode_done(level_sum: int) -> bytes:
    """The answer to Done: the sum of bytes times level over what was sent compressed."""
    return struct.pack("<Q", level_sum & (1 << 64) - 1)


def encode_report(text: str) -> bytes:
    """The answer to RequestReport."""
    encoded = text.encode("utf-16-le")
    return struct.pack("<I", len(encoded) // 2) + encoded


def matches_wildcard(name: str, pattern: str) -> bool:
    """Whether a name matches a Windows wildcard; letters match in either case, and "*.*" matches all names."""
    if pattern in ("*", "*.*"):
        return True
    return _matches(name.lower(), pattern.lower())


def _matches(name: str, pattern: str) -> bool:
    position = index = 0
    star: Optional[int] = None
    retry = 0
    while index < len(name):
        if position < len(pattern) and pattern[position] == "*":
            star, retry = position, index
            position += 1
        elif position < len(pattern) and pattern[position] in ("?", name[index]):
            position += 1
            index += 1
        elif star is not None:
            retry += 1
            position, index = star + 1, retry
        else:
            return False
    return not pattern[position:].strip("*")
