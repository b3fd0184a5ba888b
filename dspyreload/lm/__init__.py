"""Programs and language models: the only importers of dspy. They import it when it is first needed."""
