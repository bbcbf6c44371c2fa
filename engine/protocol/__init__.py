"""The detector as a model of the Open Inference Protocol, version 2, for every server that offers it."""
