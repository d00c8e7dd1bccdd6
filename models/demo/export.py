"""Writes the trained model as GGUF: Q8_0 matrices, F32 norms, the vocabulary as SPM."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import sentencepiece as spm

from .network import Llama, Shape
from .vocabulary import BOS, EOS, UNK


def _token_type(processor: spm.SentencePieceProcessor, piece: int) -> gguf.TokenType:
    if processor.is_unknown(piece):
        return gguf.TokenType.UNKNOWN
    if processor.is_control(piece):
        return gguf.TokenType.CONTROL
    if processor.is_byte(piece):
        return gguf.TokenType.BYTE
    return gguf.TokenType.NORMAL


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: bytes) -> None:
    processor = spm.SentencePieceProcessor(model_proto=vocabulary)
    ids = range(processor.get_piece_size())
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([processor.id_to_piece(i) for i in ids])
    writer.add_token_scores([processor.get_score(i) for i in ids])
    writer.add_token_types([_token_type(processor, i) for i in ids])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(UNK)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)


def _add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_vocab_size(shape.n_vocab)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)


def export(path: Path, model: Llama, vocabulary: bytes, quantised: bool = True) -> None:
    """Writes the GGUF file. Not quantised, it is all F32: for comparing graphs bit by bit."""
    kind = gguf.GGMLQuantizationType.Q8_0 if quantised else gguf.GGMLQuantizationType.F32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("gguf-run demo")
    writer.add_author("gguf-run")
    writer.add_version("1")
    writer.add_description("Writes little stories in simple English. Made by models/train_demo.py.")
    writer.add_license("MIT")
    writer.add_languages(["en"])
    writer.add_file_type(
        gguf.LlamaFileType.MOSTLY_Q8_0 if quantised else gguf.LlamaFileType.ALL_F32
    )
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_shape(writer, model.shape)
    _add_vocabulary(writer, vocabulary)
    for name, weight in model.named_parameters():
        data = weight.detach().float().cpu().numpy().astype(np.float32)
        if data.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
