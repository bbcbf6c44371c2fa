"""What is labelled: pictures with the boxes and landmarks of their faces, from files of several formats."""

from engine.train.labels.labelled import LabelledPicture
from engine.train.labels.reading import read_labels

__all__ = ["LabelledPicture", "read_labels"]
