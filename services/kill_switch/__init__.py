"""The kill switch: stopping what runs, and refusing what would begin."""
