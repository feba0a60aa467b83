"""Trains a convolutional network on handwritten digits and writes a submission for Kaggle's Digit Recognizer.

python examples/train_mnist.py                                    # data/train.csv, else MNIST, else drawn digits
python examples/train_mnist.py --train train.csv --test test.csv  # Kaggle's files
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np

import minicnn
from minicnn import data, metrics, recipes


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"train_mnist: {message}\n")


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def share(text: str) -> float:
    if not text.replace(".", "", 1).isdigit() or not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on and below 1, got {text!r}")
    return float(text)


def arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="labelled images, a CSV file as Kaggle's train.csv")
    parser.add_argument("--test", help="images to label, a CSV file as Kaggle's test.csv")
    parser.add_argument("--out", default="submission.csv", help="the submission to write (default: %(default)s)")
    parser.add_argument("--recipe", choices=list(recipes.RECIPES), default="default", help="network and training")
    parser.add_argument("--epochs", type=positive, help="passes over the training images (default: the recipe's)")
    parser.add_argument("--batch-size", type=positive, help="images per step (default: the recipe's)")
    parser.add_argument(
        "--validation", type=share, default=0.05, help="share held out to measure accuracy (0 for none)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same network, to the bit")
    parser.add_argument("--threads", type=positive, help="processor cores to use (default: all)")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--save", help="also write the trained network to this file")
    return parser.parse_args()


def load(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(training images, their labels, images to label): the files asked for, or the best there is."""
    here = Path("data")
    train, test = args.train, args.test
    if train is None and (here / "train.csv").exists():
        train = here / "train.csv"
        test = here / "test.csv" if test is None and (here / "test.csv").exists() else test
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


def report(labels: np.ndarray, predictions: np.ndarray) -> None:
    """Accuracy, the 91 % that the original assignment asks for, and where the network errs."""
    matrix = metrics.confusion_matrix(labels, predictions, 10)
    right, accuracy = matrix.diagonal(), matrix.trace() / matrix.sum()
    print(
        f"\nvalidation accuracy {accuracy:.2%} on {len(labels):,} images: the bar of 91 % is {'' if accuracy >= 0.91 else 'NOT '}passed"
    )
    print(
        "by digit: "
        + "  ".join(f"{digit} {share:.1%}" for digit, share in enumerate(right / np.maximum(1, matrix.sum(axis=1))))
    )
    errors = matrix - np.diag(right)
    worst = [divmod(int(pair), 10) for pair in np.argsort(errors, axis=None, kind="stable")[::-1][:5]]
    found = [f"{true} taken for {taken} ({errors[true, taken]}×)" for true, taken in worst if errors[true, taken]]
    print("worst confusions: " + (", ".join(found) or "none"))


def main() -> None:
    args = arguments()
    minicnn.set_random_seed(args.seed)
    if args.threads is not None:
        minicnn.set_threads(args.threads)
    minicnn.get_ops(args.device)  # what cannot work is said before the training, not after it
    files = [Path(file).resolve() for file in (args.train, args.test, args.out, args.save) if file is not None]
    if len(set(files)) < len(files):
        raise ValueError("--train, --test, --out and --save must name different files")
    for path in (args.out, args.save):
        if path is not None:
            data.check_writable(path)
    images, labels, unknown = load(args)

    # The last images are kept out of training, to measure on.
    kept = len(images) - int(len(images) * args.validation)
    train, validation = (images[:kept], labels[:kept]), (images[kept:], labels[kept:])

    recipe = recipes.get(args.recipe)
    epochs, batch_size = args.epochs or recipe.epochs, args.batch_size or min(recipe.batch_size, kept)
    model = recipe.model(samples=kept, epochs=epochs, batch_size=batch_size).to(args.device)
    model.summary()
    model.fit(*train, batch_size=batch_size, epochs=epochs, validation_data=validation if kept < len(images) else None)
    if kept < len(images):
        report(validation[1], model.predict(validation[0]))

    path = data.write_submission(args.out, model.predict(unknown).argmax(axis=1))
    print(f"\nsubmission with {len(unknown):,} labels: {path.resolve()}")
    if args.save:
        model.save(args.save)
        print(f"network: {Path(args.save).resolve()}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, RuntimeError, OSError) as error:
        print(f"train_mnist: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ntrain_mnist: interrupted", file=sys.stderr)
        sys.exit(130)
