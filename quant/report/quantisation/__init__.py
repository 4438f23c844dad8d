"""What a quantisation loses and why: tensors, weights and exits of integers against their float model."""
