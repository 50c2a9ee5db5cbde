"""What `dlas bench` and `dlas profile` do: compile what is asked for, check it, measure it."""
