"""A data set from one place to another: shards, then what they were made from, and the manifest
last.

So an interrupted copy is not taken for a data set, and the same call goes on with it: a shard is
there when its index is, as in a build.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from errors import UserError
from pipelines.progress import Progress, counter
from pipelines.schema import MANIFEST_NAME, REJECTS_NAME, Manifest, Shard
from pipelines.storage.atomic_files import sha256_of
from pipelines.storage.remote import IN_FLIGHT, StorageError, local_folder, open_remote
from pipelines.storage.shard_files import read_manifest
from pipelines.storage.store import Store


def copy_data(source: str | Path, target: str | Path, progress: Progress | None = None) -> Manifest:
    """Copy the data set at a folder or an address to a folder or a bucket; every file is compared
    with its hash.

    Args:
        source: folder, or address at s3://, gs:// or http(s)://.
        target: folder, or address at s3:// or gs://.
        progress: told (images done, images in all).

    Raises:
        UserError: there is no data set, a file of it is damaged, the target holds another one or
            cannot be written.
    """
    manifest = read_manifest(source)
    store = Store(target)
    _refuse_other(store, manifest)
    shards = list(manifest.shards())
    advance = counter(progress, total=sum(shard.samples for shard in shards))
    with ThreadPoolExecutor(IN_FLIGHT // 2, "copy") as pool:
        for shard, _ in zip(
            shards, pool.map(lambda shard: _copy(source, store, shard), shards), strict=True
        ):
            advance(shard.samples)
    for name, sha256 in ((REJECTS_NAME, manifest.rejects_sha256), (MANIFEST_NAME, None)):
        with _at_hand(source, name, sha256) as path:
            store.write(path, name)
    return manifest


def _copy(source: str | Path, store: Store, shard: Shard) -> None:
    if _holds(store, shard):
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
                    raise StorageError(
                        f"{remote.root}/{name} does not exist: upload the data set again"
                    )
                remote.download(name, stream, size)
        try:
            found = sha256_of(path)
        except OSError as error:
            raise UserError(
                f"{path} cannot be opened ({error.strerror}): run `vqi2i data shard` again"
            ) from error
        if sha256 is not None and found != sha256:
            raise UserError(f"{source}/{name} is damaged: `vqi2i data verify` says where")
        yield path


def _refuse_other(store: Store, manifest: Manifest) -> None:
    """Raise a UserError if another data set is in `store`."""
    data = store.read(MANIFEST_NAME)
    if data is not None and Manifest.parse(data, f"{store.root}/{MANIFEST_NAME}") != manifest:
        raise UserError(f"{store.root} holds another data set: choose another place or delete it")


def _holds(store: Store, shard: Shard) -> bool:
    """Whether a shard has been written whole: its index, which is written last, is right."""
    index = store.read(shard.index_name)
    return (
        index is not None
        and hashlib.sha256(index).hexdigest() == shard.index_sha256
        and (store.size(shard.name) == shard.bytes)
    )
