"""The messages of the extended dialect (docs/protocol.md) as bytes: made and read here, and nowhere else."""

import enum
import struct
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ...._errors import ErrorKind, Operation
from .. import system
from .wire import Command, Done, ProtocolError, RequestReport
from .wire_errno import from_wire, to_wire

Buffer = Union[bytes, bytearray, memoryview]

VERSION = 1
HEADER_SIZE = 8
UNPACKED_MAXIMUM = 2 * 1024 * 1024
MESSAGE_MAXIMUM = UNPACKED_MAXIMUM + 64 * 1024  # so that every frame has room in one
PATH_MAXIMUM, NAME_MAXIMUM = 32_767, 255
ATTRIBUTES_MAXIMUM = 64 * 1024
#: What a client may have on the way: messages that are not answered, and entries without a final result.
OFFERS_MAXIMUM, FETCHES_MAXIMUM, ENTRIES_MAXIMUM = 4, 4, 8192

NONCE_SIZE = PROOF_SIZE = 32
SECRET_SIZE = GUID_SIZE = DIGEST_SIZE = 16
SIGNATURE_SIZE = 12
CLIENT_PROOF, SERVER_PROOF = b"eacopy client proof 1", b"eacopy server proof 1"

#: Capabilities.
CAN_ZSTD, CAN_MODES, CAN_LINKS, CAN_ATTRIBUTES, CAN_DELTA, CAN_PATCHES = 1, 2, 4, 8, 16, 32
#: Those that files of this system have.
CAN_FILES = CAN_LINKS | (0 if system.WINDOWS else CAN_MODES) | (CAN_ATTRIBUTES if system.XATTR else 0)

#: Open's flags.
OPEN_WRITE, OPEN_TREE = 1, 2
#: Opened's answers.
IS_FILE, IS_DIRECTORY = 1, 2
#: List's flags.
LIST_RECURSIVE, LIST_ATTRIBUTES = 1, 2
#: Fetch's level that adapts to the wire.
LEVEL_AUTO = 255
#: Body's and End's flag.
CHANGED = 1

#: An entry's types.
FILE, DIRECTORY, LINK = 1, 2, 3
#: An entry's flags.
HAS_ATTRIBUTES, SET_NOW, VERIFY, NO_METADATA, MODE_ONLY, DURABLE, WELCOMES_DELTA, HAS_REFERENCE = (
    1, 2, 4, 8, 16, 32, 64, 128,
)  # fmt: skip
MODE_UNKNOWN = 0xFFFFFFFF


class Code(enum.IntEnum):
    """What a result says."""

    SEND = 0
    LINKED = 1
    SKIPPED = 2
    SEND_DIGEST = 3
    STORED = 4
    MADE = 5
    SEND_DELTA = 6
    SEND_PATCH = 7
    FAILED = 255


class Error(NamedTuple):
    """A failure. `a`, `b`: needed and available bytes of DISK_FULL, the offset (a) of READ_ERROR and WRITE_ERROR."""

    kind: int = 0
    operation: int = 0
    errno: int = 0
    a: int = 0
    b: int = 0
    path: bytes = b""
    text: str = ""

    def known_kind(self) -> ErrorKind:
        try:
            return ErrorKind(self.kind)
        except ValueError:
            return ErrorKind.UNKNOWN

    def known_operation(self) -> Operation:
        try:
            return Operation(self.operation)
        except ValueError:
            return Operation.NONE


class Reference(NamedTuple):
    """Which older version of a file somebody has."""

    size: int
    md5: bytes


class Entry(NamedTuple):
    """A file, directory or symbolic link, offered or listed. Times are nanoseconds since 1970."""

    type: int
    flags: int
    mode: int
    mtime: int
    atime: int
    size: int
    path: bytes
    target: bytes = b""
    attributes: Tuple[Tuple[bytes, bytes], ...] = ()
    reference: Optional[Reference] = None


class Result(NamedTuple):
    """What became of the entry of that number, or what is to be sent for it."""

    number: int
    code: int
    error: Error = Error()


class Hello(NamedTuple):
    version: int
    capabilities: int
    nonce: bytes


class Welcome(NamedTuple):
    version: int
    capabilities: int
    nonce: bytes
    connections: int


class Proof(NamedTuple):
    proof: bytes


class ProofAccepted(NamedTuple):
    proof: bytes


class Open(NamedTuple):
    connection_index: int
    secret: bytes
    flags: int
    directory: bytes


class Opened(NamedTuple):
    what: int
    made: int = 0  # directories, for it


class Prove(NamedTuple):
    guid: bytes
    path: bytes


class Secret(NamedTuple):
    secret: bytes


class Offer(NamedTuple):
    first: int
    entries: Sequence[Entry]


class Results(NamedTuple):
    results: Sequence[Result]


class Body(NamedTuple):
    number: int
    crc: int
    flags: int
    mtime: int
    content: Buffer


class Begin(NamedTuple):
    number: int
    mtime: int
    size: int


class Data(NamedTuple):
    content: Buffer


class Hole(NamedTuple):
    length: int


class End(NamedTuple):
    crc: int
    flags: int


class Abandon(NamedTuple):
    number: int
    error: Error


class Packed(NamedTuple):
    level: int
    size: int
    frame: Buffer


class Digest(NamedTuple):
    number: int
    digest: bytes


class List_(NamedTuple):
    flags: int
    path: bytes
    level: int = 0  # as in Fetch


class Entries(NamedTuple):
    entries: Sequence[Entry]


class Listed(NamedTuple):
    failures: Sequence[Error]


class Fetch(NamedTuple):
    first: int
    level: int
    paths: Sequence[bytes]


class Goodbye(NamedTuple):
    error: Error


class Signatures(NamedTuple):
    """Some of the signatures of a file; see delta/signatures.py for what is in `blocks`."""

    number: int
    block_size: int
    size: int
    salt: int
    first: int
    blocks: Buffer


class Reuse(NamedTuple):
    offset: int
    length: int


class PatchData(NamedTuple):
    content: Buffer


class FetchDelta(NamedTuple):
    number: int
    level: int
    path: bytes


class FetchPatch(NamedTuple):
    number: int
    level: int
    path: bytes
    reference: Reference


class UnknownReference(NamedTuple):
    number: int


Message = Union[
    Hello,
    Welcome,
    Proof,
    ProofAccepted,
    Open,
    Opened,
    Prove,
    Secret,
    Offer,
    Results,
    Body,
    Begin,
    Data,
    Hole,
    End,
    Abandon,
    Packed,
    Digest,
    List_,
    Entries,
    Listed,
    Fetch,
    Goodbye,
    Signatures,
    Reuse,
    PatchData,
    FetchDelta,
    FetchPatch,
    UnknownReference,
    RequestReport,
    Done,
]

_HEADER = struct.Struct("<IBB2x")
_ERROR = struct.Struct("<BB2xiQQ")
_ENTRY = struct.Struct("<BB2xIqqQ")
_RESULT = struct.Struct("<IB")
_HELLO = struct.Struct("<II32s")
_WELCOME = struct.Struct("<II32sI")
_OPEN = struct.Struct("<I16sB3x")
_BODY = struct.Struct("<IIB3xq")
_BEGIN = struct.Struct("<I4xqQ")
_END = struct.Struct("<IB3x")
_DIGEST = struct.Struct("<I16s")
_FETCH = struct.Struct("<IIB3x")
_OPENED = struct.Struct("<BxH")
_LIST = struct.Struct("<BB2x")
_REFERENCE = struct.Struct("<Q16s")
_SIGNATURES = struct.Struct("<IIQII")
_REUSE = struct.Struct("<QQ")
_FETCH_DELTA = struct.Struct("<IB3x")
_FETCH_PATCH = struct.Struct("<IB3xQ")
_U16, _U32, _TWO_U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<Q")
_U16_MAXIMUM = 0xFFFF

HELLO, WELCOME, PROOF, PROOF_ACCEPTED, OPEN, OPENED, PROVE, SECRET = range(32, 40)
OFFER, RESULTS, BODY, BEGIN, DATA, HOLE, END, ABANDON, PACKED, DIGEST = range(40, 50)
LIST, ENTRIES, LISTED, FETCH, GOODBYE = range(50, 55)
SIGNATURES, REUSE, PATCH_DATA, FETCH_DELTA, FETCH_PATCH, UNKNOWN_REFERENCE = range(64, 70)

#: What Packed may hold: nothing of the session's set-up, and never another Packed.
PACKABLE = frozenset([*range(OFFER, GOODBYE + 1), *range(SIGNATURES, UNKNOWN_REFERENCE + 1)]) - {PACKED}


# Making ------------------------------------------------------------------------------------------------------------


def header(type_: int, payload_size: int, level: int = 0) -> bytes:
    """The header of a message, for whom sends its payload himself."""
    return _HEADER.pack(HEADER_SIZE + payload_size, type_, level)


def encode(message: Message) -> bytes:
    """A whole message. Raises ValueError when a string or the message itself would be too long."""
    type_, parts = _ENCODERS[type(message)](message)
    size = HEADER_SIZE + sum(map(len, parts))
    if size > MESSAGE_MAXIMUM:
        raise ValueError("a message of %d bytes is too long" % size)
    level = message.level if isinstance(message, Packed) else 0
    return b"".join((_HEADER.pack(size, type_, level), *parts))


def entry_size(entry: Entry) -> int:
    """An upper bound of the bytes that an entry takes in Offer or Entries."""
    size = _ENTRY.size + 6 + len(entry.path) + len(entry.target) + _REFERENCE.size
    for name, value in entry.attributes:
        size += 6 + len(name) + len(value)
    return size


def error_size(error: Error) -> int:
    """The bytes that an error takes, at most."""
    return _ERROR.size + 4 + len(error.path) + 4 * len(error.text)


def _string(data: bytes) -> bytes:
    if len(data) > _U16_MAXIMUM:
        raise ValueError("a string of %d bytes is too long" % len(data))
    return _U16.pack(len(data)) + data


def _error(error: Error) -> bytes:
    text = error.text.encode("utf-8", "backslashreplace")[:4096]
    fixed = _ERROR.pack(error.kind, error.operation, to_wire(error.errno), error.a, error.b)
    return fixed + _string(error.path) + _string(text)


def encode_entry(entry: Entry) -> bytes:
    """One entry."""
    flags = entry.flags & ~(HAS_ATTRIBUTES | HAS_REFERENCE)
    flags |= (HAS_ATTRIBUTES if entry.attributes else 0) | (HAS_REFERENCE if entry.reference is not None else 0)
    parts = [
        _ENTRY.pack(entry.type, flags, entry.mode, entry.mtime, entry.atime, entry.size),
        _string(entry.path),
    ]
    if entry.type == LINK:
        parts.append(_string(entry.target))
    if entry.attributes:
        parts.append(_U16.pack(len(entry.attributes)))
        for name, value in entry.attributes:
            parts += (_string(name), _U32.pack(len(value)), value)
    if entry.reference is not None:
        parts.append(_REFERENCE.pack(*entry.reference))
    return b"".join(parts)


def _fetch_patch(fetch: FetchPatch) -> bytes:
    fixed = _FETCH_PATCH.pack(fetch.number, fetch.level, fetch.reference.size)
    return fixed + fetch.reference.md5 + _string(fetch.path)


def _result(result: Result) -> bytes:
    fixed = _RESULT.pack(result.number, result.code)
    return fixed + _error(result.error) if result.code == Code.FAILED else fixed


_Parts = Tuple[int, Sequence[Buffer]]
_ENCODERS: Dict[type, Callable[..., _Parts]] = {
    Hello: lambda m: (HELLO, (_HELLO.pack(*m),)),
    Welcome: lambda m: (WELCOME, (_WELCOME.pack(*m),)),
    Proof: lambda m: (PROOF, (m.proof,)),
    ProofAccepted: lambda m: (PROOF_ACCEPTED, (m.proof,)),
    Open: lambda m: (OPEN, (_OPEN.pack(m.connection_index, m.secret, m.flags), _string(m.directory))),
    Opened: lambda m: (OPENED, (_OPENED.pack(m.what, min(m.made, 0xFFFF)),)),
    Prove: lambda m: (PROVE, (m.guid, _string(m.path))),
    Secret: lambda m: (SECRET, (m.secret,)),
    Offer: lambda m: (OFFER, (_TWO_U32.pack(m.first, len(m.entries)), *map(encode_entry, m.entries))),
    Results: lambda m: (RESULTS, (_U32.pack(len(m.results)), *map(_result, m.results))),
    Body: lambda m: (BODY, (_BODY.pack(m.number, m.crc, m.flags, m.mtime), m.content)),
    Begin: lambda m: (BEGIN, (_BEGIN.pack(*m),)),
    Data: lambda m: (DATA, (m.content,)),
    Hole: lambda m: (HOLE, (_U64.pack(m.length),)),
    End: lambda m: (END, (_END.pack(*m),)),
    Abandon: lambda m: (ABANDON, (_U32.pack(m.number), _error(m.error))),
    Packed: lambda m: (PACKED, (_U32.pack(m.size), m.frame)),
    Digest: lambda m: (DIGEST, (_DIGEST.pack(*m),)),
    List_: lambda m: (LIST, (_LIST.pack(m.flags, m.level), _string(m.path))),
    Entries: lambda m: (ENTRIES, (_U32.pack(len(m.entries)), *map(encode_entry, m.entries))),
    Listed: lambda m: (LISTED, (_U32.pack(len(m.failures)), *map(_error, m.failures))),
    Fetch: lambda m: (FETCH, (_FETCH.pack(m.first, len(m.paths), m.level), *map(_string, m.paths))),
    Goodbye: lambda m: (GOODBYE, (_error(m.error),)),
    Signatures: lambda m: (SIGNATURES, (_SIGNATURES.pack(*m[:5]), m.blocks)),
    Reuse: lambda m: (REUSE, (_REUSE.pack(*m),)),
    PatchData: lambda m: (PATCH_DATA, (m.content,)),
    FetchDelta: lambda m: (FETCH_DELTA, (_FETCH_DELTA.pack(m.number, m.level), _string(m.path))),
    FetchPatch: lambda m: (FETCH_PATCH, (_fetch_patch(m),)),
    UnknownReference: lambda m: (UNKNOWN_REFERENCE, (_U32.pack(m.number),)),
}


# Reading -----------------------------------------------------------------------------------------------------------


def decode_header(data: Buffer, offset: int = 0) -> Tuple[int, int, int]:
    """Size of the whole message, type, level. Raises ProtocolError for a size or type that cannot be."""
    size, type_, level = _HEADER.unpack_from(data, offset)
    if not HEADER_SIZE <= size <= MESSAGE_MAXIMUM:
        raise ProtocolError("a message of %d bytes" % size)
    if type_ not in _DECODERS:
        raise ProtocolError("a message of the unknown type %d" % type_)
    return size, type_, level


def decode(type_: int, level: int, payload: Buffer) -> Message:
    """A message without its header. Contents are views of the payload. Raises ProtocolError."""
    reader = _Reader(payload)
    try:
        message = _DECODERS[type_](reader)
    except (struct.error, UnicodeError) as error:
        raise ProtocolError("a message of type %d that cannot be read: %s" % (type_, error)) from None
    if reader.offset != len(reader.data):
        raise ProtocolError("a message of type %d has bytes left over" % type_)
    return message._replace(level=level) if isinstance(message, Packed) else message


class _Reader:
    """Where one is in a payload."""

    __slots__ = ("data", "offset")

    def __init__(self, data: Buffer) -> None:
        self.data = memoryview(data)
        self.offset = 0

    def unpack(self, form: struct.Struct) -> Tuple[int, ...]:
        values = form.unpack_from(self.data, self.offset)
        self.offset += form.size
        return values

    def number(self, form: struct.Struct) -> int:
        return self.unpack(form)[0]

    def take(self, size: int) -> bytes:
        end = self.offset + size
        if end > len(self.data):
            raise ProtocolError("a message ends inside a field")
        data = bytes(self.data[self.offset : end])
        self.offset = end
        return data

    def rest(self) -> memoryview:
        data = self.data[self.offset :]
        self.offset = len(self.data)
        return data

    def string(self) -> bytes:
        return self.take(self.number(_U16))

    def count(self, least_size: int) -> int:
        """A number of things of at least so many bytes each: more than there is room for are not waited for."""
        count = self.number(_U32)
        if count * least_size > len(self.data) - self.offset:
            raise ProtocolError("a message ends inside a field")
        return count

    def error(self) -> Error:
        kind, operation, errno, a, b = self.unpack(_ERROR)
        path = self.string()
        return Error(kind, operation, from_wire(errno), a, b, path, self.string().decode("utf-8", "replace"))

    def entry(self) -> Entry:
        type_, flags, mode, mtime, atime, size = self.unpack(_ENTRY)
        if type_ not in (FILE, DIRECTORY, LINK):
            raise ProtocolError("an entry of the unknown type %d" % type_)
        path = self.string()
        target = self.string() if type_ == LINK else b""
        attributes: List[Tuple[bytes, bytes]] = []
        if flags & HAS_ATTRIBUTES:
            total = 0
            for _ in range(self.number(_U16)):
                name = self.string()
                value = self.take(self.number(_U32))
                total += len(name) + len(value)
                if total > ATTRIBUTES_MAXIMUM:
                    raise ProtocolError("extended attributes of more than %d bytes" % ATTRIBUTES_MAXIMUM)
                attributes.append((name, value))
        reference = None
        if flags & HAS_REFERENCE:
            reference = Reference(self.number(_U64), self.take(DIGEST_SIZE))
        return Entry(type_, flags, mode, mtime, atime, size, path, target, tuple(attributes), reference)

    def entries(self) -> List[Entry]:
        return [self.entry() for _ in range(self.count(_ENTRY.size + 2))]

    def result(self) -> Result:
        index, code = self.unpack(_RESULT)
        if code == Code.FAILED:
            return Result(index, code, self.error())
        if code > Code.SEND_PATCH:
            raise ProtocolError("a result of the unknown code %d" % code)
        return Result(index, code)

    def offer(self) -> Offer:
        first = self.number(_U32)
        return Offer(first, self.entries())

    def listing(self) -> List_:
        flags, level = self.unpack(_LIST)
        return List_(flags, self.string(), level)

    def fetch(self) -> Fetch:
        first, count, level = self.unpack(_FETCH)
        if 2 * count > len(self.data) - self.offset:
            raise ProtocolError("a message ends inside a field")
        return Fetch(first, level, [self.string() for _ in range(count)])

    def open(self) -> Open:
        index, secret, flags = _OPEN.unpack_from(self.data, self.offset)
        self.offset += _OPEN.size
        return Open(index, secret, flags, self.string())

    def hello(self) -> Hello:
        version, capabilities = self.unpack(_TWO_U32)
        return Hello(version, capabilities, self.take(NONCE_SIZE))

    def welcome(self) -> Welcome:
        version, capabilities = self.unpack(_TWO_U32)
        return Welcome(version, capabilities, self.take(NONCE_SIZE), self.number(_U32))

    def signatures(self) -> Signatures:
        number, block_size, size, salt, first = self.unpack(_SIGNATURES)
        blocks = self.rest()
        if len(blocks) % SIGNATURE_SIZE:
            raise ProtocolError("a message ends inside a field")
        return Signatures(number, block_size, size, salt, first, blocks)

    def fetch_delta(self) -> FetchDelta:
        number, level = self.unpack(_FETCH_DELTA)
        return FetchDelta(number, level, self.string())

    def fetch_patch(self) -> FetchPatch:
        number, level, size = self.unpack(_FETCH_PATCH)
        reference = Reference(size, self.take(DIGEST_SIZE))
        return FetchPatch(number, level, self.string(), reference)

    def body(self) -> Body:
        index, crc, flags, mtime = self.unpack(_BODY)
        return Body(index, crc, flags, mtime, self.rest())


_DECODERS: Dict[int, Callable[[_Reader], Message]] = {
    HELLO: _Reader.hello,
    WELCOME: _Reader.welcome,
    PROOF: lambda r: Proof(r.take(PROOF_SIZE)),
    PROOF_ACCEPTED: lambda r: ProofAccepted(r.take(PROOF_SIZE)),
    OPEN: _Reader.open,
    OPENED: lambda r: Opened(*r.unpack(_OPENED)),
    PROVE: lambda r: Prove(r.take(GUID_SIZE), r.string()),
    SECRET: lambda r: Secret(r.take(SECRET_SIZE)),
    OFFER: _Reader.offer,
    RESULTS: lambda r: Results([r.result() for _ in range(r.count(_RESULT.size))]),
    BODY: _Reader.body,
    BEGIN: lambda r: Begin(*r.unpack(_BEGIN)),
    DATA: lambda r: Data(r.rest()),
    HOLE: lambda r: Hole(r.number(_U64)),
    END: lambda r: End(*r.unpack(_END)),
    ABANDON: lambda r: Abandon(r.number(_U32), r.error()),
    PACKED: lambda r: Packed(0, r.number(_U32), r.rest()),
    DIGEST: lambda r: Digest(r.number(_U32), r.take(DIGEST_SIZE)),
    LIST: _Reader.listing,
    ENTRIES: lambda r: Entries(r.entries()),
    LISTED: lambda r: Listed([r.error() for _ in range(r.count(_ERROR.size + 4))]),
    FETCH: _Reader.fetch,
    GOODBYE: lambda r: Goodbye(r.error()),
    SIGNATURES: _Reader.signatures,
    REUSE: lambda r: Reuse(*r.unpack(_REUSE)),
    PATCH_DATA: lambda r: PatchData(r.rest()),
    FETCH_DELTA: _Reader.fetch_delta,
    FETCH_PATCH: _Reader.fetch_patch,
    UNKNOWN_REFERENCE: lambda r: UnknownReference(r.number(_U32)),
    # The two commands of v20 that are understood here, too.
    Command.REQUEST_REPORT: lambda r: RequestReport(),
    Command.DONE: lambda r: Done(),
}


# Paths -------------------------------------------------------------------------------------------------------------


def is_legal_path(path: bytes) -> bool:
    """Whether a relative path is one: no component empty, "." or "..", no zero byte. The empty path is."""
    if not path:
        return True
    if len(path) > PATH_MAXIMUM or b"\0" in path:
        return False
    return not any(name in (b"", b".", b"..") for name in path.split(b"/"))
