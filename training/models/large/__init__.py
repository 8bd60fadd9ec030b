"""What images of real size ask for: networks that stride early, and a look at the memory."""
