"""Writers of answers: the model in this process, vLLM in this process, or a vLLM server."""
