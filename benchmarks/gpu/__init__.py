"""The service on a GPU, beside what the card and ONNX Runtime can do without it."""
