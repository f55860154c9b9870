"""The task-capsule repository: submissions, reviews, installations, signing keys, recalls, catalogue."""
