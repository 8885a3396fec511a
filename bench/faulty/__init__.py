"""What a caller hears while the model fails: simulated calls through the service, and a fake OpenAI that goes wrong.

scene hearing points  what is said, what was heard of it, where it may go wrong. No I/O
place                 one call through a service of its own, and what it leaves behind
table interruptions rollover  the three measurements
"""
