"""certbot: what it is asked, where it keeps what it got, and what its failures mean."""
