"""One module a subject, each with one ``router``; :mod:`somagent.api.services` says which service has which."""
