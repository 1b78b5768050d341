"""A data set from one place to another: shards, then what they were made from, and the manifest last.

So an interrupted copy is not taken for a data set, and the same call goes on with it: a shard is there when its index
is, as in a build.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from pipelines.files import sha256_of
from pipelines.progress import Progress, counter
from pipelines.schema import MANIFEST_NAME, REJECTS_NAME, Manifest, Shard
from pipelines.shard_files import read_manifest
from pipelines.storage import IN_FLIGHT, StorageError, local_folder, open_remote

_UNFINISHED = ".copying"  # behind the names of files on a local disk
_BUCKETS = ("s3://", "gs://")


def copy_data(source: str | Path, target: str | Path, progress: Progress | None = None) -> Manifest:
    """Copy the data set at a folder or an address to a folder or a bucket; every file is compared with its hash.

    Args:
        source: folder, or address at s3://, gs:// or http(s)://.
        target: folder, or address at s3:// or gs://.
        progress: told (images done, images in all).

    Raises:
        ValueError: there is no data set, a file of it is damaged, the target holds another one or cannot be written.
    """
    manifest = read_manifest(source)
    store = _Store(target)
    store.refuse_other(manifest)
    shards = list(manifest.shards())
    advance = counter(progress, total=sum(shard.samples for shard in shards))
    with ThreadPoolExecutor(IN_FLIGHT // 2, "copy") as pool:
        for shard, _ in zip(shards, pool.map(lambda shard: _copy(source, store, shard), shards), strict=True):
            advance(shard.samples)
    for name, sha256 in ((REJECTS_NAME, manifest.rejects_sha256), (MANIFEST_NAME, None)):
        with _at_hand(source, name, sha256) as path:
            store.write(path, name)
    return manifest


def _copy(source: str | Path, store: "_Store", shard: Shard) -> None:
    if store.holds(shard):
        return
    for name, sha256 in ((shard.name, shard.sha256), (shard.index_name, shard.index_sha256)):
        with _at_hand(source, name, sha256) as path:
            store.write(path, name)


@contextmanager
def _at_hand(source: str | Path, name: str, sha256: str | None) -> Iterator[Path]:
    """A file of the data set on this machine, whole."""
    with tempfile.TemporaryDirectory(prefix="vqi2i-copy-") as folder:
        home = local_folder(source)
        path = (home or Path(folder)) / (name if home else "file")
        if home is None:
            remote = open_remote(str(source))
            with path.open("wb") as stream:
                if (size := remote.sizes([name])[0]) is None:
                    raise StorageError(f"{remote.root}/{name} does not exist: upload the data set again")
                remote.download(name, stream, size)
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be opened ({error.strerror}): run `vqi2i data shard` again") from error
        if sha256 is not None and found != sha256:
            raise ValueError(f"{source}/{name} is damaged: `vqi2i data verify` says where")
        yield path


class _Store:
    """A folder or a bucket that is written to."""

    def __init__(self, root: str | Path):
        folder = local_folder(root)
        if folder is None and not str(root).startswith(_BUCKETS):
            raise ValueError(f"{root} cannot be written to: give a folder, or an address at s3:// or gs://")
        self.root = str(root).partition("?")[0].rstrip("/")
        self._is_local = folder is not None
        try:
            self._fs, base = fs.FileSystem.from_uri(str(root) if folder is None else str(folder.absolute()))
        except (pa.ArrowException, OSError) as error:
            raise StorageError(f"{root} cannot be opened ({error}): check address and credentials") from error
        self._base = base.rstrip("/")

    def refuse_other(self, manifest: Manifest) -> None:
        """Raise a ValueError if another data set is here."""
        data = self._read(MANIFEST_NAME)
        if data is not None and Manifest.parse(data, f"{self.root}/{MANIFEST_NAME}") != manifest:
            raise ValueError(f"{self.root} holds another data set: choose another place or delete it")

    def holds(self, shard: Shard) -> bool:
        """Whether a shard has been written whole: its index, which is written last, is right."""
        index = self._read(shard.index_name)
        return index is not None and hashlib.sha256(index).hexdigest() == shard.index_sha256 and (
            self._fs.get_file_info(self._path(shard.name)).size == shard.bytes
        )  # fmt: skip

    def write(self, source: Path, name: str) -> None:
        """Write a file that appears when it is complete."""
        path = self._path(name)
        unfinished = path + _UNFINISHED if self._is_local else path  # an object appears when its upload ends
        try:
            if self._is_local:
                self._fs.create_dir(path.rpartition("/")[0], recursive=True)
            with source.open("rb") as reading, self._fs.open_output_stream(unfinished) as writing:
                shutil.copyfileobj(reading, writing, 2**22)
            if self._is_local:
                self._fs.move(unfinished, path)
        except (pa.ArrowException, OSError) as error:
            raise StorageError(f"{self.root}/{name} cannot be written ({error}): check space and rights") from error

    def _read(self, name: str) -> bytes | None:
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"
