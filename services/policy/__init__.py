"""The policy engine: rules, verdicts, decisions."""
