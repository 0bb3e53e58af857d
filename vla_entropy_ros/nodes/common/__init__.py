"""What all nodes share: parameters, messages, diagnostics, threads, start and end."""
