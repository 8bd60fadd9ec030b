"""How fast vaeserve is, against bare gRPC, bare ONNX Runtime and other servers: ``make bench``."""
