"""Photographs, classified with weights from elsewhere."""

import jax
import numpy as np
import PIL.Image

from cnnlab import models
from cnnlab.models import weights
from experiments import classify

OPTIONS = ("width=2", "norm=group")


def normalised(pixels):
    """As torchvision's networks want it, written out."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).astype(np.float32)


def test_photographs_are_classified(tmp_path, quick_jit, capsys):
    network = models.create("resnet8", 4, width=2, norm="group")
    start, zeros = models.init.create("he"), np.zeros((1, 8, 8, 3), np.float32)
    variables = quick_jit(lambda key: start(network, key, zeros))(jax.random.key(3))
    file = tmp_path / "resnet8.safetensors"
    weights.save_safetensors(variables, file)
    generator = np.random.Generator(np.random.PCG64(0))
    pixels = generator.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, pixels, strict=True):
        PIL.Image.fromarray(image).save(path)
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    actual = classify.run(
        classify.Config(
            tuple(paths),
            weights=file,
            model="resnet8",
            model_options=OPTIONS,
            normalization="torchvision",
            image_size=8,
            class_names=tmp_path / "names.txt",
            top=3,
        )
    )
    probabilities = jax.nn.softmax(network.apply(variables, normalised(pixels)))
    for path, row in zip(paths, np.asarray(probabilities), strict=True):
        names = [["ant", "bee", "cat", "dog"][index] for index in np.argsort(-row)[:3]]
        assert [name for name, _ in actual[str(path)]] == names
        np.testing.assert_allclose(
            [p for _, p in actual[str(path)]], np.sort(row)[:0:-1], rtol=1e-4
        )
    assert f"{paths[0]}: {actual[str(paths[0])][0][0]}" in capsys.readouterr().out
