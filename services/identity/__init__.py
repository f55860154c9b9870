"""People and programs: their credentials, tokens and training sessions."""
