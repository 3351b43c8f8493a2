"""Training, combining, transferring, probing and breaking CNNs, as pure JAX functions.

Import the part you need: ``from cnnlab import augment, data, models, schedules, train``. Importing
``cnnlab`` itself loads nothing else.
"""

__version__ = "0.1.0"
