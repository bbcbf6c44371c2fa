"""MXNet's parameter files, and the one network in them that this project has."""
