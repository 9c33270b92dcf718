"""What a person sees of the command line: streams, progress, error messages, exit codes."""
