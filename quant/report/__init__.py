"""Reports: what a checkpoint does on labelled sentences, as pages, pictures and JSON."""
