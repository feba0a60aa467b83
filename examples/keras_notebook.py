"""A digit recogniser as Keras users write it: only the import lines say that it is minicnn which trains.

python examples/keras_notebook.py --train data/train.csv --test data/test.csv --epochs 30
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import minicnn as keras
from minicnn.callbacks import EarlyStopping, ReduceLROnPlateau
from minicnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from minicnn.models import Sequential
from minicnn.optimizers import RMSprop
from minicnn.preprocessing.image import ImageDataGenerator
from minicnn.utils import set_random_seed, to_categorical

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--train", default="data/train.csv")
parser.add_argument("--test", default="data/test.csv")
parser.add_argument("--out", default="submission.csv")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--rows", type=int, help="train on so many rows only, to try it out")
parser.error = lambda message: parser.exit(2, f"keras_notebook: {message}\n")  # one sentence
args = parser.parse_args()
if args.epochs < 1:
    parser.error(f"--epochs: expected a number from 1 on, got {args.epochs}")
if args.rows is not None and args.rows < 2:
    parser.error(f"--rows: expected a number from 2 on, got {args.rows}")
if not Path(args.out).absolute().parent.is_dir() or Path(args.out).is_dir():
    parser.error(f"--out: expected a file in a folder that is there, got {args.out}")
set_random_seed(2)

# The data: a label and 784 pixels from 0 to 255 in a row; a tenth is kept for validation.
try:
    train, test = pd.read_csv(args.train, nrows=args.rows), pd.read_csv(args.test, nrows=args.rows)
    y = to_categorical(train.pop("label"), num_classes=10)
    x = train.to_numpy("float32").reshape(-1, 28, 28, 1) / 255
    x_test = test.to_numpy("float32").reshape(-1, 28, 28, 1) / 255
except (OSError, ValueError, KeyError, IndexError) as error:
    parser.error(f"expected Kaggle's files in {args.train} and {args.test}: {error}")
kept = int(len(x) * 0.9)
(x_train, y_train), (x_val, y_val) = (x[:kept], y[:kept]), (x[kept:], y[kept:])

# The network: two convolutions of 5×5, two of 3×3, each pair followed by pooling and dropout.
model = Sequential()
model.add(Conv2D(filters=32, kernel_size=(5, 5), padding="same", activation="relu", input_shape=(28, 28, 1)))
model.add(Conv2D(filters=32, kernel_size=(5, 5), padding="same", activation="relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Conv2D(filters=64, kernel_size=(3, 3), padding="same", activation="relu"))
model.add(Conv2D(filters=64, kernel_size=(3, 3), padding="same", activation="relu"))
model.add(MaxPooling2D(pool_size=(2, 2), strides=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(256, activation="relu"))
model.add(BatchNormalization())
model.add(Dropout(0.5))
model.add(Dense(10, activation="softmax"))
model.summary()
model.compile(optimizer=RMSprop(learning_rate=1e-3), loss="categorical_crossentropy", metrics=["accuracy"])

# Each epoch sees every image moved, turned and scaled a little; the rate is halved when validation stops improving.
images = ImageDataGenerator(rotation_range=10, zoom_range=0.1, width_shift_range=0.1, height_shift_range=0.1)
history = model.fit(
    images.flow(x_train, y_train, batch_size=86, seed=2),
    epochs=args.epochs,
    validation_data=(x_val, y_val),
    callbacks=[
        ReduceLROnPlateau(monitor="val_accuracy", patience=3, factor=0.5, min_lr=1e-5, verbose=1),
        EarlyStopping(monitor="val_accuracy", patience=8, restore_best_weights=True),
    ],
)
print(f"best validation accuracy: {max(history.history['val_accuracy']):.4f} ({keras.backend.image_data_format()})")

labels = np.argmax(model.predict(x_test), axis=1)
pd.DataFrame({"ImageId": range(1, len(labels) + 1), "Label": labels}).to_csv(args.out, index=False)
print(f"{args.out}: {len(labels)} labels")
