"""Open Inference Protocol: what its messages mean here, whatever door they come by."""
