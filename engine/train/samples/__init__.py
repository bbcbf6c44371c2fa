"""From labelled pictures to training samples: crops of random places, sides, colours and sizes, all of one size."""

from engine.train.samples.batch import Batch, Sample, collate
from engine.train.samples.training_set import TrainingSet

__all__ = ["Batch", "Sample", "TrainingSet", "collate"]
