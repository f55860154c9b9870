"""The local stack: finds, starts and watches the real servers that SomaGent runs on."""
