"""TensorBoard event files, written by the thread that calls.

tensorboardX's `SummaryWriter` writes from a thread of its own: when a full disk ends that thread, the next calls wait
for it for ever. This keeps its format and leaves the thread out.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

# tensorboardX imports torch where it is installed: two seconds a process, for tensors that are never written here.
_HIDES_TORCH = "torch" not in sys.modules
if _HIDES_TORCH:
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.summary import scalar
finally:
    if _HIDES_TORCH:
        del sys.modules["torch"]

_FLUSH_SECONDS = 30.0  # a flush waits for the disk


class TensorBoardFile:
    """Scalars appended to a new event file in `folder`, on disk after half a minute at the latest.

    Args:
        folder: is made.
        first_step: what earlier files in the folder hold of this step and later is hidden.
        suffix: ends the file's name, and keeps apart two files of one second.

    Raises:
        OSError: here and in each method, when the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), suffix)
        self._flushed = time.monotonic()
        self._closed = False
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=first_step, session_log=start))

    def write(self, step: int, wall_time: float, scalars: Mapping[str, float]) -> None:
        """Appends the scalars of one step; `wall_time` in seconds since 1970."""
        for name, value in scalars.items():
            self._writer.write_event(Event(wall_time=wall_time, step=step, summary=scalar(name, value)))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._writer.close()
