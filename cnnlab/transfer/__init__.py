"""What one network has learned, put to use in another.

logits = transfer.teacher_logits([(recipe, states)], splits.train)
student = dataclasses.replace(recipe, loss=losses.distillation(temperature=4.0))
for epoch in train.fit(student, transfer.taught(splits.train, logits), epochs=10):
    ...

sparse = transfer.pruning.prune(states.params, 0.8, members=True)  # and rewound, restarted …
"""

from cnnlab.transfer import pruning
from cnnlab.transfer.distillation import (
    ClassBias,
    class_bias,
    gap_closed,
    live_teacher,
    prior_bias,
    taught,
    teacher_logits,
    without_classes,
)
from cnnlab.transfer.freezing import by_stage, freeze, gradual, layer_decay, lecture_rates

__all__ = [
    "ClassBias",
    "by_stage",
    "class_bias",
    "freeze",
    "gap_closed",
    "gradual",
    "layer_decay",
    "lecture_rates",
    "live_teacher",
    "prior_bias",
    "pruning",
    "taught",
    "teacher_logits",
    "without_classes",
]
