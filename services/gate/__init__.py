"""What governs every request, held in memory and never older than a moment."""
