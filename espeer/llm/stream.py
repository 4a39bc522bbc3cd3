"""From the bytes of tokens to text that can be shown (pure)."""

import codecs


class TextStream:
    """Turns the bytes of one token after another into valid Unicode, and ends at the first stop text.

    A token can hold part of a character, and a stop text can be spread over several tokens; what could still become either is
    held back until it is decided.

    :ivar stopped: whether a stop text was met; nothing comes after it.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """The text that is certain after ``data``; may be empty."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(data)
        ends = [end for text in self._stop if (end := self._held.find(text)) >= 0]
        if ends:
            self.stopped = True
            return self._release(min(ends))
        return self._release(len(self._held) - self._undecided())

    def finish(self) -> str:
        """The rest, when no more tokens come. A character that never became whole is dropped."""
        return "" if self.stopped else self._release(len(self._held))

    def _undecided(self) -> int:
        """Length of the longest end of the held text that begins a stop text."""
        longest = max((len(text) - 1 for text in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-length:]) for text in self._stop):
                return length
        return 0

    def _release(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        return text
