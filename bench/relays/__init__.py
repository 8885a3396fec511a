"""Reference relays to compare with. Each is a program whose arguments are its port and the model's URL."""
