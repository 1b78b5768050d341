"""Evaluations side by side: differences are of the same images, and what cannot be compared is
told.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from errors import UserError
from evaluation.comparison import Compared, Comparison, compare
from evaluation.metrics.intervals import DRAWS, counts, paired_bootstrap
from evaluation.metrics.kid import kid, kid_difference
from evaluation.parts import FOLDER, Part, read_part, write_part
from evaluation.reports.comparison_report import write_comparison
from evaluation.results import FILE, Estimate, Evaluation, Measurement, Settings, read, write
from tests.evaluation.evaluations import features, make_evaluation

NAME = "translation-summer-winter-exemplar"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of two models; the second one's pictures are nearer to the real ones."""
    made = tmp_path_factory.mktemp("evaluations")
    make_evaluation(made / "paper", name="paper", distance=0.6)
    make_evaluation(made / "plus", name="plus", distance=0.3)
    return made / "paper", made / "plus"


@pytest.fixture(scope="module")
def comparison(folders: tuple[Path, Path]) -> Comparison:
    return compare(folders)


def row(comparison: Comparison, measure: str, name: str = NAME) -> Compared:
    (found,) = [
        each
        for each in comparison.compared
        if (each.measurement.name, each.measure) == (name, measure)
    ]
    return found


def parts(folders: Sequence[Path], name: str = NAME) -> list[Part]:
    return [
        read_part(folder, each)
        for folder in folders
        for each in read(folder).measurements
        if each.name == name
    ]


def real(folder: Path, domain: str) -> np.ndarray:
    return read_part(folder, Measurement(task="real", source=domain, estimates=())).features[
        "lite0"
    ]


def test_every_figure_in_common_is_there_with_the_values_of_all(
    comparison: Comparison, folders: tuple[Path, Path]
):
    wanted = [read(folder).figures() for folder in folders]
    found = [
        {
            f"{each.measurement.name}.{each.measure}": each.estimates[i].value
            for each in comparison.compared
        }
        for i in range(2)
    ]
    assert found == wanted
    assert comparison.labels == ("paper", "plus")
    assert not comparison.not_common


def test_pictures_of_test_images_are_compared_against_training_images(tmp_path: Path):
    folders = [tmp_path / name for name in ("paper", "plus")]
    for number, folder in enumerate(folders):
        evaluation = make_evaluation(folder, name=folder.name)
        made = features(0, 60, 5) + number
        estimate = Estimate(measure="kid_lite0", value=number, images=60)
        rebuilt = Measurement(task="reconstruction", source="summer", estimates=(estimate,))
        write_part(folder, Part(rebuilt, [str(i) for i in range(60)], features={"lite0": made}), "")
        write(evaluation.model_copy(update={"measurements": (rebuilt,)}), folder)
    (difference,) = row(compare(folders), "kid_lite0", "reconstruction-summer").differences
    training, first = features(0, 60, 1), features(0, 60, 5)
    assert difference.value == pytest.approx(kid(training, first + 1) - kid(training, first))


def test_kid_is_compared_on_the_same_images_against_the_real_ones_of_the_target(
    comparison: Comparison, folders: tuple[Path, Path]
):
    ours, theirs = (part.features["lite0"] for part in parts(folders))
    winter = real(folders[0], "winter")
    (difference,) = row(comparison, "kid_lite0").differences
    assert (difference.value, difference.low, difference.high) == kid_difference(
        winter, ours, theirs
    )
    assert difference.value == pytest.approx(kid(winter, theirs) - kid(winter, ours))
    assert difference.stands
    assert difference.better


def test_figures_of_images_are_compared_in_pairs(
    comparison: Comparison, folders: tuple[Path, Path]
):
    ours, theirs = (part.each["structure"] for part in parts(folders))
    (difference,) = row(comparison, "structure").differences
    assert (difference.value, difference.low, difference.high) == paired_bootstrap(theirs, ours)
    assert difference.images == len(ours)
    assert difference.better  # lower than before


def test_which_way_is_better_is_the_measures_own(comparison: Comparison):
    (difference,) = row(comparison, "psnr", "reconstruction-summer-own").differences
    assert difference.value > 0
    assert difference.stands
    assert difference.better


def test_a_difference_within_its_interval_is_no_verdict(comparison: Comparison):
    (difference,) = row(comparison, "domain_accuracy").differences
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low <= 0 <= difference.high
    assert not difference.stands
    assert difference.better is None


def test_what_is_best_near_one_is_compared_by_its_distance_to_one(
    comparison: Comparison, folders: tuple[Path, Path]
):
    ours, theirs = (part.each["sharpness"] for part in parts(folders))
    (difference,) = row(comparison, "sharpness").differences
    resamples = counts(len(ours), DRAWS, 0)
    found = [
        abs(np.average(theirs, weights=often) - 1) - abs(np.average(ours, weights=often) - 1)
        for often in resamples
    ]
    assert difference.value == pytest.approx(abs(theirs.mean() - 1) - abs(ours.mean() - 1))
    assert (difference.low, difference.high) == pytest.approx(
        tuple(np.quantile(found, [0.025, 0.975]))
    )
    assert difference.better


def test_what_is_no_mean_over_images_has_no_interval(comparison: Comparison):
    (difference,) = row(comparison, "perplexity", "codebook").differences
    assert difference.why == "no mean over images"
    assert not difference.stands


def test_a_figure_without_parts_is_compared_in_the_same_way_but_for_its_interval(
    tmp_path: Path, folders: tuple[Path, Path]
):
    make_evaluation(tmp_path, distance=0.3)
    (part,) = parts([tmp_path])
    write_part(tmp_path, part._replace(each={}, features={}), "key")
    found = compare([folders[0], tmp_path])
    (sharper,) = row(found, "sharpness").differences
    a, b = (abs(each.value - 1) for each in row(found, "sharpness").estimates)
    assert sharper.value == b - a
    assert (sharper.low, sharper.why) == (None, "no mean over images")
    assert row(found, "kid_lite0").differences[0].why == "its parts were not kept"


def test_differences_are_counted_and_so_are_those_by_chance(comparison: Comparison):
    every = [each for row in comparison.compared for each in row.differences]
    assert comparison.made == len(every) - 1  # all but the codebook's
    assert comparison.standing == sum(each.stands for each in every)
    assert comparison.by_chance == pytest.approx(0.05 * comparison.made)


def test_images_are_matched_by_their_keys(tmp_path: Path, folders: tuple[Path, Path]):
    """Another order and fewer images: what is common is compared, image by image."""
    (part,) = parts(folders[1:])
    make_evaluation(tmp_path, name="plus", distance=0.3)
    kept = np.random.default_rng(0).permutation(len(part.keys))[:20]
    fewer = part._replace(
        keys=[part.keys[i] for i in kept],
        each={name: values[kept] for name, values in part.each.items()},
        features={name: values[kept] for name, values in part.features.items()},
    )
    write_part(tmp_path, fewer, "key")
    (first,) = parts(folders[:1])
    common = np.sort(kept)
    found = compare([folders[0], tmp_path])
    (difference,) = row(found, "structure").differences
    assert difference.images == 20
    assert (difference.value, difference.low, difference.high) == paired_bootstrap(
        part.each["structure"][common], first.each["structure"][common]
    )
    (difference,) = row(found, "kid_lite0").differences
    pictures = (each.features["lite0"][common] for each in (first, part))
    wanted = kid_difference(real(folders[0], "winter"), *pictures)
    assert (difference.value, difference.low, difference.high) == pytest.approx(wanted)


def test_an_evaluation_beside_itself_differs_in_nothing(folders: tuple[Path, Path]):
    found = compare([folders[0], folders[0], folders[1]])
    assert found.labels == tuple(map(str, (folders[0], folders[0], folders[1])))
    itself, other = zip(*(each.differences for each in found.compared), strict=True)
    assert {each.value for each in itself} == {0.0}
    assert not any(each.stands for each in itself)
    assert any(each.stands for each in other)


def changed(folder: Path, **changes: object) -> Evaluation:
    """The evaluation in a folder, written again with other fields."""
    evaluation = read(folder).model_copy(update=changes)
    write(evaluation, folder)
    return evaluation


def test_figures_that_one_lacks_are_named(tmp_path: Path, folders: tuple[Path, Path]):
    evaluation = make_evaluation(tmp_path)
    kept = [each for each in evaluation.measurements if each.task != "codebook"]
    first = kept[0].model_copy(update={"estimates": kept[0].estimates[1:]})
    changed(tmp_path, measurements=(first, *kept[1:]))
    found = compare([folders[0], tmp_path])
    assert set(found.not_common) == {f"{NAME}.kid_lite0", "codebook.perplexity"}
    assert row(found, "structure")
    assert set(compare([tmp_path, folders[0]]).not_common) == set(found.not_common)


def test_other_data_are_refused(tmp_path: Path, folders: tuple[Path, Path]):
    make_evaluation(tmp_path, data="e" * 64)
    with pytest.raises(UserError, match=r"is of other data \(painted seasons, eeeeeeee\) than"):
        compare([folders[0], tmp_path])


def test_other_settings_are_refused_by_name(tmp_path: Path, folders: tuple[Path, Path]):
    make_evaluation(tmp_path, settings=Settings(images=60, shown=1, seed=3))
    with pytest.raises(UserError, match=r"was measured with seed=3, .* with seed=0: evaluate"):
        compare([folders[0], tmp_path])


def test_other_features_of_the_real_images_are_refused(tmp_path: Path, folders: tuple[Path, Path]):
    make_evaluation(tmp_path)
    measurement = Measurement(task="real", source="winter", estimates=())
    part = read_part(tmp_path, measurement)
    write_part(tmp_path, part._replace(features={"lite0": 2 * part.features["lite0"]}), "key")
    with pytest.raises(UserError, match="different features of the real images of winter"):
        compare([folders[0], tmp_path])


def test_one_evaluation_is_no_comparison(folders: tuple[Path, Path]):
    with pytest.raises(UserError, match="two evaluations or more, got 1"):
        compare(folders[:1])


@pytest.mark.parametrize("name", [NAME, "real-winter"])
def test_a_missing_part_is_told_in_one_sentence(
    name: str, tmp_path: Path, folders: tuple[Path, Path]
):
    make_evaluation(tmp_path)
    (tmp_path / FOLDER / f"{name}.npz").unlink()
    with pytest.raises(UserError, match=rf"{name}.npz is missing: `vqi2i evaluate`"):
        compare([folders[0], tmp_path])


def test_a_folder_without_an_evaluation_is_told(tmp_path: Path, folders: tuple[Path, Path]):
    with pytest.raises(UserError, match=r"holds no metrics\.json: give a folder"):
        compare([folders[0], tmp_path])
    (tmp_path / FILE).write_text('{"format_version": 2}')
    with pytest.raises(UserError, match="no evaluation that this version reads"):
        compare([folders[0], tmp_path])


def test_a_model_without_styles_is_compared_where_others_take_an_exemplars(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    make_evaluation(tmp_path, name="uni", distance=0.3)
    evaluation = read(tmp_path)
    bare = []
    for measurement in evaluation.measurements:
        renamed = measurement.style and measurement.model_copy(update={"style": "none"})
        if renamed:
            write_part(tmp_path, read_part(tmp_path, measurement)._replace(measurement=renamed), "")
        bare.append(renamed or measurement)
    write(evaluation.model_copy(update={"measurements": tuple(bare)}), tmp_path)
    found = row(compare([folders[0], tmp_path]), "kid_lite0")
    assert found.styles == ("exemplar", "none")
    assert found.differences == row(compare(folders), "kid_lite0").differences
    assert compare([tmp_path, folders[0]]).compared[0].styles == ("none", "exemplar")
    write_comparison(tmp_path / "page", [folders[0], tmp_path], compare([folders[0], tmp_path]))
