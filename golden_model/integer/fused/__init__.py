"""The golden model's fast form: the steps of a layer fused in compiled kernels, the plain form's integers.

The plain form (:class:`golden_model.integer.model.GoldenModel`) is the definition.
"""
