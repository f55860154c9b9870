"""Checks of the production deployment files, each on its own; :mod:`somagent.deploy.check` runs them all."""
