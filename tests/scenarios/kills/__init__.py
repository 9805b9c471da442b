"""Hundreds of violent ends under load, and an account of every record afterwards; see `make kills`."""
