"""Cuts recorded connections into seeds of the smaller targets: frames, SASL bodies, messages, requests.

    python3 split.py connection/*.bin

Each seed is named by its recording; what an earlier one says in the same bytes is left out.
"""

import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
HEADER = b"AMQP"
HEADER_BYTES = 8
SASL = 1
TRANSFER = b"\x00\x53\x14"
LIST_OF_ONE_BYTE = 0xC0
LIST_OF_FOUR_BYTES = 0xD0


def frames(stream):
    """Yields the frames of a connection; protocol headers are passed over."""
    while stream:
        size = HEADER_BYTES if stream.startswith(HEADER) else int.from_bytes(stream[:4], "big")
        frame, stream = stream[:size], stream[size:]
        if not frame.startswith(HEADER):
            yield frame


def payload(body):
    """The payload behind the transfer a body begins with, if it does."""
    if not body.startswith(TRANSFER):
        return None
    head = len(TRANSFER)
    if body[head] == LIST_OF_ONE_BYTE:
        return body[head + 2 + body[head + 1] :]
    if body[head] == LIST_OF_FOUR_BYTES:
        return body[head + 5 + int.from_bytes(body[head + 1 : head + 5], "big") :]
    return None


def seeds(stream):
    """Yields the target and the bytes of each seed; frames stay together."""
    amqp = b""
    for frame in frames(stream):
        body = frame[4 * frame[4] :]
        if frame[5] == SASL:
            yield "sasl", body
        else:
            amqp += frame
        message = payload(body)
        if message:
            yield ("cbs" if b"put-token" in message else "message"), message
    yield "frame", amqp


def main(recordings):
    seen = set()
    for path in sorted(map(Path, recordings)):
        script_length, *_ = content = path.read_bytes()
        counts = Counter()
        for target, seed in seeds(content[1 + script_length :]):
            if seed in seen:
                continue
            seen.add(seed)
            counts[target] += 1
            (HERE / target).mkdir(exist_ok=True)
            (HERE / target / f"{path.stem}-{counts[target]}.bin").write_bytes(seed)


if __name__ == "__main__":
    main(sys.argv[1:])
