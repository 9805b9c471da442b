"""What `runstep run` is: the loop, its writer, and how they are put together."""
