"""``elbert study peers``: the same checkpoint quantised by others and by this project, on the same sentences.

``work`` says what everybody runs, ``peer`` what a peer is, one file below ``others`` makes each, ``measure``
runs them beside the float model, ``ibert`` and ``operators`` compare non-linear operators, ``store`` keeps
what is done, ``run`` puts the study together, ``figures`` draws it.
"""
