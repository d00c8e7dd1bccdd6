"""Makes the demo model: stories, vocabulary, training, GGUF. `../train_demo.py` runs it."""
