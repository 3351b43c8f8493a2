"""Transfer of what one network has learned to another: distillation, surgery, features, pruning.

logits = transfer.teacher_logits([(recipe, states)], splits.train)
student = dataclasses.replace(recipe, loss=losses.distillation(temperature=4.0))
for epoch in train.fit(student, transfer.with_teacher_targets(splits.train, logits), epochs=10):
    ...

recipe = dataclasses.replace(recipe, rates=transfer.freeze(network, up_to="stage2"))
states, report = transfer.transplant(trained, recipe, splits.train, seeds=(0, 1, 2))

outputs = transfer.features.features(recipe, states, splits.train, ("stage2",))

sparse = transfer.pruning.prune(states.params, 0.8, members=True)
"""

from cnnlab.transfer import (
    deepening,
    detection,
    features,
    neighbours,
    probes,
    pruning,
    rbm,
    segmentation,
    stacking,
)
from cnnlab.transfer.cache import front_features
from cnnlab.transfer.distillation import (
    ClassBias,
    class_bias,
    gap_closed,
    live_teacher,
    prior_bias,
    teacher_logits,
    with_teacher_targets,
    without_classes,
)
from cnnlab.transfer.freezing import (
    freeze,
    gradual_unfreezing,
    layer_decay,
    lecture_rates,
    rates_by_stage,
)
from cnnlab.transfer.surgery import (
    SurgeryError,
    copy_variables,
    last_stages,
    transplant,
    transplant_each,
)
from cnnlab.transfer.tail import join_front, tail_recipe, tail_states

__all__ = [
    "ClassBias",
    "SurgeryError",
    "class_bias",
    "copy_variables",
    "deepening",
    "detection",
    "features",
    "freeze",
    "front_features",
    "gap_closed",
    "gradual_unfreezing",
    "join_front",
    "last_stages",
    "layer_decay",
    "lecture_rates",
    "live_teacher",
    "neighbours",
    "prior_bias",
    "probes",
    "pruning",
    "rates_by_stage",
    "rbm",
    "segmentation",
    "stacking",
    "tail_recipe",
    "tail_states",
    "teacher_logits",
    "transplant",
    "transplant_each",
    "with_teacher_targets",
    "without_classes",
]
