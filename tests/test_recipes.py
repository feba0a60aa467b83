"""Recipes: what they build, how their networks vote, and that a training that was cut goes on to the same result."""

import gc

import numpy as np
import pytest

import minicnn
from minicnn import (
    Dense,
    Flatten,
    RandomAffine,
    RandomErasing,
    RandomGaussianBlur,
    RandomGaussianNoise,
    RandomTranslation,
    recipes,
)
from minicnn.memory import POOL
from minicnn.recipes import RECIPES, Recipe

IMAGES, LABELS = minicnn.data.synthetic_digits(60)


def small():
    return [RandomTranslation(0.1, 0.1), Flatten(), Dense(8, activation="relu"), Dense(10, activation="softmax")]


def smaller():
    return [Flatten(), Dense(10, activation="softmax")]


def moving():
    return [RandomAffine(0.1, 0.1, 0.1, 0.1), *smaller()]


TWO = Recipe((small, moving), epochs=3, batch_size=16, peak=1e-2, shifts=True, calm=0.4)


@pytest.mark.parametrize("name", RECIPES)
def test_every_network_of_a_recipe_gives_probabilities(name):
    recipe = recipes.get(name)
    for member in range(len(recipe.networks)):
        p = recipe.model(samples=600, member=member).predict(IMAGES[:2])
        assert p.shape == (2, 10) and p.min() >= 0
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_an_unknown_recipe():
    with pytest.raises(ValueError, match=r"unknown recipe 'quick'; expected one of fast, default"):
        recipes.get("quick")


def test_networks_vote_by_the_mean_of_probabilities_over_networks_and_places():
    models = [TWO.model(600, member=member) for member in (0, 1)]
    expected = np.zeros((60, 10))
    for down, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        moved = np.zeros_like(IMAGES)
        for i in range(28):
            for j in range(28):
                if 0 <= i - down < 28 and 0 <= j - right < 28:
                    moved[:, i, j] = IMAGES[:, i - down, j - right]
        for model in models:
            expected += model.predict(moved) / 10
    np.testing.assert_allclose(TWO.predict(models, IMAGES), expected, atol=1e-6)


def test_smoothed_labels_do_not_make_the_answer_less_sure():
    """Networks whose answers are those that smoothed labels ask for; of one the answer is even lower for a class."""
    p = np.eye(10)[LABELS] * 0.7 + 0.03
    recipe = Recipe((smaller,), epochs=1, batch_size=16, peak=1e-2, label_smoothing=0.2)

    class Answers:
        def __init__(self, q):
            self.q = q

        def predict(self, images):
            return self.q

    np.testing.assert_allclose(recipe.predict([Answers(0.8 * p + 0.02)], IMAGES), p, atol=1e-12)
    q = np.full((60, 10), 0.01) + 0.9 * np.eye(10)[LABELS]
    np.testing.assert_allclose(recipe.predict([Answers(q)], IMAGES), np.eye(10)[LABELS], atol=1e-12)


def weights(trained):
    return [weight for model in trained.models for weight in model.get_weights()]


def test_members_differ_and_a_seed_repeats():
    recipe = Recipe((smaller, smaller), epochs=1, batch_size=16, peak=1e-2)
    a, b, c = (recipes.train(recipe, IMAGES, LABELS, seed=seed, verbose=0) for seed in (3, 3, 4))
    assert all(map(np.array_equal, weights(a), weights(b)))
    assert not np.array_equal(weights(a)[0], weights(a)[2])
    assert not np.array_equal(weights(a)[0], weights(c)[0])


@pytest.mark.parametrize("share", [0.3, 0.4, 0.0])
def test_networks_are_measured_on_images_they_have_not_learned_from(share):
    """With 0.4 the third network's part begins anew at the end: images 48 to 59 are asked of two networks."""
    recipe = Recipe((smaller, moving, small), epochs=1, batch_size=16, peak=1e-2)
    trained = recipes.train(recipe, IMAGES, LABELS, held_out=share, verbose=0)
    votes = [[] for _ in IMAGES]
    for member, model in enumerate(trained.models):
        held = [n % 60 for n in range(60 - int(60 * share) * (member + 1), 60 - int(60 * share) * member)]
        rest = [n for n in range(60) if n not in held]
        minicnn.set_random_seed(member)
        alone = recipe.model(len(rest), member=member)
        history = alone.fit(IMAGES[rest], LABELS[rest], 16, verbose=0).history
        assert all(map(np.array_equal, model.get_weights(), alone.get_weights()))
        assert history["loss"] == trained.histories[member].history["loss"]
        if held:
            accuracy = (model.predict(IMAGES[held]).argmax(axis=1) == LABELS[held]).mean()
            assert trained.histories[member].history["val_accuracy"] == [pytest.approx(accuracy)]
        for n in held:
            votes[n].append(model.predict(IMAGES[n : n + 1])[0])
    which, probabilities = trained.out_of_bag(IMAGES)
    assert list(which) == [n for n, voters in enumerate(votes) if voters]
    assert {len(voters) for voters in votes} == {0.3: {0, 1}, 0.4: {1, 2}, 0.0: {0}}[share]
    expected = [np.mean(votes[n], axis=0) for n in which]
    np.testing.assert_allclose(probabilities, np.reshape(expected, (-1, 10)), atol=1e-6)


def test_networks_that_are_trained_leave_their_memory_to_the_next():
    gc.collect()
    before = POOL.used_bytes
    trained = recipes.train(TWO, IMAGES, LABELS, verbose=0)
    gc.collect()
    numbers = sum(model.count_params() for model in trained.models)
    assert POOL.used_bytes - before < 5 * 4 * numbers  # parameters, gradients, two moments, and what rounding adds


def disturbed():
    return [
        RandomGaussianBlur((0.5, 0.5), 3, (0.3, 1.0), value_range=(0, 1)),
        RandomGaussianNoise((0.5, 0.5), 0.3),
        RandomErasing((0.5, 0.5), value_range=(0, 1)),
        *moving(),
    ]


RANDOM = RandomAffine, RandomErasing, RandomGaussianBlur, RandomGaussianNoise


@pytest.mark.parametrize("network", [moving, disturbed])
def test_in_the_last_epochs_images_are_left_as_they_are(network):
    recipe = Recipe((network,), epochs=4, batch_size=16, peak=1e-2, calm=0.5)
    trained = recipes.train(recipe, IMAGES, LABELS, seed=2, verbose=0)
    found = [layer for layer in trained.models[0].layers if isinstance(layer, RANDOM)]
    settings = [layer.get_config() | {"name": ""} for layer in network() if isinstance(layer, RANDOM)]
    assert [layer.get_config() | {"name": "", "seed": None} for layer in found] == [
        config | {"seed": None} for config in settings
    ]
    minicnn.set_random_seed(200)
    model = recipe.model(len(IMAGES))
    model.fit(IMAGES, LABELS, 16, 2, verbose=0)
    still = minicnn.Sequential([layer for layer in model.layers if not isinstance(layer, RANDOM)])
    still.compile(model.optimizer, model.loss, metrics=["accuracy"])
    still.seed = model.seed
    history = still.fit(IMAGES, LABELS, 16, 4, verbose=0, initial_epoch=2).history
    assert all(map(np.array_equal, weights(trained), still.get_weights()))
    assert {name: values[2:] for name, values in trained.histories[0].history.items()} == history


def test_distorted_digits_are_noticed():
    robust, kaggle = recipes.get("robust"), IMAGES.copy()
    kaggle[::9, 0, 5] = 200  # a few that touch an edge
    assert robust.suited_to(kaggle) is robust
    distorted = robust.suited_to(minicnn.data.distort(IMAGES))
    assert distorted is robust.distorted and distorted.suited_to(minicnn.data.distort(IMAGES)) is distorted
    assert robust.suited_to(IMAGES[:0]) is robust
    assert recipes.get("best").suited_to(minicnn.data.distort(IMAGES)) is recipes.get("best")


@pytest.mark.parametrize("cut", [1, 2, 4, 5, 6])
def test_a_training_that_was_cut_goes_on_to_the_same_bits(tmp_path, monkeypatch, cut):
    whole = recipes.train(TWO, IMAGES, LABELS, verbose=0)
    epochs = []
    save = recipes.Kept.on_epoch_end

    def dies(self, epoch, logs=None):
        save(self, epoch, logs)
        epochs.append(epoch)
        if len(epochs) == cut:
            raise KeyboardInterrupt

    monkeypatch.setattr(recipes.Kept, "on_epoch_end", dies)
    with pytest.raises(KeyboardInterrupt):
        recipes.train(TWO, IMAGES, LABELS, folder=tmp_path, verbose=0)
    again = recipes.train(TWO, IMAGES, LABELS, folder=tmp_path, verbose=0)
    assert len(epochs) == 6  # none was trained twice
    assert all(map(np.array_equal, weights(whole), weights(again)))
    np.testing.assert_array_equal(whole.predict(IMAGES), again.predict(IMAGES))

    trained = recipes.train(TWO, IMAGES, LABELS, folder=tmp_path, verbose=0)
    assert len(epochs) == 6
    for histories in zip(trained.histories, again.histories, whole.histories, strict=True):
        assert histories[0].history == histories[1].history == histories[2].history
        assert [history.epoch for history in histories] == [[0, 1, 2]] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"network-0{n}.{end}" for n in (1, 2) for end in ("json", "safetensors")
    ]


@pytest.mark.parametrize(
    "change, part",
    [
        ({"seed": 1}, "expected the seed of this training, 1, got 0"),
        ({"epochs": 2}, "expected the epochs of this training, 2, got 1"),
        ({"batch_size": 8}, "expected the batch_size of this training, 8, got 16"),
        ({"images": IMAGES[::-1]}, "expected the images"),
        ({"labels": LABELS[::-1].copy()}, "expected the labels"),
        ({"recipe": Recipe((small,), epochs=1, batch_size=16, peak=2e-2)}, "expected the network"),
        ({"recipe": Recipe((smaller,), epochs=1, batch_size=16, peak=1e-2)}, "expected the network"),
    ],
)
def test_networks_of_another_training_are_refused(tmp_path, change, part):
    given = {"recipe": Recipe((small,), epochs=1, batch_size=16, peak=1e-2), "images": IMAGES, "labels": LABELS}
    options = {"folder": tmp_path, "verbose": 0, "epochs": 1}
    recipes.train(**given, **options)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(minicnn.data.DataError, match=part):
        recipes.train(**given | options | change)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"settings": {}}', b"\xff\xfe"])
def test_a_damaged_record(tmp_path, content):
    (tmp_path / "network-01.json").write_bytes(content)
    with pytest.raises(minicnn.data.DataError, match=r"network-01\.json: expected"):
        recipes.train(TWO, IMAGES, LABELS, folder=tmp_path, verbose=0)


def test_names_of_layers_begin_anew_with_every_network():
    for _ in range(2):
        names = [layer.name for layer in recipes.get("default").model(600).layers]
        assert "conv2d" in names and "dense_1" in names and "dense_2" not in names
