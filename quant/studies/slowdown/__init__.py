"""``elbert study slowdown``: texts made to leave late, and what a cap on the iterations makes of them.

``words`` and ``neighbours`` say what may be put where, ``search`` finds the slow texts, ``store`` keeps them,
``outcomes`` runs them with and without caps, ``run`` puts the study together, ``figures`` draws it.
"""
