"""gguf-run: run llama.cpp's GGUF model files from Python."""

__version__ = "0.1.0"
