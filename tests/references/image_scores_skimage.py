"""PSNR and SSIM of made-up images by scikit-image: the numbers in ``image_scores_skimage.json``.

    python tests/references/image_scores_skimage.py

writes the numbers anew (scikit-image 0.26.0 made those that are committed). The test takes the
images from here, so that none needs committing; only ``main`` needs scikit-image.
"""

import json
import pathlib

import numpy as np

# name -> (shape, window, sigma, peak); scikit-image makes windows of 2 int(3.5 sigma + 0.5) + 1
CASES = {
    "grey, as published": ((5, 28, 24, 1), 11, 1.5, 1.0),
    "coloured, as published": ((5, 32, 32, 3), 11, 1.5, 1.0),
    "coloured, 0 to 255": ((3, 16, 20, 3), 11, 1.5, 255),
    "a smaller window": ((4, 8, 8, 1), 7, 0.9, 1.0),
}


def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Smooth images, and the same with noise and less contrast: uint8 where the peak is 255."""
    shape, _, _, peak = CASES[name]
    generator = np.random.Generator(np.random.PCG64(len(name)))
    rows, columns = np.meshgrid(*(np.linspace(0, 3, n) for n in shape[1:3]), indexing="ij")
    phases = generator.uniform(0, 6, (shape[0], 1, 1, shape[3]))
    clean = 0.5 + 0.4 * np.sin(rows[..., None] * 2 + phases) * np.cos(columns[..., None] - phases)
    strength = np.linspace(0.02, 0.3, shape[0])[:, None, None, None]
    noisy = 0.9 * clean + strength * generator.standard_normal(shape)
    both = np.clip(clean, 0, 1), np.clip(noisy, 0, 1)
    if peak == 255:
        clean, noisy = (np.rint(255 * x).astype(np.uint8) for x in both)
        return clean, noisy
    return both


def main() -> None:
    """Asks scikit-image and writes its numbers."""
    from skimage import metrics

    actual = {}
    for name, (_, _, sigma, peak) in CASES.items():
        pairs = list(zip(*images(name), strict=True))
        how = {"gaussian_weights": True, "sigma": sigma, "use_sample_covariance": False}
        actual[name] = {
            "ssim": [
                metrics.structural_similarity(x, y, data_range=peak, channel_axis=-1, **how)
                for x, y in pairs
            ],
            "psnr": [metrics.peak_signal_noise_ratio(x, y, data_range=peak) for x, y in pairs],
        }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(actual, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
