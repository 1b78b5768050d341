"""The release's checkpoints answer here as they do there: every number of the golden file."""

import pickle
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.vqi2i import release
from training.recipes import stage1_reference256
from vqi2i import authors
from vqi2i.networks.autoencoder import Autoencoder, Views
from vqi2i.networks.discriminator import Discriminator
from vqi2i.networks.domain_rows import merge, part
from vqi2i.objective.losses import Judged, discriminator_loss, generator_terms, weighted_sum
from vqi2i.priors.causal import CausalPrior

DOMAINS = ("a", "b")
IMAGES, ELSE = 3e-5, 1e-5  # tolerances


class Imported(NamedTuple):
    autoencoder: Autoencoder
    discriminator: Discriminator
    prior: CausalPrior


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(release.DATA / "expected.safetensors")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    folder = tmp_path_factory.mktemp("release")
    first = authors.read_checkpoint(release.write(folder / "stage1.pt", release.stage1_weights()))
    second = authors.read_checkpoint(release.write(folder / "stage2.pt", release.stage2_weights()))
    network = authors.network_config(first, DOMAINS)
    prior = authors.load_stage2(
        second, authors.prior_config(second, release.FACTS["gpt_heads"]), network
    )
    return Imported(*authors.load_stage1(first, network), prior.eval())


@pytest.fixture
def images(expected: dict[str, Tensor]) -> Tensor:
    return torch.cat([expected["image_a"], expected["image_b"]])


def look(imported: Imported, images: Tensor) -> Views:
    return imported.autoencoder(images)


def close(found: Tensor, wanted: Tensor, atol: float = ELSE) -> None:
    torch.testing.assert_close(found.detach().reshape(wanted.shape), wanted, atol=atol, rtol=0)


def test_sizes_are_read_off_the_shapes(imported: Imported) -> None:
    network, prior = imported.autoencoder.config, imported.prior.config
    names = (
        "base_channels",
        "codebook_size",
        "embed_dim",
        "z_channels",
        "resolution",
        "num_res_blocks",
        "style_dim",
    )
    assert {name: getattr(network, name) for name in names} == {
        name: release.FACTS[name] for name in names
    }
    assert list(network.channel_multipliers) == release.FACTS["channel_multipliers"]
    assert list(network.attention_resolutions) == release.FACTS["attention_resolutions"]
    assert (prior.num_layers, prior.num_heads, prior.width) == (2, 4, 48)
    assert prior.num_positions == release.FACTS["block_size"]
    assert prior.window == (release.FACTS["latent"],) * 2


def test_pictures_tokens_and_styles_agree(
    imported: Imported, images: Tensor, expected: dict[str, Tensor]
) -> None:
    with torch.no_grad():
        views = look(imported, images)
        for row, letter in enumerate(DOMAINS):
            close(views.reconstructions.chunk(2)[row], expected[f"rec_{letter}"], IMAGES)
            assert torch.equal(
                views.quantized.tokens.flatten(1).chunk(2)[row], expected[f"indices_{letter}"]
            )
            own = images.chunk(2)[row]
            close(imported.autoencoder.encode_style(own, letter), expected[f"style_{letter}"])
        for row, name in enumerate(("a_from_b", "b_from_a")):
            close(views.translations.chunk(2)[row], expected[name], IMAGES)
        close(2 * views.style_error, expected["style_reg_a"] + expected["style_reg_b"])
        close(2 * views.content_error, expected["content_reg_a"] + expected["content_reg_b"])


def test_the_beta_rule_is_that_of_the_release(
    imported: Imported, images: Tensor, expected: dict[str, Tensor]
) -> None:
    for own, letter in zip(images.chunk(2), DOMAINS, strict=True):
        quantized = imported.autoencoder.encode_content(own)
        weights = stage1_reference256(DOMAINS).weights
        close(
            weights.commitment * quantized.commitment + weights.codebook * quantized.codebook,
            expected[f"vq_loss_{letter}"],
        )


def test_the_discriminators_agree(
    imported: Imported, images: Tensor, expected: dict[str, Tensor]
) -> None:
    game = stage1_reference256(DOMAINS).game
    with torch.no_grad():
        views = look(imported, images)
        groups = [images, views.translations, views.reconstructions]
        logits = part(imported.discriminator(merge(groups, 2)), 2, 3)
        close(logits[0], torch.cat([expected["logits_d_a"], expected["logits_d_b"]]))
        for row, letter in enumerate(DOMAINS):
            real, *made = (group.chunk(2)[row] for group in logits)
            loss = discriminator_loss(
                real,
                Judged(*made),
                game=game.loss,
                translated=game.translated,
                reconstructed=game.reconstructed,
            )
            close(loss, expected[f"disc_loss_{letter}"])


def test_the_released_objective_and_its_gradients_agree(
    imported: Imported, images: Tensor, expected: dict[str, Tensor]
) -> None:
    views = look(imported, images)
    made = imported.discriminator(merge([views.translations, views.reconstructions], 2))
    terms = generator_terms(views, images, judged=Judged(*part(made, 2, 2)))
    weights = stage1_reference256(DOMAINS).weights.model_copy(update={"perceptual": 0.0})
    objective = 2 * weighted_sum(terms, weights.model_dump())  # the release sums over the domains
    close(objective, expected["gen_loss_a"] + expected["gen_loss_b"])
    imported.autoencoder.zero_grad()
    objective.backward()
    theirs = {
        key.removeprefix("grad/"): value
        for key, value in expected.items()
        if key.startswith("grad/")
    }
    names = authors.parameter_names(imported.autoencoder.config)
    found = {
        names[f"autoencoder.{name}"]: p.grad for name, p in imported.autoencoder.named_parameters()
    }
    for key, gradient in theirs.items():
        assert found[key] is not None
        assert (found[key].reshape(gradient.shape) - gradient).norm() < 1e-3 * gradient.norm(), key


def test_the_prior_agrees(imported: Imported, expected: dict[str, Tensor]) -> None:
    prior, domains = imported.prior, torch.zeros(2, dtype=torch.long)
    assert torch.equal(prior.coordinates, expected["coordinate_tokens"][0].long())
    with torch.no_grad():
        for letter in DOMAINS:
            tokens = expected[f"indices_{letter}"]
            logits = prior(prior.inputs(tokens, domains))[:, prior.config.prefix_length - 1 :]
            close(logits, expected[f"prior_logits_{letter}"])
            close(
                prior.nll(tokens.view(2, 16, 16), domains).mean(), expected[f"prior_nll_{letter}"]
            )


def test_a_stage2_file_holds_stage1_too(tmp_path: Path) -> None:
    second = authors.read_checkpoint(
        release.write(tmp_path / "stage2.pt", release.stage2_weights())
    )
    first = authors.read_checkpoint(release.write(tmp_path / "stage1.pt", release.stage1_weights()))
    assert authors.first_stage(second).keys() == first.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.conv_in.bias": None}, "lacks encoder.conv_in.bias"),
        ({"encoder.surprise.weight": torch.ones(1)}, "holds unknown encoder.surprise.weight"),
        (
            {"mlp_a.model.1.fc.weight": torch.ones(3, 3)},
            r"mlp_a.model.1.fc.weight has shape \(3, 3\)",
        ),
        (
            {"quantize.embedding.weight": None},
            "lacks quantize.embedding.weight: it is not a stage-1 checkpoint",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Tensor | None], message: str) -> None:
    weights = {
        key: value for key, value in release.stage1_weights().items() if not authors.is_unused(key)
    }
    for key, value in change.items():
        if value is None:
            del weights[key]
        else:
            weights[key] = value
    with pytest.raises(authors.CheckpointError, match=message):
        authors.load_stage1(weights, authors.network_config(weights, DOMAINS))


class Danger:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this would have run",)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(authors.CheckpointError, match="does not exist"):
        authors.read_checkpoint(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(authors.CheckpointError, match="cannot be read"):
        authors.read_checkpoint(tmp_path / "text.pt")
    with (tmp_path / "danger.pt").open("wb") as stream:
        pickle.dump(Danger(), stream)
    with pytest.raises(authors.CheckpointError, match="cannot be read"):
        authors.read_checkpoint(tmp_path / "danger.pt")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(authors.CheckpointError, match="no model_state_dict"):
        authors.read_checkpoint(tmp_path / "other.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(authors.CheckpointError, match="no model_state_dict"):
        authors.read_checkpoint(tmp_path / "list.pt")
    torch.save({"model_state_dict": {"a": torch.zeros(1), "b": 1}}, tmp_path / "number.pt")
    with pytest.raises(authors.CheckpointError, match="no model_state_dict"):
        authors.read_checkpoint(tmp_path / "number.pt")
    with pytest.raises(authors.CheckpointError, match="is a folder: give the authors' checkpoint"):
        authors.read_checkpoint(tmp_path)


def _with(weights: dict[str, Tensor], **changes: Tensor) -> dict[str, Tensor]:
    return weights | {key.replace("__", "."): value for key, value in changes.items()}


def test_a_prior_is_as_large_as_its_weights_and_has_the_heads_that_are_told() -> None:
    weights = release.stage2_weights()
    config = authors.prior_config(weights, 2)
    assert (config.num_layers, config.num_heads, config.width) == (2, 2, 48)
    assert (config.window, config.dropout, config.condition) == ((16, 16), 0, "coordinates")
    small = authors.prior_config(_with(weights, transformer__pos_emb=torch.zeros(1, 18, 48)), 3)
    assert (small.window, small.num_heads) == ((3, 3), 3)


def test_what_holds_no_transformer_of_the_release_is_told() -> None:
    weights = release.stage2_weights()
    with pytest.raises(
        authors.CheckpointError,
        match=r"^the checkpoint lacks transformer\.pos_emb: it is not a stage-2 checkpoint of the",
    ):
        authors.prior_config(release.stage1_weights(), 4)
    for shape in ((512, 48), (1, 0, 48)):
        with pytest.raises(
            authors.CheckpointError, match=r"pos_emb has shape .*not that of a stage-2 checkpoint"
        ):
            authors.prior_config(_with(weights, transformer__pos_emb=torch.zeros(shape)), 4)
    with pytest.raises(authors.CheckpointError, match=r"^transformer\.pos_emb has 20 positions:"):
        authors.prior_config(_with(weights, transformer__pos_emb=torch.zeros(1, 20, 48)), 4)
    with pytest.raises(ValueError, match="48 wide, no multiple of 5 heads: give the right number"):
        authors.prior_config(weights, 5)


def test_stages_are_read_as_a_pair_that_belongs_together(tmp_path: Path) -> None:
    one = release.write(tmp_path / "one.pt", release.stage1_weights())
    two = release.write(tmp_path / "two.pt", release.stage2_weights())
    first, second = authors.read_pair(one, two)
    assert first.keys() == authors.read_checkpoint(one).keys()
    assert second is not None
    assert second.keys() == authors.read_checkpoint(two).keys()
    alone, nothing = authors.read_pair(two, None)  # the file of stage 2 holds stage 1, too
    assert nothing is None
    assert alone.keys() == first.keys()
    other = release.stage1_weights()
    other["encoder.conv_in.bias"] = other["encoder.conv_in.bias"] + 1
    release.write(one, other)
    with pytest.raises(
        authors.CheckpointError,
        match=r"two\.pt was trained on another stage 1 than .*one\.pt: encoder\..*bias differs",
    ):
        authors.read_pair(one, two)


def test_many_keys_that_do_not_fit_are_counted() -> None:
    weights = {k: v for k, v in release.stage1_weights().items() if not authors.is_unused(k)}
    network = authors.network_config(weights, DOMAINS)
    wrong = _with(weights, **{f"more__{n}": torch.zeros(1) for n in range(7)})
    del wrong["encoder.conv_in.bias"]
    with pytest.raises(
        authors.CheckpointError,
        match=r"^the checkpoint lacks encoder\.conv_in\.bias and holds unknown more\.0, more\.1, "
        r"more\.2, more\.3, more\.4 and 2 more$",
    ):
        authors.load_stage1(wrong, network)
    judged = {k: v for k, v in weights.items() if not k.startswith("loss_a.discriminator")}
    with pytest.raises(
        authors.CheckpointError, match=r"^the checkpoint lacks loss_a\.discriminator: "
    ):
        authors.load_stage1(judged, network)
