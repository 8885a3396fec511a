"""`bench/certificates`: in which states the keeper ends with a good certificate, and what it says and spends."""
