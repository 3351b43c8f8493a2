"""Losses of students in PyTorch, and their gradients: the numbers in ``distillation_torch.json``.

    python tests/references/distillation_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64. The test
takes the logits from here; only ``main`` needs torch. The teacher's part is
``F.kl_div(..., reduction="none")`` summed over the classes, times T^2, as in PyTorch's tutorial on
distillation; that of matched logits half of ``F.mse_loss``.
"""

import json
import pathlib

import numpy as np

SETTINGS = ((1.0, 1.0, 0.0), (4.0, 0.9, 0.0), (20.0, 0.5, 0.1), (2.5, 0.0, 0.0))
"""Temperature, the teacher's weight, label smoothing."""
MATCHINGS = ((1.0, 1.0), (2.0, 0.7))
"""What errors of logits are divided by, the teacher's weight."""


def examples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A student's logits and a teacher's, float64 ``[8, 5]``, and labels ``[8]``."""
    generator = np.random.Generator(np.random.PCG64(7))
    student, teacher = generator.standard_normal((2, 8, 5)) * np.array([2.0, 5.0])[:, None, None]
    return student, teacher, generator.integers(0, 5, 8)


def main() -> None:
    """Computes the losses in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional as F

    student, teacher, labels = (torch.from_numpy(x) for x in examples())
    student.requires_grad_()

    def numbers(soft: torch.Tensor, weight: float, smoothing: float = 0.0) -> dict[str, list]:
        hard = F.cross_entropy(student, labels, reduction="none", label_smoothing=smoothing)
        losses = weight * soft + (1 - weight) * hard
        (gradient,) = torch.autograd.grad(losses.sum(), student)
        return {"losses": losses.tolist(), "gradient": gradient.tolist()}

    distilled = []
    for temperature, weight, smoothing in SETTINGS:
        ours = F.log_softmax(student / temperature, dim=1)
        theirs = F.softmax(teacher / temperature, dim=1)
        soft = F.kl_div(ours, theirs, reduction="none").sum(1) * temperature**2
        distilled.append(numbers(soft, weight, smoothing))
    matched = []
    for scale, weight in MATCHINGS:
        squares = F.mse_loss(student / scale, teacher / scale, reduction="none")
        matched.append(numbers(squares.mean(1) / 2, weight))
    actual = {"torch": torch.__version__, "distilled": distilled, "matched": matched}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(actual) + "\n")


if __name__ == "__main__":
    main()
