"""What scripts/demo.sh shows, and the edge on this machine alone, which the tests and the bench use too."""
