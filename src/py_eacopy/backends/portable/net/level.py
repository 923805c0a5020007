"""Which zstd level to use: a fixed one, or "auto", which finds out whether the wire or the processor is slower."""

from . import zstd

AUTO = -1
_FIRST, _MAXIMUM = 3, 12
#: After compressing was found to cost more than it saves, this much goes as it is before it is tried again.
_RAW_BYTES = 8 * 1024 * 1024
#: A frame of more than this share of its content is not worth unpacking.
_WORTH = 0.97
_SKIPPED_FRAMES_MAXIMUM = 32


class LevelControl:
    """Decides frame by frame.

    Args:
        level: 0 none, 1 to 22, AUTO.
    """

    def __init__(self, level: int) -> None:
        if not zstd.AVAILABLE:
            level = 0
        self._adapts = level < 0
        self._level = _FIRST if self._adapts else level
        self._raw_left = 0
        self._frames_left = 0
        self._frames_to_skip = 1

    @property
    def is_off(self) -> bool:
        """Nothing will ever be packed."""
        return not self._adapts and self._level == 0

    def next_level(self, size: int) -> int:
        """The level for so many bytes that are about to be sent; 0 sends them as they are."""
        if self._frames_left:
            self._frames_left -= 1
            return 0
        if self._raw_left > 0:
            self._raw_left -= size
            if self._raw_left > 0:
                return 0
            self._level = 1
        return self._level

    def is_worth(self, size: int, packed_size: int) -> bool:
        """Whether to send the frame rather than its content. What does not shrink makes the next few go unpacked."""
        if packed_size < _WORTH * size:
            self._frames_to_skip = 1
            return True
        self._frames_left = self._frames_to_skip
        self._frames_to_skip = min(2 * self._frames_to_skip, _SKIPPED_FRAMES_MAXIMUM)
        return False

    def tell(self, compressing: float, waiting: float) -> None:
        """How many seconds the last frame took to make, and how many the wire made us wait since the one before."""
        if not self._adapts:
            return
        if waiting > compressing:
            self._level = min(self._level + 1, _MAXIMUM)
        else:
            self._level -= 1
            if self._level < 1:
                self._level = 1
                self._raw_left = _RAW_BYTES
