import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset

import imaging
from pipelines import shards_to_tokens as module
from pipelines.reading.reader import ShardReader
from pipelines.shards_to_tokens import TokenSource, shards_to_tokens, token_identity
from pipelines.storage.shard_cache import CacheSettings
from pipelines.tokens import TokenIdentity, TokenManifest, TokenReader
from tests.conftest import untrained
from tests.pipelines.conftest import flip_byte
from tests.processes import begin, kill_once
from vqi2i import Translator
from vqi2i.bundle import read_config
from vqi2i.networks.autoencoder import Autoencoder

# webdataset leaves the shards open that it has read.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards from few images."""
    monkeypatch.setattr(module, "_SHARD_SAMPLES", 3)


@pytest.fixture
def source(shards: Path, tiny_bundle_without_prior: Path) -> TokenSource:
    return TokenSource(str(shards), CacheSettings(), tiny_bundle_without_prior)


@pytest.fixture
def identity(source: TokenSource) -> TokenIdentity:
    return _identity(source)


def _identity(source: TokenSource, **options: int) -> TokenIdentity:
    data = ShardReader(source.data).manifest.fingerprint
    network = read_config(source.model).network
    return token_identity(source.model, data, network, **{"crop": 24, "variants": 3, **options})


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


def test_every_image_becomes_tokens_and_style_of_its_crops_and_mirror_images(
    source: TokenSource, identity: TokenIdentity, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    manifest = shards_to_tokens(
        source, identity, tmp_path / "t", progress=lambda *counts: told.append(counts)
    )
    reader, translator = ShardReader(source.data), Translator.load(source.model)
    total = sum(
        reader.count(split, domain) for split in ("train", "test") for domain in translator.domains
    )
    assert told[-1] == (total, total)
    names = [str(tmp_path / "t" / shard.name) for shard in manifest.of("train", "winter")]
    assert len(names) == -(-reader.count("train", "winter") // 3)
    samples = list(webdataset.WebDataset(names, shardshuffle=False))
    assert len(samples) == reader.count("train", "winter")
    for index, sample in enumerate(samples):
        centre = imaging.center_crop(reader.read("train", "winter", index), 24, 24)
        views = imaging.to_tensor([centre, centre[:, ::-1]])
        encoded = translator.encode(views, "winter")
        tokens, style = (np.load(io.BytesIO(sample[name])) for name in ("tokens.npy", "style.npy"))
        assert np.array_equal(tokens[:2], encoded.tokens.numpy())
        assert np.array_equal(style, encoded.style[0].numpy())
        image = {
            "key": str(reader.samples("train", "winter").keys[index]),
            "split": "train",
            "domain": "winter",
        }
        assert json.loads(sample["json"]) == image
    loaded = TokenReader(tmp_path / "t", bundle=identity.bundle).tokens("train", "winter")
    assert np.array_equal(loaded[-1], np.load(io.BytesIO(samples[-1]["tokens.npy"])))


def test_some_variants_are_turned_upside_down_where_that_is_asked_for(
    source: TokenSource, tmp_path: Path
) -> None:
    data, network = ShardReader(source.data).manifest.fingerprint, read_config(source.model).network
    identity = token_identity(source.model, data, network, crop=24, variants=3, upside_down=True)
    assert (identity.upside_down, identity.views) == (2, 5)
    shards_to_tokens(source, identity, tmp_path / "t")
    reader, translator = ShardReader(source.data), Translator.load(source.model)
    tokens = TokenReader(tmp_path / "t", bundle=identity.bundle)
    for index in range(4):
        centre = imaging.center_crop(reader.read("train", "winter", index), 24, 24)
        shown = centre[:, ::-1] if index % 2 else centre
        encoded = translator.encode(imaging.to_tensor([shown[::-1]]), "winter").tokens
        assert np.array_equal(tokens.tokens("train", "winter")[index, 3], encoded[0].numpy())
    batch = tokens.batch(0, global_batch=400, seed=1, rank=0, world_size=1)
    turned = batch.domains >= 2
    assert 0.15 < turned.mean() < 0.35
    assert np.array_equal(batch.domains % 2, np.repeat([0, 1], 400))
    parts = {}
    for upside_down, views in ((False, slice(0, 3)), (True, slice(3, 5))):
        grids = np.concatenate(
            [tokens.tokens("train", domain)[:, views] for domain in tokens.domains]
        )
        parts[upside_down] = {grid.tobytes() for grid in grids.astype(np.int64).reshape(-1, 6, 6)}
    for grid, upside_down in zip(batch.tokens, turned, strict=True):
        assert grid.tobytes() in parts[bool(upside_down)]
    seen = {grid.tobytes() for grid in batch.tokens}
    assert len(seen & parts[True]) > 0.9 * len(parts[True])  # mirrored ones and others


def test_names_of_tokens_are_those_of_earlier_versions() -> None:
    identity = TokenIdentity(
        bundle="b", data="d", domains=("x", "y"), crop=24, variants=2, grid=(6, 6)
    )
    assert identity.sha256 == "25421c999edbd91f026db944b5799052d93cec371ab752067304b10effa59cd9"
    assert identity.sha256 != identity.model_copy(update={"upside_down": 1}).sha256
    assert TokenIdentity.model_validate_json(identity.model_dump_json()) == identity


def make_small_shards(source: TokenSource, identity: TokenIdentity, out: Path) -> None:
    """What a process does until it is killed."""
    torch.set_num_threads(1)
    module._SHARD_SAMPLES = 3
    shards_to_tokens(source, identity, out)


def test_tokens_of_a_codebook_beyond_16_bits_are_kept_whole(shards: Path, tmp_path: Path) -> None:
    model = untrained(prior=False)
    config = model.network.model_copy(update={"codebook_size": 70_000})
    large = Autoencoder(config)
    with torch.no_grad():
        large.codebook.codes().copy_(torch.randn(70_000, config.embed_dim))
    Translator(large, model.style_prior).save(tmp_path / "large")
    source = TokenSource(str(shards), CacheSettings(), tmp_path / "large")
    identity = _identity(source, variants=1)
    shards_to_tokens(source, identity, tmp_path / "t")
    tokens = TokenReader(tmp_path / "t", bundle=identity.bundle).tokens("train", "winter")
    reader, translator = ShardReader(source.data), Translator.load(source.model)
    views = [
        imaging.center_crop(reader.read("train", "winter", index), 24, 24)
        for index in range(len(tokens))
    ]
    expected = translator.encode(imaging.to_tensor(views), "winter").tokens.numpy()
    assert expected.max() > 2**16
    assert np.array_equal(tokens[:, 0], expected)


def test_a_killed_build_makes_only_what_is_missing_and_ends_with_the_same_bytes(
    source: TokenSource, identity: TokenIdentity, tmp_path: Path
) -> None:
    shards_to_tokens(source, identity, tmp_path / "whole")
    out = tmp_path / "killed"
    process = begin(make_small_shards, source, identity, out)
    kill_once(process, lambda: list(out.glob("*/*/*.json")))
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.json")}
    assert 0 < len(kept) < len(_files(tmp_path / "whole")) // 2 - 1
    shards_to_tokens(source, identity, out)
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items())
    assert {
        name: data for name, data in _files(out).items() if not name.endswith(".tmp")
    } == _files(tmp_path / "whole")


def test_complete_tokens_are_left_alone_and_a_damaged_shard_is_made_anew(
    source: TokenSource, identity: TokenIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t"
    shards_to_tokens(source, identity, out)
    before = _files(out)
    made: list[str] = []
    make = module.TokenEncoder.make
    monkeypatch.setattr(
        module.TokenEncoder, "make", lambda self, job: made.append(job.name) or make(self, job)
    )
    shards_to_tokens(source, identity, out)
    assert made == []
    (out / "train/summer/000001.tar").write_bytes(b"torn")
    with pytest.raises(
        ValueError, match=r"train/summer/000001\.tar has changed: delete it and tokens\.json"
    ):
        TokenReader(out, bundle=identity.bundle)
    (out / "tokens.json").unlink()
    shards_to_tokens(source, identity, out)
    assert made == ["train/summer/000001.tar"]
    assert _files(out) == before


def test_a_folder_of_other_tokens_is_refused(
    source: TokenSource, identity: TokenIdentity, tmp_path: Path
) -> None:
    shards_to_tokens(source, identity, tmp_path / "t")
    others: list[TokenIdentity] = [
        identity.model_copy(update={"bundle": "0" * 64}),
        _identity(source, variants=1),
        _identity(source, crop=16),
    ]
    for other in others:
        with pytest.raises(ValueError, match="holds tokens of another model, data set or crop"):
            shards_to_tokens(source, other, tmp_path / "t")
    with pytest.raises(ValueError, match="holds tokens of another model: delete it"):
        TokenReader(tmp_path / "t", bundle="0" * 64)
    with pytest.raises(ValueError, match="holds no finished token shards"):
        TokenReader(tmp_path / "nothing", bundle=identity.bundle)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("Dear")
    with pytest.raises(ValueError, match="is not empty and holds no tokens"):
        shards_to_tokens(source, identity, tmp_path / "mine")


def test_damaged_images_are_left_out_and_named(source: TokenSource, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(source.data, folder, ignore=shutil.ignore_patterns("tokens"))
    key = flip_byte(folder / "train/summer/000000.tar", 4)
    there = source._replace(data=str(folder))
    identity = _identity(there)
    with pytest.raises(
        ValueError, match=rf"1 images are damaged, more than max_corrupt=0: .*{key}"
    ):
        shards_to_tokens(there, identity, tmp_path / "t")
    manifest: TokenManifest = shards_to_tokens(there, identity, tmp_path / "t", max_corrupt=1)
    assert [key in sentence for shard in manifest.shards for sentence in shard.damaged] == [True]
    tokens = TokenReader(tmp_path / "t", bundle=identity.bundle).tokens("train", "summer")
    assert len(tokens) == ShardReader(folder).count("train", "summer") - 1


@pytest.mark.ray
@pytest.mark.slow
def test_ray_actors_make_the_same_bytes(
    source: TokenSource, identity: TokenIdentity, tmp_path: Path, ray_session: Any
) -> None:
    shards_to_tokens(source, identity, tmp_path / "here")
    shards_to_tokens(source, identity, tmp_path / "actors", workers=2)
    assert _files(tmp_path / "actors") == _files(tmp_path / "here")
