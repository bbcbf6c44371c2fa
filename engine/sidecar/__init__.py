"""The sidecar: a JSON file beside an engine that says what the engine is, and the check that the files belong together.

A built engine is three files: NAME.engine, NAME.engine.json (the sidecar) and NAME.network.onnx (the typed network,
which the CPU session runs). The sidecar holds digests of the other two. The metadata of the network holds a copy of
everything else in the sidecar, so that a file of another build or an edited setting is found and named.
"""

from engine.sidecar.files import EngineFiles, engine_sha256, is_engine, network_path, read_engine, sidecar_path

__all__ = ["EngineFiles", "engine_sha256", "is_engine", "network_path", "read_engine", "sidecar_path"]
