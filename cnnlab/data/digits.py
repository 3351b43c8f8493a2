"""scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels, which come with the library.

Source: E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI Machine Learning
Repository, 1998 (its test part, as scikit-learn distributes it).
"""

from __future__ import annotations

import numpy as np

from cnnlab.data.dataset import Dataset, Parts


def read() -> Parts:
    """All 1,797 digits: uint8 [1797, 8, 8, 1], the source's 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 scikit-learn is slow to import

    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(str(i) for i in range(10))
    return Parts(Dataset(images, source.target.astype(np.int32), names, "digits"))
