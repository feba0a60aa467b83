"""The peer: PyTorch's operations and networks, each as runners, one per memory format, of which the faster counts.

Without PyTorch all lists of runners are empty. Nothing of minicnn is imported here, so that memory can be compared
process by process.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .report import Runner

try:
    import torch
    from torch import nn
except ImportError:
    torch = None  # type: ignore[assignment]

Pair = tuple[int, int]


def use_threads(threads: int) -> None:
    if torch is not None:
        torch.set_num_threads(threads)


def has_cuda() -> bool:
    """Whether PyTorch can use a GPU; if so, its products take TF32 from now on, as ours do."""
    if torch is None or not torch.cuda.is_available():
        return False
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return True


def synchronize() -> None:
    torch.cuda.synchronize()


def formats() -> list[Any]:
    return [] if torch is None else [torch.contiguous_format, torch.channels_last]


def images(x: np.ndarray, memory_format: Any) -> Any:
    """Our (N, H, W, C) as PyTorch's (N, C, H, W), laid out in this format, in memory of PyTorch's own.

    (`contiguous` would leave images of one channel as they are, and PyTorch takes their strides for channels_last.)
    """
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2)
    return torch.empty(tensor.shape, memory_format=memory_format).copy_(tensor)


# ---------------------------------------------------------------------- operations: (forward runners, backward runners)


def per_format(make: Callable[[Any], tuple[Runner, Runner]]) -> tuple[list[Runner], list[Runner]]:
    """The forward and backward that `make` gives for each memory format."""
    pairs = [make(memory_format) for memory_format in formats()]
    return [forward for forward, _ in pairs], [backward for _, backward in pairs]


def is_mirrored(pads: tuple[Pair, Pair]) -> bool:
    """Whether PyTorch convolves the mirror image.

    PyTorch pads both sides alike. Where a strided convolution has one zero more behind the image, the mirror image has
    it in front: with this larger number on both sides, the last zero behind is not reached.
    """
    return any(before != after for before, after in pads)


def mirrored(array: np.ndarray, axes: Pair = (1, 2)) -> np.ndarray:
    return np.ascontiguousarray(np.flip(array, axes))


def convolution(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    dy: np.ndarray,
    strides: Pair,
    pads: tuple[Pair, Pair],
    input_gradient: bool,
    groups: int = 1,
) -> list[tuple[Runner, Runner]]:
    """(forward, backward) for each memory format; the images are mirrored where `is_mirrored` says so."""
    if is_mirrored(pads):
        x, dy, kernel = mirrored(x), mirrored(dy), mirrored(kernel, (0, 1))
    padding = [max(pair) for pair in pads]
    wanted = [input_gradient, True, bias is not None]
    sizes = None if bias is None else [len(bias)]

    def runners(memory_format: Any) -> tuple[Runner, Runner]:
        image, gradient = images(x, memory_format), images(dy, memory_format)
        weight = images(kernel.transpose(3, 0, 1, 2), memory_format)
        offset = None if bias is None else torch.from_numpy(bias)
        backward = torch.ops.aten.convolution_backward
        return (
            lambda: nn.functional.conv2d(image, weight, offset, strides, padding, 1, groups),
            lambda: backward(gradient, image, weight, sizes, strides, padding, [1, 1], False, [0, 0], groups, wanted),
        )

    return [runners(memory_format) for memory_format in formats()]


def max_pool(x: np.ndarray, dy: np.ndarray, size: Pair, strides: Pair) -> tuple[list[Runner], list[Runner]]:
    def runners(memory_format: Any) -> tuple[Runner, Runner]:
        image, gradient = images(x, memory_format), images(dy, memory_format)
        forward, backward = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward
        _, winner = forward(image, size, strides)
        return (
            lambda: forward(image, size, strides),
            lambda: backward(gradient, image, size, strides, [0, 0], [1, 1], False, winner),
        )

    return per_format(runners)


def avg_pool(x: np.ndarray, dy: np.ndarray, size: Pair, strides: Pair) -> tuple[list[Runner], list[Runner]]:
    def runners(memory_format: Any) -> tuple[Runner, Runner]:
        image, gradient = images(x, memory_format), images(dy, memory_format)
        forward, backward = torch.ops.aten.avg_pool2d, torch.ops.aten.avg_pool2d_backward
        return (
            lambda: forward(image, size, strides),
            lambda: backward(gradient, image, size, strides, [0, 0], False, True, None),
        )

    return per_format(runners)


def batch_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray, epsilon: float
) -> tuple[list[Runner], list[Runner]]:
    def runners(memory_format: Any) -> tuple[Runner, Runner]:
        image, gradient = images(x, memory_format), images(dy, memory_format)
        scale, shift = torch.from_numpy(gamma), torch.from_numpy(beta)
        forward, backward = torch.ops.aten.native_batch_norm, torch.ops.aten.native_batch_norm_backward
        _, mean, inverse = forward(image, scale, shift, None, None, True, 0.1, epsilon)
        return (
            lambda: forward(image, scale, shift, None, None, True, 0.1, epsilon),
            lambda: backward(gradient, image, scale, None, None, mean, inverse, True, epsilon, [True, True, True]),
        )

    return per_format(runners)


def dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, dy: np.ndarray) -> tuple[list[Runner], list[Runner]]:
    """Rows have one memory format only, so there is one runner of each kind."""
    if torch is None:
        return [], []
    rows, weight, offset, gradient = map(torch.from_numpy, (x, np.ascontiguousarray(kernel.T), bias, dy))
    return (
        [lambda: nn.functional.linear(rows, weight, offset)],
        [lambda: (gradient @ weight, gradient.t() @ rows, gradient.sum(0))],
    )


# ---------------------------------------------------------------------- networks


def network(name: str) -> Any:
    """The layers of `networks.py`, in PyTorch."""

    def block(inputs: int, filters: int, size: int, padding: int = 0) -> list[Any]:
        return [nn.Conv2d(inputs, filters, size, padding=padding), nn.ReLU()]

    def head(inputs: int, units: int) -> list[Any]:
        return [nn.Flatten(), nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(0.5), nn.Linear(units, 10)]

    def normalized(inputs: int, filters: int, size: int, stride: int = 1) -> list[Any]:
        padding = 0 if stride == 1 else 2  # one more than "same" adds in front: see `is_mirrored`
        convolution = nn.Conv2d(inputs, filters, size, stride, padding)
        return [convolution, nn.ReLU(), nn.BatchNorm2d(filters, 1e-3, 0.01)]

    def group(inputs: int, filters: int) -> list[Any]:
        return [
            *normalized(inputs, filters, 3),
            *normalized(filters, filters, 3),
            *normalized(filters, filters, 5, 2),
            nn.Dropout(0.4),
        ]

    pool, drop = nn.MaxPool2d(2), nn.Dropout(0.25)
    layers = {
        "lenet": lambda: [*block(1, 8, 3, 1), pool, *block(8, 16, 3, 1), pool, *head(784, 64)],
        "example": lambda: [*block(1, 32, 3), *block(32, 64, 3), pool, drop, *head(9216, 128)],
        "ghouzam": lambda: [
            *block(1, 32, 5, 2), *block(32, 32, 5, 2), pool, drop,
            *block(32, 64, 3, 1), *block(64, 64, 3, 1), pool, drop, *head(3136, 256)
        ],
        "deotte": lambda: [
            *group(1, 32), *group(32, 64), *normalized(64, 128, 4), nn.Flatten(), nn.Dropout(0.4), nn.Linear(128, 10)
        ],
    }  # fmt: skip
    return nn.Sequential(*layers[name]())


def trainer(name: str, memory_format: Any, device: str = "cpu") -> Callable[[Any, Any], None]:
    """A step of Adam on a batch of images and labels."""
    model = network(name).to(device, memory_format=memory_format).train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    loss = nn.CrossEntropyLoss()

    def step(image: Any, label: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model(image), label).backward()
        optimizer.step()

    return step


def training(name: str, x: np.ndarray, y: np.ndarray, device: str) -> list[Runner]:
    """Steps on one batch, which is on the device before."""

    def runner(memory_format: Any) -> Runner:
        step, label = trainer(name, memory_format, device), torch.from_numpy(y).to(device)
        image = images(x, memory_format).to(device)
        return lambda: step(image, label)

    return [runner(memory_format) for memory_format in formats()]


def epoch(name: str, x: np.ndarray, y: np.ndarray, batch: int, memory_format: Any) -> Runner:
    """The ordinary loop on the CPU: the images in a new order each time, gathered batch by batch."""
    step, image, label = trainer(name, memory_format), images(x, memory_format), torch.from_numpy(y)

    def run() -> None:
        for rows in torch.split(torch.randperm(len(label)), batch):
            step(image[rows], label[rows])

    return run


def epochs(name: str, x: np.ndarray, y: np.ndarray, batch: int) -> list[Runner]:
    return [epoch(name, x, y, batch, memory_format) for memory_format in formats()]


def inference(name: str, x: np.ndarray, weights: list[list[np.ndarray]]) -> list[Runner]:
    """The scores of the mirror images by the network with these weights: `networks.channels_first`, mirrored."""

    def runner(memory_format: Any) -> Runner:
        model = network(name)
        names = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
        arrays = [torch.from_numpy(array) for layer in weights for array in layer]
        model.load_state_dict(dict(zip(names, arrays, strict=True)), strict=False)
        model, image = model.to(memory_format=memory_format).eval(), images(mirrored(x), memory_format)

        def run() -> Any:
            with torch.inference_mode():
                return model(image)

        return run

    return [runner(memory_format) for memory_format in formats()]


def as_ours(result: Any, mirror: bool = False) -> np.ndarray:
    """A tensor (N, C, H, W), or the first of several, as our (N, H, W, C), mirrored back if it was."""
    tensor = result[0] if isinstance(result, tuple | list) else result
    array = np.asarray(tensor.permute(0, 2, 3, 1).numpy())
    return mirrored(array) if mirror else array
