"""The paper's recipe in Keras: a net of linear layers, Adam, random vectors and their images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def trained(matrix: NDArray[Any], rank: int, vectors: int, epochs: int, *, steps_per_execution: int = 1) -> Any:
    """Train one net and return the matrix that it stands for.

    Args:
        matrix: The target, square.
        rank: Width of the bottleneck.
        vectors: Random vectors, with entries from U(0, 1).
        epochs: Passes over them, in batches of 32.
        steps_per_execution: Steps in one call of the compiled function; the paper leaves it at 1.
    """
    import keras

    size = len(matrix)
    keras.utils.clear_session()
    keras.utils.set_random_seed(rank)
    x = np.random.default_rng(rank).uniform(size=(vectors, size)).astype(np.float32)
    y = x @ matrix.T.astype(np.float32)
    model = keras.Sequential([keras.Input((size,))])
    for width in (size, rank, size):
        model.add(keras.layers.Dense(width, use_bias=False, kernel_initializer="he_normal"))
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-7), loss="mse", steps_per_execution=steps_per_execution)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    first, second, third = (weights.astype(np.float64) for weights in model.get_weights())
    return (first @ second @ third).T
