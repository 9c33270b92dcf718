"""The side of the command line that a person sees: streams, progress, errors in words, exit codes."""
