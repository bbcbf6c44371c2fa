"""A detector as a service: HTTP, the Open Inference Protocol, metrics, a page."""
