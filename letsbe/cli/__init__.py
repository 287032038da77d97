"""The Click tree: the only place that prints, prompts, or exits."""
