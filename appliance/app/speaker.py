"""Words for the person who started us, kept out of the log: that is read by programs, one JSON object a line."""

import sys
from typing import TextIO

from appliance.config.root import Log


class Speaker:
    """Speaks on standard output, or on standard error where the log has standard output for itself."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, text: str) -> None:
        print(text, file=self._stream(), flush=True)

    def _stream(self) -> TextIO:
        # at a terminal the log is lines for people as well, and they belong together
        return sys.stderr if self._log.target == "stdout" and not sys.stdout.isatty() else sys.stdout
