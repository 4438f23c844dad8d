"""The page of ``elbert study bits``: its points and its ablation in one file that fetches nothing."""
