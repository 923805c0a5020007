"""The extended dialect as docs/protocol.md describes it, for peers that tests play by hand."""

import hashlib
import hmac
import os
import socket
import struct
import uuid
import zlib
from typing import Any, Iterable, List, NamedTuple, Optional, Tuple

USE_SECURITY_FILE, EXTENDED, TOKEN_REQUIRED = 1, 1 << 16, 1 << 17
HELLO, WELCOME, PROOF, PROOF_ACCEPTED, OPEN, OPENED, PROVE, SECRET = range(32, 40)
OFFER, RESULTS, BODY, BEGIN, DATA, HOLE, END, ABANDON, PACKED, DIGEST = range(40, 50)
LIST, ENTRIES, LISTED, FETCH, GOODBYE = range(50, 55)
ZSTD, MODES, LINKS, ATTRIBUTES = 1, 2, 4, 8
WRITE, TREE = 1, 2
FILE, DIRECTORY, LINK = 1, 2, 3
SEND, LINKED, SKIPPED, SEND_DIGEST, STORED, MADE, FAILED = 0, 1, 2, 3, 4, 5, 255
PERMISSION_DENIED = 6
LARGEST = 2_162_688


class Closed(Exception):
    """The peer hung up."""


class Failure(NamedTuple):
    """What stands for ``error`` on the wire."""

    kind: int
    operation: int
    errno: int
    path: bytes
    text: bytes


class Refused(Closed):
    """The peer said Goodbye, with a reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def str16(text: bytes) -> bytes:
    return struct.pack("<H", len(text)) + text


def message(kind: int, payload: bytes = b"", *, level: int = 0, size: Optional[int] = None) -> bytes:
    """Args: size: what the header says, if it is to lie."""
    return struct.pack("<IBBH", 8 + len(payload) if size is None else size, kind, level, 0) + payload


def hello(capabilities: int = 15, nonce: Optional[bytes] = None, version: int = 1) -> bytes:
    return message(HELLO, struct.pack("<II", version, capabilities) + (nonce or os.urandom(32)))


def welcome(capabilities: int = 14, connections: int = 1) -> bytes:
    return message(WELCOME, struct.pack("<II", 1, capabilities) + os.urandom(32) + struct.pack("<I", connections))


def version(flags: int, number: int = 20, text: str = "v1.11") -> bytes:
    tail = struct.pack("<II", number, flags) + text.encode("utf-16-le") + b"\0\0" + b"\0\0"
    return struct.pack("<IB3x", 8 + len(tail), 0) + tail


def open_(directory: bytes, flags: int, *, secret: bytes = bytes(16), index: int = 1) -> bytes:
    return message(OPEN, struct.pack("<I", index) + secret + struct.pack("<B3x", flags) + str16(directory))


def entry(
    path: bytes,
    kind: int = FILE,
    *,
    flags: int = 0,
    mode: int = 0o644,
    mtime: int = 1_600_000_000_123_456_700,
    size: int = 0,
    target: bytes = b"",
) -> bytes:
    packed = struct.pack("<BBHIqqQ", kind, flags, 0, mode, mtime, mtime, size) + str16(path)
    return packed + (str16(target) if kind == LINK else b"")


def offer(first: int, *entries: bytes) -> bytes:
    return message(OFFER, struct.pack("<II", first, len(entries)) + b"".join(entries))


def body(index: int, content: bytes, *, mtime: int = 1_600_000_000_123_456_700, crc: Optional[int] = None) -> bytes:
    crc = zlib.crc32(content) if crc is None else crc
    return message(BODY, struct.pack("<IIB3xq", index, crc, 0, mtime) + content)


def begin(index: int, size: int, *, mtime: int = 1_600_000_000_123_456_700) -> bytes:
    return message(BEGIN, struct.pack("<IIqQ", index, 0, mtime, size))


def end(crc: int) -> bytes:
    return message(END, struct.pack("<IB3x", crc, 0))


def hole(length: int) -> bytes:
    return message(HOLE, struct.pack("<Q", length))


def list_(path: bytes = b"", flags: int = 1) -> bytes:
    return message(LIST, struct.pack("<B3x", flags) + str16(path))


def fetch(first: int, *paths: bytes, level: int = 0) -> bytes:
    return message(FETCH, struct.pack("<IIB3x", first, len(paths), level) + b"".join(map(str16, paths)))


def goodbye() -> bytes:
    return message(GOODBYE, struct.pack("<BBHiQQ", 0, 0, 0, 0, 0, 0) + str16(b"") + str16(b""))


def guid_text(guid: bytes) -> str:
    return str(uuid.UUID(bytes_le=guid)).upper()


def proof(side: str, token: str, transcript: bytes) -> bytes:
    """Args: side: "client" or "server"."""
    return hmac.new(token.encode(), b"eacopy %s proof 1" % side.encode() + transcript, hashlib.sha256).digest()


class Reader:
    """Reads fields from a payload."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        assert self.at + size <= len(self.data), "the payload ends inside a field"
        self.at += size
        return self.data[self.at - size : self.at]

    def fields(self, form: str) -> Tuple[Any, ...]:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def str16(self) -> bytes:
        return self.take(self.fields("H")[0])

    def failure(self) -> Failure:
        kind, operation, _, number, _, _ = self.fields("BBHiQQ")
        return Failure(kind, operation, number, self.str16(), self.str16())

    def entry(self) -> Tuple[int, bytes, bytes]:
        kind, flags, _, _, _, _, _ = self.fields("BBHIqqQ")
        path = self.str16()
        target = self.str16() if kind == LINK else b""
        if flags & 1:
            for _ in range(self.fields("H")[0]):
                self.str16()
                self.take(self.fields("I")[0])
        return kind, path, target

    def done(self) -> None:
        assert self.at == len(self.data), "bytes are left over"


class Peer:
    """A client that is played by hand: connected, with the server's Version read.

    Attributes:
        version: the whole message.
        flags: its protocolFlags.
    """

    def __init__(self, port: int, *, timeout: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.sent = bytearray()
        header = self.take(8)
        self.version = header + self.take(struct.unpack_from("<I", header)[0] - 8)
        self.flags = struct.unpack_from("<I", self.version, 12)[0]
        self.transcript = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # Bytes and messages

    def take(self, size: int) -> bytes:
        """Receives exactly so many bytes."""
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionError:
                more = b""
            if not more:
                raise Closed("the peer hung up")
            data += more
        self.received += data
        return data

    def send(self, *messages: bytes) -> None:
        """Sends; it is no error that the peer has hung up already, the next :meth:`receive` will say so."""
        data = b"".join(messages)
        self.sent += data
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def raw(self) -> Tuple[int, bytes, bytes]:
        """Type, payload and the whole of the next message."""
        header = self.take(8)
        size, kind = struct.unpack_from("<IB", header)
        assert 8 <= size <= LARGEST, size
        payload = self.take(size - 8)
        return kind, payload, header + payload

    def receive(self, *kinds: int) -> Reader:
        """The payload of the next message, which is of one of these types; Goodbye raises :class:`Refused`."""
        kind, payload, _ = self.raw()
        if kind == GOODBYE and GOODBYE not in kinds:
            raise Refused(Reader(payload).failure())
        assert kind in kinds, (kind, kinds)
        return Reader(payload)

    def ending(self) -> Optional[Failure]:
        """Waits for the peer to hang up; returns what it said before, if it said Goodbye. Other messages are passed."""
        try:
            while True:
                kind, payload, _ = self.raw()
                if kind == GOODBYE:
                    failure = Reader(payload).failure()
                    try:
                        self.take(1)
                    except Closed:
                        return failure
                    raise AssertionError("something comes after Goodbye")
        except Closed:
            return None

    # Steps of a session

    def greet(self, capabilities: int = 15) -> None:
        """Hello and Welcome."""
        first = hello(capabilities)
        self.send(first)
        kind, _, whole = self.raw()
        assert kind == WELCOME, kind
        self.transcript = self.version + first + whole

    def prove(self, token: str) -> None:
        """The token's proofs, of both sides."""
        self.send(message(PROOF, proof("client", token, self.transcript)))
        answer = self.receive(PROOF_ACCEPTED).data
        assert answer == proof("server", token, self.transcript), "the server did not prove that it knows the token"

    def open(self, directory: bytes, flags: int = WRITE | TREE) -> int:
        """Open, with the security file when that is wanted; what Opened says."""
        self.send(open_(directory, flags))
        if self.flags & USE_SECURITY_FILE:
            _, path = self.wanted_proof()
            with open(path, "rb") as stream:
                self.send(message(SECRET, stream.read()))
        return int(self.receive(OPENED).data[0])

    def wanted_proof(self) -> Tuple[bytes, bytes]:
        """The guid and path of a Prove."""
        reader = self.receive(PROVE)
        guid, path = reader.take(16), reader.str16()
        reader.done()
        return guid, path

    def results(self, count: int) -> List[Tuple[int, int, Optional[Failure]]]:
        """The next so many results: index, code, failure."""
        found: List[Tuple[int, int, Optional[Failure]]] = []
        while len(found) < count:
            reader = self.receive(RESULTS)
            for _ in range(reader.fields("I")[0]):
                index, code = reader.fields("IB")
                found.append((index, code, reader.failure() if code == FAILED else None))
            reader.done()
        return found

    def result(self) -> Tuple[int, Optional[Failure]]:
        """The code of the next result, and its failure."""
        ((_, code, failure),) = self.results(1)
        return code, failure

    def push(self, index: int, path: bytes, content: bytes, **fields: Any) -> int:
        """Offers one file, sends it when asked to, and returns the code of the final result."""
        self.send(offer(index, entry(path, size=len(content), **fields)))
        code, _ = self.result()
        if code == SEND:
            self.send(body(index, content))
            code, _ = self.result()
        return code

    def listed(self, path: bytes = b"") -> Tuple[List[Tuple[int, bytes, bytes]], List[Failure]]:
        """The entries below a path, and the failures."""
        self.send(list_(path))
        entries: List[Tuple[int, bytes, bytes]] = []
        while True:
            kind, payload, _ = self.raw()
            reader = Reader(payload)
            if kind == GOODBYE:
                raise Refused(reader.failure())
            count = reader.fields("I")[0]
            if kind == LISTED:
                return entries, [reader.failure() for _ in range(count)]
            assert kind == ENTRIES, kind
            entries += [reader.entry() for _ in range(count)]
            reader.done()


def messages(data: bytes) -> Iterable[Tuple[int, bytes]]:
    """The messages in what one side of a recorded conversation said: their types, and the whole of each."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from("<IB", data, at)
        yield kind, data[at : at + size]
        at += size
