"""Looking for problems before an authority is asked. Nothing here changes anything."""
