"""Finding the stretches of a file that another one has too.

The two files are followed along a diagonal: what is at an offset of the source is expected at that offset plus a shift
in the reference. An insertion or a removal moves the diagonal. When nothing has matched for a while, a few bytes of the
source are looked for in the whole reference, first near the place where they are expected; what is found says where the
new diagonal is. So changes in place cost one comparison, and content that moved is found at the speed of a text search.
"""

from typing import Iterator, NamedTuple, Optional, Tuple

from .access import read_at

#: What is compared at once grows: behind a change there may soon be another, and what was lost is read again.
_SHORTEST, _LONGEST = 64 << 10, 1 << 20
#: The unit in which changes in place are told apart: that of file systems' blocks.
_BLOCK = 4096
_GROUP = 64 << 10
#: So much must be lost before it is looked for, and so much of what is found must match.
_LOST, _FOUND = 32 << 10, 1024
#: What is searched for, and what of it must differ: zeros and the like are everywhere.
_PROBE, _DISTINCT = 64, 8
#: How far around the expected place is looked before the whole reference is, and how much is read at once.
_AROUND, _WINDOW = (256 << 10, 4 << 20), 4 << 20
#: All searches together may read so many times the reference.
_BUDGET = 12


class Stretch(NamedTuple):
    """A part of the source.

    Attributes:
        start, length: where in the source.
        reference: where the reference has the same, or -1.
    """

    start: int
    length: int
    reference: int


class Matcher:
    """Compares an open source with an open reference.

    Attributes:
        bytes_read: of both files, so far.
    """

    def __init__(self, source: int, reference: int, reference_size: int) -> None:
        self._source = source
        self._reference = reference
        self._reference_size = reference_size
        self._shift = 0
        self._budget = _BUDGET * reference_size
        self.bytes_read = 0

    def stretches(self, begin: int, end: int) -> Iterator[Stretch]:
        """What [begin, end) of the source is made of, in order and without gaps; less where the source ends before."""
        position = lost = begin  # between the two nothing has matched
        patience, step = _LOST, _SHORTEST
        while position < end:
            chunk = self._read(self._source, min(step, end - position), position)
            if not chunk:
                break
            for start, length in self._equal_parts(chunk, position):
                if start > lost:
                    yield Stretch(lost, start - lost, -1)
                yield Stretch(start, length, start + self._shift)
                lost = start + length
                patience = _LOST
            position += len(chunk)
            step = min(2 * step, _LONGEST)
            if position - lost >= patience:
                found = self._search(lost, position)
                if found is None:
                    patience = 2 * (position - lost)
                    continue
                start, self._shift = found
                # Blocks can be shared only where they begin as blocks.
                position = min(-(-start // _BLOCK) * _BLOCK, end)
                if position > lost:
                    yield Stretch(lost, position - lost, -1)
                lost, patience, step = position, _LOST, _SHORTEST
        if position > lost:
            yield Stretch(lost, position - lost, -1)

    def _equal_parts(self, chunk: bytes, position: int) -> Iterator[Tuple[int, int]]:
        """Where a chunk of the source is what the reference has on the diagonal."""
        other = self._read_reference(position + self._shift, len(chunk))
        if chunk == other:
            yield position, len(chunk)
            return
        start = -1
        for group in range(0, len(chunk), _GROUP):
            whole = chunk[group : group + _GROUP] == other[group : group + _GROUP]
            for block in (group,) if whole else range(group, min(group + _GROUP, len(chunk)), _BLOCK):
                equal = whole or chunk[block : block + _BLOCK] == other[block : block + _BLOCK]
                if equal and start < 0:
                    start = block
                elif not equal and start >= 0:
                    yield position + start, block - start
                    start = -1
        if start >= 0:
            yield position + start, len(chunk) - start

    # Searching --------------------------------------------------------------------------------------------------------

    def _search(self, lost: int, position: int) -> Optional[Tuple[int, int]]:
        """Looks for what was lost, first nearby: where in the source it begins to match again, and the shift."""
        # Where the next change comes soon only the first place serves; after a long insertion only the last.
        places = (lost + _LOST - _PROBE, (lost + position) // 2, position - _PROBE)
        probes = [(place, self._read(self._source, _PROBE, place)) for place in places]
        probes = [(place, probe) for place, probe in probes if len(probe) == _PROBE and len(set(probe)) >= _DISTINCT]
        for around in (*_AROUND, None):
            for place, probe in probes:
                expected = place + self._shift
                begin, end = (0, self._reference_size) if around is None else (expected - around, expected + around)
                candidate = self._find(probe, begin, end)
                if candidate >= 0 and self._holds(place, candidate, lost):
                    return self._first_match(place, candidate, lost), candidate - place
        return None

    def _find(self, probe: bytes, begin: int, end: int) -> int:
        begin, end = max(begin, 0), min(end, self._reference_size)
        while begin < end and self._budget > 0:
            window = self._read(self._reference, min(_WINDOW, end - begin), begin)
            self._budget -= len(window)
            found = window.find(probe)
            if found >= 0:
                return begin + found
            if len(window) < _PROBE:
                break
            begin += len(window) - _PROBE + 1
            if end - begin < _PROBE:
                break
        return -1

    def _holds(self, place: int, candidate: int, lost: int) -> bool:
        """Whether more than the probe matches, on either side of it."""
        after = self._read(self._source, _FOUND, place)
        if after == self._read_reference(candidate, len(after)) and len(after) == _FOUND:
            return True
        before = min(_FOUND, place + _PROBE - lost, candidate + _PROBE)
        wanted = self._read(self._source, before, place + _PROBE - before)
        return before == _FOUND and wanted == self._read_reference(candidate + _PROBE - before, before)

    def _first_match(self, place: int, candidate: int, lost: int) -> int:
        """How far back what was found reaches."""
        while place > lost and candidate > 0:
            count = min(_GROUP, place - lost, candidate)
            ours = self._read(self._source, count, place - count)
            theirs = self._read_reference(candidate - count, count)
            if ours != theirs:
                low, high = 0, count  # the last `low` bytes are equal, the last `high` are not
                while high - low > 1:
                    middle = (low + high) // 2
                    if ours[-middle:] == theirs[-middle:]:
                        low = middle
                    else:
                        high = middle
                return place - low
            place, candidate = place - count, candidate - count
        return place

    # Reading ----------------------------------------------------------------------------------------------------------

    def _read_reference(self, offset: int, count: int) -> bytes:
        # A stretch that begins before the reference does matches nothing: it is looked for again from its next block.
        if offset < 0 or offset >= self._reference_size:
            return b""
        return self._read(self._reference, count, offset)

    def _read(self, descriptor: int, count: int, offset: int) -> bytes:
        data = read_at(descriptor, count, offset)
        self.bytes_read += len(data)
        return data
