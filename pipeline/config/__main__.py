"""`python -m pipeline.config` prints the README's table of settings."""

import sys

from pipeline.config.reference import settings_table

sys.stdout.write(settings_table() + "\n")
