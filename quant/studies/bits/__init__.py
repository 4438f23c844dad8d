"""``elbert study bits``: what every width and method is worth, measured in integers.

``candidates`` names the schemes, ``ablation`` those of the scales' ablation, ``search`` draws them;
``subject`` says what a scheme is measured on, ``point`` measures it and ``cost`` counts, ``runner`` does so
here or on a Dask cluster, ``store`` keeps every point; ``run`` puts the study together, ``figures`` and
``table`` show it.
"""
