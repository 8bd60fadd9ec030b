"""A process that reads picture files for another: one question a line on stdin, the pixels on stdout.

A question is ``[file, [height, width] or null]`` in JSON. The answer is a line, too: the shape of the pixels,
which follow as bytes, or in one string why the file cannot be used. It ends when stdin does, be it by the
death of who asks; Ctrl-C is for that one to hear.
"""

import json
import signal
import sys
from pathlib import Path

from serving.pictures.picture_files import PictureError, read


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    for line in questions:
        file, size = json.loads(line)
        try:
            pixels = read(Path(file), size and (size[0], size[1]))
            answers.write(json.dumps(pixels.shape).encode() + b"\n")
            answers.write(pixels.tobytes())
        except PictureError as exc:
            answers.write(json.dumps(exc.reason).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
