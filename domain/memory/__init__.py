"""Rules of memory: identity of an item, fusion of rankings, what fits a question, and answers that cite."""
