"""Generation and scoring by vLLM servers, on this machine or others: the engine "server".

A row goes this way: `engine` turns requests into jobs, `pool` gives each job to a server that has room,
`client` sends it, `protocol` writes the request and reads the answer, and `bridge` brings the results from
the pool's thread back to the stage.

Servers of the run's own are a `served` model: `here` starts them on this machine, and `ordered` has them
started on another, where `serving` starts them; the two meet in a `serving_folder`.
"""
