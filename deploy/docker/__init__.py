"""The image, and the exact packages in it: `python -m deploy.docker.lock` writes their versions and hashes."""
