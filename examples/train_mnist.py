"""Trains a convolutional network on handwritten digits and writes a submission for Kaggle's Digit Recognizer.

python examples/train_mnist.py                                    # data/train.csv, else MNIST, else drawn digits
python examples/train_mnist.py --train train.csv --test test.csv  # Kaggle's files
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NoReturn

import numpy as np

import minicnn
from minicnn import data, metrics, recipes, report

Train = Callable[..., recipes.Trained]
ALONE = "each was kept from some of the networks, and read by those: the vote of all should err less"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"train_mnist: {message}\n")


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def folds(text: str) -> int:
    if positive(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number from 2 on, got {text!r}")
    return int(text)


def share(text: str) -> float:
    if not text.replace(".", "", 1).isdigit() or not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on and below 1, got {text!r}")
    return float(text)


def seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, got {text!r}")
    return int(text)


def arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="labelled images, a CSV file as Kaggle's train.csv")
    parser.add_argument("--test", help="images to label, a CSV file as Kaggle's test.csv")
    parser.add_argument("--out", default="submission.csv", help="the submission to write (default: %(default)s)")
    parser.add_argument("--recipe", choices=list(recipes.RECIPES), default="default", help="network and training")
    parser.add_argument("--epochs", type=positive, help="passes over the training images (default: the recipe's)")
    parser.add_argument("--batch-size", type=positive, help="images per step (default: the recipe's)")
    parser.add_argument(
        "--validation", type=share, help="share held out to measure accuracy, 0 for none (default: the recipe's)"
    )
    parser.add_argument(
        "--cross-validate", type=folds, metavar="K", help="measure on K parts of the images in turn, then train on all"
    )
    parser.add_argument("--seed", type=seed, default=0, help="the same seed gives the same network, to the bit")
    parser.add_argument("--threads", type=positive, help="processor cores to use (default: all)")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--save", help="also write the trained network to this file")
    parser.add_argument("--report", metavar="DIR", help="also write report.html: curves, errors, filters, settings")
    parser.add_argument(
        "--keep",
        metavar="DIR",
        help="folder for networks and backups, from which an interrupted run goes on (default: OUT-networks for several)",
    )
    return parser.parse_args()


def load(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(training images, their labels, images to label): the files asked for, or the best there is."""
    train, test = args.train, args.test
    names = [("trainset.csv", "testset.csv")] if args.recipe == "robust" else []
    for first, second in [*names, ("train.csv", "test.csv")]:
        if train is None and Path("data", first).exists():
            train = Path("data", first)
            test = Path("data", second) if test is None and Path("data", second).exists() else test
    if train is not None:
        print(f"data: {train} to train on, {test or 'and, for want of a test file, its own first images'} to label")
        images, labels = data.read_kaggle(train, labels=True)
        return images, labels, images[:1000] if test is None else data.read_kaggle(test, labels=False)[0]
    try:
        (images, labels), (unknown, _) = data.load_mnist()
        print("data: MNIST, 60,000 images to train on and 10,000 to label (there is no data/train.csv)")
    except ConnectionError:
        print("data: 12,000 synthetic digits, drawn here (there is no data/train.csv, and MNIST cannot be downloaded)")
        (images, labels), (unknown, _) = (
            data.synthetic_digits(12_000, args.seed),
            data.synthetic_digits(2_000, args.seed + 1),
        )
    return images, labels, unknown if test is None else data.read_kaggle(test, labels=False)[0]


def assess(labels: np.ndarray, probabilities: np.ndarray, alone: bool) -> None:
    """Accuracy, the 91 % that the original assignment asks for, how sure both are, and where the network errs.

    `alone`: of several networks each was asked about the images it had not learned from.
    """
    matrix = metrics.confusion_matrix(labels, probabilities, 10)
    right, accuracy = matrix.diagonal(), matrix.trace() / matrix.sum()
    low, high = metrics.confidence_interval(matrix.trace(), len(labels))
    print(
        f"\nexpected accuracy {accuracy:.2%} (95 % confidence: {low:.2%} to {high:.2%}), measured on\n{len(labels):,} images "
        f"kept out of training: the bar of 91 % is {'' if accuracy >= 0.91 else 'NOT '}passed"
    )
    if alone:
        print(f"({ALONE})")
    print(f"calibration error {metrics.expected_calibration_error(labels, probabilities):.2%}")
    shares = right / np.maximum(1, matrix.sum(axis=1))
    print("by digit, %: " + "  ".join(f"{digit} {100 * share:.1f}" for digit, share in enumerate(shares[:5])))
    print("             " + "  ".join(f"{digit} {100 * share:.1f}" for digit, share in enumerate(shares[5:], 5)))
    errors = matrix - np.diag(right)
    worst = [divmod(int(pair), 10) for pair in np.argsort(errors, axis=None, kind="stable")[::-1][:3]]
    found = [f"{true} for {taken} ({errors[true, taken]}×)" for true, taken in worst if errors[true, taken]]
    print("most taken for another: " + (", ".join(found) or "none"))


def cross_validate(folds: int, train: Train, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities of all images, those of each of K parts by networks trained on the others, with the accuracies."""
    order = np.random.default_rng(0).permutation(len(images))
    probabilities = np.zeros((len(images), 10))
    accuracies = []
    for fold in range(folds):
        held, rest = order[fold::folds], np.sort(np.concatenate([order[k::folds] for k in range(folds) if k != fold]))
        probabilities[held] = train(images[rest], labels[rest], part=f"fold-{fold + 1}").predict(images[held])
        accuracies.append(float((probabilities[held].argmax(axis=1) == labels[held]).mean()))
        print(f"fold {fold + 1} of {folds}: accuracy {accuracies[-1]:.2%} on {len(held):,} images", flush=True)
    deviation = np.std(accuracies, ddof=1)
    print(f"\n{folds}-fold accuracy {np.mean(accuracies):.2%}, standard deviation of the folds {deviation:.2%}")
    return probabilities


def main() -> None:
    args = arguments()
    if args.threads is not None:
        minicnn.set_threads(args.threads)
    minicnn.get_ops(args.device)  # what cannot work is said before the training, not after it
    files = [Path(file).resolve() for file in (args.train, args.test, args.out, args.save) if file is not None]
    if len(set(files)) < len(files):
        raise ValueError("--train, --test, --out and --save must name different files")
    for path in (args.out, args.save):
        if path is not None:
            data.check_writable(path)
    if args.report:
        report.check(args.report)
    recipe = recipes.get(args.recipe)
    several = len(recipe.networks) > 1
    if several and args.save:
        raise ValueError(f"--recipe {args.recipe} trains several networks, which --keep names a folder for, not --save")
    keep = args.keep or (f"{Path(args.out).with_suffix('')}-networks" if several else None)
    images, labels, unknown = load(args)
    if recipe.suited_to(images) is not recipe:
        recipe = recipe.suited_to(images)
        print("these images are distorted already: in the end the network learns from them as they are")
    if args.cross_validate and args.cross_validate > len(images):
        raise ValueError(
            f"--cross-validate: expected at most {len(images)} parts, one for each image, got {args.cross_validate}"
        )

    def train(images: np.ndarray, labels: np.ndarray, held_out: float = 0.0, part: str = "") -> recipes.Trained:
        return recipes.train(
            recipe, images, labels, seed=args.seed, epochs=args.epochs, batch_size=args.batch_size,
            held_out=held_out, device=args.device, folder=keep and Path(keep, part),
        )  # fmt: skip

    model = recipe.model(len(images), args.epochs, args.batch_size)
    if args.save and args.save.endswith(".keras"):
        with TemporaryDirectory() as folder:
            model.save(Path(folder, "network.keras"))  # refuses what Keras does not have, and needs h5py
    model.summary()
    anew = not (keep and Path(keep).exists())
    start = perf_counter()
    if args.cross_validate:
        probabilities = cross_validate(args.cross_validate, train, images, labels)
        trained, which = train(images, labels), np.arange(len(images))
    else:
        trained = train(images, labels, recipe.held_out if args.validation is None else args.validation)
        which, probabilities = trained.out_of_bag(images)
    seconds = perf_counter() - start
    if len(which):
        assess(labels[which], probabilities, alone=several and not args.cross_validate)

    path = data.write_submission(args.out, trained.predict(unknown).argmax(axis=1))
    print(f"\nsubmission with {len(unknown):,} labels: {path.resolve()}")
    if args.save:
        trained.models[0].save(args.save)
        print(f"network: {Path(args.save).resolve()}")
    if args.report:
        settings = vars(args) | ({"training time": seconds} if anew else {})
        if several and not args.cross_validate:
            settings["note"] = ALONE[0].upper() + ALONE[1:] + "."
        print(
            f"report: {report.write(args.report, trained.models, trained.histories, images[which], labels[which], probabilities, settings)}"
        )


if __name__ == "__main__":
    try:
        main()
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f"train_mnist: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ntrain_mnist: interrupted", file=sys.stderr)
        sys.exit(130)
