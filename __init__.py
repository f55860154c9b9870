"""SomaGent: governed agent work, packaged as task capsules and run as durable Temporal workflows.

Data flows one way: api → workflows → activities → adapters; ``domain`` is pure and imports none of them.
"""
