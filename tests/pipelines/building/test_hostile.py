"""Whatever lies in a folder ends in a shard, shown right, or in the report, for the right
reason.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import imaging
from imaging.header import read_header
from pipelines.schema import Manifest
from tests.pipelines import hostile
from tests.pipelines.hostile import Corpus

ROOT = Path(__file__).parents[3]
BUILD = """
import re, sys
from pathlib import Path
from pipelines.images_to_shards import build_shards
build_shards({"d": Path(sys.argv[1])}, out=Path(sys.argv[2]), size=int(sys.argv[3]),
             test_fraction=0, max_reject_fraction=1)
# ru_maxrss would count the parent's as well
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="module")
def corpus(hostile_images: Corpus) -> Corpus:
    return hostile_images


@pytest.fixture(scope="module")
def peak(corpus: Corpus) -> int:
    """Peak memory in bytes of a build of the corpus into `out` beside it."""
    out = corpus.folder.with_name("out")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(corpus.folder), str(out), str(hostile.HEIGHT)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Corrupt JPEG" not in done.stderr
    return int(done.stdout.split()[-1]) * 1024


def stored(corpus: Corpus) -> dict[str, bytes]:
    out = corpus.folder.with_name("out")
    found: dict[str, bytes] = {}
    for shard in Manifest.load(out).shards():
        data = (out / shard.name).read_bytes()
        for row in pq.read_table(out / shard.index_name).to_pylist():
            found[row["source"]] = data[row["offset"] : row["offset"] + row["size"]]
    return found


@pytest.mark.usefixtures("peak")
def test_every_file_is_in_a_shard_or_in_the_report_for_the_right_reason(corpus: Corpus) -> None:
    table = pq.read_table(corpus.folder.with_name("out") / "rejects.parquet").to_pylist()
    reasons = {row["source"]: row["reason"] for row in table}
    assert reasons == corpus.rejected, table
    assert all(row["detail"] for row in table)
    assert set(stored(corpus)) == corpus.shown.keys() | corpus.copied.keys()
    names = {os.fsencode(path.name) for path in corpus.folder.iterdir()}
    assert len(names) == len({source.partition("/")[0] for source in [*stored(corpus), *reasons]})
    assert len(reasons) >= 40


@pytest.mark.usefixtures("peak")
def test_what_is_in_a_shard_is_shown_right(corpus: Corpus) -> None:
    found = stored(corpus)
    for source, expected in corpus.shown.items():
        pixels = imaging.decode(found[source])
        assert pixels.shape == expected.shape, source
        difference = np.abs(pixels - expected.astype(float)).mean()
        assert difference < (6 if source in {"small.png", "large.png"} else 4), (source, difference)
        assert read_header(found[source]).plain, source
    assert {source: found[source] for source in corpus.copied} == corpus.copied


def test_no_file_makes_the_builder_take_much_memory(peak: int) -> None:
    assert peak < 1e9
