"""The float model: Hugging Face's ALBERT read after every iteration, and its logits over a data set.

``methods/`` puts the exits of DeeBERT, FastBERT and PABEE behind the same backbone.
"""
