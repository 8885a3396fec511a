"""The certificate's keeper: gets the certificate, renews it, publishes it to nginx, and verifies that it is served.

    python3 -m keeper run         run the service, which needs no attention for years
    python3 -m keeper issue       get the certificate now and show every step; scripts/issue-cert.sh runs this
    python3 -m keeper rollback    return to the pair that was published before
    python3 -m keeper health      check that the service is alive and its certificate good

certbot talks to the certificate authority; `issue` and `hooks/publish`, beside this package, tell it how, and check
what it received. This package decides when to do so, finds out beforehand what would fail, and explains each failure in
one sentence.
"""
