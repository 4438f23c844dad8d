"""The model's decisions made visible: when each sentence leaves, why, and what waiting would have changed."""
