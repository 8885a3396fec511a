"""What strangers do to the service, while calls are live: attacks through the real edge, one after another, bounded.

row report        what was seen, how it is judged, how it is shown. No I/O
attack client     what an attack is and is told; connections for it. attacks/ are the attacks, a module for each kind
attacker          the process that attacks
place callers     nginx, the backend and the model round live calls; further callers, who must be served meanwhile
siege             one attack on a place: a row
"""
