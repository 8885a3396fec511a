"""What a caller hears while the model fails: simulated calls through the service, with a fake OpenAI that injects
faults.

scene hearing points  what is said, what the caller heard of it, where faults may strike; no I/O
place                 one call through its own service, and what it leaves behind
table interruptions rollover  the three measurements
"""
