"""Signatures: what one side tells of a file that the other does not have, so that the other can find in a file of its
own what both have. For each block of the file a weak sum, which can be rolled along byte by byte, and the beginning of
a strong digest."""

import hashlib
import os
import struct
import zlib
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

_Bytes = Union[bytes, bytearray, memoryview]

SIGNATURE_SIZE = 12
_STRONG = 8
_SMALLEST_BLOCK, _LARGEST_BLOCK = 256, 16 << 20
#: Memory is bounded by the number of blocks: larger files have larger ones.
_MOST_BLOCKS = 1 << 20
_MODULUS = 65521  # of Adler-32
#: Rolling is the one thing here that Python does byte by byte. So much of a file is rolled over, and as much again as
#: was found by that; then one block out of so many, in which a block of what moved begins too.
_ROLLED, _SAMPLED = 4 << 20, 16
#: More of a file is not digested without finding anything: only signatures that were made up need more.
_MOST_IN_VAIN = 64 << 20


class Reused(NamedTuple):
    """A stretch of a file that the other one has too: where it is there."""

    offset: int
    length: int


#: What a file is made of: bytes that were not found, or a stretch of the other one.
Part = Union[bytes, Reused]


def block_size_for(size: int) -> int:
    """The size of blocks that suits a file; 0 for one that is too large.

    With half the size there are twice the signatures to send, and half as much to send anew at each change: the root
    balances them.
    """
    block = 1024
    while block < 65536 and block * block < size // 16:
        block *= 2
    while block <= _LARGEST_BLOCK and -(-size // block) > _MOST_BLOCKS:
        block *= 2
    return block if block <= _LARGEST_BLOCK else 0


def signature_of(salt: bytes, block: _Bytes) -> bytes:
    """The signature of one block."""
    return struct.pack("<I", zlib.adler32(block)) + _strong(salt, block)


def _strong(salt: bytes, block: _Bytes) -> bytes:
    digest = hashlib.md5(salt)
    digest.update(block)
    return digest.digest()[:_STRONG]


def new_salt() -> int:
    """Keeps anybody from preparing contents whose digests are equal."""
    return int.from_bytes(os.urandom(4), "little")


class Signatures:
    """Those of one file; the last block may be shorter than the others.

    Raises ValueError for sizes that may not be used: what a peer says has to be looked at.
    """

    def __init__(self, size: int, block_size: int, salt: int) -> None:
        if not _SMALLEST_BLOCK <= block_size <= _LARGEST_BLOCK or not 0 < size <= block_size * _MOST_BLOCKS:
            raise ValueError("signatures of %d bytes in blocks of %d" % (size, block_size))
        self.size, self.block_size, self.salt = size, block_size, salt
        self.count = -(-size // block_size)
        self._blocks = bytearray()

    def __len__(self) -> int:
        return len(self._blocks) // SIGNATURE_SIZE

    @property
    def is_complete(self) -> bool:
        return len(self) == self.count

    def add(self, blocks: _Bytes) -> None:
        """Adds the next ones. Raises ValueError when there are too many, or none."""
        count = len(blocks) // SIGNATURE_SIZE
        if not 0 < count <= self.count - len(self):
            raise ValueError("%d signatures where %d are missing" % (count, self.count - len(self)))
        self._blocks += blocks

    def __getitem__(self, block: int) -> bytes:
        begin = block * SIGNATURE_SIZE
        return bytes(self._blocks[begin : begin + SIGNATURE_SIZE])

    def by_weak_sum(self) -> Dict[int, int]:
        """The first whole block that has each of the weak sums."""
        found: Dict[int, int] = {}
        whole = self.size // self.block_size
        for block, (weak,) in enumerate(struct.iter_unpack("<I8x", self._blocks)):
            if block < whole:
                found.setdefault(weak, block)
        return found


class BlockFinder:
    """Finds the blocks of a file in a stream of bytes, wherever they begin.

    Args:
        signatures: complete ones.
    """

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._size = signatures.block_size
        self._salt = struct.pack("<I", signatures.salt)
        self._whole = signatures.size // self._size  # blocks that are not shorter
        self._known = signatures.by_weak_sum()
        self._rest = b""  # was not told yet, because a block may begin in it
        self._expected = 0  # the block after the one that was found last
        self._reused: Optional[Reused] = None  # put off, to be told together with what continues it
        self._rolled = self._found = self._in_vain = 0

    def add(self, data: _Bytes) -> Iterator[Part]:
        """Goes on with what follows; parts come as they are known, in order and without gaps."""
        data = self._rest + bytes(data) if self._rest else bytes(data)
        begin = position = 0  # of what was not told yet, and of the window
        end = len(data) - self._size  # of the windows
        while position <= end and self._whole:
            found = self._find(data, position, end)
            if found is None:
                position = end + 1
                break
            position, block = found
            if position > begin:
                yield from self._tell(data[begin:position])
            yield from self._reuse(block, self._size)
            position += self._size
            begin = position
        if not self._whole:
            position = max(0, len(data) - self._size)  # only the last block of all, shorter than that, can be found
        if position > begin:
            yield from self._tell(data[begin:position])
        self._rest = data[position:]

    def finish(self, last: bool) -> Iterator[Part]:
        """Nothing follows what was added: tells the rest. `last`: here ends the file, where a shorter block may be."""
        rest, self._rest = self._rest, b""
        tail = self._signatures.size % self._size
        if last and 0 < tail <= len(rest) and self._is_block(rest[-tail:], self._whole):
            if len(rest) > tail:
                yield from self._tell(rest[:-tail])
            yield from self._reuse(self._whole, tail)
            rest = b""
        if rest:
            yield from self._tell(rest)
        if self._reused is not None:
            yield self._reused
            self._reused = None

    def _tell(self, data: bytes) -> List[Part]:
        parts: List[Part] = [data]
        if self._reused is not None:
            parts.insert(0, self._reused)
            self._reused = None
        return parts

    def _reuse(self, block: int, length: int) -> Iterator[Part]:
        self._expected = block + 1
        self._found += length
        offset, before = block * self._size, self._reused
        if before is None:
            self._reused = Reused(offset, length)
        elif before.offset + before.length == offset:
            self._reused = Reused(before.offset, before.length + length)
        else:
            self._reused = Reused(offset, length)
            yield before

    # Searching --------------------------------------------------------------------------------------------------------

    def _find(self, data: bytes, position: int, end: int) -> Optional[Tuple[int, int]]:
        """The first window from `position` to `end` that is a block, and that block."""
        while position <= end:
            block = self._expected
            if block < self._whole and self._is_block(data[position : position + self._size], block):
                return position, block
            # Changed in place, most likely: then the block after the next is where it was.
            after = position + self._size
            beyond = data[after : after + self._size]
            if block + 1 < self._whole and after <= end and self._is_block(beyond, block + 1):
                return after, block + 1
            if self._rolled <= _ROLLED + self._found:
                return self._roll(data, position, end)
            found = self._roll(data, position, min(end, position + self._size))
            if found is not None:
                return found
            position += _SAMPLED * self._size
        return None

    def _roll(self, data: bytes, position: int, end: int) -> Optional[Tuple[int, int]]:
        size, known = self._size, self._known
        weak = zlib.adler32(data[position : position + size])
        if weak in known and self._is_block(data[position : position + size], known[weak]):
            return position, known[weak]
        first, second = weak & 0xFFFF, weak >> 16
        leaving, coming = memoryview(data)[position:end], memoryview(data)[position + size : end + size]
        start = position
        for left, came in zip(leaving, coming):
            position += 1
            first += came - left
            second += first - size * left - 1
            weak = (second % _MODULUS) << 16 | (first % _MODULUS)
            if weak in known and self._is_block(data[position : position + size], known[weak]):
                self._rolled += position - start
                return position, known[weak]
        self._rolled += position - start
        return None

    def _is_block(self, window: bytes, block: int) -> bool:
        signature = self._signatures[block]
        if int.from_bytes(signature[:4], "little") != zlib.adler32(window):
            return False
        if self._in_vain > _MOST_IN_VAIN + self._found:
            return False
        if _strong(self._salt, window) == signature[4:]:
            return True
        self._in_vain += len(window)
        return False
