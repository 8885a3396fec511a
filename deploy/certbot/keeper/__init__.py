"""The keeper of the certificate: gets it, renews it, publishes it to nginx, and proves that it is served.

    python3 -m keeper run         the service: for years, without anybody's help
    python3 -m keeper issue       now, with every step shown; what scripts/issue-cert.sh runs
    python3 -m keeper rollback    back to the pair that was published before
    python3 -m keeper health      is the service alive, and its certificate good?

certbot talks to the certificate authority; `issue` and `hooks/publish`, beside this package, tell it how, and check
what it got. This package decides when, finds out beforehand what would fail, and says in one sentence what did.
"""
