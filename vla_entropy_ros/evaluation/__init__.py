"""Episodes in the simulator, through ROS topics or inside one process, and what comes of them.

What is run: `configurations` (named sets of tunables), `disturbances` (what goes wrong in an episode), `plan` (trials,
observers), `suite` (one evaluation), `campaign` (many episodes spread over processes or machines, finished ones kept).
How an episode is run: `closed_loop` (simulator and commander in simulated time), `inprocess` (a policy in that loop),
`episodes` (through the nodes); for these `bringup` and `processes` start nodes and end them, `witness` hears
what they publish.
What is kept: `records` (ticks and episodes), `stages` (of a tick), `outcomes` (an episode as a line), `statistics`,
`about` (versions, machine).
What is shown: `view` (live), `video`, `report` (table, Markdown, picture), `demo` (all of it for a few episodes).
"""
