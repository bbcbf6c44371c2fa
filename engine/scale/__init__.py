"""Detection on many machines, with Ray: tables of pictures to tables of faces, and a deployment of Ray Serve.

It needs the extra `scale`.
"""

import importlib.util

from engine.errors import RetinaFaceError

for _name in ("ray", "pyarrow", "starlette"):
    if importlib.util.find_spec(_name) is None:
        raise RetinaFaceError(
            f"engine.scale needs {_name}, which is not installed: pip install 'retinaface-trt[scale]'"
        )

from engine.rows import Columns, Detection  # noqa: E402
from engine.scale.dataset import DetectFaces  # noqa: E402
from engine.scale.deployment import FaceService, face_service  # noqa: E402
from engine.scale.folder import Summary, Workers, detect_to_parquet  # noqa: E402

__all__ = [
    "Columns",
    "DetectFaces",
    "Detection",
    "FaceService",
    "Summary",
    "Workers",
    "detect_to_parquet",
    "face_service",
]
