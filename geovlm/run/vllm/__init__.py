"""A vLLM server as the source of completions; not yet run on a cluster."""
