"""States in which a certificate's volumes, account, names, settings and authority may be, and what the keeper makes of
them."""
