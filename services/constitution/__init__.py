"""Constitutions: proposals, votes, activation, rehearsal."""
