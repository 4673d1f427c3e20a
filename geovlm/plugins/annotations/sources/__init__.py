"""From class folders, Label Studio exports and names of the hub to records."""
