"""Attacks by strangers on the service while calls are live: through the real edge, one after another, time-limited.

row report        what was observed, how it is judged, how it is shown; no I/O
attack client     what an attack is and is given; its connections. attacks/ has a module for each kind of attack
attacker          the attacking process
place callers     nginx, the backend and the model around live calls; further callers, who must be served meanwhile
siege             one attack on a place, which gives a row
"""
