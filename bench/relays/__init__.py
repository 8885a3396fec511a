"""Reference relays, to compare with. Each is a program: its port and the model's URL are its arguments."""
