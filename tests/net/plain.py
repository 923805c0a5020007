"""Plain v20 for tests: a client and a server that are played by hand, strict about every byte they are sent."""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import uuid
from typing import Any, Dict, List, Optional, Tuple

from . import end_accepting, serving

TEXT, WRITE_FILE, READ_FILE, CREATE_DIR, ENVIRONMENT, DELETE_FILES, FIND_FILES, DONE, REPORT, FILE_INFO = range(1, 11)
#: Answers to WriteFile.
COPY, COPY_DELTA, COPY_USING_SMB, LINK, ODX, SKIP, HASH, BAD_DESTINATION = range(8)
#: Answers to ReadFile.
READ_COPY, READ_DELTA, READ_USING_SMB, READ_SKIP, READ_HASH, BUSY, BAD_SOURCE = range(7)
DIRECTORY = 0x10
_EPOCH = 116_444_736_000_000_000

#: Where the string of a command is, and the size of its struct.
_SHAPES = {
    TEXT: (12, 16),
    WRITE_FILE: (40, 48),
    READ_FILE: (40, 48),
    CREATE_DIR: (8, 12),
    ENVIRONMENT: (36, 40),
    DELETE_FILES: (8, 12),
    FIND_FILES: (8, 12),
    FILE_INFO: (8, 12),
}


def ticks(mtime_ns: int) -> int:
    """FILETIME of nanoseconds since 1970."""
    return mtime_ns // 100 + _EPOCH


def info(mtime_ns: int, size: int) -> bytes:
    return struct.pack("<QQQ", 0, ticks(mtime_ns), size)


def version(flags: int = 0, number: int = 20, text: str = "v1.11") -> bytes:
    return struct.pack("<IB3xII", 20 + 2 * len(text), 0, number, flags) + text.encode("utf-16-le") + bytes(4)


def command(kind: int, text: str = "", fields: bytes = b"", *, tight: bool = False) -> bytes:
    """A command as the real client sends it; tight: without the padding at its end."""
    if kind in (DONE, REPORT):
        return struct.pack("<IB3x", 8, kind)
    offset, size = _SHAPES[kind]
    encoded = text.encode("utf-16-le")
    assert len(fields) == offset - 8
    tail = b"\0\0" if tight else b"\0\0" + b"\xcd" * (size - offset - 2)
    whole = offset + len(encoded) + len(tail)
    return struct.pack("<IB3s", whole, kind, b"\xcc" * 3) + fields + encoded + tail


def environment(directory: str, *, secret: bytes = b"\x11" * 16, index: int = 1) -> bytes:
    return command(ENVIRONMENT, directory, struct.pack("<III", index, 1, 20) + secret)


def write_file(path: str, mtime_ns: int, size: int, *, kind: int = 1) -> bytes:
    return command(WRITE_FILE, path, struct.pack("<B7s", kind, b"\xcd" * 7) + info(mtime_ns, size))


def read_file(path: str, *, level: int = 0, have: bytes = bytes(24)) -> bytes:
    return command(READ_FILE, path, struct.pack("<B7s", level, b"\xcd" * 7) + have)


def file_name(guid: bytes) -> str:
    return ".f" + str(uuid.UUID(bytes_le=guid)).upper()


class Closed(Exception):
    """The peer hung up."""


def take(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            more = connection.recv(size - len(data))
        except ConnectionError:
            more = b""
        if not more:
            raise Closed("after %d of %d bytes" % (len(data), size))
        data += more
    return data


class Client:
    """A client of plain v20, played by hand."""

    def __init__(self, port: int, *, timeout: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version = self.take(struct.unpack("<I", self.take(4))[0] - 4)
        self.flags = struct.unpack_from("<I", self.version, 8)[0]

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def take(self, size: int) -> bytes:
        return take(self.socket, size)

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def byte(self, *parts: bytes) -> int:
        """Sends, and returns the one byte that is answered."""
        self.send(*parts)
        return self.take(1)[0]

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def closed(self) -> bool:
        """Whether the server hangs up without a byte."""
        try:
            self.take(1)
        except Closed:
            return True
        return False

    def listing(self, pattern: str) -> Optional[Dict[str, Tuple[int, int, int]]]:
        """FindFiles: attributes, time and size by name; None when the search fails."""
        self.send(command(FIND_FILES, pattern))
        found: Dict[str, Tuple[int, int, int]] = {}
        while True:
            size = self.u32()
            if size == 0xFFFFFFFF:
                return None
            if size == 0:
                return found
            block, at = self.take(size), 0
            while at < size:
                fields = struct.unpack_from("<IQQ", block, at)
                end = at + 20
                while block[end : end + 2] != b"\0\0":
                    end += 2
                found[block[at + 20 : end].decode("utf-16-le")] = fields
                at = end + 2

    def write(self, path: str, mtime_ns: int, content: bytes) -> Tuple[int, Optional[int]]:
        """WriteFile without compression; the answer, and after Copy whether it went well."""
        answer = self.byte(write_file(path, mtime_ns, len(content)))
        if answer == HASH:
            answer = self.byte(hashlib.md5(content).digest())
        return answer, self.byte(content) if answer == COPY else None

    def done(self) -> int:
        """Done: the sum of levels; the server hangs up."""
        self.send(command(DONE))
        total = struct.unpack("<Q", self.take(8))[0]
        assert self.closed()
        return int(total)


class Command:
    """A command that a client sent."""

    def __init__(self, kind: int, payload: bytes) -> None:
        self.kind, self.payload = kind, payload
        self.text = ""
        if kind in _SHAPES:
            offset, size = _SHAPES[kind]
            end = offset - 8
            while payload[end : end + 2] != b"\0\0":
                assert end + 2 <= len(payload), "a string without its zero"
                end += 2
            self.text = payload[offset - 8 : end].decode("utf-16-le")
            assert len(payload) + 8 <= size + end - (offset - 8), "bytes are left over"
        else:
            assert kind in (DONE, REPORT) and not payload, kind

    def info(self) -> Tuple[int, int, int]:
        """FileInfo of WriteFile and ReadFile."""
        return struct.unpack_from("<QQQ", self.payload, 8)  # type: ignore[return-value]


class Service:
    """A server of plain v20 over one directory, with a script of what it does otherwise than usual.

    Args:
        root: stands for the share "share".
        flags: of Version; bit 0 asks for the security file.
        version: says another.
        closes_after: hangs up after so many bytes that it has sent.
        sends: bytes at a time.
        writes: what WriteFile is answered for a name instead of Copy.
        busy: how many ReadFiles are answered ServerBusy first.
    """

    def __init__(
        self,
        root: Any,
        *,
        flags: int = 0,
        number: int = 20,
        closes_after: Optional[int] = None,
        sends: int = 65536,
        writes: Optional[Dict[str, List[int]]] = None,
        busy: int = 0,
    ) -> None:
        self.root, self._flags, self._number, self._writes = os.fspath(root), flags, number, writes or {}
        self._closes_after, self._sends, self._busy = closes_after, sends, busy
        self.commands: List[Command] = []
        self.environments: List[bytes] = []
        self.problems: List[BaseException] = []
        self.sent = 0
        self.smb: List[int] = []
        self._secrets: List[bytes] = []
        self._lock = threading.Lock()
        self._connections: List[socket.socket] = []
        self._ends = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        end_accepting(self._socket)
        for one in self._connections:
            one.close()
        assert not self.problems, self.problems

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._ends:
                connection.close()
                return
            connection.settimeout(20)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._talk(connection)
        except (Closed, OSError):
            pass
        except BaseException as problem:
            self.problems.append(problem)
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _send(self, connection: socket.socket, data: bytes) -> None:
        while data:
            piece = data[: self._sends]
            with self._lock:
                if self._closes_after is not None:
                    piece = piece[: self._closes_after - self.sent]
                self.sent += len(piece)
            if not piece:
                raise Closed
            connection.sendall(piece)
            data = data[len(piece) :]

    def _path(self, *parts: str) -> str:
        return os.path.join(self.root, *[part for text in parts for part in text.split("\\") if part])

    def _talk(self, connection: socket.socket) -> None:
        self._send(connection, version(self._flags, self._number))
        directory: Optional[str] = None
        while True:
            size, kind = struct.unpack("<IB3x", take(connection, 8))
            assert 8 <= size <= 512 << 10 and 1 <= kind <= 10, (size, kind)
            asked = Command(kind, take(connection, size - 8))
            self.commands.append(asked)
            if kind == ENVIRONMENT:
                assert directory is None
                directory = self._environment(connection, asked)
            elif kind == DONE:
                self._send(connection, bytes(8))
                return
            elif kind == REPORT:
                text = "a report\nof two lines\n"
                self._send(connection, struct.pack("<I", len(text)) + text.encode("utf-16-le"))
            else:
                assert directory is not None, "a command before Environment"
                assert not asked.text.startswith("\\") and "/" not in asked.text, asked.text
                handler = {
                    WRITE_FILE: self._write,
                    READ_FILE: self._read,
                    CREATE_DIR: self._make,
                    FIND_FILES: self._find,
                    FILE_INFO: self._info,
                }[kind]
                handler(connection, asked, directory)

    def _environment(self, connection: socket.socket, asked: Command) -> str:
        index, major, minor = struct.unpack_from("<III", asked.payload)
        secret = asked.payload[12:28]
        assert (major, minor) == (1, 20) and index < 1000
        share, _, rest = asked.text.partition("\\")
        if share != "share":
            raise Closed
        if not self._flags & 1:
            assert secret != bytes(16), "an unproved client makes a secret of its own"
            self.environments.append(secret)
            return rest
        if secret == bytes(16):
            guid, secret = os.urandom(16), os.urandom(16)
            os.makedirs(self._path(rest), exist_ok=True)
            path = os.path.join(self._path(rest), file_name(guid))
            with open(path, "wb") as stream:
                stream.write(secret)
            self._send(connection, guid)
            proof = take(connection, 16)
            os.unlink(path)
            if proof != secret:
                raise Closed
            self._secrets.append(secret)
        elif secret not in self._secrets:
            raise Closed
        return rest

    def _write(self, connection: socket.socket, asked: Command, directory: str) -> None:
        created, modified, size = asked.info()
        assert created == 0, "the real server compares it"
        kind = asked.payload[0]
        assert kind in (1, 2)
        path = self._path(directory, asked.text)
        for answer in self._writes.pop(os.path.basename(path), []) + [COPY]:
            self._send(connection, bytes([answer]))
            if answer == HASH:
                self.hashed = take(connection, 16)
                continue
            if answer == COPY_USING_SMB:
                self.smb.append(take(connection, 1)[0])
            if answer != COPY:
                return
            break
        content = take(connection, size) if kind == 1 else self._blocks(connection, size)
        try:
            with open(path, "wb") as stream:
                stream.write(content)
            os.utime(path, ns=(0, (modified - _EPOCH) * 100))
        except OSError:
            self._send(connection, b"\0")
        else:
            self._send(connection, b"\1")

    def _blocks(self, connection: socket.socket, size: int) -> bytes:
        content = b""
        while len(content) < size:
            (packed,) = struct.unpack("<I", take(connection, 4))
            assert 0 < packed <= 8 << 20
            block = take(connection, packed)
            assert block[:4] == b"\x28\xb5\x2f\xfd"
            content += serving.zstd().decompress(block)
        assert len(content) == size
        return content

    def _read(self, connection: socket.socket, asked: Command, directory: str) -> None:
        if self._busy:
            self._busy -= 1
            self._send(connection, bytes([BUSY]))
            return
        path = self._path(directory, asked.text)
        if not os.path.isfile(path):
            self._send(connection, bytes([BAD_SOURCE]))
            return
        status = os.stat(path)
        wanted = (0, ticks(status.st_mtime_ns), status.st_size)
        if asked.info() == wanted:
            self._send(connection, bytes([READ_SKIP]))
            return
        with open(path, "rb") as stream:
            content = stream.read()
        if asked.payload[0]:
            compress = serving.zstd().compress
            blocks = [compress(content[at : at + 2_064_384]) for at in range(0, len(content), 2_064_384)]
            content = b"".join(struct.pack("<I", len(block)) + block for block in blocks)
        self._send(connection, bytes([READ_COPY]) + struct.pack("<QQ", *wanted[1:]) + content)

    def _make(self, connection: socket.socket, asked: Command, directory: str) -> None:
        path, made = self._path(directory, asked.text), 0
        while not os.path.lexists(path):
            path, made = os.path.dirname(path), made + 1
        if not os.path.isdir(path):
            self._send(connection, b"\0")
            return
        os.makedirs(self._path(directory, asked.text), exist_ok=True)
        self._send(connection, bytes([2 + min(made, 200)]))

    def _find(self, connection: socket.socket, asked: Command, directory: str) -> None:
        where, _, pattern = asked.text.rpartition("\\")
        assert pattern in ("*.*", "*"), pattern
        try:
            names = os.listdir(self._path(directory, where))
        except OSError:
            self._send(connection, b"\xff\xff\xff\xff")
            return
        block = b""
        for name in names:
            status = os.stat(os.path.join(self._path(directory, where), name))
            is_directory = os.path.isdir(os.path.join(self._path(directory, where), name))
            block += struct.pack(
                "<IQQ",
                DIRECTORY if is_directory else 0x20,
                ticks(status.st_mtime_ns),
                0 if is_directory else status.st_size,
            )
            block += name.encode("utf-16-le") + b"\0\0"
        # An empty one is said twice over, as the real server does.
        self._send(connection, struct.pack("<I", len(block)) + block + bytes(4))

    def _info(self, connection: socket.socket, asked: Command, directory: str) -> None:
        try:
            status = os.stat(self._path(directory, asked.text))
        except OSError:
            self._send(connection, bytes(28) + struct.pack("<I", 2))
            return
        is_directory = os.path.isdir(self._path(directory, asked.text))
        found = struct.pack("<QQQ", 0, ticks(status.st_mtime_ns), 0 if is_directory else status.st_size)
        self._send(connection, found + struct.pack("<II", DIRECTORY if is_directory else 0x20, 0))
