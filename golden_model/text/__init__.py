"""Text to token ids and back: Hugging Face tokenizers, SentencePiece files, pruned vocabularies.

What a piece means to the model is decided here and nowhere else.
"""
