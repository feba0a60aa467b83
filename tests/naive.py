"""Oracles that are too simple to be wrong: every operation as its definition reads, one pixel, one tap, one number at a time;
convolutions all images at a time, of which none knows of the others.

They work in float64 and share nothing with the library, which the tests hold to them.
"""

import math
from itertools import count, product

import numpy as np

# ---------------------------------------------------------------------- windows


def double(x):
    """x as an array of float64."""
    return np.asarray(x, float)


def same_pads(length, size, stride, dilation=1):
    """Keras' padding="same" on one axis: the fewest zeros that give ⌈length / stride⌉ windows, an odd one at the end."""
    reach = (size - 1) * dilation + 1
    total = next(total for total in count() if (length + total - reach) // stride + 1 >= math.ceil(length / stride))
    return total // 2, total - total // 2


def windows(length, size, stride, pads, dilation=1):
    """For every position of a window on one axis, the (tap, pixel) pairs that lie inside the image."""
    positions = (length + sum(pads) - (size - 1) * dilation - 1) // stride + 1
    every = [[(a, i * stride + a * dilation - pads[0]) for a in range(size)] for i in range(positions)]
    return [[(tap, pixel) for tap, pixel in window if 0 <= pixel < length] for window in every]


def positions(image, size, strides, pads, dilation=(1, 1)):
    """(i, j, [((a, b), (p, q)), …]): every output pixel with the taps and input pixels of its window, row by row."""
    rows, columns = (windows(*axis) for axis in zip(image, size, strides, pads, dilation, strict=True))
    for i, j in product(range(len(rows)), range(len(columns))):
        yield i, j, [((a, b), (p, q)) for (a, p), (b, q) in product(rows[i], columns[j])]


def outputs(image, size, strides, pads, dilation=(1, 1)):
    return tuple(len(windows(*axis)) for axis in zip(image, size, strides, pads, dilation, strict=True))


# ---------------------------------------------------------------------- convolution and dense


def conv2d(x, kernel, bias, strides, pads, dilation):
    x, kernel = double(x), double(kernel)
    KH, KW, _, F = kernel.shape
    y = np.zeros((len(x), *outputs(x.shape[1:3], (KH, KW), strides, pads, dilation), F))
    for i, j, window in positions(x.shape[1:3], (KH, KW), strides, pads, dilation):
        for tap, (p, q) in window:
            y[:, i, j] += x[:, p, q] @ kernel[tap]
    return y if bias is None else y + double(bias)


def conv2d_backward(x, dy, kernel, strides, pads, dilation):
    """(dx, dkernel, dbias)"""
    x, dy, kernel = double(x), double(dy), double(kernel)
    dx, dkernel, dbias = np.zeros(x.shape), np.zeros(kernel.shape), np.zeros(kernel.shape[3])
    for i, j, window in positions(x.shape[1:3], kernel.shape[:2], strides, pads, dilation):
        dbias += dy[:, i, j].sum(axis=0)
        for tap, (p, q) in window:
            dx[:, p, q] += dy[:, i, j] @ kernel[tap].T
            dkernel[tap] += x[:, p, q].T @ dy[:, i, j]
    return dx, dkernel, dbias


def depthwise_conv2d(x, kernel, bias, strides, pads, dilation):
    """Filter m of channel c is channel c · M + m of y."""
    x, kernel, bias = double(x), double(kernel), np.zeros(kernel[0, 0].size) if bias is None else double(bias)
    y = np.zeros((len(x), *outputs(x.shape[1:3], kernel.shape[:2], strides, pads, dilation), *kernel.shape[2:]))
    for i, j, window in positions(x.shape[1:3], kernel.shape[:2], strides, pads, dilation):
        y[:, i, j] = sum(x[:, p, q, :, None] * kernel[tap] for tap, (p, q) in window)
    return y.reshape(*y.shape[:3], -1) + bias


def depthwise_conv2d_backward(x, dy, kernel, strides, pads, dilation):
    """(dx, dkernel, dbias)"""
    x, dy, kernel = double(x), double(dy), double(kernel)
    dx, dkernel = np.zeros(x.shape), np.zeros(kernel.shape)
    for i, j, window in positions(x.shape[1:3], kernel.shape[:2], strides, pads, dilation):
        slope = dy[:, i, j].reshape(-1, *kernel.shape[2:])  # (N, C, M)
        for tap, (p, q) in window:
            dx[:, p, q] += (kernel[tap] * slope).sum(axis=2)
            dkernel[tap] += (x[:, p, q, :, None] * slope).sum(axis=0)
    return dx, dkernel, dy.sum(axis=(0, 1, 2))


def conv2d_transpose(x, kernel, bias, strides, pads, dilation, image):
    """Every pixel of x adds the kernel, times its numbers, to the image, as far as it lies there."""
    x, kernel, bias = double(x), double(kernel), np.zeros(kernel.shape[2]) if bias is None else double(bias)
    y = np.zeros((len(x), *image, len(bias))) + bias
    for i, j, window in positions(image, kernel.shape[:2], strides, pads, dilation):
        for tap, (p, q) in window:
            y[:, p, q] += x[:, i, j] @ kernel[tap].T
    return y


def conv2d_transpose_backward(x, dy, kernel, strides, pads, dilation):
    """(dx, dkernel, dbias)"""
    x, dy, kernel = double(x), double(dy), double(kernel)
    dx, dkernel, dbias = np.zeros(x.shape), np.zeros(kernel.shape), np.zeros(kernel.shape[2])
    for i, j, window in positions(dy.shape[1:3], kernel.shape[:2], strides, pads, dilation):
        for tap, (p, q) in window:
            dx[:, i, j] += dy[:, p, q] @ kernel[tap]
            dkernel[tap] += dy[:, p, q].T @ x[:, i, j]
    for i, j in np.ndindex(dy.shape[1:3]):
        dbias += dy[:, i, j].sum(axis=0)
    return dx, dkernel, dbias


def dense(x, kernel, bias):
    y = np.zeros((*x.shape[:-1], kernel.shape[1]))
    for index in np.ndindex(y.shape):
        terms = [float(a) * float(b) for a, b in zip(x[index[:-1]], kernel[:, index[-1]], strict=True)]
        y[index] = math.fsum(terms) + (0.0 if bias is None else float(bias[index[-1]]))
    return y


def dense_backward(x, dy, kernel):
    """(dx, dkernel, dbias)"""
    x, dy, kernel = double(x), double(dy), double(kernel)
    dx, dkernel, dbias = np.zeros(x.shape), np.zeros(kernel.shape), np.zeros(kernel.shape[1])
    for row in np.ndindex(x.shape[:-1]):
        for f in range(kernel.shape[1]):
            dx[row] += dy[row][f] * kernel[:, f]
            dkernel[:, f] += dy[row][f] * x[row]
            dbias[f] += dy[row][f]
    return dx, dkernel, dbias


# ---------------------------------------------------------------------- pooling


def max_pool2d(x, dy, size, strides, pads):
    """(y, dx): each dy goes to the first of the largest pixels of its window; padding is no pixel."""
    y = np.zeros((len(x), *outputs(x.shape[1:3], size, strides, pads), x.shape[3]))
    dx = np.zeros(x.shape)
    for i, j, window in positions(x.shape[1:3], size, strides, pads):
        for n, c in np.ndindex(len(x), x.shape[3]):
            best = max(
                (pixel for _, pixel in window), key=lambda pixel: x[n][pixel][c]
            )  # max takes the first of equals
            y[n, i, j, c] = x[n][best][c]
            dx[n][best][c] += dy[n, i, j, c]
    return y, dx


def avg_pool2d(x, dy, size, strides, pads):
    """(y, dx): means over the pixels inside the image, and each dy shared equally by them."""
    y = np.zeros((len(x), *outputs(x.shape[1:3], size, strides, pads), x.shape[3]))
    dx = np.zeros(x.shape)
    for i, j, window in positions(x.shape[1:3], size, strides, pads):
        for n, c in np.ndindex(len(x), x.shape[3]):
            y[n, i, j, c] = math.fsum(float(x[n][pixel][c]) for _, pixel in window) / len(window)
            for _, pixel in window:
                dx[n][pixel][c] += float(dy[n, i, j, c]) / len(window)
    return y, dx


# ---------------------------------------------------------------------- geometry


def pixel_of(index, length, mode):
    """The pixel that stands for an index on one axis; None where the fill value does."""
    if mode == "nearest":
        return min(max(index, 0), length - 1)
    if mode == "wrap":
        return index % length
    if mode == "reflect":
        return [*range(length), *reversed(range(length))][index % (2 * length)]
    return index if 0 <= index < length else None


def moment_map(image, width, factors):
    """The matrix (2, 3) that makes an image (H, W, C) upright and `width` wide: central moments, pixel by pixel."""
    mass = {(i, j): sum(float(number) for number in image[i, j]) for i, j in np.ndindex(image.shape[:2])}
    whole = sum(mass.values())
    if whole <= 0:
        return np.eye(2, 3)
    ci, cj = (sum(m * place[axis] for place, m in mass.items()) / whole for axis in (0, 1))

    def v(p, q):
        return sum(m * (i - ci) ** p * (j - cj) ** q for (i, j), m in mass.items()) / whole

    slant = v(1, 1) / v(2, 0) if v(2, 0) > 1e-6 else 0.0
    deviation = math.sqrt(max(v(0, 2) - slant * v(1, 1), 1e-6))
    factor = min(max(width / deviation, factors[0]), factors[1])
    # j' = cj + slant (i - ci) + (j - cj) / factor
    return np.array([[1, 0, 0], [slant, 1 / factor, cj - slant * ci - cj / factor]])


def affine(x, dy, matrices, mode, fill_value):
    """(y, dx): y[n,i,j] is x[n] at the point matrices[n] · (i, j, 1), by the four pixels around it."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for n, i, j in np.ndindex(x.shape[:3]):
        row, column = (float(m[0]) * i + float(m[1]) * j + float(m[2]) for m in matrices[n])
        top, left = math.floor(row), math.floor(column)
        for p, q in product((top, top + 1), (left, left + 1)):
            weight = (1 - abs(row - p)) * (1 - abs(column - q))
            pixel = pixel_of(p, x.shape[1], mode), pixel_of(q, x.shape[2], mode)
            if None in pixel:
                y[n, i, j] += weight * fill_value
            else:
                y[n, i, j] += weight * x[n][pixel]
                dx[n][pixel] += weight * dy[n, i, j]
    return y, dx


# ---------------------------------------------------------------------- softmax and cross-entropy


def resized(image, height, width):
    """One image, bilinear: the middles of its pixels lie half a pixel inside its edges, as those of the new ones do."""
    H, W, _ = image.shape
    found = np.zeros((height, width, image.shape[2]))
    for i in range(height):
        for j in range(width):
            p = min(max((i + 0.5) * H / height - 0.5, 0), H - 1)
            q = min(max((j + 0.5) * W / width - 0.5, 0), W - 1)
            for a in range(H):
                for b in range(W):
                    found[i, j] += max(0, 1 - abs(p - a)) * max(0, 1 - abs(q - b)) * image[a, b]
    return found


def softmax(scores):
    """e^s / Σ e^s of one row."""
    powers = [math.exp(float(s) - float(max(scores))) for s in scores]
    return [power / math.fsum(powers) for power in powers]


def softmax_cross_entropy(logits, targets):
    """-Σ_k t_k (s_k - log Σ e^s) for every row; the logarithm is taken of the sum, so that nothing vanishes."""
    losses = []
    for scores, weights in zip(logits, targets, strict=True):
        top = float(max(scores))
        log_sum = top + math.log(math.fsum(math.exp(float(s) - top) for s in scores))
        losses.append(-math.fsum(float(t) * (float(s) - log_sum) for t, s in zip(weights, scores, strict=True)))
    return np.array(losses)


# ---------------------------------------------------------------------- batch normalisation


def batch_norm(x, gamma, beta, epsilon):
    """(y, mean, variance) of rows (M, C)"""
    x, y = double(x), np.zeros(x.shape)
    M, C = x.shape
    mean, variance = np.zeros(C), np.zeros(C)
    for c in range(C):
        mean[c] = math.fsum(x[:, c]) / M
        variance[c] = math.fsum((value - mean[c]) ** 2 for value in x[:, c]) / M
        for m in range(M):
            y[m, c] = float(gamma[c]) * (x[m, c] - mean[c]) / math.sqrt(variance[c] + epsilon) + float(beta[c])
    return y, mean, variance


def batch_norm_backward(x, dy, gamma, epsilon):
    """(dx, dgamma, dbeta) of rows (M, C), dx through the whole Jacobian: ∂y_j/∂x_i = γ/σ (δ_ij - 1/M - z_i z_j / M)"""
    x, dy, gamma = double(x), double(dy), double(gamma)
    z, _, variance = batch_norm(x, np.ones(x.shape[1]), np.zeros(x.shape[1]), epsilon)
    M, C = x.shape
    dx = np.zeros((M, C))
    for c in range(C):
        jacobian = gamma[c] / math.sqrt(variance[c] + epsilon) * (np.eye(M) - 1 / M - np.outer(z[:, c], z[:, c]) / M)
        dx[:, c] = jacobian.T @ dy[:, c]
    return dx, (dy * z).sum(axis=0), dy.sum(axis=0)


# ---------------------------------------------------------------------- random numbers and dropout


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., 2011) in Python's integers: four words and a key of two make four words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(c0 * 0xD2511F53, 2**32)
        high1, low1 = divmod(c2 * 0xCD9E8D57, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def random_bits(key, size):
    """The numbers 0 … size-1 of a key (seed, step, layer): number i is word i % 4 of block i // 4."""
    seed, step, layer = key
    blocks = [
        philox([block % 2**32, block >> 32, step, layer], [seed % 2**32, seed >> 32]) for block in range(-(-size // 4))
    ]
    return [word for block in blocks for word in block][:size]


def dropout_mask(key, rate, size):
    """1 where a number is kept, 0 where it is dropped: the share `rate` of all 2³² random numbers drops."""
    return [int(bits >= int(rate * 2**32)) for bits in random_bits(key, size)]


# ---------------------------------------------------------------------- optimizers: Keras 3's formulas on one number


def sgd(w, gradients, learning_rate=0.01, momentum=0.0, nesterov=False):
    velocity = 0.0
    for g in gradients:
        velocity = momentum * velocity - learning_rate * g
        w = w + momentum * velocity - learning_rate * g if nesterov else w + velocity
    return w


def rmsprop(w, gradients, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    velocity = average = step = 0.0
    for g in gradients:
        velocity = rho * velocity + (1 - rho) * g**2
        average = rho * average + (1 - rho) * g
        denominator = velocity - average**2 + epsilon if centered else velocity + epsilon
        step = momentum * step + learning_rate * g / math.sqrt(denominator)
        w = w - step
    return w


def adagrad(w, gradients, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7):
    accumulator = initial_accumulator_value
    for g in gradients:
        accumulator = accumulator + g**2
        w = w - learning_rate * g / math.sqrt(accumulator + epsilon)
    return w


def adadelta(w, gradients, learning_rate=0.001, rho=0.95, epsilon=1e-7):
    gradient = delta = 0.0
    for g in gradients:
        gradient = rho * gradient + (1 - rho) * g**2
        step = -math.sqrt(delta + epsilon) / math.sqrt(gradient + epsilon) * g
        delta = rho * delta + (1 - rho) * step**2
        w = w + learning_rate * step
    return w


def nadam(w, gradients, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = v = 0.0
    product = 1.0
    for t, g in enumerate(gradients, start=1):
        u, following = beta_1 * (1 - 0.5 * 0.96**t), beta_1 * (1 - 0.5 * 0.96 ** (t + 1))
        product = product * u
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        m_hat = following * m / (1 - product * following) + (1 - u) * g / (1 - product)
        w = w - learning_rate * m_hat / (math.sqrt(v / (1 - beta_2**t)) + epsilon)
    return w


def adamax(w, gradients, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = u = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        u = max(beta_2 * u, abs(g))
        w = w - learning_rate / (1 - beta_1**t) * m / (u + epsilon)
    return w


def lion(w, gradients, learning_rate=0.001, beta_1=0.9, beta_2=0.99):
    m = 0.0
    for g in gradients:
        w = w - learning_rate * math.copysign(1, beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g
    return w


def ftrl(
    w,
    gradients,
    learning_rate=0.001,
    learning_rate_power=-0.5,
    initial_accumulator_value=0.1,
    l1_regularization_strength=0.0,
    l2_regularization_strength=0.0,
    l2_shrinkage_regularization_strength=0.0,
    beta=0.0,
):
    n, z = initial_accumulator_value, 0.0
    for g in gradients:
        sigma = ((n + g**2) ** -learning_rate_power - n**-learning_rate_power) / learning_rate
        n += g**2
        z += g + 2 * l2_shrinkage_regularization_strength * w - sigma * w
        if abs(z) <= l1_regularization_strength:
            w = 0.0
        else:
            rate = (beta + n**-learning_rate_power) / learning_rate + 2 * l2_regularization_strength
            w = -(z - math.copysign(l1_regularization_strength, z)) / rate
    return w


def adam(w, gradients, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    m = v = top = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        alpha = learning_rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        top = max(top, v)
        w = w - alpha * m / (math.sqrt(top if amsgrad else v) + epsilon)
    return w
