"""What a machine with a GPU is asked: is it right, and how fast (`python -m benchmarks.gpu`)."""
