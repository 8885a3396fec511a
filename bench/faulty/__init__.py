"""What a caller hears while the model fails, or only seems to: simulated calls through the service, with a fake OpenAI
that has faults and habits.

points kinds odd        where a fault may strike, and which; no I/O
scene talk              what is said in a call; no I/O
hearing clips figures   what the caller heard of it, and what they had to bear; no I/O
judge                   how the call went on; no I/O
place front tool        one call through its own service, and what it leaves behind
runner                  many calls
table living interruptions rollover     the measurements
report table_report living_report       their reports
"""
