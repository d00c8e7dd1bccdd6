"""Tokenizers of GGUF files: SPM, BPE and WPM, exactly as llama.cpp runs them."""

from gguf_run.tokenizer.detokenizer import StreamingDetokenizer
from gguf_run.tokenizer.tokenizer import Tokenizer

__all__ = ["StreamingDetokenizer", "Tokenizer"]
