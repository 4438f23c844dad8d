"""Training: ELBERT's joint loss, other methods, distillation, pretraining; everything resumes.

The trainer knows batches, optimiser and files; an objective says what is learnt.
"""
