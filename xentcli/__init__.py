"""xent: softmax cross-entropy experiments, reproduced to the digit."""

__version__ = "0.1.0"
