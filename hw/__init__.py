"""The accelerator in Amaranth HDL: token ids in, class and exit decision out."""
