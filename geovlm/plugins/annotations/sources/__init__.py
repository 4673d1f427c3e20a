"""From class folders and Label Studio exports to records."""
