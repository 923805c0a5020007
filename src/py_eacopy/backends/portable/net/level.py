"""Which zstd level to use: a fixed one, or "auto", which finds out whether the wire or the processor is slower."""

from . import zstd

AUTO = -1
_FIRST, _MAXIMUM = 3, 12
#: Up to here no waiting has to be seen to raise the level: the wire is busy, that is enough.
_CHEAP = 7
#: After compressing was found to cost more than it saves, this much goes as it is before it is tried again.
_RAW_BYTES = 8 * 1024 * 1024
#: A frame of more than this share of its content is not worth unpacking.
_WORTH = 0.97
_SKIPPED_FRAMES_MAXIMUM = 32
#: So many frames in a row have to find the wire idle before the level is lowered. Buffers swallow the first ones.
_PATIENCE, _PATIENCE_AT_FIRST = 2, 4


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
        self._idle_frames = 0
        self._was_behind = False

    @property
    def is_off(self) -> bool:
        """Nothing will ever be packed."""
        return not self._adapts and self._level == 0

    def next_level(self, size: int, behind: bool = False) -> int:
        """The level for so many bytes that are about to be sent; 0 sends them as they are.

        Args:
            behind: the wire has not taken all that was sent before.
        """
        if self._frames_left:
            self._frames_left -= 1
            return 0
        if self._raw_left > 0:
            self._raw_left = 0 if behind else self._raw_left - size
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

    def tell(self, compressing: float, waiting: float, behind: bool = False) -> None:
        """What came of the last frame.

        Args:
            compressing: seconds that it took to make.
            waiting: seconds that the wire made us wait since the one before.
            behind: the wire has still not taken all that was sent before it, so compressing cost no time.
        """
        if not self._adapts:
            return
        if behind or waiting > compressing:
            self._idle_frames = 0
            self._was_behind = True
            if waiting > compressing or self._level < _CHEAP:
                self._level = min(self._level + 1, _MAXIMUM)
            return
        self._idle_frames += 1
        if self._idle_frames < (_PATIENCE if self._was_behind else _PATIENCE_AT_FIRST):
            return
        self._idle_frames = 0
        self._level -= 1
        if self._level < 1:
            self._level = 1
            self._raw_left = _RAW_BYTES
