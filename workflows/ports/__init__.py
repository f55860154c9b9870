"""The activities as typed interfaces, with their time limits and retries beside them."""
