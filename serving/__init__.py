"""The service: see docs/architecture.md, and ``serving.server`` for how its parts go together."""

import os

# Official builds of ONNX Runtime report usage from 1.29 on unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
