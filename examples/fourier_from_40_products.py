"""Signals that a filter keeps, from 40 FFTs.

Forty products with a filter find the signals that it keeps. The filter takes a signal
of 512 samples, removes all high frequencies, and keeps the same 512 samples of what is
left. As a matrix it has 262,144 entries; as two Fourier transforms it takes no memory.
Slepian, Landau and Pollak found that such a filter is nearly of low rank: about 2 N W
of its singular values are near 1, for N samples and the bandwidth W, and all others are
near 0. Its leading vectors are Slepian's sequences. [Your own operator](../operator.md)
has other operators.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal.windows import dpss
from scipy.sparse.linalg import LinearOperator

import eckart
from eckart.results.style import BLACK, BLUE, GRAY, STYLE

plt.style.use(STYLE)
samples, band = 512, 6


def keep_low(x):
    spectrum = np.fft.rfft(x, 4 * samples, axis=0)
    spectrum[4 * band :] = 0
    return np.fft.irfft(spectrum, 4 * samples, axis=0)[:samples]


low_pass = LinearOperator(
    (samples, samples), matvec=keep_low, matmat=keep_low, rmatvec=keep_low, dtype=float
)
result = eckart.fit(low_pass, rank=16, vectors=20, transpose=True)
asked = result.fields["images"] + result.fields["transpose_images"]
print(f"{asked} products, excess over the optimum {result.errors['excess_2norm']:.0e}")

# %%
# Learned singular values, beside those of all entries. Here 2 N W is about 12.

left, values, _ = result.svd()
exact = np.linalg.svd(keep_low(np.eye(samples)), compute_uv=False)
print(f"{int((values > 0.5).sum())} singular values are above 1/2")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(range(1, 25), exact[:24], color=GRAY, label="of all entries")
axes.plot(range(1, 17), values, "o", color=BLUE, label="learned, rank 16")
axes.axhline(exact[16], color=BLACK, linestyle="--")
axes.text(17.3, 1.6 * exact[16], "least error of rank 16")
axes.axvline(2 * band, color=GRAY, linewidth=0.8)
axes.text(2 * band - 0.2, 2e-9, "2 N W", ha="right")
axes.set(yscale="log", xlabel="number", ylabel="singular value")
axes.set_title("The filter is nearly of rank 12")
axes.legend(loc="lower left")
figure.savefig("values.png")

# %%
# The leading vectors are the sequences whose energy lies in the band as far as that is
# possible. SciPy computes them in another way, from a tridiagonal matrix.

slepian = dpss(samples, band - 1 / 8, 4)
agreement = [abs(float(slepian[i] @ left[:, i].numpy())) for i in range(4)]
print(f"inner products with SciPy's sequences: at least {min(agreement):.4f}")

figure, panels = plt.subplots(2, 2, figsize=(8, 4.4), layout="constrained", sharex=True)
for i, axes in enumerate(panels.flat):
    sequence = left[:, i].numpy()
    sign = np.sign(slepian[i] @ sequence)
    axes.plot(slepian[i], color=BLACK, label="SciPy")
    axes.plot(sign * sequence, "--", color=BLUE, linewidth=3, label="learned")
    axes.set_title(f"sequence {i + 1}")
panels[0, 0].legend()
panels[1, 0].set_xlabel("sample")
panels[1, 1].set_xlabel("sample")
figure.savefig("sequences.png")
