"""The commands of `runstep`, a file each."""
