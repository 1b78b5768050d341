"""Files of an evaluation appear when they are complete: whoever kills it leaves none cut short."""

from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> Path:
    """Write a file in one step; folders are made, an older one is replaced.

    What a kill has left is written over by the next call; one process at a time.

    Args:
        path: where.
        data: its bytes, or its text in UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    staged.write_bytes(data.encode() if isinstance(data, str) else data)
    return staged.replace(path)
