"""How much a relay costs: callgate beside references, measured with simulated calls. See README.md here."""
