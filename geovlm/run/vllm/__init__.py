"""vLLM as a server of completions. Not yet run on a cluster."""
