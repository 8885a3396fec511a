"""What models' servers and this service write to each other, as text and as values."""
