"""Results of ``elbert study exits`` on several tasks, in one table and one picture."""
